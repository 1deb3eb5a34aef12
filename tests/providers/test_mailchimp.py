"""Mailchimp Marketing: a secret in the address, fields with brackets, and audiences."""

from dataclasses import replace
from urllib.parse import urlencode

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.events import Event
from providers.mailchimp import Mailchimp
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "a-long-secret"
UNSUBSCRIBE = {
    "type": "unsubscribe",
    "fired_at": "2023-11-14 22:13:20",
    "data[action]": "unsub",
    "data[reason]": "manual",
    "data[id]": "8a25ff1d98",
    "data[list_id]": "a6b5da1054",
    "data[email]": "ada@example.test",
    "data[campaign_id]": "cb398d21d2",
    "data[merges][EMAIL]": "ada@example.test",
}
REQUEST = WebhookRequest(source="mailchimp", body=urlencode(UNSUBSCRIBE).encode(), query={"key": KEY})


async def test_the_secret_comes_in_the_address() -> None:
    assert await Mailchimp("mailchimp", ["new", KEY]).verify(REQUEST) is REQUEST


@pytest.mark.parametrize("query", [{}, {"key": ""}, {"key": KEY + "x"}, {"secret": KEY}])
async def test_any_other_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        await Mailchimp("mailchimp", [KEY]).verify(replace(REQUEST, query=query))


async def test_saving_asks_without_the_secret_and_learns_nothing() -> None:
    assert await Mailchimp("mailchimp", [KEY]).handshake(replace(REQUEST, method="GET", body=b"", query={})) is None


def test_410_would_switch_the_webhook_off() -> None:
    assert 410 in Mailchimp.final_statuses
    assert Mailchimp.unavailable_status == 503


def read(**changes: str | None) -> Event:
    fields = {
        **UNSUBSCRIBE,
        **{f"data[{name}]" if name not in UNSUBSCRIBE else name: changes[name] for name in changes},
    }
    body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
    [event] = parsed(Mailchimp("mailchimp", [KEY]), body).events
    return event


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        ({}, {"": False, "a6b5da1054": False}),
        ({"action": "delete"}, {"": False, "a6b5da1054": False}),
        ({"reason": "abuse"}, {"": False}),
        ({"type": "subscribe"}, {"a6b5da1054": True}),
        ({"type": "subscribe", "list_id": None}, {}),
        ({"list_id": None}, {"": False}),
        ({"type": "cleaned", "reason": "abuse"}, {"": False}),
        ({"type": "cleaned", "reason": "hard"}, {}),
        ({"type": "profile"}, {}),
        ({"type": "upemail", "new_email": "a@example.test", "old_email": "b@example.test"}, {}),
        ({"email": None}, {"": False, "a6b5da1054": False}),
    ],
)
def test_a_change_decides_what_it_says(change: dict[str, str | None], topics: dict[str, bool]) -> None:
    policy = TopicPolicy(leaving_leaves_all=Mailchimp.leaving_a_topic_leaves_all)
    assert {decision.topic: decision.opted_in for decision in decisions_of(read(**change), policy)} == topics


@pytest.mark.parametrize(
    "change",
    [
        {"type": "subscribe"},
        {"fired_at": "2023-11-14 22:13:21"},
        {"list_id": "another"},
        {"email": "bob@example.test"},
        {"reason": "abuse"},
        {"action": "delete"},
        {"campaign_id": "another"},
    ],
)
def test_what_tells_two_changes_apart(change: dict[str, str]) -> None:
    assert read(**change).id != read().id


def test_a_repeat_in_another_spelling_is_none() -> None:
    assert read(email="ADA@example.test", ip_opt="192.0.2.1").id == read().id


def test_brackets_without_end_end_somewhere() -> None:
    body = b"type=unsubscribe&data[email]=ada%40example.test&data" + b"[a]" * 100_000 + b"=x"
    [event] = parsed(Mailchimp("mailchimp", [KEY]), body).events
    assert event.email_address == "ada@example.test"
