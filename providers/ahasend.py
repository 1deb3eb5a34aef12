"""AhaSend: one event a request, signed as Standard Webhooks say, but by the secret's text itself."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.standard_signed import Scheme, StandardAdapter

LITERAL = Scheme(key="text")

TYPES = {
    "message.reception": EventType.ACCEPTED,
    "message.delivered": EventType.DELIVERED,
    "message.transient_error": EventType.DEFERRED,
    "message.failed": EventType.BOUNCED,
    "message.bounced": EventType.BOUNCED,
    "message.suppressed": EventType.DROPPED,
    "message.opened": EventType.OPENED,
    "message.clicked": EventType.CLICKED,
    "message.routing": EventType.INBOUND,
    "route.message": EventType.INBOUND,
}

# By a word in the reason for a suppression.
SUPPRESSIONS = {"complain": EventType.COMPLAINED, "unsub": EventType.UNSUBSCRIBED}

# What AhaSend's classifier calls a bounce that says nothing against the address.
SOFT = frozenset(
    "BadConnection DNSFailure MessageExpired NoAnswerFromHost QuotaIssues RoutingErrors TransientFailure".split()
)


class Payload(Shape):
    """What we read, under AhaSend's own names; the rest stays in the item's payload."""

    type: str
    timestamp: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class Data(Shape):
    recipient: str | None = None
    sender: str | None = Field(None, alias="from")
    id: str | None = None
    message_id_header: str | None = None
    message_id: str | None = None
    reason: str | None = None
    url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    is_bot: bool | None = None


class AhaSend(StandardAdapter):
    name = "ahasend"
    key = "the secret of a webhook (aha-whsec-…) or of a route (aha-rsec-…), as AhaSend shows it: all of it, prefix included"
    samples = {
        "suppression.created": {"reason": "Spam complaint", "sending_domain": "example.com"},
        "message.reception": {},
        "message.delivered": {"delivery_attempt": {"smtp_code": 250, "response": "OK: queued"}},
        "message.transient_error": {"delivery_attempt": {"smtp_code": 451, "response": "4.7.1 try again later"}},
        "message.failed": {},
        "message.bounced": {
            "delivery_attempt": {
                "classification": "InvalidRecipient",
                "smtp_code": 550,
                "response": "5.1.1 no such user",
            }
        },
        "message.suppressed": {},
        "message.opened": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0", "is_bot": False},
        "message.clicked": {
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
            "is_bot": False,
            "url": "https://example.com/offer",
        },
    }

    @property
    def scheme(self) -> Scheme:
        return LITERAL

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        data = shaped(Data, payload.data)
        attempt = inside(payload.data, "delivery_attempt")
        kind = event_type(payload, data)
        email_address = address(data.sender if kind == EventType.INBOUND else data.recipient)
        message_id = data.message_id_header or data.message_id or data.id
        return [
            Event(
                item=item,
                natural_key=(
                    item.delivery_id,
                    payload.type,
                    folded(email_address),
                    str(payload.timestamp),
                    message_id,
                    data.url,
                ),
                type=kind,
                at=moment(payload.timestamp),
                email_address=email_address,
                message_id=message_id and message_id.strip("<>"),
                provider_event_id=item.delivery_id,
                bounce_class=bounce_class(payload.type, attempt) if kind == EventType.BOUNCED else None,
                reason=text(attempt.get("response")) or text(attempt.get("description")) or data.reason,
                url=data.url,
                ip=data.ip,
                user_agent=data.user_agent,
                # AhaSend says it of every event, but means it of these.
                is_machine=data.is_bot if kind in {EventType.OPENED, EventType.CLICKED} else None,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        data: dict[str, Any] = {"account_id": "sample", "recipient": email_address}
        if event.startswith("message."):
            data |= {
                "event": f"on_{event.removeprefix('message.')}",
                "from": "hi@example.com",
                "subject": "Sample",
                "message_id_header": f"<sample-{number}@example.com>",
                "id": f"sample-{number}",
            }
        return {"type": event, "webhook_id": "sample", "timestamp": iso(at), "data": {**data, **self.samples[event]}}

    @classmethod
    def new_key(cls) -> str:
        return f"aha-whsec-{secrets.token_urlsafe(24)}"


def event_type(payload: Payload, data: Data) -> EventType:
    """Complaints have no event of their own: AhaSend stops sending to whoever made one or has left, and says why."""
    if payload.type == "suppression.created":
        words = (data.reason or "").lower()
        return next((kind for word, kind in SUPPRESSIONS.items() if word in words), EventType.UNKNOWN)
    return TYPES.get(payload.type, EventType.UNKNOWN)


def bounce_class(name: str, attempt: dict[str, Any]) -> BounceClass:
    """`message.failed` is a message that AhaSend gave up after many temporary failures."""
    is_soft = name == "message.failed" or text(attempt.get("classification")) in SOFT
    return BounceClass.SOFT if is_soft else BounceClass.HARD
