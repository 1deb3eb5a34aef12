"""Events for tests that care little about a provider's dialect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from providers.adapter import Batch
from providers.events import Event, EventType, Item
from webhooks.consent import TopicPolicy, decide

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def event(
    key: str = "a",
    *,
    type: EventType = EventType.DELIVERED,  # noqa: A002 - the field's name
    email_address: str | None = "ada@example.test",
    minutes: float = 0,
    topic: str | None = None,
    source: str = "sendgrid",
    value: Any = None,
    **fields: Any,
) -> Event:
    """`minutes` after noon; `key` tells events apart."""
    value = {"key": key} if value is None else value
    raw = msgspec.json.encode(value)
    item = Item(source, "sendgrid", NOON + timedelta(days=1), value, raw, raw)
    at = NOON + timedelta(minutes=minutes)
    return Event(item=item, natural_key=(key,), type=type, at=at, email_address=email_address, topic=topic, **fields)


def opt_out(
    address: str = "ada@example.test", *, minutes: float = 0, topic: str | None = None, key: str = "out"
) -> Event:
    return event(
        f"{key} {address} {minutes} {topic}",
        type=EventType.UNSUBSCRIBED,
        email_address=address,
        minutes=minutes,
        topic=topic,
    )


def opt_in(
    address: str = "ada@example.test", *, minutes: float = 0, topic: str | None = None, key: str = "in"
) -> Event:
    return event(
        f"{key} {address} {minutes} {topic}",
        type=EventType.RESUBSCRIBED,
        email_address=address,
        minutes=minutes,
        topic=topic,
    )


def decided(*events: Event, policy: TopicPolicy | None = None) -> Batch:
    return decide(batch(*events), policy or TopicPolicy())


def batch(*events: Event) -> Batch:
    return Batch(list(events))


def chunks_of(size: int, events: Sequence[Event]) -> list[Sequence[Event]]:
    return [events[start : start + size] for start in range(0, len(events), size)]
