"""Azure: Event Grid's two handshakes, a secret that must be right the first time, names in any case."""

import json
from dataclasses import replace
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.azure import Azure
from providers.decoding import encode
from providers.events import BounceClass, EventType
from tests.providers.payloads import parsed

KEY = "a-long-secret"
VALIDATION = {
    "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
    "topic": "/subscriptions/s",
    "subject": "",
    "data": {
        "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
        "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/validate?id=1",
    },
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    "eventTime": "2023-11-14T22:13:20.4030000Z",
    "metadataVersion": "1",
    "dataVersion": "1",
}
REQUEST = WebhookRequest(source="azure", body=encode([VALIDATION]), query={"key": KEY})
OPTIONS = WebhookRequest(
    source="azure", body=b"", method="OPTIONS", headers={"webhook-request-origin": "eventgrid.azure.net"}
)


def azure(**options: str) -> Azure:
    return Azure("azure", [KEY], options)


async def test_a_validation_is_answered_with_its_code() -> None:
    answer = await azure().handshake(await azure().verify(REQUEST))
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"},
    )


async def test_a_validation_without_the_secret_is_refused() -> None:
    with pytest.raises(NotVerified):
        await azure().verify(replace(REQUEST, query={}))


@pytest.mark.parametrize(
    "value",
    [
        [VALIDATION, VALIDATION],
        VALIDATION,
        [{**VALIDATION, "data": None}],
        [{**VALIDATION, "data": {"validationCode": ["x"]}}],
        [{"eventType": "other", "data": {"validationCode": "Microsoft.EventGrid.SubscriptionValidationEvent"}}],
        [],
        "Microsoft.EventGrid.SubscriptionValidationEvent",
    ],
)
async def test_what_is_no_validation_is_read_as_events(value: Any) -> None:
    assert await azure().handshake(await azure().verify(replace(REQUEST, body=encode(value)))) is None
    assert await azure().handshake(replace(REQUEST, body=encode(value)[:-1])) is None


@pytest.mark.parametrize("query", [{}, {"key": KEY}])
async def test_event_grid_may_send_cloud_events(query: dict[str, str]) -> None:
    answer = await azure().handshake(replace(OPTIONS, query=query))
    assert answer is not None
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"] == "*"


async def test_a_wrong_secret_is_refused_before_it_costs_events() -> None:
    with pytest.raises(NotVerified):
        await azure().handshake(replace(OPTIONS, query={"key": "mistyped"}))


@pytest.mark.parametrize("headers", [{}, {"webhook-request-origin": "eventemitter.example.com"}])
async def test_nobody_else_is_invited(headers: dict[str, str]) -> None:
    assert await azure().handshake(replace(OPTIONS, headers=headers)) is None


async def test_a_sovereign_cloud_has_an_origin_of_its_own() -> None:
    request = replace(OPTIONS, headers={"webhook-request-origin": "eventgrid.azure.us"})
    answer = await azure(origin="eventgrid.azure.us").handshake(request)
    assert answer is not None
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.us"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_look_is_no_handshake(method: str) -> None:
    assert await azure().handshake(replace(OPTIONS, method=method)) is None


async def test_the_secret_may_come_as_a_delivery_property() -> None:
    adapter = azure(header="X-Webhook-Secret")
    assert await adapter.verify(replace(REQUEST, headers={"x-webhook-secret": KEY}, query={}))
    with pytest.raises(NotVerified):
        await adapter.verify(REQUEST)


@pytest.mark.parametrize("status", [200, 202, 204, 400, 401, 403, 413])
def test_after_these_an_event_is_gone(status: int) -> None:
    assert status in Azure.final_statuses


@pytest.mark.parametrize("status", [205, 404, 408, 429, 500, 503])
def test_after_others_it_comes_again(status: int) -> None:
    assert status not in Azure.final_statuses


@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        ("Bounced", "", (EventType.BOUNCED, BounceClass.HARD)),
        ("Failed", "550 5.1.1 unknown", (EventType.BOUNCED, BounceClass.HARD)),
        ("failed", "550 5.7.1 refused", (EventType.BOUNCED, BounceClass.SOFT)),
        ("Failed", "", (EventType.BOUNCED, BounceClass.SOFT)),
        ("FilteredSpam", "550 5.1.1", (EventType.BOUNCED, BounceClass.SOFT)),
        ("Expanded", "", (EventType.UNKNOWN, None)),
    ],
)
def test_what_a_status_means(status: str, message: str, meaning: tuple[EventType, BounceClass | None]) -> None:
    data = {"status": status, "deliveryStatusDetails": {"statusMessage": message}}
    value = {"eventType": "Microsoft.Communication.EmailDeliveryReportReceived", "data": data}
    [event] = parsed(azure(), encode(value)).events
    assert (event.type, event.bounce_class) == meaning


def test_reports_of_one_message_to_several_recipients_are_several_events() -> None:
    values = [
        {"id": number, "eventType": "Microsoft.Communication.EmailDeliveryReportReceived", "data": {"recipient": name}}
        for number, name in ((1, "a@example.test"), (1, "b@example.test"), (2, "a@example.test"), (1, "A@example.test"))
    ]
    assert len({event.id for event in parsed(azure(), encode(values)).events}) == 3
