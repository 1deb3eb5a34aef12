"""MailerSend: known signatures, the public test secret that must mean nothing, two versions of payloads."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event, EventType
from providers.mailersend import TEST_SECRET, MailerSend
from providers.signing import hmac_hex
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "ms-signing-secret-0001"
BODY = b'{"type":"activity.unsubscribed","data":{"object":"activity","id":"62f1"}}'
KNOWN = "58384697f9abc1093d120152ee101226e8c960e00ee6c281c5d18d8ecae1f946"
TEST_BODY = b'{"type":"webhook.test"}'
KNOWN_TEST = "d5aaec598a6824fc9e35f2974fc7e6e7455894499ed5efb3b655260d7afdba75"

UNSUBSCRIBED = {
    "type": "activity.unsubscribed",
    "created_at": "2023-11-14T22:13:20.000000Z",
    "data": {"id": "6aa5", "message_id": "6aa6", "recipient": "ada@example.test", "tags": [], "meta": []},
}


def request(body: bytes, signature: str) -> WebhookRequest:
    return WebhookRequest(source="mailersend", body=body, headers={"signature": signature})


def read(value: dict[str, Any]) -> Event:
    [event] = parsed(MailerSend("mailersend", [KEY]), encode(value)).events
    return event


def with_data(**change: Any) -> dict[str, Any]:
    return UNSUBSCRIBED | {"data": {**UNSUBSCRIBED["data"], **change}}  # type: ignore[dict-item]


@pytest.mark.parametrize("signature", [KNOWN, KNOWN.upper()])
async def test_the_known_signature_is_genuine_in_either_case(signature: str) -> None:
    assert await MailerSend("mailersend", ["another", KEY]).verify(request(BODY, signature))


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BODY + b"\n", KNOWN),
        (BODY.replace(b"62f1", b"62f2"), KNOWN),
        (BODY, KNOWN.replace("5", "6", 1)),
        (BODY, ""),
        (BODY, f"sha256={KNOWN}"),
        (BODY, f"{KNOWN}, {KNOWN}"),
    ],
)
async def test_what_is_not_byte_for_byte_what_was_signed_is_refused(body: bytes, signature: str) -> None:
    with pytest.raises(NotVerified, match="of no key"):
        await MailerSend("mailersend", [KEY]).verify(request(body, signature))


@pytest.mark.parametrize(
    "body",
    [
        TEST_BODY,
        b'{"type":"webhook.test","message":"This is a ping test message","created_at":"2026-03-27T07:24:20.577080Z"}',
        b'{"type":"webhook.test","data":{"id":"1","recipient":"ada@example.test"}}',
        b'{"type":"activity.unsubscribed","data":{"recipient":"ada@example.test"},"type":"webhook.test"}',
    ],
)
async def test_a_test_under_the_public_secret_is_accepted_and_means_nothing(body: bytes) -> None:
    adapter = MailerSend("mailersend", [KEY])
    batch = adapter.parse(await adapter.verify(request(body, hmac_hex(TEST_SECRET, body))))
    assert (list(batch.events), list(batch.dead_letters), batch.token) == ([], [], None)


@pytest.mark.parametrize(
    "body",
    [
        encode(UNSUBSCRIBED),
        encode([UNSUBSCRIBED]),
        b"",
        b"[]",
        b"{}",
        b"null",
        b'"webhook.test"',
        b"webhook.test",
        b'[{"type":"webhook.test"}]',
        b'{"type":["webhook.test"]}',
        b'{"type":"webhook.tests"}',
        b'{"type":"activity.sent","data":{"type":"webhook.test"}}',
        b'{"type":"webhook.test","type":"activity.unsubscribed","data":{"recipient":"ada@example.test"}}',
        b'{"type":"webhook.test"}{"type":"activity.unsubscribed"}',
        b'{"type":"webhook.test"}\n{"type":"activity.unsubscribed"}',
        b'{"type":"webhook.test"',
        b'{"type":"inbound.message"}',
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:60]),
)
async def test_anything_else_under_the_public_secret_is_refused(body: bytes) -> None:
    with pytest.raises(NotVerified, match=r"webhook\.test only"):
        await MailerSend("mailersend", [KEY]).verify(request(body, hmac_hex(TEST_SECRET, body)))


async def test_the_known_test_signature_is_the_public_secrets() -> None:
    assert await MailerSend("mailersend", [KEY]).verify(request(TEST_BODY, KNOWN_TEST))


def test_the_public_secret_is_no_key() -> None:
    with pytest.raises(ValueError, match="known to everybody"):
        MailerSend("mailersend", [KEY, TEST_SECRET])


@pytest.mark.parametrize("kind", ["activity.unsubscribed", "activity.spam_complaint"])
@pytest.mark.parametrize(
    "data",
    [
        {"recipient": "ada@example.test"},
        {"email": "ada@example.test"},
        {"recipient": None, "email": "ada@example.test"},
        {"recipient": {"email": "ada@example.test"}},
        {"email": {"recipient": {"email": "ada@example.test"}}, "morph": None},
        {"email": {"recipient": {"email": "Ada <ada@example.test>"}, "message": 5, "tags": None}, "meta": "odd"},
    ],
)
def test_who_left_or_complained_is_found_in_either_version(kind: str, data: dict[str, Any]) -> None:
    event = read({"type": kind, "created_at": "2023-11-14T22:13:20Z", "data": data})
    [decision] = decisions_of(event, TopicPolicy())
    assert (decision.email_address, decision.topic, decision.opted_in) == ("ada@example.test", "", False)


def test_version_1_has_the_events_time_inside() -> None:
    inner = with_data(created_at="2023-11-14T22:13:10.000000Z", email={"recipient": {"email": "ada@example.test"}})
    assert read(inner).occurred_at.isoformat() == "2023-11-14T22:13:10+00:00"


@pytest.mark.parametrize(
    "other",
    [
        UNSUBSCRIBED | {"type": "activity.opened"},
        UNSUBSCRIBED | {"created_at": "2023-11-14T22:13:21.000000Z"},
        with_data(id="6ab5"),
        with_data(message_id="6ab6"),
        with_data(recipient="bob@example.test"),
        with_data(meta={"url": "https://a"}),
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(other: dict[str, Any]) -> None:
    assert read(other).id != read(UNSUBSCRIBED).id


def test_a_repeat_has_the_same_id() -> None:
    assert read(with_data(recipient="ADA@example.test", tags=["new"])).id == read(UNSUBSCRIBED).id


def test_what_is_told_again_as_the_first_of_its_kind_counts_once_where_its_id_is_the_same() -> None:
    opened, first = (read(UNSUBSCRIBED | {"type": f"activity.{name}"}) for name in ("opened", "opened_unique"))
    assert opened.type == first.type == EventType.OPENED
    assert opened.id == first.id


@pytest.mark.parametrize("status", [200, 204, 400, 401, 404, 413])
def test_a_refusal_is_final(status: int) -> None:
    assert status in MailerSend.final_statuses


@pytest.mark.parametrize("status", [301, 429, 500, 503])
def test_trouble_is_not(status: int) -> None:
    assert status not in MailerSend.final_statuses
