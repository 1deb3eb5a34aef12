"""Iterable: where its secret comes, and what an unsubscribe is from."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event
from providers.iterable import Iterable
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of


@pytest.mark.parametrize(
    ("key", "option", "headers"),
    [
        ("a long secret", "X-Webhook-Secret", {"x-webhook-secret": "a long secret"}),
        ("OAuth2 a-long-secret", "Authorization", {"authorization": "OAuth2 a-long-secret"}),
        ("hook:s3cret", None, {"authorization": "Basic aG9vazpzM2NyZXQ="}),
    ],
)
async def test_the_secret_comes_where_iterable_was_told_to_put_it(
    key: str, option: str | None, headers: dict[str, str]
) -> None:
    adapter = Iterable("iterable", [key], {"header": option} if option else {})
    request = WebhookRequest(source="iterable", body=b"{}", headers=headers)
    assert await adapter.verify(request) is request
    for wrong in ({}, {name: f"{value}x" for name, value in headers.items()}):
        with pytest.raises(NotVerified):
            await adapter.verify(WebhookRequest(source="iterable", body=b"{}", headers=wrong))


def read(event: str, **data: Any) -> list[Event]:
    item = {
        "email": "ada@example.test",
        "eventName": event,
        "dataFields": {"createdAt": "2023-11-14 22:13:20 +00:00", "messageId": "m-1", **data},
    }
    return list(parsed(Iterable("iterable", ["k"]), encode(item)).events)


def decided(events: list[Event]) -> dict[str, bool]:
    policy = TopicPolicy(leaving_leaves_all=Iterable.leaving_a_topic_leaves_all)
    return {decision.topic: decision.opted_in for event in events for decision in decisions_of(event, policy)}


@pytest.mark.parametrize(
    ("data", "topics"),
    [
        ({"channelIds": [], "messageTypeIds": [], "emailListIds": []}, [""]),
        ({}, [""]),
        ({"channelId": 27447, "messageTypeId": 31082}, [""]),
        ({"channelIds": [27447]}, ["channel:27447"]),
        ({"messageTypeIds": [31082, 31083]}, ["type:31082", "type:31083"]),
        ({"emailListIds": [5], "channelIds": [27447]}, ["channel:27447", "list:5"]),
        ({"channelIds": "27447"}, ["channel:27447"]),
        ({"channelIds": None, "messageTypeIds": {"a": 1}, "emailListIds": [[5]]}, [""]),
    ],
)
def test_an_unsubscribe_is_from_what_it_names_or_from_everything(data: dict[str, Any], topics: list[str]) -> None:
    assert decided(read("emailUnSubscribe", **data)) == dict.fromkeys(topics, False)
    assert decided(read("emailSubscribe", **data)) == {}
    assert decided(read("emailComplaint", **data)) == {"": False}


@pytest.mark.parametrize("event", ["emailUnSubscribe", "emailUnsubscribe", "EMAILUNSUBSCRIBE"])
def test_however_it_is_spelled(event: str) -> None:
    assert decided(read(event)) == {"": False}


def test_each_topic_that_is_left_is_an_event_of_its_own() -> None:
    first = read("emailUnSubscribe", channelIds=[1], messageTypeIds=[1], emailListIds=[1])
    assert len({event.id for event in first}) == 3
    again = read("emailUnSubscribe", channelIds=[1], messageTypeIds=[1], emailListIds=[1], labels=["new"])
    assert [event.id for event in again] == [event.id for event in first]


@pytest.mark.parametrize("other", [{"createdAt": "x"}, {"messageId": "m-2"}, {"url": "https://b"}, {"ip": "192.0.2.9"}])
def test_what_differs_has_an_id_of_its_own(other: dict[str, Any]) -> None:
    [first], [second] = read("emailClick", url="https://a"), read("emailClick", **{"url": "https://a", **other})
    assert first.id != second.id


def test_the_address_may_lie_among_the_data() -> None:
    item = {"eventName": "emailComplaint", "dataFields": {"email": "ada@example.test"}}
    [event] = parsed(Iterable("iterable", ["k"]), encode(item)).events
    assert event.email_address == "ada@example.test"
