"""ActiveCampaign: whose act it was, and from which lists; forms in which fields would hide each other."""

from typing import Any
from urllib.parse import urlencode

import pytest

from providers.activecampaign import ActiveCampaign
from providers.adapter import NotVerified, WebhookRequest
from providers.events import Event
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

Fields = list[tuple[str, str]]

CHANGE: Fields = [
    ("date_time", "2023-11-14T16:13:20-06:00"),
    ("contact[id]", "51"),
    ("contact[email]", "ada@example.test"),
]


def adapter() -> ActiveCampaign:
    return ActiveCampaign("activecampaign", ["the-long-secret"])


def read(kind: str, *fields: tuple[str, str]) -> list[Event]:
    batch = parsed(adapter(), urlencode([("type", kind), *CHANGE, *fields]).encode())
    assert not batch.dead_letters
    return list(batch.events)


def decided(events: list[Event]) -> dict[str, bool]:
    policy = TopicPolicy(leaving_leaves_all=ActiveCampaign.leaving_a_topic_leaves_all)
    return {decision.topic: decision.opted_in for event in events for decision in decisions_of(event, policy)}


async def test_the_secret_comes_in_the_address() -> None:
    request = WebhookRequest(source="activecampaign", body=b"type=open", query={"key": "the-long-secret"})
    assert await adapter().verify(request) is request
    for query in ({}, {"key": ""}, {"key": "The-long-secret"}):
        with pytest.raises(NotVerified):
            await adapter().verify(WebhookRequest(source="activecampaign", body=b"type=open", query=query))


@pytest.mark.parametrize(
    ("fields", "topics"),
    [
        ([("list", "3")], ["3"]),
        ([("list[][id]", "3"), ("list[][id]", "5")], ["3", "5"]),
        ([("list[0][id]", "3"), ("list[1][id]", "5")], ["3", "5"]),
        ([("list[0][id]", "3"), ("list[0][name]", "News")], ["3"]),
        ([("list[][id]", "3"), ("list[][name]", "News"), ("list[][id]", "5"), ("list[][name]", "Offers")], ["3", "5"]),
        ([("list[]", "3"), ("list[]", "5")], ["3", "5"]),
        ([("list[id]", "3")], ["3"]),
        ([("list[][id]", "3"), ("list", "0")], ["3"]),
        ([("list", "0"), ("list[][id]", "3")], ["3"]),
        ([("list", "3"), ("list[][id]", "3")], ["3"]),
        ([("list", "0")], [None]),
        ([("list", "")], [None]),
        ([], [None]),
    ],
)
def test_the_lists_are_found_however_they_are_sent(fields: Fields, topics: list[str | None]) -> None:
    events = read("unsubscribe", *fields)
    assert [event.topic for event in events] == topics
    assert decided(events) == {"": False, **{topic: False for topic in topics if topic}}


@pytest.mark.parametrize(
    ("fields", "topics"),
    [
        ([("list", "3"), ("initiated_from", "public"), ("initiated_by", "public")], {"3": True}),
        ([("list", "3"), ("initiated_from", "public")], {"3": True}),
        ([("list", "3"), ("initiated_from", "public"), ("initiated_by", "admin")], {}),
        ([("list", "3"), ("initiated_from", "admin"), ("initiated_by", "public")], {}),
        ([("list", "3"), ("initiated_from", "api"), ("initiated_by", "api")], {}),
        ([("list", "3"), ("initiated_from", "system")], {}),
        ([("list", "3")], {}),
        ([("list", "0"), ("initiated_from", "public"), ("initiated_by", "public")], {}),
        ([("initiated_from", "public"), ("initiated_by", "public")], {}),
    ],
)
def test_joining_counts_only_as_the_contacts_own_act_and_to_a_list(fields: Fields, topics: dict[str, bool]) -> None:
    assert decided(read("subscribe", *fields)) == topics


@pytest.mark.parametrize("by", ["public", "admin", "api", "system", "made up tomorrow"])
def test_leaving_counts_whoever_did_it(by: str) -> None:
    events = read("unsubscribe", ("list", "3"), ("initiated_from", by), ("initiated_by", by))
    assert decided(events) == {"": False, "3": False}


@pytest.mark.parametrize("kind", ["update", "sent", "sms_unsub", "forward", "deal_add", "made_up_tomorrow"])
def test_other_events_say_nothing_about_consent(kind: str) -> None:
    [event] = read(kind, ("list", "3"), ("initiated_from", "public"))
    assert (event.type, decided([event])) == ("unknown", {})


def test_what_differs_has_an_id_of_its_own_and_a_repeat_has_none() -> None:
    click: Fields = [("link[url]", "https://example.com/a"), ("campaign[id]", "44")]
    others: list[tuple[str, Fields]] = [
        ("click", click),
        ("open", click),
        ("click", [("link[url]", "https://example.com/b"), ("campaign[id]", "44")]),
        ("click", [("link[url]", "https://example.com/a"), ("campaign[id]", "45")]),
        ("click", [*click, ("date_time", "2023-11-14T16:13:21-06:00")]),
        ("click", [*click, ("contact[email]", "bob@example.test")]),
    ]
    assert len({read(kind, *fields)[0].id for kind, fields in others}) == len(others)
    [again] = read("click", *click, ("contact[email]", "ADA@example.test"), ("contact[tags]", "new"))
    assert again.id == read("click", *click)[0].id


@pytest.mark.parametrize(
    "fields",
    [
        [("contact", "x")],
        [("contact[email][a]", "x")],
        [("unsubscribe", "x")],
        [("campaign", ""), ("link", "x")],
        [("date_time", "soon")],
        [("list[a][b][c]", "3")],
    ],
)
def test_a_field_of_another_shape_does_not_cost_the_opt_out(fields: Fields) -> None:
    body = urlencode([*fields, ("type", "unsubscribe"), *CHANGE]).encode()
    events: list[Any] = list(parsed(adapter(), body).events)
    assert [event.email_address for event in events] == ["ada@example.test"]
    assert decided(events)[""] is False
