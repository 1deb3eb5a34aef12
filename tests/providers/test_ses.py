"""SES: who is meant by a notification, what a contact's preferences decide, and what makes two events one."""

import json
from typing import Any

import pytest

from providers.events import EventType
from providers.ses import SES
from tests.providers.payloads import RECEIVED_AT, parsed
from webhooks.consent import TopicPolicy, decisions_of

ADA, BOB = "ada@example.test", "bob@example.test"
MAIL = {"timestamp": "2023-11-14T22:13:20.000Z", "messageId": "m-1", "destination": [ADA]}
COMPLAINT = {
    "eventType": "Complaint",
    "mail": MAIL,
    "complaint": {
        "timestamp": "2023-11-14T23:13:20.000Z",
        "feedbackId": "f-1",
        "complainedRecipients": [{"emailAddress": ADA}],
    },
}
CLICK = {
    "eventType": "Click",
    "mail": MAIL,
    "click": {"timestamp": "2023-11-14T22:20:00.000Z", "link": "https://a", "ipAddress": "192.0.2.1", "userAgent": "u"},
}


def ses() -> SES:
    return SES("ses", ["arn:aws:sns:us-east-1:123456789012:ses-events"])


def read(*messages: Any) -> list[Any]:
    batch = parsed(ses(), json.dumps(messages).encode())
    assert not batch.dead_letters
    return list(batch.events)


def with_details(message: dict[str, Any], name: str, **details: Any) -> dict[str, Any]:
    return {**message, name: message[name] | details}


def decided(message: Any) -> dict[tuple[str, str], bool]:
    policy = TopicPolicy(leaving_leaves_all=SES.leaving_a_topic_leaves_all)
    found = [decision for event in read(message) for decision in decisions_of(event, policy)]
    return {(decision.email_address, decision.topic): decision.opted_in for decision in found}


def test_every_recipient_of_a_notification_is_an_event_of_its_own() -> None:
    recipients = [{"emailAddress": ADA}, {"emailAddress": f"Bob <{BOB}>"}, {"emailAddress": ADA}]
    events = read(with_details(COMPLAINT, "complaint", complainedRecipients=recipients))
    assert [event.email_address for event in events] == [ADA, BOB]
    assert len({event.id for event in events}) == 2


@pytest.mark.parametrize("odd", [None, 5, {}, [], {"emailAddress": None}, {"emailAddress": ["a"]}, "", "x" * 400])
def test_a_recipient_that_cannot_be_read_costs_no_other(odd: Any) -> None:
    message = with_details(COMPLAINT, "complaint", complainedRecipients=[odd, {"emailAddress": BOB}, odd])
    assert decided(message) == {(BOB, ""): False}


def test_a_recipient_that_is_no_address_is_kept_and_costs_no_other() -> None:
    recipients = [{"emailAddress": "REDACTED"}, {"emailAddress": BOB}]
    body = json.dumps(with_details(COMPLAINT, "complaint", complainedRecipients=recipients)).encode()
    batch = parsed(ses(), body)
    assert [event.email_address for event in batch.events] == [BOB]
    assert [(letter.body, letter.error) for letter in batch.dead_letters] == [
        (body, "complained by what is no e-mail address")
    ]


@pytest.mark.parametrize("odd", [None, 5, [], {}, "", [None]])
def test_a_complaint_that_names_nobody_is_of_all_who_got_the_mail(odd: Any) -> None:
    message = with_details(COMPLAINT, "complaint", complainedRecipients=odd)
    assert decided({**message, "mail": MAIL | {"destination": [ADA, BOB]}}) == {(ADA, ""): False, (BOB, ""): False}


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ({}, EventType.COMPLAINED),
        ({"complaintFeedbackType": "abuse"}, EventType.COMPLAINED),
        ({"complaintFeedbackType": "fraud"}, EventType.COMPLAINED),
        ({"complaintFeedbackType": "made-up"}, EventType.COMPLAINED),
        ({"complaintFeedbackType": ["not-spam"]}, EventType.COMPLAINED),
        ({"complaintFeedbackType": "not-spam"}, EventType.UNKNOWN),
        ({"complaintSubType": None}, EventType.COMPLAINED),
        ({"complaintSubType": "OnAccountSuppressionList"}, EventType.DROPPED),
        ({"complaintSubType": "OnTenantSuppressionList"}, EventType.DROPPED),
    ],
)
def test_a_complaint_is_one_unless_it_says_otherwise(details: dict[str, Any], kind: EventType) -> None:
    assert [event.type for event in read(with_details(COMPLAINT, "complaint", **details))] == [kind]


