"""Standard Webhooks: the scheme's known answers, the senders that stray from it, and events by declaration."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from providers.adapter import NotVerified, Verified, WebhookRequest
from providers.decoding import encode
from providers.events import Event, EventType
from providers.standard_webhooks import StandardWebhooks
from tests.providers.payloads import parsed
from webhooks.consent import TopicPolicy, decisions_of

BODY = b'{"type":"email.bounced","created_at":"2023-11-14T22:13:20.000Z","data":{"email_id":"e1","to":["ada@example.test"]}}'
NEW = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
OLD = "whsec_ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A="
PUBLIC = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
PRIVATE = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA=="
BY_NEW = "v1,ScCZC4jgsOzKbTPuMMlS9LQ2hU7HOYK5Po3bUdW7Qso="
BY_OLD = "v1,0CFk7VgSauKKplmGtUiSaMZglJAeIFV9/ChOXmDNQo4="
BY_PRIVATE = "v1a,g1Wb/9NdcZKk4QOxlYuL2UK+YlFumHCvahDk5yLaJ2F6NbpX06nRtcvJy+967rcTGIfKPNfuEheO80nUeeSuAw=="
SIGNED_AT = datetime.fromtimestamp(1700000000, UTC)


def request(signature: str = BY_NEW, prefix: str = "webhook", **others: str) -> WebhookRequest:
    told = {"id": "msg_2abcDEFghiJKLmnoPQRstu", "timestamp": "1700000000", "signature": signature} | others
    headers = {f"{prefix}-{name}": value for name, value in told.items()}
    return WebhookRequest(source="acme", body=BODY, headers=headers, received_at=SIGNED_AT)


def adapter(*keys: str, **options: Any) -> StandardWebhooks:
    return StandardWebhooks("acme", keys or [NEW], options)


@pytest.mark.parametrize(
    ("keys", "signature"),
    [
        ([NEW], BY_NEW),
        ([OLD], BY_OLD),
        ([OLD, NEW], BY_NEW),
        ([NEW], f"{BY_OLD} {BY_NEW}"),
        ([NEW], f"{BY_PRIVATE} {BY_NEW}"),
        ([NEW], f"v2,abc v1 , v1,a,b {BY_NEW}"),
        ([PUBLIC], BY_PRIVATE),
        ([PRIVATE], BY_PRIVATE),
        ([PUBLIC], f"{BY_NEW} {BY_PRIVATE}"),
        ([NEW, PUBLIC], BY_PRIVATE),
        ([NEW.removeprefix("whsec_")], BY_NEW),
        ([NEW.rstrip("=")], BY_NEW),
        ([NEW.replace("whsec_", "acme_")], BY_NEW),
    ],
)
async def test_the_known_signatures_are_genuine(keys: list[str], signature: str) -> None:
    assert await adapter(*keys).verify(request(signature))


async def test_svixs_own_header_names_will_do() -> None:
    assert await adapter().verify(request(prefix="svix"))


@pytest.mark.parametrize(
    "changed",
    [
        replace(request(), body=BODY + b" "),
        request(timestamp="1700000001"),
        request(id="msg_2abcDEFghiJKLmnoPQRstux"),
        request("v1"),
        request("v1,!!!"),
        request("v1,"),
        request(""),
        request(BY_NEW.replace("v1,", "v2,")),
        request(BY_NEW.replace("v1,", "v1a,")),
        request(BY_NEW.removeprefix("v1,")),
        request(BY_NEW.removesuffix("=")),
        request(BY_OLD),
        request(BY_PRIVATE),
        replace(request(), headers={}),
    ],
)
async def test_what_is_not_what_was_signed_is_refused(changed: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await adapter().verify(changed)


@pytest.mark.parametrize("signature", [BY_PRIVATE[:-3] + "x==", BY_PRIVATE.replace("v1a,", "v1,"), "v1a,", BY_NEW])
async def test_a_public_key_takes_its_own_signatures_only(signature: str) -> None:
    with pytest.raises(NotVerified):
        await adapter(PUBLIC).verify(request(signature))


async def test_all_three_headers_are_of_one_prefix() -> None:
    mixed = {**request(prefix="svix").headers, "webhook-id": "msg_other"}
    genuine = replace(request(), headers=mixed)
    assert adapter().delivery_id(await adapter().verify(genuine)) == "msg_2abcDEFghiJKLmnoPQRstu"
    halves = {"svix-id": "a", "webhook-timestamp": "1700000000", "webhook-signature": BY_NEW}
    with pytest.raises(NotVerified, match="no headers webhook or svix-id, -timestamp and -signature"):
        await adapter().verify(replace(request(), headers=halves))


@pytest.mark.parametrize("timestamp", ["1700000000.0", "1.7e9", " 1700000000", "+1700000000", "", "1700000000000"])
async def test_a_timestamp_is_digits_in_seconds(timestamp: str) -> None:
    with pytest.raises(NotVerified, match="not a Unix time in seconds"):
        await adapter().verify(request(timestamp=timestamp))


@pytest.mark.parametrize(("age", "refusal"), [(301, "stale: signed 301 s ago"), (-301, "301 s in the future")])
async def test_a_genuine_signature_has_its_time(age: int, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await adapter().verify(replace(request(), received_at=SIGNED_AT + timedelta(seconds=age)))
    assert await adapter(signature={"tolerance": 600}).verify(
        replace(request(), received_at=SIGNED_AT + timedelta(seconds=age))
    )


async def test_thousands_of_signatures_are_not_all_computed() -> None:
    with pytest.raises(NotVerified):
        await adapter().verify(request(f"{'v1,x ' * 16}{BY_NEW}"))


CM = {"headers": ["svix"], "key": "text", "digest": "sha512", "timestamp": "milliseconds", "entry": ""}
BY_CM = "LaFcKPoOFkWHsmA9z1Fe2DZmMonwJ1GUIDqSE+54iy2fWKf7bTYJcAEJSl8G6/8nd6iZI/e1W6iSnAFwEgZcqg=="


async def test_cm_com_signs_by_the_secrets_text_sha_512_and_milliseconds() -> None:
    cm = adapter("cm-secret-0001", signature=CM)
    assert await cm.verify(request(BY_CM, "svix", timestamp="1700000000000"))
    for wrong in (
        request(BY_CM, "svix"),
        request(f"v1,{BY_CM}", "svix", timestamp="1700000000000"),
        request(BY_CM, timestamp="1700000000000"),
    ):
        with pytest.raises(NotVerified):
            await cm.verify(wrong)


@pytest.mark.parametrize("keys", [[NEW], [PRIVATE], ["cm-secret-0001"]])
async def test_what_is_sent_to_try_it_out_is_signed_as_settings_say(keys: list[str]) -> None:
    one = adapter(*keys, **({"signature": CM} if keys == ["cm-secret-0001"] else {}))
    [signed] = one.sign([one.sample("email.bounced", "ada@example.test", SIGNED_AT, 1)], SIGNED_AT)
    assert await one.verify(signed)


def test_a_public_key_cannot_sign() -> None:
    with pytest.raises(ValueError, match="public half"):
        adapter(PUBLIC).prove(BODY, SIGNED_AT)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_%%%", "two words", "whpk_AQID", PUBLIC[:-4], "whsk_AQID"])
def test_what_cannot_be_a_secret_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        adapter(key)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"signature": {"entyr": ""}}, "do you mean entry"),
        ({"signature": {"key": "utf8"}}, "'base64' or 'text'"),
        ({"signature": {"headers": ["x y"]}}, "is no header's name"),
        ({"event": {}}, "do you mean events"),
        ({"events": {"types": {}}}, "says nothing"),
    ],
)
def test_a_mistake_is_told_with_what_to_write_instead(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        adapter(**options)


def read(body: dict[str, Any], delivery_id: str | None = "msg_1", **options: Any) -> list[Event]:
    headers = {f"webhook-{name}": str(delivery_id) for name in ("id", "timestamp", "signature")} if delivery_id else {}
    request = WebhookRequest(source="acme", body=encode(body), headers=headers, received_at=SIGNED_AT)
    return list(adapter(**options).parse(Verified(request)).events)


UNSUBSCRIBED = {
    "type": "email.unsubscribed",
    "timestamp": "2023-11-14T22:13:20Z",
    "data": {"email": "ada@example.test"},
}


def test_the_webhook_id_names_the_event() -> None:
    [event] = read(UNSUBSCRIBED)
    assert event.provider_event_id == "msg_1"
    [again] = read({**UNSUBSCRIBED, "attempt": 2})
    [another] = read(UNSUBSCRIBED, "msg_2")
    assert event.id == again.id != another.id


def test_without_its_headers_a_message_is_named_by_its_content_in_whatever_order() -> None:
    [event] = read(UNSUBSCRIBED, None)
    [again] = read(dict(reversed(UNSUBSCRIBED.items())), None)
    [another] = read({**UNSUBSCRIBED, "list": "news"}, None)
    assert event.id == again.id != another.id


def test_the_same_id_from_two_senders_is_two_events() -> None:
    [one] = parsed(StandardWebhooks("acme", [NEW]), encode(UNSUBSCRIBED)).events
    [other] = parsed(StandardWebhooks("other", [NEW]), encode(UNSUBSCRIBED)).events
    assert one.id != other.id


def test_a_message_to_several_is_an_event_for_each() -> None:
    events = read({**UNSUBSCRIBED, "data": {"to": ["ada@example.test", "Bob <bob@example.test>"]}})
    assert [event.email_address for event in events] == ["ada@example.test", "bob@example.test"]
    assert len({event.id for event in events}) == 2


def test_settings_say_what_types_mean_and_where_things_lie() -> None:
    options = {
        "types": {"list.left": "unsubscribed", "email.opened": "clicked"},
        "address": "data.person.mail",
        "topic": "data.list.id",
    }
    [event] = read(
        {"type": "list.left", "data": {"person": {"mail": "ada@example.test"}, "list": {"id": 7}}}, events=options
    )
    assert (event.type, event.email_address, event.topic) == (EventType.UNSUBSCRIBED, "ada@example.test", "7")
    [event] = read({"type": "email.unsubscribed", "data": {}}, events=options)
    assert event.type == EventType.UNKNOWN


@pytest.mark.parametrize(
    ("meaning", "topics"),
    [
        ("unsubscribed", {"": False, "news": False}),
        ("complained", {"": False}),
        ("resubscribed", {}),
        ("resubscribed by recipient", {"news": True}),
        ("bounced hard", {}),
    ],
)
def test_an_opt_in_counts_where_settings_say_that_the_recipient_did_it(meaning: str, topics: dict[str, bool]) -> None:
    [event] = read({**UNSUBSCRIBED, "type": "x", "list": "news"}, events={"types": {"x": meaning}, "topic": "list"})
    policy = TopicPolicy(leaving_leaves_all=StandardWebhooks.leaving_a_topic_leaves_all)
    assert {decision.topic: decision.opted_in for decision in decisions_of(event, policy)} == topics


def test_410_would_switch_the_webhook_off() -> None:
    assert 410 in StandardWebhooks.final_statuses
