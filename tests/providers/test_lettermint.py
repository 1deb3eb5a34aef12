"""Lettermint: a signature that binds the time, and a header that repeats it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.lettermint import DELIVERY, SIGNATURE, Lettermint
from tests.providers.payloads import parsed

KEY = "whsec_lm-test-secret-0001"
KNOWN = WebhookRequest(
    source="lettermint",
    body=(
        b'{"id":"wh-1","event":"message.unsubscribed","timestamp":"2023-11-14T22:13:20Z",'
        b'"data":{"message_id":"m-1","recipient":"ada@example.test"}}'
    ),
    headers={
        SIGNATURE.lower(): "t=1700000000,v1=68eae73047eaea2b91f06f8b50a9b739cf5a492db49543b4dce034511282afc0",
        DELIVERY.lower(): "1700000000",
    },
    received_at=datetime.fromtimestamp(1700000060, UTC),
)


def lettermint(*keys: str) -> Lettermint:
    return Lettermint("lettermint", keys or (KEY,))


async def test_the_known_signature_is_genuine() -> None:
    assert await lettermint().verify(KNOWN) is KNOWN


async def test_the_time_need_not_be_repeated() -> None:
    await lettermint().verify(replace(KNOWN, headers={SIGNATURE.lower(): KNOWN.headers[SIGNATURE.lower()]}))


@pytest.mark.parametrize("delivery", ["", "1700000001", "x"])
async def test_where_it_is_repeated_it_must_be_the_same(delivery: str) -> None:
    with pytest.raises(NotVerified, match=DELIVERY):
        await lettermint().verify(replace(KNOWN, headers={**KNOWN.headers, DELIVERY.lower(): delivery}))


async def test_the_prefix_belongs_to_the_secret() -> None:
    with pytest.raises(NotVerified, match="of no key"):
        await lettermint(KEY.removeprefix("whsec_")).verify(KNOWN)


EVENT: dict[str, Any] = {
    "id": "1",
    "event": "message.clicked",
    "timestamp": "2023-11-14T22:13:20.123Z",
    "data": {"message_id": "m-1", "recipient": "ada@example.test", "destination_url": "https://a"},
}


def id_of(**other: Any) -> str:
    data = EVENT["data"] | other.pop("data", {})
    return parsed(lettermint(), encode(EVENT | other | {"data": data})).events[0].id


def test_an_event_is_itself_whatever_its_attempt_is_called() -> None:
    assert id_of() == id_of(id="2") == id_of(data={"recipient": "ADA@example.test"})


@pytest.mark.parametrize(
    "other",
    [
        {"event": "message.opened"},
        {"timestamp": "2023-11-14T22:13:20.124Z"},
        {"data": {"recipient": "bob@example.test"}},
        {"data": {"message_id": "m-2"}},
        {"data": {"destination_url": "https://b"}},
        {"data": {"user_agent": "another"}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()


def test_without_a_message_an_events_own_id_tells_it_apart() -> None:
    assert id_of(data={"message_id": None}) != id_of(id="2", data={"message_id": None})
