"""SMTP2GO: two bodies for one event, headers among its fields, and what it says where it knows nothing."""

from typing import Any
from urllib.parse import urlencode

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import BounceClass, Event, EventType
from providers.smtp2go import Smtp2Go
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

EVENT = {
    "event": "unsubscribe",
    "time": "2023-11-14T22:13:20Z",
    "rcpt": "ada@example.test",
    "email_id": "1u0SwL-1",
    "message-id": "<1@example.com>",
}


def adapter(key: str = "k") -> Smtp2Go:
    return Smtp2Go("smtp2go", [key])


def read(**fields: Any) -> Event:
    [event] = parsed(adapter(), encode(EVENT | fields)).events
    return event


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("hook:s3cret:with:colons", {"headers": {"authorization": "Basic aG9vazpzM2NyZXQ6d2l0aDpjb2xvbnM="}}),
        ("a-long-secret", {"headers": {"authorization": "Bearer a-long-secret"}}),
        ("a-long-secret", {"query": {"key": "a-long-secret"}}),
    ],
)
async def test_the_credential_comes_where_smtp2go_was_told_to_put_it(key: str, request_: dict[str, Any]) -> None:
    assert await adapter(key).verify(WebhookRequest(source="smtp2go", body=b"{}", **request_))
    with pytest.raises(NotVerified):
        await adapter("another").verify(WebhookRequest(source="smtp2go", body=b"{}", **request_))


def test_a_form_is_read_as_json_is() -> None:
    [event] = parsed(adapter(), urlencode(EVENT).encode()).events
    assert (event.id, event.type, event.email_address) == (read().id, EventType.UNSUBSCRIBED, "ada@example.test")


def test_headers_of_the_message_do_not_shadow_smtp2gos_own_fields() -> None:
    shadowed = read(Event="spam", RCPT="bob@example.test", Time="now", **{"Message-Id": "<2@example.com>"})
    assert (shadowed.id, shadowed.type, shadowed.email_address) == (read().id, read().type, "ada@example.test")


@pytest.mark.parametrize(
    ("fields", "people"),
    [
        ({"rcpt": "Ada <ada@example.test>", "recipients": ["bob@example.test"]}, ["ada@example.test"]),
        (
            {"rcpt": None, "recipients": ["ada@example.test", "bob@example.test"]},
            ["ada@example.test", "bob@example.test"],
        ),
        ({"rcpt": "", "recipients": "ada@example.test"}, ["ada@example.test"]),
        ({"rcpt": [], "recipients": [None, 5, "ada@example.test"]}, ["ada@example.test"]),
        ({"rcpt": ["ada@example.test"]}, ["ada@example.test"]),
    ],
)
def test_an_event_is_about_one_person_or_about_all_of_a_message(fields: dict[str, Any], people: list[str]) -> None:
    events = parsed(adapter(), encode(EVENT | fields)).events
    assert [event.email_address for event in events] == people
    assert len({event.id for event in events}) == len(people)


@pytest.mark.parametrize(
    ("fields", "message_id"),
    [
        ({}, "1u0SwL-1"),
        ({"email_id": "Unavailable"}, "1@example.com"),
        ({"email_id": "Unavailable", "message-id": "Unavailable"}, None),
        ({"email_id": None, "message-id": ""}, None),
    ],
)
def test_unavailable_is_no_id(fields: dict[str, Any], message_id: str | None) -> None:
    assert read(**fields).message_id == message_id


@pytest.mark.parametrize(
    ("bounce", "bounce_class"),
    [("hard", BounceClass.HARD), ("soft", BounceClass.SOFT), (None, BounceClass.SOFT), ("new", BounceClass.SOFT)],
)
def test_a_bounce_is_hard_only_where_it_says_so(bounce: Any, bounce_class: BounceClass) -> None:
    assert read(event="bounce", bounce=bounce).bounce_class == bounce_class


@pytest.mark.parametrize(
    ("event", "topics"),
    [
        ("unsubscribe", {"": False}),
        ("spam", {"": False}),
        ("resubscribe", {}),
        ("reject", {}),
        ("bounce", {}),
        ("opt-out", {}),
        ("sms_failed", {}),
    ],
)
def test_an_event_decides_what_it_says(event: str, topics: dict[str, bool]) -> None:
    decisions = decisions_of(read(event=event), TopicPolicy())
    assert {decision.topic: decision.opted_in for decision in decisions} == topics


def test_what_differs_has_an_id_of_its_own_and_a_repeat_has_none() -> None:
    click = {"event": "click", "context": "https://example.com/a"}
    others: list[dict[str, Any]] = [
        {},
        {"event": "open"},
        {"rcpt": "bob@example.test"},
        {"time": "2023-11-14T22:13:21Z"},
        {"email_id": "1u0SwL-2"},
        {"context": "https://example.com/b"},
        {"srchost": "192.0.2.9"},
    ]
    assert len({read(**(click | other)).id for other in others}) == len(others)
    assert read(**click, id="another", sendtime="later").id == read(**click, id="one").id
