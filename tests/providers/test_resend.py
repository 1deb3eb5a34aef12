"""Resend: Svix's headers, and unsubscribes that come as changes of a contact."""

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import Batch, NotVerified, Verified, WebhookRequest
from providers.decoding import encode
from providers.events import Event
from providers.resend import Resend
from webhooks.consent import TopicPolicy, decisions_of

KEY = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
KNOWN = WebhookRequest(
    source="resend",
    body=b'{"type":"email.bounced","created_at":"2023-11-14T22:13:20.000Z","data":{"email_id":"e1","to":["ada@example.test"]}}',
    headers={
        "svix-id": "msg_2abcDEFghiJKLmnoPQRstu",
        "svix-timestamp": "1700000000",
        "svix-signature": "v1,ScCZC4jgsOzKbTPuMMlS9LQ2hU7HOYK5Po3bUdW7Qso=",
    },
    received_at=datetime.fromtimestamp(1700000005, UTC),
)


async def test_the_known_signature_is_genuine_and_its_id_names_the_event() -> None:
    resend = Resend("resend", [KEY])
    [event] = resend.parse(await resend.verify(KNOWN)).events
    assert (event.provider_event_id, event.message_id) == ("msg_2abcDEFghiJKLmnoPQRstu", "e1")


async def test_a_request_without_svixs_headers_says_which_are_missing() -> None:
    with pytest.raises(NotVerified, match="no headers svix or webhook-id, -timestamp and -signature"):
        await Resend("resend", [KEY]).verify(WebhookRequest(source="resend", body=KNOWN.body))


@pytest.mark.parametrize("key", ["re_AbCdEfGh_0123456789", "re_0123456789ab", "whsec_", ""])
def test_an_api_key_is_no_signing_secret(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Resend("resend", [key])


def parse(kind: str, data: Any, delivery_id: str = "msg_1", at: str = "2026-02-12T10:00:00.000Z") -> Batch:
    headers = {f"svix-{name}": delivery_id for name in ("id", "timestamp", "signature")}
    body = encode({"type": kind, "created_at": at, "data": data})
    return Resend("resend", [KEY]).parse(Verified(WebhookRequest(source="resend", body=body, headers=headers)))


def read(*told: Any, **others: Any) -> list[Event]:
    return list(parse(*told, **others).events)


@pytest.mark.parametrize(
    ("kind", "data", "topics"),
    [
        ("contact.updated", {"unsubscribed": True}, {"": False}),
        ("contact.created", {"unsubscribed": True}, {"": False}),
        ("contact.updated", {"unsubscribed": False}, {}),
        ("contact.deleted", {"unsubscribed": True}, {}),
        ("contact.topics.updated", {"topics": [{"id": "t", "subscription": "opt_out"}]}, {"t": False}),
        ("contact.topics.updated", {"topics": [{"subscription": "opt_out"}]}, {"": False}),
        ("contact.topics.updated", {"topics": [{"id": "t", "subscription": "opt_in"}]}, {}),
        ("contact.topics.updated", {"topics": [{"id": "t", "subscription": "OPT_OUT"}]}, {"t": False}),
        ("contact.topics.updated", {"topics": {"id": "t", "subscription": "opt_out"}}, {"t": False}),
        ("contact.topics.updated", {"topics": []}, {}),
        ("contact.updated", {"unsubscribed": 1}, {"": False}),
        ("contact.updated", {"unsubscribed": "1"}, {"": False}),
        ("contact.updated", {"unsubscribed": "True"}, {"": False}),
        ("contact.updated", {"unsubscribed": 0}, {}),
        ("contact.updated", {"unsubscribed": None}, {}),
        ("suppression.added", {"origin": "complaint"}, {"": False}),
        ("suppression.added", {"origin": "bounce"}, {}),
        ("suppression.added", {"origin": "manual"}, {}),
        ("suppression.removed", {"origin": "manual"}, {}),
        ("email.complained", {}, {"": False}),
        ("email.unsubscribed", {}, {}),
    ],
)
def test_an_event_decides_what_it_says(kind: str, data: dict[str, Any], topics: dict[str, bool]) -> None:
    policy = TopicPolicy(leaving_leaves_all=Resend.leaving_a_topic_leaves_all)
    events = read(kind, {"email": "ada@example.test", **data})
    decided = [decision for event in events for decision in decisions_of(event, policy)]
    assert {decision.topic: decision.opted_in for decision in decided} == topics
    assert events


def test_one_unreadable_change_of_a_topic_costs_none_of_the_others() -> None:
    topics = [None, "t", {"id": ["t"], "subscription": {}}, {"id": "b", "subscription": "opt_out"}]
    events = read("contact.topics.updated", {"email": "ada@example.test", "topics": topics})
    assert [(event.type, event.topic) for event in events] == [("unsubscribed", "b")]
    assert len(parse("contact.topics.updated", {"email": "ada@example.test", "topics": topics}).dead_letters) == 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("contact.topics.updated", {}),
        ("contact.topics.updated", {"topics": "t"}),
        ("contact.topics.updated", {"topics": [{"id": "t", "subscription": "paused"}]}),
        ("contact.topics.updated", {"topics": [{"id": "t"}]}),
        ("contact.updated", {"unsubscribed": "since yesterday"}),
        ("contact.updated", {"unsubscribed": [True]}),
        ("contact.updated", [{"unsubscribed": True}]),
        ("contact.topics.updated", [{"topics": [{"id": "t", "subscription": "opt_out"}]}]),
        ("suppression.added", [{"origin": "complaint"}]),
        ("contact.updated", None),
    ],
)
def test_what_may_be_an_opt_out_but_cannot_be_read_is_a_dead_letter(kind: str, data: Any) -> None:
    batch = parse(kind, {"email": "ada@example.test", **data} if isinstance(data, dict) else data)
    assert (len(batch.events), len(batch.dead_letters)) == (0, 1)


