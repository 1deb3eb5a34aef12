"""ZeptoMail: what is signed is the JSON in a form, and what that says is written in many ways."""

from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.signing import hmac_base64
from providers.zeptomail import SIGNATURE, ZeptoMail, notification
from tests.providers.payloads import parsed

KEY = "zepto-auth-key-0001"
MAC = "YEks4T1LgCDxmpViXxtM7qAGFlB4WoLIbE5aqyuxXT4="
JSON = (
    b'{"event_name":["hardbounce"],"webhook_request_id":"r-1","event_message":[{"request_id":"m-1","email_info":'
    b'{"email_reference":"e-1","to":[{"email_address":{"address":"ada@example.test"}}]},"event_data":[{"object":'
    b'"hardbounce","details":[{"reason":"550 5.1.1","time":"2023-11-14T22:13:20Z"}]}]}]}'
)
FORM = b"eventData=" + quote(JSON, safe="").encode()


def request(
    body: bytes, signature: str = f"ts=1700000000000;s={quote(MAC, safe='')};s-algorithm=HmacSHA256"
) -> WebhookRequest:
    return WebhookRequest(source="zeptomail", body=body, headers={SIGNATURE: signature})


def zeptomail(*keys: str, **options: str) -> ZeptoMail:
    return ZeptoMail("zeptomail", keys or (KEY,), options)


@pytest.mark.parametrize("body", [JSON, FORM, b"=" + JSON], ids=["JSON", "form", "form without a name"])
async def test_the_known_signature_is_genuine_in_every_body_that_holds_the_json(body: bytes) -> None:
    batch = zeptomail().parse(await zeptomail("another", KEY).verify(request(body)))
    assert [(each.type, each.email_address) for each in batch.events] == [(EventType.BOUNCED, "ada@example.test")]


async def test_a_form_is_unpacked_as_forms_are() -> None:
    json = '{"event_name": "spam + é"}'.encode()
    body = b"data=" + quote_plus(json).encode()
    await zeptomail().verify(request(body, f"s={quote(hmac_base64(KEY, json))}"))


@pytest.mark.parametrize(
    "signature",
    [
        f"s={MAC}",
        f"ts=1;s={MAC};s-algorithm=HmacSHA256",
        f" s-algorithm=HmacSHA256 ; s={quote(MAC)} ; ts=now",
    ],
    ids=["alone", "not percent-encoded", "another order"],
)
async def test_only_the_mac_counts_for_the_time_beside_it_is_not_signed(signature: str) -> None:
    await zeptomail().verify(request(JSON, signature))


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (JSON + b" ", f"s={MAC}"),
        (FORM + b"&more=1", f"s={MAC}"),
        (JSON.replace(b"ada", b"eve"), f"s={MAC}"),
        (JSON, f"s={MAC[:-2]}A="),
        (JSON, "s="),
        (JSON, MAC),
        (JSON, f"s={MAC};s-algorithm=HmacSHA1"),
        (b"", f"s={MAC}"),
    ],
)
async def test_any_other_signature_is_refused(body: bytes, signature: str) -> None:
    with pytest.raises(NotVerified):
        await zeptomail().verify(request(body, signature))


async def test_with_the_option_header_the_key_is_that_headers_value_and_nothing_else_counts() -> None:
    adapter = zeptomail(header="X-Webhook-Secret")
    [signed] = adapter.sign([{"event_name": "spam"}], request(b"").received_at)
    await adapter.verify(signed)
    with pytest.raises(NotVerified, match="X-Webhook-Secret"):
        await adapter.verify(request(JSON))


def kind_of(event_name: Any, of_object: Any = None) -> EventType:
    message = {
        "email_info": {"to": [{"email_address": {"address": "ada@example.test"}}]},
        "event_data": [{"object": of_object, "details": [{}]}],
    }
    [event] = parsed(zeptomail(), encode({"event_name": event_name, "event_message": [message]})).events
    return event.type


@pytest.mark.parametrize(
    ("event_name", "of_object", "kind"),
    [
        ("hardbounce", None, EventType.BOUNCED),
        (["Hard Bounce"], None, EventType.BOUNCED),
        (["email_open"], "email_open", EventType.OPENED),
        (["feedbackloop"], None, EventType.COMPLAINED),
        (["made_up"], "fbl_complaint", EventType.COMPLAINED),
        (["softbounce", "hardbounce"], "hardbounce", EventType.BOUNCED),
        (["link_click"], None, EventType.CLICKED),
        (["unsubscribe"], None, EventType.UNSUBSCRIBED),
        (["made_up"], None, EventType.UNKNOWN),
    ],
)
def test_events_are_known_however_they_are_spelt(event_name: Any, of_object: Any, kind: EventType) -> None:
    assert kind_of(event_name, of_object) == kind


def id_of(details: dict[str, Any] | None = None, name: str = "email_link_click", **other: Any) -> str:
    info = {"email_reference": "e-1", "to": [{"email_address": {"address": "ada@example.test"}}]} | other
    base = {"time": "2023-11-14T22:13:20Z", "clicked_link": "https://a"}
    data = [{"object": name, "details": [base | (details or {})]}]
    message = {"request_id": "m-1", "email_info": info, "event_data": data}
    return parsed(zeptomail(), encode({"event_name": [name], "event_message": [message]})).events[0].id


def test_a_repeat_is_the_same_event() -> None:
    assert id_of() == id_of(to={"email_address": {"address": "ADA@example.test"}}) == id_of(subject="x")


@pytest.mark.parametrize(
    "other",
    [
        {"name": "email_open"},
        {"email_reference": "e-2"},
        {"to": {"email_address": {"address": "bob@example.test"}}},
        {"details": {"time": "2023-11-14T22:13:21Z"}},
        {"details": {"clicked_link": "https://b"}},
        {"details": {"user_agent": "b"}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()


@pytest.mark.parametrize("body", [b"", b"{}", b"test=1", b'{"hello": "zoho"}'])
async def test_the_trial_on_saving_is_answered_and_has_no_effect(body: bytes) -> None:
    unproven = WebhookRequest(source="zeptomail", body=body)
    assert await zeptomail().handshake(await zeptomail().verify(unproven))
    proven = request(body, f"s={quote(hmac_base64(KEY, notification(body)), safe='')}")
    assert await zeptomail().handshake(await zeptomail().verify(proven)) is None


async def test_an_event_without_proof_is_refused_whatever_lies_around_it() -> None:
    for body in (JSON, FORM, b"x" + JSON):
        with pytest.raises(NotVerified):
            await zeptomail().verify(WebhookRequest(source="zeptomail", body=body))
