"""Unisender Go: an MD5 that lies in the body that it proves, and bounces of which it tells too little."""

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.unisender_go import UnisenderGo, md5
from tests.providers.payloads import parsed

KEY = "unione-api-key-0001"
AUTH = "4ccffe015d858e796377b43a6edb6f3d"
BODY = (
    b'{"auth":"4ccffe015d858e796377b43a6edb6f3d","events_by_user":[{"user_id":456,"events":[{"event_name":'
    b'"transactional_email_status","event_data":{"job_id":"1a3Q2V-0000OZ-S0","email":"ada@example.test","status":'
    b'"unsubscribed","event_time":"2023-11-14 22:13:20","metadata":{"key1":"val1"}}}]}]}'
)


def request(body: bytes) -> WebhookRequest:
    return WebhookRequest(source="unisender_go", body=body)


def unisender(*keys: str) -> UnisenderGo:
    return UnisenderGo("unisender_go", keys or (KEY,))


async def test_the_known_md5_is_genuine() -> None:
    batch = unisender().parse(await unisender("a projects key", KEY).verify(request(BODY)))
    assert [(each.type, each.email_address) for each in batch.events] == [(EventType.UNSUBSCRIBED, "ada@example.test")]


async def test_it_is_of_the_bytes_as_they_came() -> None:
    text = '{"events_by_user": [], "é\\/" : 1.0, "auth" : "%s" }\n'
    body = text % md5((text % KEY).encode())
    await unisender().verify(request(body.encode()))


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (BODY.replace(b"ada", b"eve"), "of no key"),
        (BODY + b"\n", "of no key"),
        (BODY.replace(b":", b": "), "of no key"),
        (BODY.replace(AUTH.encode(), AUTH.upper().encode()), "of no key"),
        (BODY.replace(AUTH.encode(), KEY.encode()), "no MD5"),
        (BODY.replace(AUTH.encode(), b""), "no MD5"),
        (BODY.replace(b'"auth"', b'"auht"'), "no MD5"),
        (BODY.replace(f'"{AUTH}"'.encode(), b"5"), "no MD5"),
        (BODY[:-1], "not JSON"),
        (BODY + b"\x80\x00\x00{}", "not JSON"),
    ],
)
async def test_any_other_body_is_refused(body: bytes, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await unisender().verify(request(body))


async def test_what_is_appended_to_a_document_is_refused_even_under_a_right_md5() -> None:
    """Of the MD5 of something, the MD5 of something longer can be made without knowing the key."""
    text = '{"auth":"%s","events_by_user":[]}\x80\0\0\0'
    with pytest.raises(NotVerified, match="not JSON"):
        await unisender().verify(request((text % md5((text % KEY).encode())).encode()))


@pytest.mark.parametrize("suffix", ["\x80\0\0\0{}", "\x80\x80\x02\0\0,{}]}]}", "", "]", "]}]}\x80\0{}"])
async def test_nor_may_a_broken_document_be_continued(suffix: str) -> None:
    text = '{"auth":"%s","events_by_user":[{"events":[{"event_name":]' + suffix
    body = (text % md5((text % KEY).encode("latin1"))).encode("latin1")
    with pytest.raises(NotVerified, match="not JSON"):
        await unisender().verify(request(body))


async def test_a_broken_event_costs_its_neighbours_nothing() -> None:
    good = '{"event_name":"transactional_email_status","event_data":{"status":"spam","email":"ada@example.test"}}'
    for broken in ('{"event_name":]}]}', '{"event_name":}]}]}', '{"event_name" 5}]},{"user_id":2}]}'):
        text = '{"auth":"%s","events_by_user":[{"user_id":1,"events":[' + good + "," + broken
        body = (text % md5((text % KEY).encode())).encode()
        batch = unisender().parse(await unisender().verify(request(body)))
        assert [each.type for each in batch.events] == [EventType.COMPLAINED]
        assert batch.dead_letters
        with pytest.raises(NotVerified, match="of no key"):
            await unisender().verify(request(body.replace(b"ada", b"eve")))


def test_an_event_by_itself_is_kept_without_its_proof() -> None:
    single = {"auth": AUTH, "event_name": "transactional_email_status", "status": "spam", "email": "ada@example.test"}
    [event] = parsed(unisender(), encode(single)).events
    assert event.type == EventType.COMPLAINED
    assert AUTH.encode() not in event.item.payload + event.item.raw


def test_a_user_without_events_loses_no_others() -> None:
    event = {"event_name": "transactional_email_status", "event_data": {"status": "spam", "email": "ada@example.test"}}
    batch = parsed(unisender(), encode({"events_by_user": [{"user_id": 1}, {"user_id": 2, "events": [event]}]}))
    assert [each.type for each in batch.events] == [EventType.COMPLAINED]
    assert [each.body for each in batch.dead_letters] == [b'{"user_id":1}']


def test_a_request_has_a_hundred_events_at_most() -> None:
    at = datetime.now(UTC)
    samples = [unisender().sample("spam", "ada@example.test", at, number) for number in range(150)]
    assert [len(parsed(unisender(), each.body).events) for each in unisender().sign(samples, at)] == [100, 50]


CLICK: dict[str, Any] = {
    "job_id": "1",
    "email": "ada@example.test",
    "status": "clicked",
    "event_time": "2023-11-14 22:13:20",
    "url": "https://a",
}


def id_of(**other: Any) -> str:
    event = {"event_name": "transactional_email_status", "event_data": CLICK | other}
    return parsed(unisender(), encode({"events_by_user": [{"events": [event]}]})).events[0].id


def test_a_repeat_is_the_same_event() -> None:
    assert id_of() == id_of(email="ADA@example.test") == id_of(metadata={"a": "b"})


@pytest.mark.parametrize(
    "other",
    [
        {"job_id": "2"},
        {"email": "bob@example.test"},
        {"status": "opened"},
        {"event_time": "2023-11-14 22:13:21"},
        {"url": "https://b"},
        {"delivery_info": {"ip": "192.0.2.1"}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()