def test_a_complaint_opts_out_each_recipient_for_it_does_not_say_which_one_complained() -> None:
    events = read("email.complained", {"email_id": "e1", "to": ["Ada <ada@example.test>", 5, "bob@example.test"]})
    assert [event.email_address for event in events] == ["ada@example.test", "bob@example.test"]
    assert len({event.id for event in events}) == 2


@pytest.mark.parametrize(
    "to", ["Ada <ada@example.test>, Bob <bob@example.test>", ["ada@example.test, bob@example.test"]]
)
def test_recipients_may_lie_in_one_text(to: Any) -> None:
    events = read("email.complained", {"email_id": "e1", "to": to})
    assert [event.email_address for event in events] == ["ada@example.test", "bob@example.test"]


def test_what_differs_is_another_event_and_what_is_sent_again_is_not() -> None:
    click = {"email_id": "e1", "to": ["ada@example.test"], "click": {"link": "https://a"}}
    others = [
        read("email.clicked", click),
        read("email.clicked", click, "msg_2"),
        read("email.opened", click),
        read("email.clicked", {**click, "click": {"link": "https://b"}}),
        read("email.clicked", {**click, "to": ["bob@example.test"]}),
        read("email.clicked", {**click, "email_id": "e2"}),
        read("email.clicked", click, at="2026-02-12T10:00:01.000Z"),
        read("email.clicked", click, at="yesterday"),
        read("email.clicked", click, at="today"),
    ]
    assert len({event.id for [event] in others}) == len(others)
    assert read("email.clicked", {**click, "to": ["ADA@example.test"]})[0].id == others[0][0].id


@pytest.mark.parametrize(
    ("bounce", "expected"),
    [
        ({"type": "Permanent", "subType": "General"}, ("bounced", "hard")),
        ({"type": "Transient", "subType": "MailboxFull"}, ("bounced", "soft")),
        ({"type": "Temporary"}, ("bounced", "soft")),
        ({}, ("bounced", "soft")),
        ({"type": "Permanent", "subType": "Suppressed"}, ("dropped", None)),
        ({"subType": ["Suppressed"]}, ("bounced", "soft")),
    ],
)
def test_a_bounce_of_what_was_never_sent_is_a_drop(bounce: dict[str, Any], expected: tuple[str, str | None]) -> None:
    [event] = read("email.bounced", {"to": ["ada@example.test"], "bounce": bounce})
    assert (event.type, event.bounce_class) == expected
