"""Loops: what its unsubscribes reach, and which coming back is the recipient's own."""

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import Verified, WebhookRequest
from providers.decoding import encode
from providers.events import Event
from providers.loops import Loops
from webhooks.consent import TopicPolicy, decisions_of

KEY = "loops_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="


async def test_the_secret_is_the_base64_behind_whatever_prefix() -> None:
    known = WebhookRequest(
        source="loops",
        body=b'{"type":"email.bounced","created_at":"2023-11-14T22:13:20.000Z","data":{"email_id":"e1","to":["ada@example.test"]}}',
        headers={
            "webhook-id": "msg_2abcDEFghiJKLmnoPQRstu",
            "webhook-timestamp": "1700000000",
            "webhook-signature": "v1,ScCZC4jgsOzKbTPuMMlS9LQ2hU7HOYK5Po3bUdW7Qso=",
        },
        received_at=datetime.fromtimestamp(1700000005, UTC),
    )
    assert await Loops("loops", [KEY]).verify(known)


def read(name: str, delivery_id: str = "msg_1", **others: Any) -> Event:
    item = {"eventName": name, "eventTime": 1739354400, "contactIdentity": {"email": "ada@example.test"}} | others
    headers = {f"webhook-{each}": delivery_id for each in ("id", "timestamp", "signature")}
    request = WebhookRequest(source="loops", body=encode(item), headers=headers)
    [event] = Loops("loops", [KEY]).parse(Verified(request)).events
    return event


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("email.unsubscribed", {"": False}),
        ("email.resubscribed", {"": True}),
        ("email.spamReported", {"": False}),
        ("contact.unsubscribed", {"": False}),
        ("contact.mailingList.unsubscribed", {"list-1": False}),
        ("contact.mailingList.subscribed", {}),
        ("contact.created", {}),
        ("contact.deleted", {}),
        ("email.hardBounced", {}),
    ],
)
def test_an_event_decides_what_it_says(name: str, topics: dict[str, bool]) -> None:
    event = read(name, mailingList={"id": "list-1"} if "mailingList" in name else None)
    policy = TopicPolicy(leaving_leaves_all=Loops.leaving_a_topic_leaves_all)
    assert {decision.topic: decision.opted_in for decision in decisions_of(event, policy)} == topics


def test_what_differs_is_another_event_and_what_is_sent_again_is_not() -> None:
    others = [
        read("email.opened"),
        read("email.opened", "msg_2"),
        read("email.clicked"),
        read("email.opened", eventTime=1739354401),
        read("email.opened", email={"id": "m"}),
        read("email.opened", mailingList={"id": "list-1"}),
        read("email.opened", contactIdentity={"email": "bob@example.test"}),
    ]
    assert len({event.id for event in others}) == len(others)
    assert read("email.opened", contactIdentity={"email": "ADA@example.test"}).id == others[0].id
