"""The consent policy: which event decides what, for whom."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec.structs import replace

from providers.events import EPOCH, Event, EventType
from tests.samples import NOON, event, opt_in, opt_out
from webhooks.consent import TopicPolicy, decisions_of

LISTS_ONLY = TopicPolicy(leaving_leaves_all=True)
PLAIN = TopicPolicy()


def said(happened: Event, policy: TopicPolicy = PLAIN) -> dict[str, bool]:
    return {decision.topic: decision.opted_in for decision in decisions_of(happened, policy)}


@pytest.mark.parametrize("kind", [EventType.UNSUBSCRIBED, EventType.COMPLAINED])
def test_leaving_and_complaining_withdraw(kind: EventType) -> None:
    assert said(event(type=kind)) == {"": False}


def test_coming_back_grants_where_the_recipient_did_it() -> None:
    assert said(opt_in()) == {"": True}
    assert said(replace(opt_in(), by_recipient=False)) == {}


def test_an_operators_opt_out_is_one_all_the_same() -> None:
    assert said(replace(opt_out(), by_recipient=False)) == {"": False}


@pytest.mark.parametrize(
    "kind", set(EventType) - {EventType.UNSUBSCRIBED, EventType.COMPLAINED, EventType.RESUBSCRIBED}
)
def test_nothing_else_says_anything_about_consent(kind: EventType) -> None:
    assert said(event(type=kind)) == {}


def test_an_event_of_nobody_decides_nothing() -> None:
    assert said(event(type=EventType.BOUNCED, email_address=None)) == {}


def test_leaving_a_topic_leaves_it_alone_where_the_provider_knows_everything_too() -> None:
    assert said(opt_out(topic="news")) == {"news": False}
    assert said(opt_in(topic="news")) == {"news": True}


def test_where_lists_are_all_that_a_provider_knows_leaving_one_leaves_all_but_joining_joins_one() -> None:
    assert said(opt_out(topic="news"), LISTS_ONLY) == {"": False, "news": False}
    assert said(opt_in(topic="news"), LISTS_ONLY) == {"news": True}


@pytest.mark.parametrize("policy", [PLAIN, LISTS_ONLY])
def test_the_users_word_on_a_topic_goes_before_either(policy: TopicPolicy) -> None:
    ours = dataclasses.replace(policy, scopes={"all": "global", "news": "topic"})
    assert said(opt_out(topic="news"), ours) == {"news": False}
    assert said(opt_out(topic="all"), ours) == {"": False, "all": False}
    assert said(opt_in(topic="all"), ours) == {"": True, "all": True}


def test_a_complaint_is_about_everything_whatever_its_topic() -> None:
    assert said(event(type=EventType.COMPLAINED, topic="news"), LISTS_ONLY) == {"": False}


def test_without_a_time_an_opt_out_counts_from_its_receipt_and_an_opt_in_from_never() -> None:
    [out], [back] = (decisions_of(replace(each, at=None), PLAIN) for each in (opt_out(), opt_in()))
    assert (out.decided_at, back.decided_at) == (NOON + timedelta(days=1), EPOCH)
