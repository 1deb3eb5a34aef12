"""Postmark: a credential instead of a signature, and what its subscription changes mean."""

from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import Event
from providers.postmark import Postmark
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "hook:s3cret:with:colons"
KNOWN = "Basic aG9vazpzM2NyZXQ6d2l0aDpjb2xvbnM="


def request(**headers: str) -> WebhookRequest:
    return WebhookRequest(source="postmark", body=b"{}", headers=headers)


async def test_the_known_credential_is_genuine() -> None:
    assert await Postmark("postmark", [KEY]).verify(request(authorization=KNOWN))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic ",
        "Basic %%%",
        KNOWN[:-2],
        KNOWN.replace("Basic", "Digest"),
        "Basic aG9vazpzM2NyZXQ=",
        "Basic /w==",
    ],
)
async def test_any_other_credential_is_refused(authorization: str) -> None:
    with pytest.raises(NotVerified):
        await Postmark("postmark", [KEY]).verify(request(authorization=authorization))


async def test_with_the_option_header_the_key_is_that_headers_value() -> None:
    adapter = Postmark("postmark", ["a long secret"], {"header": "X-Webhook-Secret"})
    assert await adapter.verify(request(**{"x-webhook-secret": "a long secret"}))
    for refused in (request(**{"x-webhook-secret": "A long secret"}), request(authorization=KNOWN), request()):
        with pytest.raises(NotVerified):
            await adapter.verify(refused)


@pytest.mark.parametrize("keys", [["without-a-colon"], [""], [KEY, "  "]])
def test_a_key_that_cannot_be_one_is_refused_at_start(keys: list[str]) -> None:
    with pytest.raises(ValueError, match=r"user:password|empty key"):
        Postmark("postmark", keys)


CHANGE = {
    "RecordType": "SubscriptionChange",
    "MessageStream": "broadcast",
    "ChangedAt": "2023-11-14T22:13:20Z",
    "Recipient": "ada@example.test",
    "Origin": "Recipient",
    "SuppressSending": True,
    "SuppressionReason": "ManualSuppression",
}


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(Postmark("postmark", [KEY]), encode(item)).events
    return event


@pytest.mark.parametrize(
    ("change", "topics"),
    [
        ({}, {"": False, "broadcast": False}),
        ({"Origin": "Customer"}, {"": False, "broadcast": False}),
        ({"SuppressionReason": "SpamComplaint"}, {"": False}),
        ({"SuppressionReason": "HardBounce"}, {}),
        ({"SuppressSending": False, "MessageStream": None}, {}),
        ({"SuppressSending": False, "MessageStream": ""}, {}),
        ({"MessageStream": None}, {"": False}),
        ({"SuppressionReason": "MadeUpTomorrow"}, {"": False, "broadcast": False}),
        ({"SuppressSending": False, "SuppressionReason": None}, {"broadcast": True}),
        ({"SuppressSending": False, "SuppressionReason": None, "Origin": "Customer"}, {}),
        ({"SuppressSending": False, "SuppressionReason": None, "Origin": "Admin"}, {}),
    ],
)
def test_a_subscription_change_decides_what_it_says(change: dict[str, Any], topics: dict[str, bool]) -> None:
    policy = TopicPolicy(leaving_leaves_all=Postmark.leaving_a_topic_leaves_all)
    decisions = decisions_of(read(CHANGE | change), policy)
    assert {decision.topic: decision.opted_in for decision in decisions} == topics


def test_leaving_and_coming_back_are_two_events_and_a_repeat_is_none() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"SuppressSending": False},
        {"ChangedAt": "2023-11-15T22:13:20Z"},
        {"MessageStream": "news"},
    ]
    assert len({read(CHANGE | change).id for change in changes}) == 4
    assert read(CHANGE | {"Tag": "t"}).id == read(CHANGE).id


def test_several_recipients_of_a_message_are_several_events() -> None:
    delivery = {"RecordType": "Delivery", "MessageID": "m", "DeliveredAt": "2023-11-14T22:13:20Z"}
    assert len({read(delivery | {"Recipient": f"{name}@example.test"}).id for name in "abc"}) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    assert status in Postmark.final_statuses


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_is_not(status: int) -> None:
    assert status not in Postmark.final_statuses