def test_a_complaint_without_a_time_of_its_own_counts_from_when_it_is_heard_of() -> None:
    [event] = read(with_details(COMPLAINT, "complaint", timestamp=None))
    assert (event.at, event.occurred_at) == (None, RECEIVED_AT)


def test_only_who_opens_or_clicks_has_a_user_agent() -> None:
    assert [event.user_agent for event in read(with_details(COMPLAINT, "complaint", userAgent="loop"), CLICK)] == [
        None,
        "u",
    ]


def preferences(leaves_all: Any, *, default: dict[str, str] | None = None, **topics: Any) -> dict[str, Any]:
    def listed(statuses: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"topicName": name, "subscriptionStatus": status} for name, status in statuses.items()]

    found = {"unsubscribeAll": leaves_all, "topicSubscriptionStatus": listed(topics)}
    return {**found, "topicDefaultSubscriptionStatus": listed(default)} if default else found


def subscription(old: Any, new: Any, **details: Any) -> dict[str, Any]:
    return {
        "eventType": "Subscription",
        "mail": MAIL,
        "subscription": {
            "contactList": "list",
            "timestamp": "2023-11-14T22:30:00.000Z",
            "source": "UnsubscribeHeader",
            "oldTopicPreferences": old,
            "newTopicPreferences": new,
            **details,
        },
    }


IN, OUT = "OptIn", "OptOut"


def half_readable(**topics: Any) -> dict[str, Any]:
    """Preferences in which a topic that was left has lost its name."""
    found = preferences(False, **topics)
    return found | {"topicSubscriptionStatus": [{"subscriptionStatus": OUT}, *found["topicSubscriptionStatus"]]}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (preferences(False), preferences(True), {"": False}),
        (preferences(True), preferences(True), {"": False}),
        (preferences(False, news=IN), preferences(True, news=OUT), {"": False, "list/news": False}),
        (preferences(False, news=OUT), preferences(True, news=OUT, tips=IN), {"": False, "list/news": False}),
        (preferences(True), preferences(False), {"": True}),
        (preferences(True, news=OUT), preferences(False, news=OUT), {"": True, "list/news": False}),
        (
            preferences(True, news=OUT),
            preferences(False, news=OUT, tips=OUT),
            {"": True, "list/news": False, "list/tips": False},
        ),
        (preferences(True, news=OUT), preferences(False, news=IN), {"": True, "list/news": True}),
        (preferences(False, news=IN, tips=IN), preferences(False, news=OUT, tips=IN), {"list/news": False}),
        (preferences(False, news=OUT), preferences(False, news=IN), {"list/news": True}),
        (preferences(False), preferences(False, news=OUT), {"list/news": False}),
        (preferences(False), preferences(False, news=IN), {"list/news": True}),
        # A page that is saved may spell out what was so by default.
        (preferences(False, default={"news": IN}), preferences(False, news=IN, tips=OUT), {"list/tips": False}),
        (preferences(False, default={"news": IN}), preferences(False, news=OUT), {"list/news": False}),
        (preferences(False, default={"news": OUT}), preferences(False, news=IN), {"list/news": True}),
        (preferences(False, news=IN), preferences(False, news=IN), {}),
        # Whoever changes their preferences in a way that cannot be read is opted out.
        (preferences(False), None, {"": False}),
        (preferences(False), [], {"": False}),
        (preferences(False), preferences(None), {"": False}),
        (preferences(False), preferences("true"), {"": False}),
        (preferences(False), preferences(None, news=IN, tips=OUT), {"": False, "list/tips": False}),
        (preferences(True), half_readable(news=IN), {"": False}),
        (preferences(False), {"unsubscribeAll": False}, {"": False}),
        (
            preferences(False),
            {"unsubscribeAll": False, "topicSubscriptionStatus": [{"topicName": 5}]},
            {"list/5": False},
        ),
        (preferences(False), {"unsubscribeAll": False, "topicSubscriptionStatus": [{"topicName": None}]}, {"": False}),
        (preferences(False), preferences(False, news=None), {"list/news": False}),
        # A snapshot opts in nobody.
        (None, preferences(False, news=IN, tips=OUT), {"list/tips": False}),
        ([], preferences(False, news=IN), {}),
        (preferences("maybe"), preferences(False, news=IN), {}),
        ([preferences(True)], [preferences(False)], {"": True}),
    ],
)
def test_a_subscription_decides_what_has_changed(old: Any, new: Any, expected: dict[str, bool]) -> None:
    assert decided(subscription(old, new)) == {(ADA, topic): opted_in for topic, opted_in in expected.items()}


