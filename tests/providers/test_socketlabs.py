"""SocketLabs: a secret that comes in the body, must prove every event, and is never kept."""

import json
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.socketlabs import SocketLabs
from tests.providers.payloads import parsed

KEY = "n7BJk25EtAr39Sfa4K8R"
EVENT: dict[str, Any] = {
    "Type": "Tracking",
    "TrackingType": 2,
    "DateTime": "2023-11-14T22:13:20.3694682Z",
    "ServerId": 1,
    "MessageId": "m-1",
    "Address": "ada@example.test",
    "SecretKey": KEY,
}


def socketlabs(*keys: str) -> SocketLabs:
    return SocketLabs("socketlabs", keys or (KEY,))


def request(value: Any) -> WebhookRequest:
    return WebhookRequest(source="socketlabs", body=encode(value))


@pytest.mark.parametrize("value", [EVENT, [EVENT, EVENT], {"data": EVENT}, {**EVENT, "secretKey": KEY}])
async def test_an_event_with_the_secret_is_genuine(value: Any) -> None:
    await socketlabs("another", KEY).verify(request(value))


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        ({**EVENT, "SecretKey": KEY.lower()}, "no key is this"),
        ({**EVENT, "SecretKey": ""}, "no key is this"),
        ({**EVENT, "SecretKey": None}, "no SecretKey"),
        ({**EVENT, "SecretKey": [KEY]}, "no SecretKey"),
        ({"Data": {"SecretKey": KEY}}, "no SecretKey"),
        ([EVENT, {**EVENT, "SecretKey": "x"}], "no key is this"),
        ([EVENT, {"Type": "Complaint"}], "no SecretKey"),
        ([EVENT, 1], "no SecretKey"),
        ([], "no SecretKey"),
    ],
)
async def test_every_event_must_have_the_secret(value: Any, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await socketlabs().verify(request(value))


@pytest.mark.parametrize(
    "body",
    [
        encode(EVENT),
        encode([EVENT, {"secretKEY": KEY, "type": "Complaint"}]),
        encode({"data": EVENT}),
        json.dumps(EVENT).replace('"SecretKey"', '"Secret\\u004bey"').encode(),
        json.dumps(EVENT).replace('"ServerId": 1', f'"SecretKey": "{KEY}", "x": "\\u0000"').encode(),
        json.dumps(EVENT).replace('"ServerId": 1', '"x": NaN').encode(),
    ],
    ids=["one", "several", "wrapped", "escaped", "twice", "not quite JSON"],
)
def test_the_secret_is_never_kept(body: bytes) -> None:
    batch = parsed(socketlabs(), body)
    assert batch.events
    kept = [part for each in batch.events for part in (each.item.raw, each.item.payload)]
    assert KEY.encode() not in b"".join([*kept, *(each.body for each in batch.dead_letters)])


def test_what_is_no_event_loses_no_others_nor_keeps_the_secret() -> None:
    batch = parsed(socketlabs(), encode([EVENT, None, [EVENT]]) + b',{"SecretKey": "' + KEY.encode() + b'", "Type"')
    assert len(batch.events) == 1
    assert KEY.encode() not in b"".join(each.body for each in batch.dead_letters)


@pytest.mark.parametrize(
    "broken",
    [
        json.dumps(EVENT).replace(', "ServerId"', ' "ServerId"'),
        json.dumps(EVENT).replace('"SecretKey":', '"SecretKey"'),
        json.dumps(EVENT)[:-2],
        json.dumps(EVENT)[:-3],
    ],
)
async def test_what_cannot_be_read_beside_a_genuine_event_is_a_dead_letter_without_the_secret(broken: str) -> None:
    known = WebhookRequest(source="socketlabs", body=b"[%b,%b]" % (encode(EVENT), broken.encode()))
    batch = socketlabs().parse(await socketlabs().verify(known))
    assert [(each.type, each.email_address) for each in batch.events] == [("unsubscribed", "ada@example.test")]
    assert batch.dead_letters
    assert KEY[:-1].encode() not in b"".join(each.body for each in batch.dead_letters)


async def test_what_cannot_be_read_proves_nothing() -> None:
    broken = json.dumps(EVENT).replace(', "ServerId"', ' "ServerId"').encode()
    for body in (broken, b"[%b]" % broken, b"[%b,{}]" % broken):
        with pytest.raises(NotVerified, match="no SecretKey"):
            await socketlabs().verify(WebhookRequest(source="socketlabs", body=body))


@pytest.mark.parametrize(
    ("validation", "answer"),
    [
        ({"ValidationKey": "abc"}, {"ValidationKey": "abc"}),
        ({}, {"SecretKey": KEY}),
    ],
)
async def test_a_validation_is_answered_with_the_key_that_it_wants(
    validation: dict[str, str], answer: dict[str, str]
) -> None:
    genuine = await socketlabs().verify(request({"Type": "Validation", "SecretKey": KEY, **validation}))
    heard = await socketlabs().handshake(genuine)
    assert heard is not None
    assert (heard.status, json.loads(heard.body)) == (200, answer)


async def test_a_validation_by_a_stranger_hears_nothing() -> None:
    with pytest.raises(NotVerified):
        await socketlabs().verify(request({"Type": "Validation", "ValidationKey": "abc", "SecretKey": "guess"}))


async def test_neither_an_event_nor_a_look_at_the_address_is_a_validation() -> None:
    assert await socketlabs().handshake(await socketlabs().verify(request(EVENT))) is None
    assert await socketlabs().handshake(WebhookRequest(source="socketlabs", body=b"", method="GET")) is None
    assert await socketlabs().handshake(WebhookRequest(source="socketlabs", body=b"not JSON")) is None


@pytest.mark.parametrize(
    ("tracking", "kind"),
    [
        (0, EventType.CLICKED),
        ("Open", EventType.OPENED),
        ("2", EventType.UNSUBSCRIBED),
        (2.0, EventType.UNSUBSCRIBED),
        (1.5, EventType.UNKNOWN),
        ("unsubscribe", EventType.UNSUBSCRIBED),
        (3, EventType.UNKNOWN),
        (None, EventType.UNKNOWN),
    ],
)
def test_what_was_tracked_is_a_number_or_a_word(tracking: Any, kind: EventType) -> None:
    [event] = parsed(socketlabs(), encode({**EVENT, "TrackingType": tracking})).events
    assert event.type == kind


def id_of(**other: Any) -> str:
    return parsed(socketlabs(), encode(EVENT | other)).events[0].id


def test_a_repeat_is_the_same_event() -> None:
    assert id_of() == id_of(SecretKey="rotated") == id_of(Address="ADA@example.test")


@pytest.mark.parametrize(
    "other",
    [
        {"TrackingType": 1},
        {"Type": "Complaint"},
        {"ServerId": 2},
        {"MessageId": "m-2"},
        {"Address": "bob@example.test"},
        {"DateTime": "2023-11-14T22:13:20.3694683Z"},
        {"Url": "https://a"},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()
