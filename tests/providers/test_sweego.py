"""Sweego: Standard Webhooks' headers with another signature in them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.sweego import ID, SIGNATURE, TIMESTAMP, Sweego
from tests.providers.payloads import parsed

KEY = "c3dlZWdvLXNlY3JldC0wMDAxLWJ5dGVz"
SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)
KNOWN = WebhookRequest(
    source="sweego",
    body=(
        b'{"event_type":"list_unsub","timestamp":"2023-11-14T22:13:20+00:00","swg_uid":"s-1",'
        b'"recipient":"ada@example.test"}'
    ),
    headers={ID: "evt-1", TIMESTAMP: "1700000000", SIGNATURE: "eu+JR/1FKbpzY4TMpW8Pm6/1MlXf/K4395P20kAlcGM="},
    received_at=SIGNED_AT,
)
SWEEGO = Sweego("sweego", [KEY])


async def test_the_known_signature_is_genuine() -> None:
    assert await SWEEGO.verify(KNOWN) is KNOWN


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
async def test_each_header_is_needed_and_signed(name: str) -> None:
    with pytest.raises(NotVerified, match="of no key"):
        await SWEEGO.verify(replace(KNOWN, headers={**KNOWN.headers, name: f"1{KNOWN.headers[name]}"}))
    with pytest.raises(NotVerified, match=f"no header {name}"):
        await SWEEGO.verify(replace(KNOWN, headers={k: v for k, v in KNOWN.headers.items() if k != name}))


async def test_a_late_attempt_is_still_taken_for_it_may_bear_the_events_own_time() -> None:
    await SWEEGO.verify(replace(KNOWN, received_at=SIGNED_AT + timedelta(hours=24)))
    with pytest.raises(NotVerified, match="stale"):
        await SWEEGO.verify(replace(KNOWN, received_at=SIGNED_AT + timedelta(hours=26)))


async def test_a_secret_may_lack_the_padding_of_its_base64() -> None:
    padded = Sweego("sweego", ["c3dlZWdvLXNlY3JldA=="])
    [request] = padded.sign([padded.sample("delivered", "ada@example.test", SIGNED_AT, 1)], SIGNED_AT)
    await Sweego("sweego", ["c3dlZWdvLXNlY3JldA"]).verify(request)


@pytest.mark.parametrize("key", ["", "not base64!", "abc", "===="])
def test_what_cannot_be_a_secret_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"base64|empty key"):
        Sweego("sweego", [key])


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("soft-bounce", EventType.DEFERRED),
        ("soft_bounce", EventType.DEFERRED),
        ("hard-bounce", EventType.BOUNCED),
        ("LIST_UNSUB", EventType.UNSUBSCRIBED),
    ],
)
def test_event_types_are_known_however_they_are_spelt(event_type: str, kind: EventType) -> None:
    [event] = parsed(SWEEGO, encode({"event_type": event_type, "recipient": "ada@example.test"})).events
    assert event.type == kind


CLICK: dict[str, Any] = {
    "event_type": "email_clicked",
    "event_id": "1",
    "swg_uid": "s-1",
    "timestamp": "2023-11-14T22:13:20+00:00",
    "recipient": "ada@example.test",
    "click": {"url": "https://a", "ip_address": "192.0.2.1", "user_agent": "a"},
}


def id_of(**other: Any) -> str:
    return parsed(SWEEGO, encode(CLICK | other)).events[0].id


def test_an_event_is_itself_whatever_its_attempt_is_called() -> None:
    assert id_of() == id_of(event_id="2") == id_of(recipient="ADA@example.test")


@pytest.mark.parametrize(
    "other",
    [
        {"event_type": "email_opened"},
        {"swg_uid": "s-2"},
        {"timestamp": "2023-11-14T22:13:21+00:00"},
        {"recipient": "bob@example.test"},
        {"click": CLICK["click"] | {"url": "https://b"}},
        {"click": CLICK["click"] | {"user_agent": "b"}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()
