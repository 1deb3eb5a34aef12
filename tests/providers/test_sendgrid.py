"""SendGrid: the signature's known answers, and what its ids are made of."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from providers.adapter import NotVerified, WebhookRequest
from providers.sendgrid import SIGNATURE, TIMESTAMP, SendGrid
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWVKj4LXGXNB/2sf+JlUKX5QhgKclxNRQAMmmM6Tfoxdk"
    "Q/Bo+vwM7GwWmdqgc965ypNG1hBJlf2Zfw48LW3Q7w=="
)
BODY = (
    b'[{"email":"ada@example.test","event":"processed","sg_event_id":"ev-1","sg_message_id":"m1.recvd-0.0","timestamp":1700000000},\r\n'
    b'{"email":"ada@example.test","event":"delivered","response":"250 OK","sg_event_id":"ev-2","sg_message_id":"m1.recvd-0.0","timestamp":1700000005}]\r\n'
)
KNOWN = WebhookRequest(
    source="sendgrid",
    body=BODY,
    headers={
        SIGNATURE.lower(): "MEQCIAE7B3GVst8/JeFcT8Sbo7U5rOJXNSbia6Z1/3aWU+3eAiAXbFLsCWJr5rnFMyGXq1QSsD9emAxtUzaYAMYLRM1WDg==",
        TIMESTAMP.lower(): "1700000010",
    },
    received_at=datetime.fromtimestamp(1700000012, UTC),
)


def with_header(name: str, value: str) -> WebhookRequest:
    return replace(KNOWN, headers={**KNOWN.headers, name.lower(): value})


async def test_the_known_signature_is_genuine() -> None:
    assert await SendGrid("sendgrid", [KEY]).verify(KNOWN) is KNOWN


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, body=BODY.removesuffix(b"\r\n")),
        replace(KNOWN, body=json.dumps(json.loads(BODY)).encode()),
        replace(KNOWN, body=BODY.replace(b"\r\n", b"\n")),
        with_header(TIMESTAMP, "1700000011"),
        with_header(SIGNATURE, ""),
        with_header(SIGNATURE, "MEQC"),
        with_header(SIGNATURE, KNOWN.headers[SIGNATURE.lower()] + "="),
        replace(KNOWN, headers={}),
    ],
)
async def test_what_is_not_byte_for_byte_what_was_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await SendGrid("sendgrid", [KEY]).verify(request_)


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(hours=26), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_signature_has_its_time(age: timedelta, refusal: str) -> None:
    late = replace(KNOWN, received_at=datetime.fromtimestamp(1700000010, UTC) + age)
    with pytest.raises(NotVerified, match=refusal):
        await SendGrid("sendgrid", [KEY]).verify(late)


async def test_a_retry_of_a_day_ago_is_still_taken() -> None:
    late = replace(KNOWN, received_at=datetime.fromtimestamp(1700000010, UTC) + timedelta(hours=24))
    await SendGrid("sendgrid", [KEY]).verify(late)


async def test_the_key_may_be_pem_or_broken_over_lines() -> None:
    for key in (f"-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n", f"{KEY[:60]}\n {KEY[60:]}\n"):
        await SendGrid("sendgrid", [key]).verify(KNOWN)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "SG.an-api-key",
        KEY[:40],
        base64.b64encode(
            ec.generate_private_key(ec.SECP384R1())
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ).decode(),
    ],
    ids=["empty", "API key", "cut off", "another curve"],
)
def test_what_cannot_be_a_verification_key_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SendGrid("sendgrid", [key])


def id_of(item: dict[str, Any]) -> str:
    [event] = parsed(SendGrid("sendgrid", [KEY]), json.dumps([item]).encode()).events
    return event.id


CLICK = {
    "email": "ada@example.test",
    "timestamp": 1700000000,
    "event": "click",
    "sg_event_id": "one",
    "sg_message_id": "m1",
    "url": "https://a",
}


@pytest.mark.parametrize(
    "other",
    [
        {"email": "bob@example.test"},
        {"event": "open"},
        {"timestamp": 1700000001},
        {"url": "https://b"},
        {"sg_message_id": "m2"},
        {"ip": "192.0.2.9"},
        {"useragent": "another"},
    ],
)
def test_events_that_share_an_event_id_but_are_not_the_same_have_ids_of_their_own(other: dict[str, Any]) -> None:
    assert id_of(CLICK | other) != id_of(CLICK)


@pytest.mark.parametrize(
    "other", [{"sg_event_id": "two"}, {"sg_event_id": None}, {"email": "ADA@example.test"}, {"order": "778"}]
)
def test_the_same_event_under_a_new_event_id_has_the_same_id(other: dict[str, Any]) -> None:
    assert id_of(CLICK | other) == id_of(CLICK)


def test_without_a_message_id_the_smtp_id_tells_events_apart() -> None:
    bare = {name: value for name, value in CLICK.items() if name != "sg_message_id"}
    assert id_of(bare | {"smtp-id": "<1>"}) != id_of(bare | {"smtp-id": "<2>"})


@pytest.mark.parametrize(
    ("event", "group", "topics"),
    [
        ("group_resubscribe", 42, {"42": True}),
        ("group_resubscribe", 42.0, {"42": True}),
        ("group_resubscribe", None, {}),
        ("group_resubscribe", "", {}),
        ("group_resubscribe", [42], {}),
        ("group_unsubscribe", 42, {"42": False}),
        ("group_unsubscribe", None, {"": False}),
        ("group_unsubscribe", [42], {"": False}),
    ],
)
def test_a_group_that_cannot_be_read_is_all_to_who_leaves_and_none_to_who_joins(
    event: str, group: Any, topics: dict[str, bool]
) -> None:
    item = {"email": "ada@example.test", "timestamp": 1700000000, "event": event, "asm_group_id": group}
    [read] = parsed(SendGrid("sendgrid", [KEY]), json.dumps([item]).encode()).events
    assert {each.topic: each.opted_in for each in decisions_of(read, TopicPolicy())} == topics
