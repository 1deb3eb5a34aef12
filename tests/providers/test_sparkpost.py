"""SparkPost: the ping, events that name themselves, bounces that are none, ids that its samples share."""

from typing import Any

import pytest

from providers.adapter import Batch, NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event, EventType
from providers.sparkpost import SparkPost
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "hook:s3cret:with:colons"
BASIC = "Basic aG9vazpzM2NyZXQ6d2l0aDpjb2xvbnM="
PING = b'[{"msys":{}}]'

FIELDS = {
    "type": "list_unsubscribe",
    "event_id": "84345317653491230",
    "message_id": "0004e3724f57753a3561",
    "timestamp": "1700000000",
    "raw_rcpt_to": "ada@example.test",
    "rcpt_to": "ada@example.test",
}


def batch_of(*items: Any) -> Batch:
    return parsed(SparkPost("sparkpost", [KEY]), encode(items))


def read(change: dict[str, Any], name: str = "message_event") -> Event:
    [event] = batch_of({"msys": {name: FIELDS | change}}).events
    return event


async def test_the_ping_is_accepted_with_our_credential_only_and_means_nothing() -> None:
    adapter = SparkPost("sparkpost", ["old:one", KEY])
    ping = WebhookRequest(source="sparkpost", body=PING, headers={"authorization": BASIC})
    batch = adapter.parse(await adapter.verify(ping))
    assert (list(batch.events), list(batch.dead_letters)) == ([], [])
    with pytest.raises(NotVerified):
        await adapter.verify(WebhookRequest(source="sparkpost", body=PING))


async def test_a_relay_webhooks_token_comes_in_its_header() -> None:
    adapter = SparkPost("sparkpost", ["a-token"], {"header": "X-MessageSystems-Webhook-Token"})
    for token, is_ours in (("a-token", True), ("another", False)):
        request = WebhookRequest(source="sparkpost", body=PING, headers={"x-messagesystems-webhook-token": token})
        if is_ours:
            assert await adapter.verify(request)
        else:
            with pytest.raises(NotVerified):
                await adapter.verify(request)


def test_nothing_but_200_stops_it() -> None:
    assert SparkPost.final_statuses == (200,)


@pytest.mark.parametrize("name", ["message_event", "unsubscribe_event", "gen_event", "made_up_tomorrow"])
def test_an_event_is_what_its_type_says_in_whatever_class(name: str) -> None:
    assert read({}, name).type == EventType.UNSUBSCRIBED
    assert read({}, name).id == read({}).id


def test_an_element_of_several_classes_is_several_events_and_a_sibling_is_none() -> None:
    batch = batch_of({"msys": {"a": FIELDS, "b": FIELDS | {"type": "open"}}, "cust": {"id": "1"}})
    assert [event.type for event in batch.events] == [EventType.UNSUBSCRIBED, EventType.OPENED]


@pytest.mark.parametrize("item", [{}, {"msys": None}, {"msys": []}, {"msys": {"a": 1}}, {"msys": {"a": {}}}, None, 5])
def test_an_element_without_an_event_is_kept_and_costs_its_neighbours_nothing(item: Any) -> None:
    batch = batch_of({"msys": {"unsubscribe_event": FIELDS}}, item, {"msys": {}})
    assert [event.type for event in batch.events] == [EventType.UNSUBSCRIBED]
    assert [letter.body for letter in batch.dead_letters] == [encode(item)]


@pytest.mark.parametrize(
    ("change", "is_opt_out"),
    [
        ({}, True),
        ({"type": "link_unsubscribe"}, True),
        ({"type": "spam_complaint"}, True),
        ({"type": "bounce", "bounce_class": "90"}, True),
        ({"type": "out_of_band", "bounce_class": 90}, True),
        ({"type": "delay", "bounce_class": "90"}, False),
        ({"type": "bounce", "bounce_class": "10"}, False),
        ({"type": "bounce", "bounce_class": "80"}, False),
        ({"type": "policy_rejection", "bounce_class": "25"}, False),
    ],
)
def test_an_event_decides_what_it_says(change: dict[str, Any], is_opt_out: bool) -> None:
    decisions = decisions_of(read(change), TopicPolicy())
    assert {each.topic: each.opted_in for each in decisions} == ({"": False} if is_opt_out else {})


@pytest.mark.parametrize(
    "timestamp", ["1700000000", 1700000000, "2023-11-14T22:13:20.000+00:00", "2023-11-14T17:13:20-05:00"]
)
def test_the_time_is_read_in_every_form_that_was_seen(timestamp: Any) -> None:
    assert read({"timestamp": timestamp}).occurred_at.isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "open"},
        {"event_id": "1"},
        {"message_id": "1"},
        {"raw_rcpt_to": "bob@example.test"},
        {"timestamp": "1700000001"},
        {"target_link_url": "https://a"},
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(change: dict[str, Any]) -> None:
    assert read(change).id != read({}).id


def test_a_repeat_has_the_same_id() -> None:
    assert read({"raw_rcpt_to": "ADA@example.test", "subject": "new"}).id == read({}).id


def test_the_message_is_the_one_that_the_send_api_named_as_long_as_sparkpost_remembers() -> None:
    assert read({"transmission_id": "84345317650824116"}).message_id == "84345317650824116"
    assert read({}).message_id == FIELDS["message_id"]


def test_an_ip_address_is_told_where_it_is_a_persons() -> None:
    assert read({"type": "click", "ip_address": "198.51.100.7"}).ip == "198.51.100.7"
    assert read({"type": "bounce", "bounce_class": "90", "ip_address": "192.0.2.25"}).ip is None


def test_two_mails_that_came_in_are_two_events() -> None:
    mails = [{"msys": {"relay_message": {"msg_from": "ada@example.test", "content": {"text": text}}}} for text in "ab"]
    events = batch_of(*mails, mails[0]).events
    assert [event.type for event in events] == [EventType.INBOUND] * 3
    assert len({event.id for event in events}) == 2
