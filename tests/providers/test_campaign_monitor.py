"""Campaign Monitor: what a subscriber's state means, and when it was, in the client's own timezone."""

from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.campaign_monitor import CampaignMonitor
from providers.decoding import encode
from providers.events import Event
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

LIST = "96c0bbdaa54760c8d9e62a2b7ffa2e13"
CHANGE = {
    "Type": "Deactivate",
    "State": "Unsubscribed",
    "Date": "2023-11-14 22:13:20",
    "EmailAddress": "ada@example.test",
}


def adapter(**options: Any) -> CampaignMonitor:
    return CampaignMonitor("campaign_monitor", ["the-long-secret"], options)


def read(event: dict[str, Any], list_id: Any = LIST, **options: Any) -> Event:
    [found] = parsed(adapter(**options), encode({"Events": [event], "ListID": list_id})).events
    return found


async def test_the_secret_comes_in_the_address() -> None:
    request = WebhookRequest(source="campaign_monitor", body=b"{}", query={"key": "the-long-secret"})
    assert await adapter().verify(request) is request
    with pytest.raises(NotVerified, match="no key is this secret"):
        await adapter().verify(WebhookRequest(source="campaign_monitor", body=b"{}", query={"key": "another"}))
    with pytest.raises(NotVerified, match="no credential"):
        await adapter().verify(WebhookRequest(source="campaign_monitor", body=b"{}"))


@pytest.mark.parametrize(
    ("change", "kind", "topics"),
    [
        ({}, "unsubscribed", {"": False, LIST: False}),
        ({"State": "Deleted"}, "unsubscribed", {"": False, LIST: False}),
        ({"State": "Bounced"}, "bounced", {}),
        ({"State": "MadeUpTomorrow"}, "unsubscribed", {"": False, LIST: False}),
        ({"State": "Active"}, "unsubscribed", {"": False, LIST: False}),
        ({"State": None}, "unsubscribed", {"": False, LIST: False}),
        ({"Type": "Update", "State": "Active"}, "unknown", {}),
        ({"Type": "Update", "State": "Unconfirmed"}, "unknown", {}),
        ({"Type": "Update", "State": None}, "unknown", {}),
        ({"Type": "Update"}, "unsubscribed", {"": False, LIST: False}),
        ({"Type": "Update", "State": "Bounced"}, "bounced", {}),
        ({"Type": "Subscribe", "State": None, "SignupIPAddress": "192.0.2.1"}, "resubscribed", {}),
        ({"Type": "Subscribe"}, "unsubscribed", {"": False, LIST: False}),
        ({"Type": "MadeUpTomorrow"}, "unknown", {}),
    ],
)
def test_in_doubt_a_subscriber_has_left(change: dict[str, Any], kind: str, topics: dict[str, bool]) -> None:
    event = read(CHANGE | change)
    policy = TopicPolicy(leaving_leaves_all=CampaignMonitor.leaving_a_topic_leaves_all)
    assert event.type == kind
    assert {decision.topic: decision.opted_in for decision in decisions_of(event, policy)} == topics


@pytest.mark.parametrize(
    ("timezone", "date", "at"),
    [
        ("Australia/Sydney", "2023-11-14 22:13:20", datetime(2023, 11, 14, 11, 13, 20, tzinfo=UTC)),
        ("America/New_York", "2023-07-14 22:13:20", datetime(2023, 7, 15, 2, 13, 20, tzinfo=UTC)),
        ("America/New_York", "2023-07-14T22:13:20Z", datetime(2023, 7, 14, 22, 13, 20, tzinfo=UTC)),
        (None, "2023-11-14 22:13:20", None),
        (None, " 2023-11-14T22:13", None),
        (None, "2023-11-14T22:13:20+11:00", datetime(2023, 11, 14, 11, 13, 20, tzinfo=UTC)),
        (None, 1700000000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("America/New_York", "9999-12-31 23:59:59", None),
        ("America/New_York", ["2023"], None),
    ],
)
def test_a_date_is_in_the_clients_timezone(timezone: str | None, date: Any, at: datetime | None) -> None:
    assert read(CHANGE | {"Date": date}, timezone=timezone).at == at


def test_without_a_timezone_only_an_opt_out_has_no_time_and_its_date_still_tells_it_apart() -> None:
    joined = CHANGE | {"Type": "Subscribe", "State": "Active"}
    assert read(joined).at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert read(CHANGE).id != read(CHANGE | {"Date": "2023-11-14 22:13:21"}).id


def test_a_timezone_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="timezone"):
        adapter(timezone="Mars/Olympus")


@pytest.mark.parametrize("list_id", [None, "", [], {}])
def test_an_unsubscribe_from_no_known_list_is_one_from_everything(list_id: Any) -> None:
    event = read(CHANGE, list_id)
    assert [decision.topic for decision in decisions_of(event, TopicPolicy())] == [""]


def test_what_differs_has_an_id_of_its_own_and_a_repeat_has_none() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"Type": "Update"},
        {"State": "Deleted"},
        {"EmailAddress": "bob@example.test"},
        {"OldEmailAddress": "bob@example.test"},
        {"Date": "2023-11-14 22:13:21"},
    ]
    assert len({*(read(CHANGE | other).id for other in others), read(CHANGE, "another").id}) == len(others) + 1
    assert read(CHANGE | {"Name": "Ada", "EmailAddress": "ADA@example.test"}).id == read(CHANGE).id
