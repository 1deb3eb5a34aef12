"""Klaviyo's system webhooks: many events a request; an HMAC over body and timestamp in the headers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, decode, elements_of, encode, inside, shaped, text
from providers.events import CONSENT_TYPES, BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, header, hmac_hex

SIGNATURE = "Klaviyo-Signature"
TIMESTAMP = "Klaviyo-Timestamp"
WEBHOOK_ID = "Klaviyo-Webhook-Id"

# Klaviyo says of another kind of webhook that it tries for 24 hours, and of neither whether it signs anew then.
PAST, FUTURE = timedelta(hours=25), timedelta(minutes=5)

PREFIX = "event:klaviyo."
SUBSCRIBED = "subscribed_to_email_marketing"
TYPES = {
    "received_email": EventType.DELIVERED,
    "opened_email": EventType.OPENED,
    "clicked_email": EventType.CLICKED,
    "bounced_email": EventType.BOUNCED,
    "dropped_email": EventType.DROPPED,
    "marked_email_as_spam": EventType.COMPLAINED,
    "unsubscribed_from_email_marketing": EventType.UNSUBSCRIBED,
    "manually_suppressed_from_email_marketing": EventType.UNSUBSCRIBED,
    "manually_unsuppressed_from_email_marketing": EventType.RESUBSCRIBED,
    SUBSCRIBED: EventType.RESUBSCRIBED,
}

# How somebody came to be subscribed, where it was their own act. PROFILE_PAGE is what an operator looks at.
OWN_ACTS = {"PREFERENCE_PAGE"}

# Where the properties of an event have the recipient's address.
ADDRESSES = ("email_address", "Recipient Email Address", "email", "$email")


class Payload(Shape):
    """What we read, under Klaviyo's own names; the rest stays in the item's payload."""

    topic: str
    external_id: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)


class Klaviyo(Adapter):
    name = "klaviyo"
    key = "the secret of a system webhook, at least 16 characters that you chose (Klaviyo › Integrations › Webhooks)"
    final_statuses = range(200, 300)
    samples = {
        "unsubscribed_from_email_marketing": {"method": "PREFERENCE_PAGE"},
        "manually_suppressed_from_email_marketing": {},
        "manually_unsuppressed_from_email_marketing": {},
        SUBSCRIBED: {"method": "PREFERENCE_PAGE"},
        "marked_email_as_spam": {},
        "received_email": {"Subject": "Sample", "$message": "01SAMPLE"},
        "bounced_email": {"Bounce Type": "Hard"},
        "dropped_email": {},
        "opened_email": {},
        "clicked_email": {"URL": "https://example.com/offer"},
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if any(len(key) < 16 for key in keys):
            raise ValueError("Klaviyo's secrets have at least 16 characters")

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE)
        timestamp = header(request, TIMESTAMP)
        check_hmac(signature, request.body + timestamp.encode(), self.keys)
        # The header has been seen hours off; the body, signed as well, has the time in UTC.
        check_fresh(posted_at(request.body) or timestamp, request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        return elements_of(body, "data")

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        event = inside(payload.payload, "data")
        attributes = inside(event, "attributes")
        properties = inside(attributes, "event_properties")
        profile = text(inside(event, "relationships", "profile", "data").get("id"))
        name = payload.topic.removeprefix(PREFIX)
        kind = TYPES.get(name, EventType.UNKNOWN)
        email_address = address_in(properties) or address_in_profile(payload.payload.get("included"))
        if email_address is None and kind in CONSENT_TYPES:
            raise Unreadable(f"{payload.topic} of the profile {profile}, without an e-mail address")
        event_id = payload.external_id or text(event.get("id"))
        method = text(properties.get("method"))
        times = attributes.get("datetime"), attributes.get("timestamp")
        return [
            Event(
                item=item,
                natural_key=(
                    payload.topic,
                    event_id,
                    text(attributes.get("uuid")),
                    folded(email_address),
                    *map(str, times),
                ),
                type=kind,
                at=moment(times[0]) or moment(times[1]),
                email_address=email_address,
                message_id=text(properties.get("$message")),
                provider_event_id=event_id,
                by_recipient=kind != EventType.RESUBSCRIBED or (name == SUBSCRIBED and method in OWN_ACTS),
                bounce_class=bounce_class(properties) if kind == EventType.BOUNCED else None,
                reason=method,
                url=text(properties.get("URL")),
                metadata={"profile": profile} if profile else {},
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        attributes = {
            "timestamp": int(at.timestamp()),
            "datetime": at.isoformat(timespec="seconds"),
            "uuid": f"{number:08x}-0000-11f1-8001-000000000000",
            "event_properties": {"email_address": email_address, **self.samples[event]},
        }
        profile = {"profile": {"data": {"type": "profile", "id": f"SAMPLE{number}"}}}
        data = {"type": "event", "id": f"sample{number}", "attributes": attributes, "relationships": profile}
        return {"external_id": f"sample{number}", "topic": f"{PREFIX}{event}", "payload": {"data": data}}

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        meta = {"timestamp": at.isoformat(), "klaviyo_webhook_id": "SAMPLE", "version": "2026-04-15"}
        return [encode({"data": samples, "meta": meta})]

    def prove(self, body: bytes, at: datetime) -> Proof:
        timestamp = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
        signature = hmac_hex(self.keys[0], body + timestamp.encode())
        return {"headers": {SIGNATURE: signature, TIMESTAMP: timestamp, WEBHOOK_ID: "SAMPLE"}}


def posted_at(body: bytes) -> Any:
    try:
        value, _ = decode(body)
    except Unreadable:
        return None
    return inside(value, "meta").get("timestamp")


def address_in(properties: Mapping[str, Any]) -> str | None:
    return next(filter(None, (address(properties.get(name)) for name in ADDRESSES)), None)


def address_in_profile(included: Any) -> str | None:
    profiles = included if isinstance(included, list) else []
    return next(filter(None, (address(inside(each, "attributes").get("email")) for each in profiles)), None)


def bounce_class(properties: Mapping[str, Any]) -> BounceClass:
    """The topic is of both kinds: in doubt it was the moment, not the address."""
    hard = str(properties.get("Bounce Type")).lower().startswith("hard")
    return BounceClass.HARD if hard else BounceClass.SOFT
