"""Twilio SendGrid: many events a request; an ECDSA signature over timestamp and body in the headers."""

import base64
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Number, Shape, encode, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import (
    ECDSA,
    check_ecdsa,
    check_fresh,
    ecdsa_private_key,
    ecdsa_public_key,
    header,
    new_ecdsa_key,
)

SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"

# The signature is of the time of posting. SendGrid retries for 24 hours; whether it signs anew then is not documented.
PAST, FUTURE = timedelta(hours=25), timedelta(minutes=5)

TYPES = {
    "processed": EventType.ACCEPTED,
    "deferred": EventType.DEFERRED,
    "delivered": EventType.DELIVERED,
    "bounce": EventType.BOUNCED,
    "dropped": EventType.DROPPED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "spamreport": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "group_unsubscribe": EventType.UNSUBSCRIBED,
    "group_resubscribe": EventType.RESUBSCRIBED,
}

# Custom arguments lie among SendGrid's own fields; what is not one of these is the sender's.
OWN_FIELDS = frozenset(
    "email timestamp event smtp-id useragent ip sg_event_id sg_message_id reason status response tls url url_offset"
    " category asm_group_id attempt type pool bounce_classification sg_machine_open sg_content_type sg_user_id"
    " sg_template_id sg_template_name template_id template_version_id template_hash send_at post_type cert_err"
    " marketing_campaign_id marketing_campaign_name marketing_campaign_version marketing_campaign_split_id"
    " singlesend_id singlesend_name phase_id mc_stats newsletter nlvx_campaign_id nlvx_campaign_split_id"
    " nlvx_user_id".split()
)


class Payload(Shape):
    """What we read, under SendGrid's own names; the rest stays in the item's payload."""

    event: str
    email: str | None = None
    timestamp: Any = None
    sg_event_id: str | None = None
    sg_message_id: str | None = None
    smtp_id: str | None = Field(None, alias="smtp-id")
    type: str | None = None
    asm_group_id: Number = None
    category: str | list[str] | None = None
    reason: str | None = None
    response: str | None = None
    attempt: str | None = None
    url: str | None = None
    ip: str | None = None
    user_agent: str | None = Field(None, alias="useragent")
    sg_machine_open: bool | None = None


class SendGrid(Adapter):
    name = "sendgrid"
    key = (
        "the verification key of a signed Event Webhook (Settings › Mail Settings › Event Webhooks › Security features):"
        " one line of base64 that begins with MFkw"
    )
    final_statuses = range(200, 300)
    samples = {
        "unsubscribe": {},
        "spamreport": {},
        "group_unsubscribe": {"asm_group_id": 42, "url": "https://example.com/", "ip": "192.0.2.1"},
        "group_resubscribe": {"asm_group_id": 42, "url": "https://example.com/", "ip": "192.0.2.1"},
        "processed": {"send_at": 0},
        "deferred": {"response": "450 4.2.1 try again later", "attempt": "3"},
        "delivered": {"response": "250 OK", "tls": 1, "ip": "192.0.2.10"},
        "bounce": {
            "type": "bounce",
            "reason": "550 5.1.1 no such user",
            "status": "5.1.1",
            "bounce_classification": "Invalid Address",
        },
        "dropped": {"reason": "Bounced Address", "status": "5.0.0"},
        "open": {"ip": "192.0.2.1", "useragent": "Mozilla/5.0", "sg_machine_open": False},
        "click": {"ip": "192.0.2.1", "useragent": "Mozilla/5.0", "url": "https://example.com/offer"},
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.public_keys = [ecdsa_public_key(key) for key in keys]

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE)
        timestamp = header(request, TIMESTAMP)
        check_ecdsa(signature, timestamp.encode() + request.body, self.public_keys)
        check_fresh(timestamp, request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        email_address = address(payload.email)
        at = moment(payload.timestamp)
        group = payload.asm_group_id if payload.event.startswith("group_") else None
        return [
            Event(
                item=item,
                natural_key=natural_key(payload, email_address),
                type=TYPES.get(payload.event, EventType.UNKNOWN),
                at=at,
                email_address=email_address,
                message_id=payload.sg_message_id and payload.sg_message_id.partition(".")[0],
                provider_event_id=payload.sg_event_id,
                topic=group,
                # Who has left a group that is not told has left everything; who has joined one, nothing for certain.
                by_recipient=bool(group) or payload.event != "group_resubscribe",
                bounce_class=bounce_class(payload),
                reason=payload.reason or payload.response,
                url=payload.url,
                ip=payload.ip,
                user_agent=payload.user_agent,
                is_machine=payload.sg_machine_open,
                tags=tags(payload.category),
                metadata={name: item.value[name] for name in item.value.keys() - OWN_FIELDS},
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "email": email_address,
            "timestamp": int(at.timestamp()),
            "smtp-id": f"<sample-{number}@example.com>",
            "event": event,
            "category": ["sample"],
            "sg_event_id": secrets.token_urlsafe(16),
            "sg_message_id": f"sample-{number}.recvd-0",
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        # Real bodies end each event's line so; verifying them as anything but bytes fails.
        return [b"[" + b",\r\n".join(map(encode, samples)) + b"]\r\n"]

    def prove(self, body: bytes, at: datetime) -> Proof:
        timestamp = str(int(at.timestamp()))
        signature = ecdsa_private_key(self.keys[0]).sign(timestamp.encode() + body, ECDSA)
        return {"headers": {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}}

    @classmethod
    def new_key(cls) -> str:
        return new_ecdsa_key()


def natural_key(payload: Payload, email_address: str | None) -> tuple[str | None, ...]:
    """Not `sg_event_id`: it changes between repeats, is missing from unsubscribes, and different events share one.

    The timestamp stands as it was sent: an event whose time cannot be read is still itself.
    """
    return (
        payload.event,
        folded(email_address),
        payload.sg_message_id or payload.smtp_id,
        str(payload.timestamp),
        payload.url,
        payload.asm_group_id,
        payload.attempt,
        payload.reason or payload.response,
        payload.ip,
        payload.user_agent,
    )


def bounce_class(payload: Payload) -> BounceClass | None:
    """SendGrid's `type` says whether the address or the moment was wrong; the SMTP status often contradicts it."""
    if payload.event != "bounce":
        return None
    return BounceClass.SOFT if payload.type in {"blocked", "expired"} else BounceClass.HARD


def tags(category: str | list[str] | None) -> tuple[str, ...]:
    return (category,) if isinstance(category, str) else tuple(category or ())
