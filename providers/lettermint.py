"""Lettermint: one event a request, signed together with the time in a header `t=…,v1=…`."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Shape, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.signing import check_stamped, header, stamp

SIGNATURE = "X-Lettermint-Signature"
DELIVERY = "X-Lettermint-Delivery"

# Each attempt is signed anew; the window is the one that Lettermint advises.
WINDOW = timedelta(minutes=5)

TYPES = {
    "message.created": EventType.ACCEPTED,
    "message.scheduled": EventType.ACCEPTED,
    "message.rescheduled": EventType.ACCEPTED,
    "message.sent": EventType.SENT,
    "message.delivered": EventType.DELIVERED,
    "message.soft_bounced": EventType.BOUNCED,
    "message.hard_bounced": EventType.BOUNCED,
    "message.failed": EventType.FAILED,
    "message.suppressed": EventType.DROPPED,
    "message.policy_rejected": EventType.DROPPED,
    "message.spam_complaint": EventType.COMPLAINED,
    "message.unsubscribed": EventType.UNSUBSCRIBED,
    "message.opened": EventType.OPENED,
    "message.clicked": EventType.CLICKED,
    "message.inbound": EventType.INBOUND,
}

BOUNCES = {"message.soft_bounced": BounceClass.SOFT, "message.hard_bounced": BounceClass.HARD}

# A tag that was given by itself comes again in the list of tags, under this name.
RESERVED_TAG = "__lettermint_tag"


class Payload(Shape):
    """What we read, under Lettermint's own names; the rest stays in the item's payload."""

    event: str
    id: str | None = None
    timestamp: Any = None
    created_at: Any = None
    data: Any = None

    @property
    def time(self) -> Any:
        # The second is what the documents called it at first.
        return self.timestamp or self.created_at


class Lettermint(Adapter):
    name = "lettermint"
    key = "the webhook's signing secret (a project › a route › Webhooks), with its prefix whsec_"
    # No document says what else ends the retries.
    final_statuses = range(200, 300)
    samples = {
        "message.unsubscribed": {},
        "message.spam_complaint": {},
        "message.created": {},
        "message.sent": {},
        "message.delivered": {"response": {"status_code": 250, "enhanced_status_code": "2.0.0", "content": "OK"}},
        "message.soft_bounced": {"response": {"status_code": 452, "content": "mailbox full"}},
        "message.hard_bounced": {"response": {"status_code": 550, "content": "no such user"}},
        "message.suppressed": {"reason": "hard bounce"},
        "message.opened": {"user_agent": "Mozilla/5.0"},
        "message.clicked": {"user_agent": "Mozilla/5.0", "destination_url": "https://example.com/offer"},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE)
        timestamp = check_stamped(signature, request, self.keys, past=WINDOW, future=WINDOW)
        if request.headers.get(DELIVERY.lower(), timestamp).strip() != timestamp:
            raise NotVerified(f"the header {DELIVERY} is not the time that was signed")
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        data = inside(payload.data)
        return [read_event(item, payload, data, person) for person in people(payload, data)]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        to = {"to": [email_address]} if event == "message.created" else {"recipient": email_address}
        return {
            "id": f"sample-{number}",
            "event": event,
            "timestamp": iso(at),
            "data": {"message_id": f"sample-{number}", "metadata": {}, "tag": "sample", **to, **self.samples[event]},
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        timestamp = str(int(at.timestamp()))
        return {"headers": {SIGNATURE: stamp(self.keys[0], body, timestamp), DELIVERY: timestamp}}


def people(payload: Payload, data: Mapping[str, Any]) -> list[str | None]:
    """Whom an event is about: before a message is on its way all its recipients, of one that came in its sender."""
    if payload.event == "message.inbound":
        return [address(inside(data, "from").get("email"))]
    if recipient := address(data.get("recipient")):
        return [recipient]
    lists = [data[name] for name in ("to", "cc", "bcc") if isinstance(data.get(name), list)]
    return [found for each in chain(*lists) if (found := address(each))] or [None]


def read_event(item: Item, payload: Payload, data: Mapping[str, Any], email_address: str | None) -> Event:
    message_id = text(data.get("message_id"))
    url = text(data.get("destination_url"))
    user_agent = text(data.get("user_agent"))
    metadata = data.get("metadata")
    return Event(
        item=item,
        natural_key=(
            payload.event,
            # Whether an event's own id is the same in each attempt is not documented.
            message_id or payload.id,
            folded(email_address),
            str(payload.time),
            url,
            user_agent,
        ),
        type=TYPES.get(payload.event, EventType.UNKNOWN),
        at=moment(payload.time),
        email_address=email_address,
        message_id=message_id,
        provider_event_id=payload.id,
        bounce_class=BOUNCES.get(payload.event),
        reason=text(inside(data, "response").get("content")) or text(data.get("reason")),
        url=url,
        user_agent=user_agent,
        tags=tags(data),
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def tags(data: Mapping[str, Any]) -> tuple[str, ...]:
    listed = data.get("tags")
    names = [inside(tag).get("name") for tag in listed] if isinstance(listed, list) else []
    found = [text(name) for name in (data.get("tag"), *names) if name != RESERVED_TAG]
    return tuple(dict.fromkeys(filter(None, found)))