def test_where_several_got_the_mail_an_opt_out_is_of_all_and_an_opt_in_of_none() -> None:
    both = {"mail": MAIL | {"destination": [ADA, BOB]}}
    leaving = subscription(preferences(False), preferences(True)) | both
    coming_back = subscription(preferences(True), preferences(False)) | both
    assert decided(leaving) == {(ADA, ""): False, (BOB, ""): False}
    assert decided(coming_back) == {}


def test_without_a_contact_list_a_topic_has_its_own_name_only() -> None:
    assert decided(subscription(preferences(False), preferences(False, news=OUT), contactList=None)) == {
        (ADA, "news"): False
    }


def test_leaving_and_coming_back_at_the_same_time_are_two_events() -> None:
    messages = [
        subscription(preferences(False, news=IN), preferences(False, news=OUT)),
        subscription(preferences(False, news=OUT), preferences(False, news=IN)),
        subscription(preferences(False, tips=IN), preferences(False, tips=OUT)),
        subscription(preferences(False, news=IN), preferences(False, news=OUT), contactList="another"),
        subscription(preferences(False), preferences(True)),
    ]
    assert len({event.id for event in read(*messages)}) == 5


def ids(*messages: Any) -> set[str]:
    return {event.id for event in read(*messages)}


@pytest.mark.parametrize(
    "others",
    [
        {"link": "https://b"},
        {"timestamp": "2023-11-14T22:20:00.001Z"},
        {"ipAddress": "192.0.2.2"},
        {"userAgent": "v"},
    ],
)
def test_two_clicks_are_two_events(others: dict[str, Any]) -> None:
    assert len(ids(CLICK, with_details(CLICK, "click", **others))) == 2
    assert (
        len(ids(CLICK, CLICK | {"mail": MAIL | {"messageId": "m-2"}}, CLICK | {"mail": MAIL | {"destination": [BOB]}}))
        == 3
    )


def test_the_same_fact_has_one_id_through_whichever_topic_queue_or_bus_it_comes() -> None:
    feedback = {
        "notificationType": "Complaint",
        "mail": MAIL | {"headers": [], "destination": [ADA.upper()]},
        "complaint": {**COMPLAINT["complaint"], "userAgent": "loop"},  # type: ignore[dict-item]
    }
    text = json.dumps(COMPLAINT)
    envelope = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "MessageId": "1", "Message": text}
    bus = {"version": "0", "id": "1", "detail-type": "Email Complaint Received", "detail": COMPLAINT}
    nameless = {**bus, "detail": {name: value for name, value in COMPLAINT.items() if name != "eventType"}}
    records = [{"body": text}, {"body": json.dumps(envelope)}, {"body": json.dumps(bus)}, {"Sns": envelope}]
    messages = [COMPLAINT, feedback, envelope, {**envelope, "MessageId": "2"}, bus, nameless, {"Records": records}]
    events = read(*messages)
    assert len(events) == 10
    assert len({event.id for event in events}) == 1


GREETING = "Successfully validated SNS topic for Amazon SES event publishing."


def test_greetings_are_no_events_and_a_mail_that_quotes_one_is() -> None:
    succeeded = {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have subscribed"}
    for message in (GREETING, json.dumps(succeeded)):
        envelope = {"Type": "Notification", "TopicArn": "t", "Message": message}
        assert read(envelope, {"Records": [{"body": message}]}) == []
    quoting = with_details(COMPLAINT, "mail", commonHeaders={"subject": GREETING})
    envelope = {"Type": "Notification", "TopicArn": "t", "Message": json.dumps(quoting)}
    assert len(read({"aaa": GREETING, **quoting}, envelope)) == 2


def test_an_event_is_read_whatever_its_tags_are() -> None:
    for tags in ({"order": ["1", 2, None]}, {"order": 5}, ["order"], None, 5):
        [event] = read(CLICK | {"mail": MAIL | {"tags": tags}})
        assert event.type == EventType.CLICKED


def test_leaving_a_topic_leaves_no_other() -> None:
    assert not SES.leaving_a_topic_leaves_all


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 413])
def test_sns_does_not_come_again_after_these(status: int) -> None:
    assert status in SES.final_statuses
    assert SES.unavailable_status == 503
