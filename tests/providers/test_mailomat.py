"""Mailomat: a signature over three headers, which are good for one body only."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.mailomat import SIGNATURE, SIGNED, Mailomat
from providers.signing import hmac_hex
from tests.providers.payloads import parsed

KEY = "mom-secret-0001"
SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)
KNOWN = WebhookRequest(
    source="mailomat",
    body=b'{"id":"29e785c1","eventType":"clicked","recipient":"ada@example.test"}',
    headers={
        "x-mom-webhook-id": "29e785c1",
        "x-mom-webhook-event": "clicked",
        "x-mom-webhook-timestamp": "1700000000",
        "x-mom-webhook-signature": "sha256=0da7cd32b4eb274e654bf9986d6ad3a13109e02c56f2e19d6a1fa676f9bb8123",
    },
    received_at=SIGNED_AT,
)
MAILOMAT = Mailomat("mailomat", [KEY])


def with_header(name: str, value: str) -> WebhookRequest:
    return replace(KNOWN, headers={**KNOWN.headers, name.lower(): value})


async def test_the_known_signature_is_genuine() -> None:
    assert await MAILOMAT.verify(KNOWN) is KNOWN


@pytest.mark.parametrize("name", SIGNED)
async def test_each_of_the_three_headers_is_signed(name: str) -> None:
    with pytest.raises(NotVerified, match="of no key"):
        await MAILOMAT.verify(with_header(name, KNOWN.headers[name.lower()] + "0"))
    without = {each: value for each, value in KNOWN.headers.items() if each != name.lower()}
    with pytest.raises(NotVerified, match=f"no header {name}"):
        await MAILOMAT.verify(replace(KNOWN, headers=without))


@pytest.mark.parametrize("scheme", ["md5", "sha1", "sha512"])
async def test_a_scheme_of_the_requests_own_choice_is_refused(scheme: str) -> None:
    signature = hmac_hex(KEY, b"29e785c1.clicked.1700000000", scheme)
    with pytest.raises(NotVerified, match="sha256="):
        await MAILOMAT.verify(with_header(SIGNATURE, f"{scheme}={signature}"))


async def test_a_signature_is_good_for_a_day_for_it_is_retried_for_hours() -> None:
    await MAILOMAT.verify(replace(KNOWN, received_at=SIGNED_AT + timedelta(hours=8)))
    with pytest.raises(NotVerified, match="stale"):
        await MAILOMAT.verify(replace(KNOWN, received_at=SIGNED_AT + timedelta(hours=25)))


async def test_another_body_under_the_same_headers_has_the_same_token() -> None:
    other = replace(KNOWN, body=KNOWN.body.replace(b"ada", b"eve"))
    first, second = [MAILOMAT.parse(await MAILOMAT.verify(each)).token for each in (KNOWN, other)]
    assert first is not None
    assert second is not None
    assert first.token == second.token
    assert first.body != second.body


OPENED: dict[str, Any] = {
    "id": "1",
    "eventType": "opened",
    "messageUuid": "m-1",
    "occurredAt": "2023-11-14T23:13:20+01:00",
    "recipient": "ada@example.test",
    "payload": {"timestamp": 1700000000, "client": {"ip": "192.0.2.1", "user-agent": "a"}},
}


def id_of(**other: Any) -> str:
    return parsed(MAILOMAT, encode(OPENED | other)).events[0].id


def test_an_event_is_itself_whatever_its_attempt_is_called() -> None:
    assert id_of() == id_of(id="2") == id_of(recipient="ADA@example.test")


@pytest.mark.parametrize(
    "other",
    [
        {"eventType": "clicked"},
        {"messageUuid": "m-2"},
        {"recipient": "bob@example.test"},
        {"payload": {"timestamp": 1700000001, "client": {"ip": "192.0.2.1", "user-agent": "a"}}},
        {"payload": {"timestamp": 1700000000, "client": {"ip": "192.0.2.2", "user-agent": "a"}}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()
