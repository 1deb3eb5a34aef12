"""Mailjet: single and grouped events, the one answer that counts, lists as topics."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event, EventType
from providers.mailjet import Mailjet
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "hook:s3cret:with:colons"
BASIC = "Basic aG9vazpzM2NyZXQ6d2l0aDpjb2xvbnM="

UNSUB = {
    "event": "unsub",
    "time": 1700000000,
    "MessageID": 19421777835146490,
    "email": "ada@example.test",
    "customcampaign": "",
    "CustomID": "",
    "Payload": "",
    "mj_list_id": 42,
    "ip": "198.51.100.7",
    "agent": "Mozilla/5.0",
}


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(Mailjet("mailjet", [KEY]), encode(item)).events
    return event


async def test_the_credential_of_the_address_is_genuine_and_any_other_is_not() -> None:
    adapter = Mailjet("mailjet", [KEY])
    assert await adapter.verify(WebhookRequest(source="mailjet", body=b"[]", headers={"authorization": BASIC}))
    for headers in ({}, {"authorization": BASIC.lower()}, {"authorization": "Basic aG9vazpzM2NyZXQ="}):
        with pytest.raises(NotVerified):
            await adapter.verify(WebhookRequest(source="mailjet", body=b"[]", headers=headers))


def test_nothing_but_200_stops_it() -> None:
    assert Mailjet.final_statuses == (200,)


def test_grouped_events_are_the_same_as_single_ones() -> None:
    others = [UNSUB | {"event": "spam"}, UNSUB | {"event": "open"}]
    grouped = parsed(Mailjet("mailjet", [KEY]), encode([UNSUB, *others]))
    assert [event.id for event in grouped.events] == [read(UNSUB).id, *(read(each).id for each in others)]


def test_a_broken_event_costs_its_neighbours_nothing() -> None:
    batch = parsed(Mailjet("mailjet", [KEY]), b"[" + encode(UNSUB) + b',{"event":"unsub",' + b"]")
    assert ([event.id for event in batch.events], len(batch.dead_letters)) == ([read(UNSUB).id], 1)


def test_a_message_id_beyond_a_double_keeps_its_last_digit() -> None:
    assert read(UNSUB | {"MessageID": 1152921504606846977}).message_id == "1152921504606846977"


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        ({}, {"42": False}),
        ({"mj_list_id": "42"}, {"42": False}),
        ({"mj_list_id": 0}, {"": False}),
        ({"mj_list_id": "0"}, {"": False}),
        ({"mj_list_id": -1}, {"": False}),
        ({"mj_list_id": None}, {"": False}),
        ({"mj_list_id": [42]}, {"": False}),
        ({"mj_list_id": "some"}, {"": False}),
        ({"event": "spam"}, {"": False}),
        ({"event": "blocked", "error": "blacklisted"}, {}),
        ({"event": "bounce", "hard_bounce": True}, {}),
    ],
)
def test_an_event_decides_what_it_says(change: dict[str, Any], topics: dict[str, bool]) -> None:
    decisions = decisions_of(read(UNSUB | change), TopicPolicy(leaving_leaves_all=Mailjet.leaving_a_topic_leaves_all))
    assert {decision.topic: decision.opted_in for decision in decisions} == topics


@pytest.mark.parametrize(
    ("bounce", "kind"),
    [
        ({"event": "bounce", "error": "greylisted", "hard_bounce": False}, EventType.DEFERRED),
        ({"event": "bounce", "error": "greylisted", "hard_bounce": True}, EventType.BOUNCED),
        ({"event": "bounce", "error": "user unknown"}, EventType.BOUNCED),
        ({"event": "blocked", "error_related_to": "content"}, EventType.FAILED),
        ({"event": "blocked", "error_related_to": "mailjet"}, EventType.DROPPED),
    ],
)
def test_a_failure_is_what_its_error_says(bounce: dict[str, Any], kind: EventType) -> None:
    assert read(UNSUB | bounce).type == kind


@pytest.mark.parametrize(
    "change",
    [
        {"email": "bob@example.test"},
        {"event": "spam"},
        {"time": 1700000001},
        {"MessageID": 19421777835146491},
        {"url": "https://a"},
        {"ip": "192.0.2.9"},
        {"agent": "another"},
        {"mj_list_id": 43},
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(change: dict[str, Any]) -> None:
    assert read(UNSUB | change).id != read(UNSUB).id


def test_a_repeat_has_the_same_id() -> None:
    assert read(UNSUB | {"email": "ADA@example.test", "mj_contact_id": 5, "Payload": "x"}).id == read(UNSUB).id


def test_grouped_deliveries_are_told_apart_by_the_id_that_they_have() -> None:
    sent = {"event": "sent", "time": 1700000000, "email": "ada@example.test"}
    assert read(sent | {"mj_message_id": "1"}).id != read(sent | {"mj_message_id": "2"}).id


@pytest.mark.parametrize(
    ("sent", "metadata"),
    [
        ({"Payload": '{"order":778}', "CustomID": "a"}, {"CustomID": "a", "order": 778}),
        ({"Payload": "any text"}, {"Payload": "any text"}),
        ({"Payload": "{broken"}, {"Payload": "{broken"}),
        ({"Payload": {"order": 778}}, {"order": 778}),
        ({}, {}),
    ],
)
def test_a_payload_of_the_senders_is_metadata(sent: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert read(UNSUB | sent).metadata == metadata
