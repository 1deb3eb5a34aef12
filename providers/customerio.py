"""Customer.io: one event a request; an HMAC over timestamp and body in the headers."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, inside, json_in, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, header, hmac_hex

SIGNATURE = "X-CIO-Signature"
TIMESTAMP = "X-CIO-Timestamp"

# Customer.io tries for 7 days, each event waiting for the one before; whether it signs anew then is not documented.
PAST, FUTURE = timedelta(days=8), timedelta(minutes=5)

# By `metric`, of messages and people alike.
TYPES = {
    "drafted": EventType.ACCEPTED,
    "attempted": EventType.DEFERRED,
    "deferred": EventType.DEFERRED,
    "sent": EventType.SENT,
    "delivered": EventType.DELIVERED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
    "bounced": EventType.BOUNCED,
    "undeliverable": EventType.BOUNCED,
    "dropped": EventType.DROPPED,
    "suppressed": EventType.DROPPED,
    "failed": EventType.FAILED,
    "spammed": EventType.COMPLAINED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "subscribed": EventType.RESUBSCRIBED,
}
PREFERENCES = "cio_subscription_preferences_changed"
# Others are messages that are no e-mail: `sms`, `push`, …
OBJECTS = {None, "email", "customer"}
CHOICES = {"true": EventType.RESUBSCRIBED, "false": EventType.UNSUBSCRIBED}
# An enhanced status code; no part of an IP address or a name.
STATUS = re.compile(r"(?<![\w.])([245])\.\d{1,3}\.\d{1,3}(?!\.?\d)")


class Payload(Shape):
    """What we read, under Customer.io's own names; the rest stays in the item's payload."""

    object_type: str | None = None
    metric: str | None = None
    # Before 2020 both were one: `email_unsubscribed`.
    event_type: str | None = None
    event_id: str | None = None
    timestamp: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class CustomerIo(Adapter):
    name = "customerio"
    key = "the signing key of a reporting webhook (Customer.io › Integrations › Reporting Webhooks)"
    final_statuses = range(200, 300)
    samples = {
        "unsubscribed": {},
        "customer_unsubscribed": {"object_type": "customer", "metric": "unsubscribed"},
        "preferences": {
            "object_type": "customer",
            "metric": PREFERENCES,
            "data": {"content": '{"topics":{"topic_7":false}}'},
        },
        "subscribed": {"object_type": "customer"},
        "spammed": {},
        "drafted": {},
        "attempted": {"data": {"failure_message": "451 4.7.1 try again later"}},
        "sent": {},
        "delivered": {},
        "bounced": {"data": {"failure_message": "550 5.1.1 no such user"}},
        "dropped": {"data": {"failure_message": "suppressed"}},
        "failed": {"data": {"failure_message": "no such attribute: name"}},
        "opened": {},
        "clicked": {"data": {"href": "https://example.com/offer", "link_id": 1}},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        signature = header(request, SIGNATURE)
        timestamp = header(request, TIMESTAMP)
        check_hmac(signature, signed_text(timestamp, request.body), self.keys)
        check_fresh(timestamp, request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        object_type, metric = named(payload)
        data = payload.data
        identifiers = inside(data, "identifiers")
        recipient = data.get("recipient") if object_type in OBJECTS else None
        email_address = address(recipient) or address(data.get("email_address")) or address(identifiers.get("email"))
        delivery, reason, url = (text(data.get(name)) for name in ("delivery_id", "failure_message", "href"))
        for kind, topic in meanings(object_type, metric, data):
            yield Event(
                item=item,
                natural_key=(
                    object_type,
                    metric,
                    payload.event_id,
                    folded(email_address),
                    str(payload.timestamp),
                    delivery,
                    url,
                    topic,
                ),
                type=kind,
                at=moment(payload.timestamp),
                email_address=email_address,
                message_id=delivery,
                provider_event_id=payload.event_id,
                topic=topic,
                by_recipient=kind != EventType.RESUBSCRIBED,
                bounce_class=bounce_class(reason) if kind == EventType.BOUNCED else None,
                reason=reason,
                url=url,
                metadata=identifiers,
            )

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = {"object_type": "email", "metric": event, **self.samples[event]}
        person = "email_address" if details["object_type"] == "customer" else "recipient"
        return {
            "event_id": f"SAMPLE{number:020}",
            "timestamp": int(at.timestamp()),
            **details,
            "data": {
                person: email_address,
                "customer_id": f"{number}",
                "identifiers": {"id": f"{number}"},
                **({"delivery_id": f"sample-{number}"} if person == "recipient" else {}),
                **details.get("data", {}),
            },
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        timestamp = str(int(at.timestamp()))
        return {"headers": {SIGNATURE: hmac_hex(self.keys[0], signed_text(timestamp, body)), TIMESTAMP: timestamp}}


def signed_text(timestamp: str, body: bytes) -> bytes:
    return b"v0:%s:%s" % (timestamp.encode(), body)


def named(payload: Payload) -> tuple[str | None, str]:
    """What it happened to, and what happened."""
    if payload.metric:
        return payload.object_type or None, payload.metric
    object_type, _, metric = (payload.event_type or "").partition("_")
    if not metric:
        raise Unreadable("neither metric nor event_type")
    return object_type, metric


def meanings(object_type: str | None, metric: str, data: Mapping[str, Any]) -> Iterable[tuple[EventType, str | None]]:
    """Each with the topic that it is about; None for everything."""
    if metric == PREFERENCES:
        found = choices(preferences(data.get("content")))
        return chain([next(found, (EventType.UNKNOWN, None))], found)
    return [(TYPES.get(metric, EventType.UNKNOWN) if object_type in OBJECTS else EventType.UNKNOWN, None)]


def preferences(content: Any) -> dict[str, Any]:
    """They are JSON in a text. Raises Unreadable: an opt-out may lie in what cannot be read."""
    chosen = json_in(content)
    if not isinstance(chosen, dict):
        raise Unreadable("no preferences in data.content")
    return chosen


def choices(chosen: dict[str, Any]) -> Iterator[tuple[EventType, str | None]]:
    """Of topics and channels; of these the only one that is ours stands for everything. Raises Unreadable at last."""
    channels = chosen.get("channels")
    topics = chosen.get("topics") if {"topics", "channels"} & chosen.keys() else chosen
    for topic, choice in ((None, inside(channels).get("email")), *inside(topics).items()):
        if kind := CHOICES.get(str(choice).lower()):
            yield kind, topic
    if not all(isinstance(each, dict) or each in (None, []) for each in (channels, topics)):
        raise Unreadable("topics or channels that are no object")


def bounce_class(failure: str | None) -> BounceClass:
    status = STATUS.search(failure or "")
    return BounceClass.SOFT if status and status[1] == "4" else BounceClass.HARD
