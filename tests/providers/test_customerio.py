"""Customer.io: a signature with a time, a pair of names for each event, and preferences that are several."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.customerio import CustomerIo
from providers.decoding import encode
from providers.events import BounceClass, Event, EventType
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "cio-signing-key-0001"
BODY = (
    b'{"event_id":"01E4C4CT6YDC7Y5M7FE1GWWPQJ","object_type":"customer","metric":"unsubscribed","timestamp":1700000000,'
    b'"data":{"customer_id":"42","email_address":"ada@example.test"}}'
)
KNOWN = WebhookRequest(
    source="customerio",
    body=BODY,
    headers={
        "x-cio-timestamp": "1700000005",
        "x-cio-signature": "bf9b9dc0dff9a5bd639c5880546d066f1e019c7d3bb1362a9b962fc84afcbbc7",
    },
    received_at=datetime.fromtimestamp(1700000006, UTC),
)
ADAPTER = CustomerIo("customerio", [KEY])


async def test_the_known_signature_is_genuine() -> None:
    assert await ADAPTER.verify(KNOWN) is KNOWN


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, body=BODY + b"\n"),
        replace(KNOWN, headers={**KNOWN.headers, "x-cio-timestamp": "1700000006"}),
        replace(KNOWN, headers={**KNOWN.headers, "x-cio-signature": KNOWN.headers["x-cio-signature"].upper()}),
        replace(KNOWN, headers={"x-cio-timestamp": "1700000005"}),
        replace(KNOWN, headers={"x-cio-signature": KNOWN.headers["x-cio-signature"]}),
    ],
)
async def test_what_is_not_what_was_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await ADAPTER.verify(request_)


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(days=9), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_signature_has_its_time(age: timedelta, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await ADAPTER.verify(replace(KNOWN, received_at=KNOWN.received_at + age))


async def test_the_last_try_after_a_week_is_still_taken_for_all_others_wait_behind_it() -> None:
    assert await ADAPTER.verify(replace(KNOWN, received_at=KNOWN.received_at + timedelta(days=7, hours=1)))


def events(*, data: dict[str, Any] | None = None, **changes: Any) -> list[Event]:
    value = json.loads(BODY)
    return list(parsed(ADAPTER, encode({**value, **changes, "data": {**value["data"], **(data or {})}})).events)


def preferences(content: Any) -> dict[str, bool]:
    found = events(metric="cio_subscription_preferences_changed", data={"content": content})
    decisions = [decision for event in found for decision in decisions_of(event, TopicPolicy())]
    return {decision.topic: decision.opted_in for decision in decisions}


@pytest.mark.parametrize(
    ("content", "topics"),
    [
        ('{"topics":{"topic_7":false,"topic_8":true}}', {"topic_7": False}),
        ('{"topics":{"topic_7":false,"topic_8":false}}', {"topic_7": False, "topic_8": False}),
        ('{"channels":{"email":false}}', {"": False}),
        ('{"channels":{"email":true,"push":false}}', {}),
        ('{"topics":{"topic_7":false},"channels":{"email":false}}', {"topic_7": False, "": False}),
        ('{"marketing":false}', {"marketing": False}),
        ('{"topics":{"topic_7":"false","topic_8":null,"topic_9":[]}}', {"topic_7": False}),
        ({"topics": {"topic_7": False}}, {"topic_7": False}),
        ('{"topics":{}}', {}),
        ('{"topics":null,"channels":[]}', {}),
        ('{"topics":[{"id":"topic_7","subscribed":false}],"channels":{"email":false}}', {"": False}),
    ],
)
def test_preferences_withdraw_but_never_grant(content: Any, topics: dict[str, bool]) -> None:
    assert preferences(content) == topics


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{",
        "[]",
        "\ud800",
        5,
        '{"topics":[false]}',
        '{"topics":"topic_7"}',
        '{"channels":[{"email":false}]}',
        {"topics": [{"id": "topic_7", "subscribed": False}]},
    ],
)
def test_preferences_that_cannot_be_read_are_kept_as_a_dead_letter(content: Any) -> None:
    value = {"metric": "cio_subscription_preferences_changed", "data": {"email_address": "a@b", "content": content}}
    batch = parsed(ADAPTER, json.dumps(value).encode())
    assert (len(batch.events), len(batch.dead_letters)) == (0, 1)


def test_topics_of_one_event_have_ids_of_their_own() -> None:
    content = '{"topics":{"topic_7":false,"topic_8":false},"channels":{"email":false}}'
    found = events(metric="cio_subscription_preferences_changed", data={"content": content})
    assert len({event.id for event in found}) == 3


@pytest.mark.parametrize(
    ("object_type", "kind"),
    [
        ("email", EventType.UNSUBSCRIBED),
        ("customer", EventType.UNSUBSCRIBED),
        (None, EventType.UNSUBSCRIBED),
        ("", EventType.UNSUBSCRIBED),
        ("sms", EventType.UNKNOWN),
        ("push", EventType.UNKNOWN),
    ],
)
def test_only_e_mail_and_people_are_ours(object_type: str | None, kind: EventType) -> None:
    assert [event.type for event in events(object_type=object_type)] == [kind]


def test_a_number_to_text_to_is_no_address() -> None:
    value = {"object_type": "sms", "metric": "sent", "data": {"recipient": "+4930123456"}}
    [event] = parsed(ADAPTER, encode(value)).events
    assert event.email_address is None


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": "another"},
        {"metric": "subscribed"},
        {"object_type": "email"},
        {"timestamp": 1700000001},
        {"data": {"email_address": "bob@example.test"}},
        {"data": {"delivery_id": "d"}},
        {"data": {"href": "https://a"}},
    ],
)
def test_samples_that_share_an_event_id_are_events_of_their_own(change: dict[str, Any]) -> None:
    assert events(**change)[0].id != events()[0].id


@pytest.mark.parametrize(
    ("failure", "bounce_class"),
    [
        ("550 5.1.1 <ada@example.test>: user unknown (host 4.31.198.44)", BounceClass.HARD),
        ("host 4.31.198.44 said: 550 5.1.1 user unknown", BounceClass.HARD),
        ("452 4.2.2 mailbox full; before that 5.1.1", BounceClass.SOFT),
        ("mailbox full, 4.2.2.", BounceClass.SOFT),
        ("host mx4.2.2.example", BounceClass.HARD),
        (None, BounceClass.HARD),
    ],
)
def test_the_first_status_code_says_whether_a_bounce_lasts(failure: str | None, bounce_class: BounceClass) -> None:
    [event] = events(object_type="email", metric="bounced", data={"failure_message": failure})
    assert event.bounce_class == bounce_class
