"""Mailomat: one event a request; the signature in its headers covers headers only."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Shape, decode, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, header, hmac_hex

SIGNATURE = "X-MOM-Webhook-Signature"
SIGNED = ("X-MOM-Webhook-Id", "X-MOM-Webhook-Event", "X-MOM-Webhook-Timestamp")
SCHEME = "sha256"

# Mailomat retries for 8 hours; whether it signs anew then is not documented.
PAST, FUTURE = timedelta(hours=24), timedelta(minutes=5)

TYPES = {
    "accepted": EventType.ACCEPTED,
    "not_accepted": EventType.DROPPED,
    "delivered": EventType.DELIVERED,
    "failure_tmp": EventType.DEFERRED,
    "failure_perm": EventType.BOUNCED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
}


class Payload(Shape):
    """What we read, under Mailomat's own names; the rest stays in the item's payload."""

    event_type: str = Field(alias="eventType")
    id: str | None = None
    occurred_at: Any = Field(None, alias="occurredAt")
    message_uuid: str | None = Field(None, alias="messageUuid")
    message_id: str | None = Field(None, alias="messageId")
    recipient: str | None = None
    payload: Any = None


class Mailomat(Adapter):
    name = "mailomat"
    key = "the webhook's secret, as Mailomat shows it"
    final_statuses = tuple(status for status in range(200, 500) if status != 429)
    samples = {
        "accepted": {},
        "not_accepted": {"reason": "no e-mails left in this month"},
        "delivered": {"delivery-status": {"code": 250, "message": "OK"}},
        "failure_tmp": {"delivery-status": {"code": 451, "message": "4.7.1 try again later"}},
        "failure_perm": {"delivery-status": {"code": 550, "message": "5.1.1 no such user"}},
        "opened": {"client": {"ip": "192.0.2.1", "user-agent": "Mozilla/5.0"}},
        "clicked": {"client": {"ip": "192.0.2.1", "user-agent": "Mozilla/5.0"}, "url": "https://example.com/offer"},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        scheme, _, signature = header(request, SIGNATURE).partition("=")
        # Never the request's choice: it could name a weaker one.
        if scheme != SCHEME:
            raise NotVerified(f"the header {SIGNATURE} does not begin with {SCHEME}=")
        check_hmac(signature, signed_text(request).encode(), self.keys)
        check_fresh(header(request, SIGNED[-1]), request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def token(self, request: Verified) -> str | None:
        try:
            return signed_text(request)
        except NotVerified:
            return None

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        details = inside(payload.payload)
        status = inside(details, "delivery-status")
        client = inside(details, "client")
        kind = TYPES.get(payload.event_type, EventType.UNKNOWN)
        email_address = address(payload.recipient)
        url, ip, user_agent = text(details.get("url")), text(client.get("ip")), text(client.get("user-agent"))
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event_type,
                    # Whether an event's own id is the same in each attempt is not documented.
                    payload.message_uuid or payload.message_id or payload.id,
                    folded(email_address),
                    # The same moment to the microsecond, where Mailomat knows it.
                    str(details.get("timestamp") or payload.occurred_at),
                    url,
                    ip,
                    user_agent,
                ),
                type=kind,
                at=moment(details.get("timestamp")) or moment(payload.occurred_at),
                email_address=email_address,
                message_id=payload.message_uuid or (payload.message_id and payload.message_id.strip("<>")),
                provider_event_id=payload.id,
                bounce_class=bounce_class(text(status.get("code"))) if kind == EventType.BOUNCED else None,
                reason=text(status.get("message")) or text(details.get("reason")),
                url=url,
                ip=ip,
                user_agent=user_agent,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "eventType": event,
            "occurredAt": at.isoformat(timespec="seconds"),
            "messageUuid": str(UUID(int=number)),
            "messageId": f"sample-{number}@s.example.com",
            "recipient": email_address,
            "payload": {
                "event": event,
                "timestamp": at.timestamp(),
                "recipient": email_address,
                **self.samples[event],
            },
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        event = inside(decode(body)[0])
        values = (str(event.get("id")), str(event.get("eventType")), str(int(at.timestamp())))
        signature = hmac_hex(self.keys[0], ".".join(values).encode())
        return {"headers": {SIGNATURE: f"{SCHEME}={signature}", **dict(zip(SIGNED, values, strict=True))}}


def signed_text(request: WebhookRequest) -> str:
    return ".".join(header(request, name) for name in SIGNED)


def bounce_class(code: str | None) -> BounceClass:
    """Mailomat has given up; where the last answer was a temporary one, the address may still be good."""
    return BounceClass.SOFT if (code or "").startswith("4") else BounceClass.HARD
