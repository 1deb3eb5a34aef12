"""Sweego: one event a request, signed together with an id and the time in three headers."""

import base64
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, header, hmac_base64

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

# In a captured request the time that is signed is the event's own; retries are not documented.
PAST, FUTURE = timedelta(hours=25), timedelta(minutes=5)

# Sweego writes soft-bounce, but hard_bounce: compared with underscores.
TYPES = {
    "email_sent": EventType.SENT,
    "delivered": EventType.DELIVERED,
    "soft_bounce": EventType.DEFERRED,
    "hard_bounce": EventType.BOUNCED,
    "complaint": EventType.COMPLAINED,
    "list_unsub": EventType.UNSUBSCRIBED,
    "email_opened": EventType.OPENED,
    "email_clicked": EventType.CLICKED,
    "email_inbound": EventType.INBOUND,
}

# Headers of a message come along; what is not one of these is the sender's.
OWN_HEADERS = (
    "x-campaign-",
    "x-client-",
    "x-mailer",
    "x-originating-ip",
    "x-swg-uid",
    "x-transaction-id",
)


class Payload(Shape):
    """What we read, under Sweego's own names; the rest stays in the item's payload."""

    event_type: str
    event_id: str | None = None
    timestamp: Any = None
    swg_uid: str | None = None
    transaction_id: str | None = None
    channel: str | None = None
    recipient: str | None = None
    sender: Any = Field(None, alias="from_")
    campaign_tags: Any = None
    headers: dict[str, Any] = Field(default_factory=dict)
    details: str | None = None
    status: str | None = None
    response_code: str | None = None
    opened: Any = Field(None, alias="open")
    click: Any = None


class Sweego(Adapter):
    name = "sweego"
    key = "the webhook's secret (app.sweego.io/webhooks), in base64"
    # No document says what else ends the retries.
    final_statuses = range(200, 300)
    samples = {
        "list_unsub": {"one_click": True},
        "complaint": {},
        "email_sent": {},
        "delivered": {},
        "soft-bounce": {"response_code": 452, "details": "452 mailbox full"},
        "hard_bounce": {"response_code": 550, "details": "550 5.1.1 no such user"},
        "email_opened": {"open": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0", "proxy": False}},
        "email_clicked": {
            "click": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0", "url": "https://example.com/offer"}
        },
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.secrets = [secret_bytes(key) for key in keys]

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE)
        timestamp = header(request, TIMESTAMP)
        message = f"{header(request, ID)}.{timestamp}.".encode() + request.body
        check_hmac(signature, message, self.secrets, encoded=hmac_base64)
        check_fresh(timestamp, request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind = TYPES.get(payload.event_type.lower().replace("-", "_"), EventType.UNKNOWN)
        email_address = person(payload, kind)
        engagement = inside(payload.click) or inside(payload.opened)
        url, ip, user_agent = (text(engagement.get(name)) for name in ("url", "ip_address", "user_agent"))
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event_type,
                    # Whether an event's own id is the same in each attempt is not documented.
                    payload.swg_uid or payload.transaction_id or payload.event_id,
                    folded(email_address),
                    str(payload.timestamp),
                    url,
                    ip,
                    user_agent,
                ),
                type=kind,
                at=moment(payload.timestamp),
                email_address=email_address,
                message_id=payload.swg_uid or payload.transaction_id,
                provider_event_id=payload.event_id,
                bounce_class=BounceClass.HARD if kind == EventType.BOUNCED else None,
                reason=payload.details or payload.status or payload.response_code,
                url=url,
                ip=ip,
                user_agent=user_agent,
                tags=tags(payload.campaign_tags),
                metadata={
                    name: value for name, value in payload.headers.items() if not name.lower().startswith(OWN_HEADERS)
                },
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event_type": event,
            "timestamp": at.isoformat(),
            "swg_uid": f"sample-{number}",
            "event_id": str(uuid4()),
            "channel": "email",
            "transaction_id": f"sample-{number}",
            "headers": {"x-mailer": "Sweego", "x-swg-uid": f"sample-{number}"},
            "campaign_tags": "sample",
            "recipient": email_address,
            **self.samples[event],
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        identity, timestamp = str(uuid4()), str(int(at.timestamp()))
        signature = hmac_base64(self.secrets[0], f"{identity}.{timestamp}.".encode() + body)
        return {"headers": {ID: identity, TIMESTAMP: timestamp, SIGNATURE: signature}}

    @classmethod
    def new_key(cls) -> str:
        return base64.b64encode(secrets.token_bytes(24)).decode()


def secret_bytes(key: str) -> bytes:
    try:
        secret = base64.b64decode(key.strip() + "=" * (-len(key.strip()) % 4), validate=True)
    except ValueError:
        secret = b""
    if len(secret) < 8:
        raise ValueError("a key that is no secret of Sweego's: it is base64")
    return secret


def person(payload: Payload, kind: EventType) -> str | None:
    """Whom an event is about; a text message's telephone number is no address."""
    if kind == EventType.INBOUND:
        return address(inside(payload.sender).get("email"))
    return None if payload.channel == "sms" else address(payload.recipient)


def tags(sent: Any) -> tuple[str, ...]:
    listed = sent if isinstance(sent, list) else [sent]
    return tuple(filter(None, map(text, listed)))
