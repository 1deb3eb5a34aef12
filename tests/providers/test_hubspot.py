"""HubSpot: a signature over our own address, and opt-outs that tell a number instead of an address."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.hubspot import HubSpot
from providers.signing import hmac_base64
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

KEY = "hs-client-secret-0001"
URL = "https://hooks.example.test/webhooks/hubspot?src=a b"
V3 = "Y2GTguqneq5ZiCRHI8MBDNDSV+lxllXHclJ4NYRL918="
V2 = "8522400dbf3d63acf9499789eb657a6badc7a5ef3c4ac5dbab78aacb8ceee4cb"
V1 = "712a0e9d5c3973c7f36ab6d4e8a0e5d293e9c96d795b5d5443601b73a6e53af9"
KNOWN = WebhookRequest(
    source="hubspot",
    body=b'[{"eventId":1,"subscriptionType":"contact.propertyChange","propertyName":"hs_email_optout","propertyValue":"true",'
    b'"objectId":123,"portalId":62515,"occurredAt":1700000000000,"attemptNumber":0}]',
    headers={"x-hubspot-signature-v3": V3, "x-hubspot-request-timestamp": "1700000005000"},
    received_at=datetime.fromtimestamp(1700000006, UTC),
)


def hubspot(url: str | list[str] = URL, **options: Any) -> HubSpot:
    return HubSpot("hubspot", [KEY], {"url": url, **options})


def older(version: str, signature: str) -> WebhookRequest:
    return replace(KNOWN, headers={"x-hubspot-signature-version": version, "x-hubspot-signature": signature})


@pytest.mark.parametrize("url", [URL, URL.replace(" ", "%20"), ["https://old.example.test/", URL]])
async def test_the_known_signature_is_genuine(url: str | list[str]) -> None:
    assert await hubspot(url).verify(KNOWN) is KNOWN


async def test_the_characters_that_hubspot_names_are_decoded_and_others_are_not() -> None:
    entered = "https://hooks.example.test/in?src=hs%3Aapp%2fv3&x=%28a%29&y=a%20b%26"
    signed = "POSThttps://hooks.example.test/in?src=hs:app/v3&x=(a)&y=a%20b%26[]1700000005000"
    headers = {**KNOWN.headers, "x-hubspot-signature-v3": hmac_base64(KEY, signed.encode())}
    assert await hubspot(entered).verify(replace(KNOWN, body=b"[]", headers=headers))


@pytest.mark.parametrize(
    "url", [URL.replace("https", "http"), URL + "/", URL.partition("?")[0], URL.replace(".test", ".test:443")]
)
async def test_an_address_that_is_not_as_entered_is_refused(url: str) -> None:
    with pytest.raises(NotVerified, match=r"for the address http.*hooks\.example\.test"):
        await hubspot(url).verify(KNOWN)


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, body=KNOWN.body + b" "),
        replace(KNOWN, method="GET"),
        replace(KNOWN, headers={**KNOWN.headers, "x-hubspot-request-timestamp": "1700000005001"}),
        replace(KNOWN, headers={**KNOWN.headers, "x-hubspot-signature-v3": V3.lower()}),
        replace(KNOWN, headers={"x-hubspot-signature-v3": V3}),
        replace(KNOWN, headers={}),
    ],
)
async def test_what_is_not_what_was_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await hubspot().verify(request_)


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(minutes=6), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_signature_has_its_time(age: timedelta, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await hubspot().verify(replace(KNOWN, received_at=KNOWN.received_at + age))


@pytest.mark.parametrize(("version", "signature"), [("v1", V1), ("v2", V2)])
async def test_a_former_signature_counts_only_where_it_is_switched_on(version: str, signature: str) -> None:
    request = older(version, signature)
    assert await hubspot(older_signatures=[version]).verify(request) is request
    for adapter in (hubspot(), hubspot(older_signatures=["v1" if version == "v2" else "v2"])):
        with pytest.raises(NotVerified, match="no header X-HubSpot-Signature-v3"):
            await adapter.verify(request)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_former_signature_of_something_else_is_refused(version: str) -> None:
    for signature in (V3, "", V1 if version == "v2" else V2):
        with pytest.raises(NotVerified):
            await hubspot(older_signatures=["v1", "v2"]).verify(older(version, signature))


async def test_a_former_signature_does_not_help_a_stale_one_of_today() -> None:
    headers = {**KNOWN.headers, **older("v2", V2).headers}
    late = replace(KNOWN, headers=headers, received_at=KNOWN.received_at + timedelta(hours=1))
    with pytest.raises(NotVerified, match="stale"):
        await hubspot(older_signatures=["v1", "v2"]).verify(late)


@pytest.mark.parametrize("options", [{}, {"url": URL, "older_signatures": ["v4"]}, {"url": ["ftp://a"]}])
def test_without_an_address_or_with_a_signature_unheard_of_it_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HubSpot("hubspot", [KEY], options)


def test_an_access_token_is_no_client_secret() -> None:
    with pytest.raises(ValueError, match="access token"):
        HubSpot("hubspot", ["pat-eu1-0000"], {"url": URL})


CHANGE = json.loads(KNOWN.body)[0]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"propertyValue": True},
        {"propertyValue": "anything else"},
        {"propertyName": "hs_email_optout_873245"},
        {"subscriptionType": "object.propertyChange", "objectTypeId": "0-1"},
    ],
)
def test_an_opt_out_of_a_number_is_kept_as_a_dead_letter_that_says_whose(change: dict[str, Any]) -> None:
    batch = parsed(hubspot(), encode([{**CHANGE, **change}]))
    assert batch.events == []
    assert "contact 123 of account 62515" in batch.dead_letters[0].error


@pytest.mark.parametrize(
    "change",
    [
        {"propertyValue": "false"},
        {"propertyValue": ""},
        {"propertyValue": None},
        {"propertyName": "hs_email_optout_timestamp"},
        {"propertyName": "my_hs_email_optout"},
        {"subscriptionType": "object.propertyChange", "objectTypeId": "0-2"},
        {"subscriptionType": "contact.creation"},
    ],
)
def test_other_changes_are_events_without_a_meaning(change: dict[str, Any]) -> None:
    [event] = parsed(hubspot(), encode([{**CHANGE, **change}])).events
    assert (event.type, event.email_address) == (EventType.UNKNOWN, None)
    assert event.metadata == {"portalId": "62515", "objectId": "123"}


def test_a_change_of_address_tells_it() -> None:
    change = {"propertyName": "email", "propertyValue": "ada@example.test"}
    [event] = parsed(hubspot(), encode([{**CHANGE, **change}])).events
    assert (event.type, event.email_address) == (EventType.UNKNOWN, "ada@example.test")


def test_a_repeat_is_counted_by_hubspot_but_is_no_other_event() -> None:
    bare = {**CHANGE, "propertyName": "firstname"}
    changes: list[dict[str, Any]] = [
        {},
        {"attemptNumber": 3},
        {"propertyValue": "b"},
        {"objectId": 124},
        {"portalId": 1},
        {"occurredAt": 1700000000001},
        {"eventId": 2},
    ]
    events = parsed(hubspot(), encode([{**bare, **change} for change in changes])).events
    assert len({event.id for event in events}) == len(changes) - 1


def decided(**properties: Any) -> dict[str, tuple[bool, float]]:
    contact = {"vid": 1, "portal-id": 2, "properties": {"email": {"value": "ada@example.test"}, **properties}}
    events = parsed(hubspot(), encode(contact)).events
    decisions = [decision for event in events for decision in decisions_of(event, TopicPolicy())]
    return {each.topic: (each.opted_in, each.decided_at.timestamp()) for each in decisions}


def versions(value: str, *times: int) -> dict[str, Any]:
    return {"value": value, "versions": [{"value": value, "timestamp": time} for time in times]}


def test_a_workflows_contact_has_opted_out_when_that_property_changed() -> None:
    assert decided(
        hs_email_optout=versions("true", 1700000000000, 1600000000000),
        hs_email_optout_42=versions("true", 1600000000000, 1650000000000),
        hs_email_optout_43=versions("false", 1700000000000),
        hs_email_optout_timestamp="1700000000000",
    ) == {"": (False, 1700000000), "42": (False, 1650000000)}


def test_without_versions_it_has_when_it_was_last_modified() -> None:
    assert decided(hs_email_optout="true", lastmodifieddate="1700000001000") == {"": (False, 1700000001)}


def test_a_contact_that_has_not_opted_out_has_not_opted_in() -> None:
    assert decided(hs_email_optout=versions("false", 1700000000000)) == {}
