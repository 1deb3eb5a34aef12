"""Klaviyo: a signature over body and then time, a time in the body that counts, and who subscribed somebody."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.klaviyo import Klaviyo
from providers.signing import hmac_hex
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "klaviyo-secret-key-0001"
KNOWN = WebhookRequest(
    source="klaviyo",
    body=b'{"data":[{"external_id":"73W","topic":"event:klaviyo.unsubscribed_from_email_marketing","payload":{}}],'
    b'"meta":{"timestamp":"2023-11-14T22:13:20+00:00"}}',
    headers={
        "klaviyo-timestamp": "Tue, 14 Nov 2023 22:13:20 GMT",
        "klaviyo-signature": "f15b422203aec5de3800a96c347d59ea5679fb6888a155f1af4e4b5473c8f369",
    },
    received_at=datetime(2023, 11, 14, 22, 13, 25, tzinfo=UTC),
)
ADAPTER = Klaviyo("klaviyo", [KEY])


def signed(body: bytes, timestamp: str) -> WebhookRequest:
    signature = hmac_hex(KEY, body + timestamp.encode())
    return replace(KNOWN, body=body, headers={"klaviyo-timestamp": timestamp, "klaviyo-signature": signature})


async def test_the_known_signature_is_genuine() -> None:
    assert await ADAPTER.verify(KNOWN) is KNOWN


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, body=KNOWN.body + b" "),
        replace(KNOWN, headers={**KNOWN.headers, "klaviyo-timestamp": "2023-11-14T22:13:20+00:00"}),
        replace(KNOWN, headers={"klaviyo-signature": KNOWN.headers["klaviyo-signature"]}),
        replace(KNOWN, headers={"klaviyo-timestamp": KNOWN.headers["klaviyo-timestamp"]}),
    ],
)
async def test_what_is_not_what_was_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await ADAPTER.verify(request_)


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(hours=26), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_signature_has_its_time(age: timedelta, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await ADAPTER.verify(replace(KNOWN, received_at=KNOWN.received_at + age))


async def test_the_header_may_be_hours_off_for_the_bodys_time_counts() -> None:
    assert await ADAPTER.verify(signed(KNOWN.body, "Wed, 15 Nov 2023 03:13:20 GMT"))


@pytest.mark.parametrize("body", [b'{"data":[]}', b'{"data":[],"meta":[]}', b"[]", b"{", b"\xff"])
async def test_without_a_time_in_the_body_the_headers_counts_if_it_can_be_read(body: bytes) -> None:
    assert await ADAPTER.verify(signed(body, "2023-11-14T22:13:20+00:00"))
    with pytest.raises(NotVerified, match="stale"):
        await ADAPTER.verify(signed(body, "1600000000"))
    with pytest.raises(NotVerified, match="timestamp"):
        await ADAPTER.verify(signed(body, "Tue, 14 Nov 2023 22:13:20 GMT"))


def test_a_secret_shorter_than_klaviyo_takes_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        Klaviyo("klaviyo", [KEY, "fifteen-letters"])


def body(topic: str, external_id: str = "1", **properties: Any) -> bytes:
    attributes = {"datetime": "2023-11-14T22:13:20+00:00", "event_properties": properties}
    payload = {"data": {"attributes": attributes}}
    return encode({"data": [{"topic": f"event:klaviyo.{topic}", "external_id": external_id, "payload": payload}]})


@pytest.mark.parametrize(
    ("topic", "method", "opted_in"),
    [
        ("unsubscribed_from_email_marketing", None, False),
        ("manually_suppressed_from_email_marketing", None, False),
        ("marked_email_as_spam", None, False),
        ("subscribed_to_email_marketing", "PREFERENCE_PAGE", True),
        ("subscribed_to_email_marketing", "PROFILE_PAGE", None),
        ("subscribed_to_email_marketing", ["PREFERENCE_PAGE"], None),
        ("subscribed_to_email_marketing", None, None),
        ("manually_unsuppressed_from_email_marketing", "PREFERENCE_PAGE", None),
        ("unsubscribed_from_sms_marketing", None, None),
        ("updated_email_preferences", None, None),
    ],
)
def test_only_a_recipients_own_act_grants(topic: str, method: Any, opted_in: bool | None) -> None:
    [event] = parsed(ADAPTER, body(topic, email_address="ada@example.test", method=method)).events
    assert [decision.opted_in for decision in decisions_of(event, TopicPolicy())] == (
        [] if opted_in is None else [opted_in]
    )


@pytest.mark.parametrize("name", ["email_address", "Recipient Email Address", "email", "$email"])
def test_an_address_is_found_under_any_of_its_names(name: str) -> None:
    properties: dict[str, Any] = {"email_address": ["odd"], "Recipient Email Address": "", name: "ada@example.test"}
    [event] = parsed(ADAPTER, body("opened_email", "1", **properties)).events
    assert event.email_address == "ada@example.test"


def test_an_opt_out_of_nobody_is_a_dead_letter_and_its_neighbours_are_read() -> None:
    lost, found = body("marked_email_as_spam"), body("opened_email")
    batch = parsed(ADAPTER, lost.removesuffix(b"]}") + b"," + found.removeprefix(b'{"data":['))
    assert (len(batch.events), len(batch.dead_letters)) == (1, 1)
    assert "without an e-mail address" in batch.dead_letters[0].error


def test_events_are_told_apart_by_their_id_and_topic() -> None:
    bodies = [body("opened_email"), body("opened_email", "2"), body("clicked_email")]
    assert len({parsed(ADAPTER, each).events[0].id for each in bodies}) == 3
