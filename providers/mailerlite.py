"""MailerLite: one event a request, or batches of them; an HMAC over the body in a header."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Unreadable, elements, elements_of, encode, inside, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.signing import check_hmac, header, hmac_base64, hmac_hex

SIGNATURE = "Signature"
# MailerLite Classic's, in base64.
CLASSIC = "X-MailerLite-Signature"

TYPES = {
    "subscriber.unsubscribed": EventType.UNSUBSCRIBED,
    "subscriber.spam_reported": EventType.COMPLAINED,
    "subscriber.bounced": EventType.BOUNCED,
    "subscriber.active": EventType.RESUBSCRIBED,
    "campaign.open": EventType.OPENED,
    "campaign.click": EventType.CLICKED,
    # MailerLite Classic's own names.
    "subscriber.unsubscribe": EventType.UNSUBSCRIBED,
    "subscriber.complaint": EventType.COMPLAINED,
}

# By the `status` of a subscriber to whom something else has happened: a snapshot, which opts out but never in.
STATUSES = {"unsubscribed": EventType.UNSUBSCRIBED, "junk": EventType.COMPLAINED}

# A subscriber's times; not all are an event's. `updated_at` of somebody who complains may be of long ago.
TIMES = {
    EventType.UNSUBSCRIBED: "unsubscribed_at",
    EventType.BOUNCED: "updated_at",
    EventType.RESUBSCRIBED: "updated_at",
    EventType.UNKNOWN: "updated_at",
}

# Where a subscriber lies, if not at the top.
PLACES = (("subscriber",), ("data", "subscriber"), ("data",))


class MailerLite(Adapter):
    name = "mailerlite"
    key = "the secret of a webhook, which MailerLite's API returns when the webhook is made"
    final_statuses = range(200, 300)
    samples = {
        "subscriber.unsubscribed": {"status": "unsubscribed"},
        "subscriber.spam_reported": {"status": "junk"},
        "subscriber.bounced": {"status": "bounced"},
        "subscriber.active": {"status": "active"},
        "campaign.open": {},
        "campaign.click": {},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        if CLASSIC.lower() in request.headers:
            check_hmac(header(request, CLASSIC), request.body, self.keys, encoded=hmac_base64)
        else:
            check_hmac(header(request, SIGNATURE).lower(), request.body, self.keys)
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        try:
            return elements_of(body, "events")
        except Unreadable:
            return elements(body)

    def read(self, item: Item) -> Iterable[Event]:
        value = inside(item.value)
        name = text(value.get("event")) or text(value.get("type"))
        if name is None:
            raise Unreadable("neither event nor type")
        subscriber = subscriber_in(value)
        kind = TYPES.get(name) or STATUSES.get(text(subscriber.get("status")) or "", EventType.UNKNOWN)
        email_address = address(subscriber.get("email"))
        is_snapshot = kind in STATUSES.values() and name not in TYPES
        time = value.get("timestamp") or value.get("date") or subscriber.get(TIMES.get(kind, ""))
        at = moment(time)
        url = text(value.get("url"))
        return [
            Event(
                item=item,
                natural_key=(
                    name,
                    text(subscriber.get("id")),
                    folded(email_address),
                    # Without a time, an event is itself word for word.
                    str(time) if at else item.payload.decode(),
                    *(text(inside(value, each).get("id")) for each in ("group", "automation", "campaign")),
                    url,
                    # One who left long ago is still told of in what happens to them.
                    *((text(subscriber.get("updated_at")),) if is_snapshot else ()),
                ),
                type=kind,
                at=at,
                email_address=email_address,
                # Who made them active is not told: the subscriber, an import, the API.
                by_recipient=kind != EventType.RESUBSCRIBED,
                bounce_class=BounceClass.HARD if kind == EventType.BOUNCED else None,
                url=url,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "type": event,
            "subscriber": {
                "id": str(number),
                "email": email_address,
                "unsubscribed_at": iso(at) if event == "subscriber.unsubscribed" else None,
                "updated_at": iso(at),
                "fields": {},
                **self.samples[event],
            },
            "account_id": 1,
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode({"events": samples, "total": len(samples)})]

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {"headers": {SIGNATURE: hmac_hex(self.keys[0], body)}}


def subscriber_in(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(filter(None, (inside(value, *place) for place in PLACES)), value)
