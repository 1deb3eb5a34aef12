"""Mailtrap: known signatures, JSON and JSON Lines, and what a broken line costs: itself."""

import json
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import BounceClass, Event, EventType
from providers.mailtrap import Mailtrap
from tests.providers.payloads import parsed

KEY = "0123456789abcdef0123456789abcdef"
JSON = (
    b'{"events":[{"event":"unsubscribe","email":"ada@example.test","event_id":"e-1","message_id":"m-1",'
    b'"timestamp":1700000000,"sending_stream":"bulk","sending_domain_name":"shop.test"}]}'
)
LINES = (
    b'{"event":"open","email":"a@example.test","event_id":"e-1","message_id":"m","timestamp":1700000000}\n'
    b'{"event":"click","email":"a@example.test","event_id":"e-2","message_id":"m","timestamp":1700000001}\n'
)
KNOWN = {
    JSON: "875902e8e3a2cce2729741786139c1d8e171a1ebab87e507f2ff966764e41ab2",
    LINES: "2820120f3f2d0cc79b8dcfcbf074839f196a24e6dc61444c8571e7e7a03773ad",
}

EVENT = {
    "event": "unsubscribe",
    "email": "ada@example.test",
    "event_id": "e-1",
    "message_id": "m-1",
    "timestamp": 1700000000,
}
OTHERS = [EVENT | {"event": "spam", "event_id": "e-2"}, EVENT | {"event": "open", "event_id": "e-3"}]


def request(body: bytes, signature: str) -> WebhookRequest:
    return WebhookRequest(source="mailtrap", body=body, headers={"mailtrap-signature": signature})


def ids(body: bytes) -> list[str]:
    batch = parsed(Mailtrap("mailtrap", [KEY]), body)
    assert not batch.dead_letters
    return [event.id for event in batch.events]


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(Mailtrap("mailtrap", [KEY]), encode({"events": [item]})).events
    return event


@pytest.mark.parametrize("body", KNOWN, ids=["JSON", "JSON Lines"])
async def test_the_known_signatures_are_genuine_and_cover_every_byte(body: bytes) -> None:
    adapter = Mailtrap("mailtrap", ["f" * 32, KEY])
    assert await adapter.verify(request(body, KNOWN[body]))
    for refused in (
        request(body + b"\n", KNOWN[body]),
        request(body.replace(b"m", b"n", 1), KNOWN[body]),
        request(body, KNOWN[body][:-1]),
        request(body, ""),
        WebhookRequest(source="mailtrap", body=body),
    ):
        with pytest.raises(NotVerified):
            await adapter.verify(refused)


def test_nothing_but_200_stops_it() -> None:
    assert Mailtrap.final_statuses == (200,)


@pytest.mark.parametrize(
    "body",
    [
        encode({"events": [EVENT, *OTHERS]}),
        json.dumps({"events": [EVENT, *OTHERS]}, indent=2).encode(),
        encode([EVENT, *OTHERS]),
        b"\n".join(map(encode, [EVENT, *OTHERS])),
        b"\n".join(map(encode, [EVENT, *OTHERS])) + b"\n",
        b"\r\n\r\n".join(map(encode, [EVENT, *OTHERS])) + b"\r\n",
    ],
    ids=["JSON", "JSON, indented", "array", "lines", "lines, ended", "lines, CRLF and empty ones"],
)
def test_a_batch_reads_the_same_in_every_format(body: bytes) -> None:
    assert ids(body) == [read(each).id for each in [EVENT, *OTHERS]]


