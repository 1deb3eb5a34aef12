"""What every adapter promises, tried on each of the registry and on every payload file.

`UPDATE_GOLDEN=1 make test` writes the golden files anew: read the difference before you commit it.
"""

import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import providers
from providers.adapter import Adapter, NotVerified, Verified, WebhookRequest
from providers.decoding import encode
from providers.events import CONSENT_TYPES, EventType
from tests.providers import payloads

NAMES = sorted(providers.ADAPTERS)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ADDRESS = "ada@example.test"


@pytest.fixture(params=NAMES)
def adapter(request: pytest.FixtureRequest) -> Adapter:
    return payloads.new_adapter(request.param)


def requests(adapter: Adapter, *, at: datetime = NOW) -> list[WebhookRequest]:
    """Each sample event, in a request that the provider could have made at that moment."""
    samples = [adapter.sample(event, ADDRESS, at, number) for number, event in enumerate(adapter.samples)]
    return [replace(each, received_at=NOW) for each in adapter.sign(samples, at)]


@pytest.mark.parametrize("path", payloads.payload_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_payload_reads_as_its_golden_file_says(path: Path) -> None:
    batch = payloads.parsed(payloads.new_adapter(path.parent.name), path.read_bytes())
    if os.environ.get("UPDATE_GOLDEN"):
        payloads.write(path, payloads.as_json(batch))
    golden = payloads.golden_file(path)
    assert golden.exists(), f"{golden} is missing: UPDATE_GOLDEN=1 make test writes it, then read it"
    assert payloads.as_json(batch) == json.loads(golden.read_text())


async def test_what_the_provider_signed_is_accepted(adapter: Adapter) -> None:
    for request in requests(adapter):
        assert await adapter.verify(request) is request


async def test_a_changed_body_is_refused_or_has_another_bodys_token(adapter: Adapter) -> None:
    """Where the proof covers no body at all (basic authentication) the page must say so."""
    for request in requests(adapter):
        changed = replace(request, body=request.body.replace(b"ada", b"bda"))
        assert changed.body != request.body
        try:
            verified = await adapter.verify(changed)
        except NotVerified:
            continue
        genuine = adapter.parse(await adapter.verify(request)).token
        other = adapter.parse(verified).token
        if genuine is None or other is None:
            assert "covers no body" in page(adapter.name)
        else:
            assert genuine.token == other.token
            assert genuine.body != other.body


async def test_a_key_of_somebody_else_is_refused(adapter: Adapter) -> None:
    stranger = payloads.new_adapter(adapter.name)
    for request in requests(stranger):
        with pytest.raises(NotVerified):
            await adapter.verify(request)


async def test_a_retiring_key_is_still_good(adapter: Adapter) -> None:
    rotating = type(adapter)(adapter.source, [adapter.new_key(), *adapter.keys], adapter.trial_options)
    for request in requests(adapter):
        assert await rotating.verify(request) is request


async def test_a_request_without_proof_is_refused(adapter: Adapter) -> None:
    for body in (
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b"a=b",
        b'{"signature": {}}',
        b'{"signature": 1}',
    ):
        request = WebhookRequest(source=adapter.source, body=body)
        try:
            verified = await adapter.verify(request)
        except NotVerified:
            continue
        # A question that comes before there is a key, and has no effect whatever.
        assert await adapter.handshake(verified)


async def test_garbled_proofs_are_refused(adapter: Adapter) -> None:
    for request in requests(adapter):
        for value in ("", "x", "Basic", "Basic %%%", "0", "-1", "9" * 400, "\u00e9", "=" * 8):
            garbled = replace(request, headers=dict.fromkeys(request.headers, value), body=b"{}")
            with pytest.raises(NotVerified):
                await adapter.verify(garbled)


async def test_a_stale_proof_is_refused_where_it_has_a_time(adapter: Adapter) -> None:
    for request in requests(adapter, at=NOW - timedelta(days=3)):
        if "no time" in page(adapter.name):
            await adapter.verify(request)
        else:
            with pytest.raises(NotVerified, match="stale"):
                await adapter.verify(request)


async def test_every_sample_is_read_as_an_event_of_its_address_and_time(adapter: Adapter) -> None:
    batches = [adapter.parse(await adapter.verify(request)) for request in requests(adapter)]
    events = [event for batch in batches for event in batch.events]
    assert [batch.dead_letters for batch in batches if batch.dead_letters] == []
    assert {event.email_address for event in events} == {ADDRESS}
    assert len({event.id for event in events}) == len(events) == len(adapter.samples)
    assert all(NOW - timedelta(seconds=2) < event.occurred_at <= NOW for event in events)
    assert EventType.UNKNOWN not in {event.type for event in events}
    assert {event.type for event in events} & CONSENT_TYPES or "says nothing about consent" in page(adapter.name)


def test_a_repeat_has_the_same_ids(adapter: Adapter) -> None:
    for request in requests(adapter):
        first, later = (Verified(replace(request, received_at=NOW + timedelta(hours=hours))) for hours in (0, 1))
        assert [event.id for event in adapter.parse(later).events] == [
            event.id for event in adapter.parse(first).events
        ]


HOSTILE = [
    b"",
    b"null",
    b"0",
    b'"text"',
    b"[]",
    b"[null, 1, [[1], [2]], {}]",
    b"{}",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[{]}",
    b'{"event-data": {"event": {"deep": [1]}, "timestamp": [], "recipient": 5}}',
    b'[{"event": "unsubscribe"}]',
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf[]",
    b"a=1&b=%00%ff",
    b"--x\r\n\r\nno part",
    b"--",
    '[{"email": "é"}]'.encode("utf-16"),
    b'{"RecordType": 5}',
    b'{"RecordType": "Bounce", "Email": {"a": 1}}',
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:24]))
def test_a_hostile_body_ends_in_dead_letters_or_harmless_events(adapter: Adapter, body: bytes) -> None:
    batch = payloads.parsed(adapter, body)
    assert all(event.type not in CONSENT_TYPES or event.email_address for event in batch.events)
    assert batch.events or batch.dead_letters or body in {b"[]", b"\xef\xbb\xbf[]"}
    assert all(each.error for each in batch.dead_letters)


