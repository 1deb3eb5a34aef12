"""Payload files as captured, and beside each a golden file: what its adapter reads in it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import fields

import providers
from providers.adapter import Adapter, Batch, Verified, WebhookRequest
from providers.events import Event

HERE = Path(__file__).parent
RECEIVED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOLD_ELSEWHERE = {"item", "at", "natural_key"}


def payload_files() -> list[Path]:
    """`tests/providers/<name>/<case>.<json|form|…>`; its golden file is `<case>.golden.json`."""
    return sorted(
        path for path in HERE.glob("*/*") if path.is_file() and not path.name.endswith((".golden.json", ".py", ".pyc"))
    )


def json_files() -> list[Path]:
    return [path for path in payload_files() if path.suffix == ".json"]


def golden_file(payload: Path) -> Path:
    return payload.with_name(f"{payload.stem}.golden.json")


def new_adapter(name: str) -> Adapter:
    """With a key of its own, and the options to try it out with."""
    adapter = providers.load(name)
    return adapter(name, [adapter.new_key()], adapter.trial_options)


def parsed(adapter: Adapter, body: bytes) -> Batch:
    return adapter.parse(Verified(WebhookRequest(source=adapter.source, body=body, received_at=RECEIVED_AT)))


def as_json(batch: Batch) -> dict[str, Any]:
    return {
        "events": [event_as_json(event) for event in batch.events],
        "dead_letters": [{"error": each.error, "body": each.body.decode()} for each in batch.dead_letters],
    }


def event_as_json(event: Event) -> dict[str, Any]:
    told = {each.name: getattr(event, each.name) for each in fields(event) if each.name not in TOLD_ELSEWHERE}
    told["occurred_at"] = event.occurred_at
    told["by_recipient"] = None if event.by_recipient else False
    return {name: as_text(value) for name, value in sorted(told.items()) if value not in (None, (), {})}


def as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value


def write(payload: Path, golden: dict[str, Any]) -> None:
    golden_file(payload).write_text(json.dumps(golden, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