def test_a_single_line_is_an_event() -> None:
    assert ids(encode(EVENT)) == ids(encode(EVENT) + b"\n") == [read(EVENT).id]
    assert ids(json.dumps(EVENT, indent=1).encode()) == [read(EVENT).id]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "broken",
    [
        b'{"event":"unsubscribe","email":"ada@',
        b"nonsense",
        b"}",
        b'{"event":}',
        b'{"event":"spam"}}',
        b"[1,",
        b"\xff\xfe",
    ],
)
def test_a_broken_line_costs_its_neighbours_nothing(broken: bytes, place: int) -> None:
    lines = [encode(each) for each in [EVENT, *OTHERS]]
    lines.insert(place, broken)
    batch = parsed(Mailtrap("mailtrap", [KEY]), b"\n".join(lines))
    assert [event.id for event in batch.events] == [read(each).id for each in [EVENT, *OTHERS]]
    assert [letter.body for letter in batch.dead_letters] == [broken]


@pytest.mark.parametrize("broken", [b'{"event":"unsubscribe",}', b"nonsense", b'{"event":]', b'{"event":"x","a":NaN,}'])
@pytest.mark.parametrize("rest", [b"]}", b'],"total":3}', b""], ids=["whole", "more fields", "cut off"])
def test_a_broken_element_costs_its_neighbours_nothing(broken: bytes, rest: bytes) -> None:
    body = b'{"events":[' + b",".join([encode(EVENT), broken, encode(OTHERS[0])]) + rest
    batch = parsed(Mailtrap("mailtrap", [KEY]), body)
    assert [event.id for event in batch.events] == [read(EVENT).id, read(OTHERS[0]).id]
    assert [letter.body for letter in batch.dead_letters] == [broken]


def test_a_line_whose_own_field_is_called_events_is_still_a_line() -> None:
    odd = EVENT | {"custom_variables": {"events": [{"event": "spam"}]}}
    assert ids(encode(odd) + b"\n" + encode(OTHERS[0])) == [read(odd).id, read(OTHERS[0]).id]


@pytest.mark.parametrize("body", [b"", b"\n\n", b"nonsense\nmore of it\n", b'{"events": 5}', b'{\n "events": [\n'])
def test_a_body_without_an_event_is_kept_whole(body: bytes) -> None:
    batch = parsed(Mailtrap("mailtrap", [KEY]), body)
    assert (list(batch.events), [letter.body for letter in batch.dead_letters]) == ([], [body])


def test_an_empty_batch_is_nothing() -> None:
    assert ids(b'{"events":[]}') == []


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ({}, BounceClass.HARD),
        ({"bounce_category": None}, BounceClass.HARD),
        ({"bounce_category": "badrecipient"}, BounceClass.HARD),
        ({"bounce_category": "overquota"}, BounceClass.SOFT),
        ({"bounce_category": "spam_gmail"}, BounceClass.SOFT),
    ],
)
def test_a_bounce_is_hard_where_the_address_is_wrong(category: dict[str, Any], expected: BounceClass) -> None:
    assert read(EVENT | {"event": "bounce"} | category).bounce_class == expected


def test_a_soft_bounce_will_be_tried_again() -> None:
    assert read(EVENT | {"event": "soft bounce", "bounce_category": "overquota"}).type == EventType.DEFERRED


@pytest.mark.parametrize(
    "change",
    [
        {"event": "spam"},
        {"event_id": "e-9"},
        {"message_id": "m-9"},
        {"email": "bob@example.test"},
        {"timestamp": 1700000001},
        {"url": "https://a"},
    ],
)
def test_what_is_not_the_same_event_has_an_id_of_its_own(change: dict[str, Any]) -> None:
    assert read(EVENT | change).id != read(EVENT).id


def test_a_repeat_has_the_same_id() -> None:
    assert read(EVENT | {"email": "ADA@example.test", "sending_stream": "bulk"}).id == read(EVENT).id


def test_what_has_no_id_is_itself_word_for_word() -> None:
    audit = {"event": "activity_log.user.updated", "actor": {"id": 1}, "timestamp": 1700000000}
    assert read(audit).type == EventType.UNKNOWN
    assert read(audit).id == read(audit).id != read(audit | {"actor": {"id": 2}}).id
