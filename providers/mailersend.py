"""MailerSend: one event a request; an HMAC over the body in a header."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Shape, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.signing import check_hmac, header, hmac_hex

SIGNATURE = "Signature"

# What MailerSend signs its test of a new address with: it stands in its documentation, so anybody can.
TEST_SECRET = "test_Am3L1GuOIc4blLUuHqAPxxwkZaJyEk8G"  # noqa: S105
TEST = "webhook.test"

TYPES = {
    "activity.sent": EventType.SENT,
    "activity.delivered": EventType.DELIVERED,
    "activity.deferred": EventType.DEFERRED,
    "activity.soft_bounced": EventType.BOUNCED,
    "activity.hard_bounced": EventType.BOUNCED,
    "activity.suppressed": EventType.DROPPED,
    "activity.opened": EventType.OPENED,
    "activity.opened_unique": EventType.OPENED,
    "activity.clicked": EventType.CLICKED,
    "activity.clicked_unique": EventType.CLICKED,
    "activity.unsubscribed": EventType.UNSUBSCRIBED,
    "activity.spam_complaint": EventType.COMPLAINED,
    "inbound.message": EventType.INBOUND,
}

BOUNCE_CLASSES = {"activity.soft_bounced": BounceClass.SOFT, "activity.hard_bounced": BounceClass.HARD}

REASONS = ("readable_reason", "reason", "bounce_reason", "unsubscribe_reason", "suppression_reason")


class Payload(Shape):
    type: str
    created_at: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class MailerSend(Adapter):
    name = "mailersend"
    key = "the signing secret of a webhook (MailerSend › Domains › Manage › Webhooks), not an API token"
    final_statuses = (*range(200, 300), *(status for status in range(400, 500) if status != 429))
    samples = {
        "activity.unsubscribed": {"meta": {"unsubscribe_reason": "NO_LONGER_WANT"}},
        "activity.spam_complaint": {},
        "activity.sent": {},
        "activity.delivered": {},
        "activity.deferred": {},
        "activity.soft_bounced": {"meta": {"bounce_reason": "mailbox full", "bounce_code": 452, "bounce_type": "soft"}},
        "activity.hard_bounced": {"meta": {"bounce_reason": "no such user", "bounce_code": 550, "bounce_type": "hard"}},
        "activity.suppressed": {"meta": {"suppression_reason": "on_hold"}},
        "activity.opened": {"meta": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"}},
        "activity.clicked": {
            "meta": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0", "url": "https://example.com/offer"}
        },
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if TEST_SECRET in keys:
            raise ValueError(f"MailerSend's public test secret is known to everybody: a key is {self.key}")

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE).lower()
        try:
            check_hmac(signature, request.body, self.keys)
        except NotVerified:
            check_hmac(signature, request.body, [TEST_SECRET])
            self._check_without_effect(request)
        return Verified(request)

    def _check_without_effect(self, request: WebhookRequest) -> None:
        read = self.parse(Verified(request))
        if read.events or read.dead_letters:
            raise NotVerified(f"signed with MailerSend's public test secret, which is good for {TEST} only")

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        return [] if payload.type == TEST else [read_event(item, payload)]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "type": event,
            "created_at": iso(at),
            "data": {
                "id": f"{number:024x}",
                "domain_id": "sample",
                "message_id": f"{number:023x}a",
                "email_id": f"{number:023x}b",
                "type": event.removeprefix("activity."),
                "subject": "Sample",
                "recipient": email_address,
                "tags": ["sample"],
                "meta": [],
                **self.samples[event],
            },
            "webhook_id": "sample",
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {"headers": {SIGNATURE: hmac_hex(self.keys[0], body)}}


def read_event(item: Item, payload: Payload) -> Event:
    """Version 2 is flat; version 1 nests what it says of a message in `email`, and has the event's own time in `data`."""
    kind = TYPES.get(payload.type, EventType.UNKNOWN)
    data = payload.data
    message = inside(data, "email") or data
    details = inside(data, "morph") or inside(data, "meta")
    time = data.get("created_at") or payload.created_at
    identity = text(data.get("id"))
    message_id = text(data.get("message_id")) or text(inside(message, "message").get("id"))
    email_address = address(person(data.get("from")) if kind == EventType.INBOUND else recipient(data, message))
    url = text(details.get("url"))
    return Event(
        item=item,
        natural_key=(
            # What is told again as the first of its kind counts once, should both have one id.
            payload.type.removesuffix("_unique"),
            identity,
            message_id,
            folded(email_address),
            str(time),
            url,
        ),
        type=kind,
        at=moment(time),
        email_address=email_address,
        message_id=message_id,
        provider_event_id=identity,
        bounce_class=BOUNCE_CLASSES.get(payload.type),
        reason=next(filter(None, (text(details.get(name)) for name in REASONS)), None),
        url=url,
        ip=text(details.get("ip")),
        user_agent=text(details.get("user_agent")),
        tags=tags(message.get("tags")),
    )


def recipient(data: Mapping[str, Any], message: Mapping[str, Any]) -> Any:
    return person(message.get("recipient")) or data.get("email")


def person(found: Any) -> Any:
    """An address, by itself or in an object."""
    return found.get("email") if isinstance(found, dict) else found


def tags(found: Any) -> tuple[str, ...]:
    return tuple(tag for tag in found if isinstance(tag, str)) if isinstance(found, list) else ()
