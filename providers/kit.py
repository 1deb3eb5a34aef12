"""Kit (formerly ConvertKit): several events a request, signed together with the time in a header `t=…,v1=…`."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import Field

from providers.adapter import Adapter, Options, Proof, Verified, WebhookRequest
from providers.decoding import Shape, elements_of, encode, inside, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.signing import check_stamped, header, stamp

SIGNATURE = "X-Kit-Signature"

# Each attempt is signed anew.
WINDOW = timedelta(minutes=5)

# A request's limit, as Kit's own.
BATCH = 100

TYPES = {
    "subscriber.unsubscribed": EventType.UNSUBSCRIBED,
    "subscriber.complained": EventType.COMPLAINED,
    "subscriber.bounced": EventType.BOUNCED,
    "subscriber.activated": EventType.RESUBSCRIBED,
}


class KitOptions(Options):
    """`confirmed`: whoever becomes active has confirmed it (double opt-in everywhere, no imports, no API)."""

    confirmed: bool = False


class Payload(Shape):
    """What we read, under Kit's own names; the rest stays in the item's payload."""

    type: str
    id: str | None = None
    created: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class Kit(Adapter):
    name = "kit"
    key = "the secret of a webhook endpoint, shown once: when it is made (app.kit.com/webhooks or the API) or rotated"
    Options = KitOptions
    final_statuses = (*range(200, 300), 410)
    samples = {name: {} for name in TYPES}

    async def verify(self, request: WebhookRequest) -> Verified:
        check_stamped(header(request, SIGNATURE), request, self.keys, past=WINDOW, future=WINDOW)
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        return elements_of(body, "events")

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind = TYPES.get(payload.type, EventType.UNKNOWN)
        email_address = address(inside(payload.data, "subscriber").get("email_address"))
        return [
            Event(
                item=item,
                natural_key=(payload.type, payload.id, folded(email_address), str(payload.created)),
                type=kind,
                at=moment(payload.created),
                email_address=email_address,
                provider_event_id=payload.id,
                # Forms, imports and the API make people active alike: only its user knows that they confirm it.
                by_recipient=kind != EventType.RESUBSCRIBED or self.confirmed,
                bounce_class=BounceClass.HARD if kind == EventType.BOUNCED else None,
            )
        ]

    @property
    def confirmed(self) -> bool:
        return isinstance(self.options, KitOptions) and self.options.confirmed

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "id": str(UUID(int=number)),
            "type": event,
            "created": iso(at),
            "data": {"subscriber": {"id": number, "email_address": email_address, "state": "active", "fields": {}}},
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        for first in range(0, len(samples), BATCH):
            yield encode({"delivery_id": first + 1, "events": samples[first : first + BATCH]})

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {"headers": {SIGNATURE: stamp(self.keys[0], body, str(int(at.timestamp())))}}
