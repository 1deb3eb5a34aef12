"""Kit: a signature that binds the time and may come in several, and whose word an activation is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.kit import SIGNATURE, Kit
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "kit-secret-0001"
MAC = "746eaf3bfc1e8a12d43f724b965cfecd7ef857e13fd121b15be4e66dbde3b52e"
BODY = (
    b'{"delivery_id":1,"events":[{"id":"evt_1","type":"subscriber.unsubscribed",'
    b'"data":{"subscriber":{"email_address":"ada@example.test"}}}]}'
)
SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)


def request(signature: str = f"t=1700000000,v1={MAC}", body: bytes = BODY) -> WebhookRequest:
    return WebhookRequest(source="kit", body=body, headers={SIGNATURE.lower(): signature}, received_at=SIGNED_AT)


async def test_the_known_signature_is_genuine() -> None:
    batch = Kit("kit", [KEY]).parse(await Kit("kit", [KEY]).verify(request()))
    assert [(each.type, each.email_address) for each in batch.events] == [(EventType.UNSUBSCRIBED, "ada@example.test")]


@pytest.mark.parametrize(
    "signature",
    [
        f"t=1700000000,v1={'0' * 64},v1={MAC}",
        f"v1={MAC},t=1700000000",
        f"t=1700000000, v1={MAC}, v2=later",
    ],
    ids=["two secrets", "another order", "spaces and a newer scheme"],
)
async def test_one_genuine_signature_among_others_is_enough(signature: str) -> None:
    await Kit("kit", ["another", KEY]).verify(request(signature))


@pytest.mark.parametrize(
    ("signature", "refusal"),
    [
        ("", "not of the form"),
        (MAC, "not of the form"),
        (f"v1={MAC}", "not of the form"),
        ("t=1700000000", "not of the form"),
        (f"t=1700000000,t=1700000001,v1={MAC}", "not of the form"),
        (f"t=1700000000,v0={MAC}", "not of the form"),
        (f"t=1700000000,v1={MAC[:-1]}d", "of no key"),
        (f"t=1700000001,v1={MAC}", "of no key"),
        (f"t=,v1={MAC}", "of no key"),
        ("t=1700000000,v1=é", "of no key"),
    ],
)
async def test_any_other_signature_is_refused(signature: str, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await Kit("kit", [KEY]).verify(request(signature))


@pytest.mark.parametrize(("minutes", "refusal"), [(6, "stale"), (-6, "in the future")])
async def test_a_signature_is_good_for_five_minutes_for_each_attempt_has_its_own(minutes: int, refusal: str) -> None:
    for good in (4, -4):
        await Kit("kit", [KEY]).verify(replace(request(), received_at=SIGNED_AT + timedelta(minutes=good)))
    with pytest.raises(NotVerified, match=refusal):
        await Kit("kit", [KEY]).verify(replace(request(), received_at=SIGNED_AT + timedelta(minutes=minutes)))


ACTIVATED = {
    "id": "1",
    "type": "subscriber.activated",
    "created": "2023-11-14T22:13:20Z",
    "data": {"subscriber": {"email_address": "ada@example.test", "state": "active"}},
}


@pytest.mark.parametrize(("options", "opted_in"), [({}, []), ({"confirmed": True}, [True])])
def test_an_activation_is_an_opt_in_only_where_its_user_says_that_all_are_confirmed(
    options: dict[str, Any], opted_in: list[bool]
) -> None:
    [event] = parsed(Kit("kit", [KEY], options), encode({"events": [ACTIVATED]})).events
    assert [each.opted_in for each in decisions_of(event, TopicPolicy())] == opted_in


def test_an_event_that_comes_again_in_another_delivery_has_the_same_id() -> None:
    first, again = ({"delivery_id": number, "events": [ACTIVATED]} for number in (1, 2))
    assert (
        parsed(Kit("kit", [KEY]), encode(first)).events[0].id == parsed(Kit("kit", [KEY]), encode(again)).events[0].id
    )


def test_a_request_has_a_hundred_events_at_most() -> None:
    kit = Kit("kit", [KEY])
    samples = [kit.sample("subscriber.complained", "ada@example.test", SIGNED_AT, number) for number in range(250)]
    assert [len(parsed(kit, each.body).events) for each in kit.sign(samples, SIGNED_AT)] == [100, 100, 50]