@pytest.mark.parametrize("path", payloads.json_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_field_of_whatever_kind_raises_nothing(path: Path) -> None:
    adapter = payloads.new_adapter(path.parent.name)
    for changed in with_odd_fields(json.loads(path.read_bytes())):
        batch = payloads.parsed(adapter, encode(changed))
        assert all(event.type not in CONSENT_TYPES or event.email_address for event in batch.events)


ODD: list[Any] = [None, True, -1, 1e300, [], [[]], {}, {"a": 1}, "", "\0", "x" * 3_000, "9" * 400]


def with_odd_fields(value: Any) -> Iterator[Any]:
    """The same value again and again, each time with one thing in it replaced by something odd."""
    yield from ODD
    match value:
        case dict():
            for name, each in value.items():
                yield from ({**value, name: odd} for odd in with_odd_fields(each))
        case list():
            for number, each in enumerate(value):
                yield from ([*value[:number], odd, *value[number + 1 :]] for odd in with_odd_fields(each))


def test_trouble_of_ours_makes_the_provider_send_again(adapter: Adapter) -> None:
    assert adapter.unavailable_status in {503, 429}
    assert adapter.unavailable_status not in adapter.final_statuses
    assert 200 in adapter.final_statuses


def test_a_key_that_cannot_be_one_is_refused_at_start(adapter: Adapter) -> None:
    with pytest.raises(ValueError, match=r"."):
        type(adapter)(adapter.source, [""], adapter.trial_options)


def test_no_two_payloads_share_a_golden_file() -> None:
    golden = [payloads.golden_file(path) for path in payloads.payload_files()]
    assert len(set(golden)) == len(golden)


def test_it_has_a_page_and_payloads(adapter: Adapter) -> None:
    for heading in ("## Set-up", "## What `verify` proves", "## Retries", "## Ids", "## Events", "## Oddities"):
        assert heading in page(adapter.name)
    assert any(path.parent.name == adapter.name for path in payloads.payload_files())
    assert adapter.key


def test_nothing_is_left_to_do(adapter: Adapter) -> None:
    assert "TODO" not in page(adapter.name)
    assert "TODO" not in inspect.getsource(inspect.getmodule(adapter) or type(adapter))


def page(name: str) -> str:
    path = Path(providers.__file__).with_name(f"{name}.md")
    assert path.exists(), f"{path} is missing: one page a provider"
    return path.read_text()
