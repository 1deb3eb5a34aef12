"""Mailtrap: batches of events, as JSON or one a line; an HMAC over the body in a header."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, elements, elements_of, encode, is_readable, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_hmac, header, hmac_hex

SIGNATURE = "Mailtrap-Signature"

TYPES = {
    "delivery": EventType.DELIVERED,
    "soft bounce": EventType.DEFERRED,
    "suspension": EventType.DEFERRED,
    "bounce": EventType.BOUNCED,
    "reject": EventType.DROPPED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "spam": EventType.COMPLAINED,
    "inbound.message_received": EventType.INBOUND,
}


class Payload(Shape):
    """What we read, under Mailtrap's own names; the rest stays in the item's payload."""

    event: str
    event_id: str | None = None
    message_id: str | None = None
    email: str | None = None
    sender: str | None = Field(None, alias="from")
    timestamp: Any = None
    bounce_category: str | None = None
    reason: str | None = None
    response: str | None = None
    url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    category: str | None = None
    custom_variables: dict[str, Any] = Field(default_factory=dict)


class Mailtrap(Adapter):
    name = "mailtrap"
    key = "the signature key of a webhook (Mailtrap › Settings › Webhooks › the webhook): 32 hexadecimal digits"
    # Anything else is sent again, 40 times; then Mailtrap pauses the webhook.
    final_statuses = (200,)
    samples = {
        "unsubscribe": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "spam": {},
        "delivery": {},
        "soft bounce": {"response": "452 4.2.2 mailbox full", "response_code": 452, "bounce_category": "overquota"},
        "bounce": {"response": "550 5.1.1 no such user", "response_code": 550, "bounce_category": "badrecipient"},
        "suspension": {"reason": "limit reached"},
        "reject": {"reason": "recipient is suppressed"},
        "open": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "click": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0", "url": "https://example.com/offer"},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        check_hmac(header(request, SIGNATURE).lower(), request.body, self.keys)
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        """`{"events": […]}`, or an event a line: by the body itself, for no content type is signed."""
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) > 1 and any(map(is_object, lines)) and not is_readable(body):
            return lines
        try:
            return elements_of(body, "events")
        except Unreadable:
            return elements(body)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind = TYPES.get(payload.event, EventType.UNKNOWN)
        email_address = address(payload.sender if kind == EventType.INBOUND else payload.email)
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event,
                    # What has no id (the audit log) is itself word for word.
                    payload.event_id or item.payload.decode(),
                    payload.message_id,
                    folded(email_address),
                    str(payload.timestamp),
                    payload.url,
                ),
                type=kind,
                at=moment(payload.timestamp),
                email_address=email_address,
                message_id=payload.message_id,
                provider_event_id=payload.event_id,
                bounce_class=bounce_class(payload) if kind == EventType.BOUNCED else None,
                reason=payload.response or payload.reason,
                url=payload.url,
                ip=payload.ip,
                user_agent=payload.user_agent,
                tags=(payload.category,) if payload.category else (),
                metadata=payload.custom_variables,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event": event,
            "email": email_address,
            "event_id": f"sample-event-{number}",
            "message_id": f"sample-message-{number}",
            "timestamp": int(at.timestamp()),
            "category": "sample",
            "custom_variables": {},
            "sending_stream": "transactional",
            "sending_domain_name": "example.com",
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode({"events": samples})]

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {"headers": {SIGNATURE: hmac_hex(self.keys[0], body)}}

    @classmethod
    def new_key(cls) -> str:
        return secrets.token_hex(16)


def is_object(line: bytes) -> bool:
    return line.lstrip().startswith(b"{") and is_readable(line)


def bounce_class(payload: Payload) -> BounceClass:
    return BounceClass.HARD if payload.bounce_category in {None, "badrecipient"} else BounceClass.SOFT
