"""Brevo: credentials, the one answer that makes it send again, batches, and what its times are worth."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.brevo import Brevo
from providers.decoding import encode
from providers.events import Event, EventType
from tests.providers.payloads import RECEIVED_AT, parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "hook:s3cret:with:colons"
BASIC = "Basic aG9vazpzM2NyZXQ6d2l0aDpjb2xvbnM="

EVENT = {
    "event": "unsubscribe",
    "email": "ada@example.test",
    "id": 26224,
    "message-id": "<1@relay.example.com>",
    "ts": 1700003600,
    "ts_event": 1700000000,
    "ts_epoch": 1700000000123,
}
OTHER = EVENT | {"event": "spam", "email": "bob@example.test"}


def request(**headers: str) -> WebhookRequest:
    return WebhookRequest(source="brevo", body=b"{}", headers=headers)


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(Brevo("brevo", [KEY]), encode(item)).events
    return event


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in EVENT.items() if name not in names}


@pytest.mark.parametrize(
    ("keys", "options", "headers"),
    [
        (["old:one", KEY], {}, {"authorization": BASIC}),
        (["a-token"], {}, {"authorization": "Bearer a-token"}),
        (["a-value"], {"header": "X-Webhook-Secret"}, {"x-webhook-secret": "a-value"}),
    ],
)
async def test_a_key_comes_in_each_of_the_ways_that_brevo_offers(
    keys: list[str], options: dict[str, str], headers: dict[str, str]
) -> None:
    adapter = Brevo("brevo", keys, options)
    assert await adapter.verify(request(**headers))
    for refused in (request(), request(**{name: f"{value}x" for name, value in headers.items()})):
        with pytest.raises(NotVerified):
            await adapter.verify(refused)


def test_429_alone_makes_it_send_again() -> None:
    assert Brevo.unavailable_status == 429
    assert {*range(200, 600)} - {*Brevo.final_statuses} == {429}


@pytest.mark.parametrize(
    "envelope",
    [
        lambda events: events,
        lambda events: {"events": events},
        lambda events: {"whatever": events, "count": 2, "tags": ["a"], "empty": []},
    ],
    ids=["array", "object", "object of any name"],
)
def test_a_batch_reads_as_its_events_one_by_one(envelope: Any) -> None:
    batch = parsed(Brevo("brevo", [KEY]), encode(envelope([EVENT, OTHER])))
    assert [event.id for event in batch.events] == [read(EVENT).id, read(OTHER).id]
    assert not batch.dead_letters


@pytest.mark.parametrize("odd", [rb'"\ud800"', b"NaN", b'"\xff"', rb'"\u0000"'])
def test_a_batch_is_found_in_what_is_not_json_to_the_letter(odd: bytes) -> None:
    body = b'{"events":[' + encode(EVENT) + b"," + encode(OTHER)[:-1] + b',"x":' + odd + b'}],"y":' + odd + b"}"
    batch = parsed(Brevo("brevo", [KEY]), body)
    assert [event.id for event in batch.events] == [read(EVENT).id, read(OTHER).id]


def test_a_broken_event_costs_its_neighbours_nothing() -> None:
    body = b"[" + encode(EVENT) + b',{"event":"unsubscribe",},' + encode(OTHER) + b"]"
    batch = parsed(Brevo("brevo", [KEY]), body)
    assert [event.id for event in batch.events] == [read(EVENT).id, read(OTHER).id]
    assert [letter.body for letter in batch.dead_letters] == [b'{"event":"unsubscribe",}']


@pytest.mark.parametrize(
    "envelope",
    [b'{"events":[%b,{"event":]}', b' {"n":2,"events":[%b,{"event":}],"x":[]}\n', b'{"events":[%b,{"event":'],
)
def test_nor_does_it_in_a_batch_that_is_an_object(envelope: bytes) -> None:
    batch = parsed(Brevo("brevo", [KEY]), envelope % encode(EVENT))
    assert [event.id for event in batch.events] == [read(EVENT).id]
    assert len(batch.dead_letters) == 1


def test_a_broken_event_that_has_a_list_is_kept_whole() -> None:
    body = encode(EVENT | {"list_id": [{"a": 1}]})[:-1] + b',"x":}'
    batch = parsed(Brevo("brevo", [KEY]), body)
    assert [letter.body for letter in batch.dead_letters] == [body]


@pytest.mark.parametrize(
    "lists", [{"list_id": [{"a": 1}]}, {"tags": ["a"], "list_id": [3]}, {"events": [{"event": "x"}]}]
)
def test_an_event_is_no_batch_whatever_lists_it_has(lists: dict[str, Any]) -> None:
    assert read(EVENT | lists).type == EventType.UNSUBSCRIBED


def test_what_is_neither_an_event_nor_a_batch_is_kept_whole() -> None:
    body = encode({"email": "ada@example.test", "tags": ["a"], "list_id": []})
    batch = parsed(Brevo("brevo", [KEY]), body)
    assert [letter.body for letter in batch.dead_letters] == [body]


@pytest.mark.parametrize("name", ["hard_bounce", "hardBounce", "HARD_BOUNCED", "hard_bounced"])
def test_a_name_is_the_same_in_whatever_spelling(name: str) -> None:
    assert read(EVENT | {"event": name}).type == EventType.BOUNCED


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        ({}, {"": False}),
        ({"event": "unsubscribed", "list_id": [3, 42]}, {"": False}),
        ({"event": "complaint"}, {"": False}),
        ({"event": "list_addition", "list_id": [3]}, {}),
        ({"event": "contact_updated", "content": [{"a": 1}]}, {}),
        ({"event": "hard_bounce"}, {}),
    ],
)
def test_an_event_decides_what_it_says(change: dict[str, Any], topics: dict[str, bool]) -> None:
    decisions = decisions_of(read(EVENT | change), TopicPolicy(leaving_leaves_all=Brevo.leaving_a_topic_leaves_all))
    assert {decision.topic: decision.opted_in for decision in decisions} == topics


def test_a_text_message_is_nobodys_mail() -> None:
    event = read(without("email") | {"mobile": "+15550100"})
    assert (event.type, event.email_address) == (EventType.UNKNOWN, None)


@pytest.mark.parametrize("absent", [["ts_epoch"], ["ts_epoch", "ts"]])
def test_the_time_is_utc_also_where_milliseconds_are_missing(absent: list[str]) -> None:
    assert read(without(*absent)).occurred_at.isoformat() == "2023-11-14T22:13:20+00:00"


def test_an_opt_out_in_the_accounts_own_time_counts_from_when_it_was_heard_of() -> None:
    local = without("ts_epoch", "ts_event")
    assert read(local).occurred_at == RECEIVED_AT
    assert read(local | {"event": "opened"}).occurred_at.isoformat() == "2023-11-14T23:13:20+00:00"
    assert read(local).id != read(local | {"ts": 1700003601}).id


@pytest.mark.parametrize(
    "change",
    [
        {"email": "bob@example.test"},
        {"event": "spam"},
        {"ts_epoch": 1700000000124},
        {"message-id": "<2@relay.example.com>"},
        {"link": "https://a"},
        {"URL": "https://a"},
        {"reason": "another"},
        {"list_id": [3]},
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(change: dict[str, Any]) -> None:
    assert read(EVENT | change).id != read(EVENT).id


@pytest.mark.parametrize(
    "change",
    [
        {"email": "ADA@example.test"},
        {"id": 1},
        {"ts": 1},
        {"event": "UnSubscribe"},
        {"message-id": "1@relay.example.com"},
    ],
)
def test_a_repeat_has_the_same_id(change: dict[str, Any]) -> None:
    assert read(EVENT | change).id == read(EVENT).id


@pytest.mark.parametrize(
    ("sent", "tags"),
    [
        ({"tags": ["a", "b"]}, ("a", "b")),
        ({"tag": "a"}, ("a",)),
        ({"tag": '["a","b"]'}, ("a", "b")),
        ({"tag": "[a"}, ("[a",)),
        ({"tag": ""}, ()),
        ({"tags": {"a": 1}}, ()),
    ],
)
def test_tags_come_in_several_shapes(sent: dict[str, Any], tags: tuple[str, ...]) -> None:
    assert read(EVENT | sent).tags == tags
