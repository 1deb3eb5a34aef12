"""Mailgun: a proof that lies in the body, covers none of it, and is good for one body only."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from providers.adapter import NotVerified, Verified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.mailgun import Mailgun
from providers.signing import hmac_hex
from tests.providers.payloads import parsed

KEY = "mg-signing-key-0123456789abcdef"
PROOF = {
    "timestamp": "1700000000",
    "token": "0123456789abcdef0123456789abcdef0123456789abcdef01",
    "signature": "e5078e223dce9dc41b444115461309e321c164b76536023bfe63e9bc7ee6d47c",
}
EVENT = {"event": "unsubscribed", "id": "1", "timestamp": 1700000000.5, "recipient": "ada@example.test"}


def request(body: bytes, at: int = 1700000005) -> WebhookRequest:
    return WebhookRequest(source="mailgun", body=body, received_at=datetime.fromtimestamp(at, UTC))


def json_request(**proof: Any) -> WebhookRequest:
    return request(encode({"signature": PROOF | proof, "event-data": EVENT}))


def mailgun(*keys: str) -> Mailgun:
    return Mailgun("mailgun", keys or (KEY,))


async def test_the_known_signature_is_genuine() -> None:
    assert await mailgun().verify(json_request())


async def test_a_timestamp_may_be_a_number() -> None:
    assert await mailgun().verify(json_request(timestamp=1700000000))


@pytest.mark.parametrize(
    "proof",
    [
        {"timestamp": "1700000001"},
        {"token": PROOF["token"] + "0"},
        {"signature": PROOF["signature"][:-1] + "d"},
        {"signature": PROOF["signature"].upper()},
        {"signature": ""},
        {"signature": None},
        {"token": ["a"]},
    ],
)
async def test_a_changed_proof_is_refused(proof: dict[str, Any]) -> None:
    with pytest.raises(NotVerified):
        await mailgun().verify(json_request(**proof))


async def test_a_proof_is_good_for_a_day_for_it_is_retried_for_hours() -> None:
    body = json_request().body
    assert await mailgun().verify(request(body, 1700000000 + 23 * 3600))
    with pytest.raises(NotVerified, match="stale"):
        await mailgun().verify(request(body, 1700000000 + 25 * 3600))
    with pytest.raises(NotVerified, match="future"):
        await mailgun().verify(request(body, 1700000000 - 400))


@pytest.mark.parametrize("form", ["urlencoded", "multipart"])
async def test_in_a_form_the_last_proof_counts_for_a_senders_variables_lie_before_it(form: str) -> None:
    fields = [
        ("event", "complained"),
        ("recipient", "ada@example.test"),
        ("event", "x"),
        ("timestamp", "1"),
        ("token", "t"),
    ]
    fields += [("signature", "s"), *PROOF.items()]
    body = urlencode(fields).encode()
    if form == "multipart":
        parts = "".join(
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
        )
        body = f"{parts}--b--\r\n".encode()
    batch = mailgun().parse(await mailgun().verify(request(body)))
    assert [(event.type, event.email_address) for event in batch.events] == [(EventType.COMPLAINED, "ada@example.test")]


async def test_a_subaccounts_message_is_proven_by_its_parents_key_and_so_is_its_token() -> None:
    timestamp, token = "1700000000", "parent" * 8
    parent = {
        "timestamp": timestamp,
        "token": token,
        "signature": hmac_hex("parents-key", f"{timestamp}{token}".encode()),
    }
    body = encode({"signature": PROOF, "parent-signature": parent, "event-data": EVENT})
    assert mailgun("parents-key").token(await mailgun("parents-key").verify(request(body))) == token
    assert mailgun().token(await mailgun().verify(request(body))) == PROOF["token"]


async def test_a_stale_proof_beside_a_fresh_one_does_not_pass_for_it() -> None:
    forged = {"timestamp": "1700086400", "token": "t", "signature": "0" * 64}
    body = encode({"signature": forged, "parent-signature": PROOF, "event-data": EVENT})
    with pytest.raises(NotVerified, match="stale"):
        await mailgun().verify(request(body, 1700000000 + 25 * 3600))


def test_a_body_without_a_proof_has_no_token() -> None:
    for body in (b"", b"{}", b"null", b"a=b", b"{", b"--"):
        assert mailgun().token(Verified(request(body))) is None


def test_the_console_test_of_2018_under_a_fresh_signature_is_an_event_of_2018() -> None:
    [event] = parsed(mailgun(), encode({"signature": PROOF, "event-data": EVENT | {"timestamp": 1521233195.37}})).events
    assert event.occurred_at.year == 2018


def ids(*others: dict[str, Any]) -> set[str]:
    return {parsed(mailgun(), encode({"event-data": EVENT | other})).events[0].id for other in others}


def test_an_id_that_is_used_again_on_another_day_is_another_event() -> None:
    later = {"timestamp": EVENT["timestamp"] + 86400}  # type: ignore[operator]
    assert (
        len(ids({}, later, {"account": {"id": "a"}}, {"recipient": "bob@example.test"}, {"event": "complained"})) == 5
    )


def test_what_else_changes_between_repeats_does_not_matter() -> None:
    assert len(ids({}, {"tags": ["x"]}, {"recipient": "ADA@example.test"}, {"log-level": "info"})) == 1


def test_a_token_made_anew_for_a_repeat_changes_no_id() -> None:
    first, again = ({"signature": PROOF | {"token": token}, "event-data": EVENT} for token in "ab")
    assert parsed(mailgun(), encode(first)).events[0].id == parsed(mailgun(), encode(again)).events[0].id


async def test_each_signed_sample_has_a_token_of_its_own() -> None:
    at = datetime.now(UTC) - timedelta(seconds=1)
    samples = [mailgun().sample("unsubscribed", "ada@example.test", at, number) for number in range(3)]
    requests = [replace(each, received_at=at) for each in mailgun().sign(samples, at)]
    assert len({mailgun().token(await mailgun().verify(each)) for each in requests}) == 3


def test_a_rejection_is_of_each_whom_the_message_was_to() -> None:
    rejected = {"event": "rejected", "id": "1", "timestamp": 1700000000.5}
    headers = {"to": 'Ada <ada@example.test>, "B, ob" <bob@example.test>', "message-id": "m"}
    body = encode({"signature": PROOF, "event-data": {**rejected, "message": {"headers": headers}}})
    events = parsed(mailgun(), body).events
    assert [(event.type, event.email_address) for event in events] == [
        (EventType.DROPPED, "ada@example.test"),
        (EventType.DROPPED, "bob@example.test"),
    ]
    assert len({event.id for event in events}) == 2
