"""MailerLite: known signatures, a subscriber in four places, and times that are not an event's."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event, EventType
from providers.mailerlite import MailerLite
from tests.providers.payloads import RECEIVED_AT, parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "ml-secret-0001"
BODY = b'{"events":[{"type":"subscriber.unsubscribed","email":"ada@example.test","status":"unsubscribed"}]}'
KNOWN = {
    "signature": "d2cb7441aa3548c2b56422f60fe62c01cb03769e703723f18420240d5eae7848",
    "x-mailerlite-signature": "0st0Qao1SMK1ZCL2D+YsAcsDdp5wNyPxhCAkDV6ueEg=",
}

LEFT_AT = "2023-11-14T22:13:20.000000Z"
ADA = {"id": "7", "email": "ada@example.test", "unsubscribed_at": LEFT_AT, "updated_at": "2023-11-01T00:00:00.000000Z"}


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(MailerLite("mailerlite", [KEY]), encode(item)).events
    return event


def unsubscribed(**change: Any) -> dict[str, Any]:
    return {"type": "subscriber.unsubscribed", "subscriber": ADA | change}


@pytest.mark.parametrize("name", KNOWN)
async def test_the_known_signatures_are_genuine_and_cover_every_byte(name: str) -> None:
    adapter = MailerLite("mailerlite", ["another", KEY])

    def request(body: bytes, signature: str) -> WebhookRequest:
        return WebhookRequest(source="mailerlite", body=body, headers={name: signature})

    assert await adapter.verify(request(BODY, KNOWN[name]))
    for body, signature in [(BODY + b"\n", KNOWN[name]), (BODY, ""), (BODY, "\u00e9"), (BODY, KNOWN[name][:-1])]:
        with pytest.raises(NotVerified):
            await adapter.verify(request(body, signature))


async def test_without_a_signature_the_refusal_names_the_header() -> None:
    with pytest.raises(NotVerified, match="no header Signature"):
        await MailerLite("mailerlite", [KEY]).verify(WebhookRequest(source="mailerlite", body=BODY))


@pytest.mark.parametrize(
    "body",
    [
        {"event": "subscriber.unsubscribed", **ADA, "account_id": 1},
        unsubscribed(),
        {"type": "subscriber.unsubscribed", "data": {"subscriber": ADA}},
        {"type": "subscriber.unsubscribed", "data": ADA},
        {"events": [unsubscribed()], "total": 1},
        {"events": [{"event": "subscriber.unsubscribed", **ADA}]},
        [unsubscribed()],
    ],
    ids=["flat", "nested", "Classic's", "in data", "batch", "batch of flat ones", "array"],
)
def test_the_same_event_in_every_shape_is_the_same(body: Any) -> None:
    [event] = parsed(MailerLite("mailerlite", [KEY]), encode(body)).events
    assert (event.id, event.email_address) == (read(unsubscribed()).id, "ada@example.test")
    assert event.occurred_at.isoformat() == "2023-11-14T22:13:20+00:00"


def test_a_broken_event_costs_its_neighbours_nothing() -> None:
    body = b'{"events":[' + encode(unsubscribed()) + b',{"type":]' + b"]}"
    batch = parsed(MailerLite("mailerlite", [KEY]), body)
    assert ([event.id for event in batch.events], len(batch.dead_letters)) == ([read(unsubscribed()).id], 1)


@pytest.mark.parametrize(
    ("event", "is_opt_out"),
    [
        ("subscriber.unsubscribed", True),
        ("subscriber.unsubscribe", True),
        ("subscriber.spam_reported", True),
        ("subscriber.complaint", True),
        ("subscriber.bounced", False),
        ("subscriber.active", False),
        ("subscriber.updated", False),
        ("subscriber.removed_from_group", False),
        ("subscriber.deleted", False),
    ],
)
def test_an_event_decides_what_it_says(event: str, is_opt_out: bool) -> None:
    decisions = decisions_of(read({"type": event, "subscriber": ADA, "group": {"id": "5"}}), TopicPolicy())
    assert {each.topic: each.opted_in for each in decisions} == ({"": False} if is_opt_out else {})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("unsubscribed", EventType.UNSUBSCRIBED),
        ("junk", EventType.COMPLAINED),
        ("active", EventType.UNKNOWN),
        ("bounced", EventType.UNKNOWN),
        (None, EventType.UNKNOWN),
        (["unsubscribed"], EventType.UNKNOWN),
    ],
)
def test_a_snapshot_opts_out_but_never_in(status: Any, kind: EventType) -> None:
    assert read({"type": "subscriber.updated", "subscriber": ADA | {"status": status}}).type == kind
    assert read({"type": "subscriber.active", "subscriber": ADA | {"status": status}}).type == EventType.RESUBSCRIBED


def test_each_change_of_one_who_has_left_is_an_event() -> None:
    first = {"type": "subscriber.updated", "subscriber": ADA | {"status": "unsubscribed"}}
    later = {**first, "subscriber": ADA | {"status": "unsubscribed", "updated_at": "2023-12-01T00:00:00.000000Z"}}
    assert read(first).at == read(later).at == read(unsubscribed()).at
    assert len({read(each).id for each in (first, later, unsubscribed())}) == 3


def test_a_complaint_counts_from_when_it_was_heard_of() -> None:
    assert read({"type": "subscriber.spam_reported", "subscriber": ADA}).occurred_at == RECEIVED_AT
    assert read({"type": "subscriber.complaint", "timestamp": 1700000000, "subscriber": ADA}).occurred_at < RECEIVED_AT


@pytest.mark.parametrize("time", [LEFT_AT, "2023-11-14 22:13:20"])
def test_a_time_without_a_zone_is_taken_for_utc(time: str) -> None:
    assert read(unsubscribed(unsubscribed_at=time)).occurred_at.isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    "other",
    [
        unsubscribed(email="bob@example.test"),
        unsubscribed(id="8"),
        unsubscribed(unsubscribed_at="2023-11-14T22:13:21.000000Z"),
        unsubscribed() | {"type": "subscriber.bounced"},
        unsubscribed() | {"group": {"id": "5"}},
        unsubscribed() | {"automation": {"id": "5"}},
        unsubscribed() | {"campaign": {"id": "6"}},
        unsubscribed(unsubscribed_at=None),
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(other: dict[str, Any]) -> None:
    assert read(other).id != read(unsubscribed()).id


def test_a_repeat_has_the_same_id() -> None:
    assert read(unsubscribed(email="ADA@example.test", opens_count=9)).id == read(unsubscribed()).id


def test_what_tells_no_time_is_itself_word_for_word() -> None:
    opened = {"type": "campaign.open", "subscriber": ADA | {"opens_count": 1}, "campaign": {"id": "6"}}
    again = {**opened, "subscriber": ADA | {"opens_count": 2}}
    assert read(opened).type == EventType.OPENED
    assert read(opened).id == read(opened).id != read(again).id
