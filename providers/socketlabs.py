"""SocketLabs: one event a request, or an array of them; each carries the endpoint's secret key in its body."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, Answer, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Number, Shape, Unreadable, decode, elements, encode, inside, shaped, text, without
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_secret

TYPES = {
    "queued": EventType.ACCEPTED,
    "sent": EventType.DELIVERED,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "complaint": EventType.COMPLAINED,
}

# `Type` Tracking, formerly Engagement: as a number or by name.
TRACKING = {
    "0": EventType.CLICKED,
    "click": EventType.CLICKED,
    "1": EventType.OPENED,
    "open": EventType.OPENED,
    "2": EventType.UNSUBSCRIBED,
    "unsubscribe": EventType.UNSUBSCRIBED,
}

FAILURES: Mapping[str, tuple[EventType, BounceClass | None]] = {
    "0": (EventType.BOUNCED, BounceClass.SOFT),
    "temporary": (EventType.BOUNCED, BounceClass.SOFT),
    "1": (EventType.BOUNCED, BounceClass.HARD),
    "permanent": (EventType.BOUNCED, BounceClass.HARD),
    "2": (EventType.DROPPED, None),
    "suppressed": (EventType.DROPPED, None),
}

WRAPPED = re.compile(rb'\s*\{\s*"data"\s*:')
SECRET = re.compile(rb'"SecretKey"\s*:\s*"[^"]*"?', re.IGNORECASE)


class Payload(Shape):
    """What we read, under SocketLabs' own names, in lower case: theirs varies. The rest stays in the item's payload."""

    type: str
    datetime: Any = None
    address: str | None = None
    to: str | None = None
    serverid: str | None = None
    mailingid: str | None = None
    messageid: str | None = None
    trackingtype: Number = None
    failuretype: Number = None
    reason: str | None = None
    diagnosticcode: str | None = None
    response: str | None = None
    url: str | None = None
    clientip: str | None = None
    useragent: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class SocketLabs(Adapter):
    name = "socketlabs"
    key = "the endpoint's secret key (Configuration › Event Webhooks)"
    final_statuses = (200,)
    samples = {
        "Unsubscribe": {"Type": "Tracking", "TrackingType": 2},
        "Complaint": {"FblType": "abuse"},
        "Queued": {},
        "Delivered": {"Response": "250 OK"},
        "Deferred": {"Reason": "451 try again later"},
        "Failed": {"FailureType": "Permanent", "FailureCode": 2001, "Reason": "550 5.1.1 no such user"},
        "Suppressed": {"Type": "Failed", "FailureType": "Suppressed", "FailureCode": 1002},
        "Open": {"Type": "Tracking", "TrackingType": 1, "ClientIp": "192.0.2.1", "UserAgent": "Mozilla/5.0"},
        "Click": {
            "Type": "Tracking",
            "TrackingType": 0,
            "ClientIp": "192.0.2.1",
            "UserAgent": "Mozilla/5.0",
            "Url": "https://example.com/offer",
        },
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        # What cannot be read beside what proves the request is a dead letter.
        events = [event for record in records(request.body) if (event := fields_of(record)) is not None]
        if not all(isinstance(event.get("secretkey"), str) for event in events) or not events:
            raise NotVerified("no SecretKey in the body, or not in all of its events")
        for event in events:
            check_secret(event["secretkey"], self.keys)
        return Verified(request)

    async def handshake(self, request: WebhookRequest) -> Answer | None:
        """*Validate* wants something back: the key that it has sent for that, or else the secret one."""
        event = fields_of(request.body) or {}
        if event.get("type") != "Validation":
            return None
        name = "ValidationKey" if "validationkey" in event else "SecretKey"
        return Answer(encode({name: event.get(name.lower())}))

    def split(self, body: bytes) -> Iterable[bytes]:
        return (without_secret(record, self.keys) for record in records(body))

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, in_lower_case(item.value))
        kind, bounce_class = event_type(payload)
        email_address = address(payload.address) or address(payload.to)
        return [
            Event(
                item=item,
                natural_key=(
                    payload.type,
                    payload.trackingtype,
                    payload.serverid,
                    payload.mailingid,
                    payload.messageid,
                    folded(email_address),
                    str(payload.datetime),
                    payload.failuretype,
                    payload.url,
                    payload.clientip,
                    payload.useragent,
                ),
                type=kind,
                at=moment(payload.datetime),
                email_address=email_address,
                message_id=payload.messageid or None,
                bounce_class=bounce_class,
                reason=payload.reason or payload.diagnosticcode or payload.response,
                url=payload.url,
                ip=payload.clientip,
                user_agent=payload.useragent,
                tags=tuple(filter(None, map(text, listed(payload.data.get("Tags"))))),
                metadata=metadata(payload.data.get("Meta")),
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "Type": event,
            "DateTime": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ServerId": 12345,
            "SecretKey": self.keys[0],
            "Address": email_address,
            "MailingId": f"SLNL-{number}",
            "MessageId": f"sample-{number}",
            "Data": {"Meta": [], "Tags": ["sample"]},
            **self.samples[event],
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {}


def records(body: bytes) -> Iterable[bytes]:
    """The events in a body, as they were sent. An example of SocketLabs' own has one in an object called `data`."""
    for raw in elements(body):
        fields = fields_of(raw) if WRAPPED.match(raw) else None
        yield encode(fields["data"]) if fields and fields.keys() == {"data"} else raw


def without_secret(record: bytes, keys: Iterable[str]) -> bytes:
    try:
        return without(record, "SecretKey")
    except Unreadable:
        # Wherever it lies in what is no event: it is not to be kept.
        kept = SECRET.sub(b"", record)
        for key in keys:
            kept = kept.replace(key.encode(), b"")
        return kept


def fields_of(record: bytes) -> dict[str, Any] | None:
    """None where it cannot be read."""
    try:
        return in_lower_case(decode(record)[0])
    except Unreadable:
        return None


def in_lower_case(value: Any) -> dict[str, Any]:
    return {name.lower(): each for name, each in inside(value).items()}


def event_type(payload: Payload) -> tuple[EventType, BounceClass | None]:
    kind = payload.type.lower()
    if kind in {"tracking", "engagement"}:
        return TRACKING.get((payload.trackingtype or "").lower(), EventType.UNKNOWN), None
    if kind == "failed":
        return FAILURES.get((payload.failuretype or "").lower(), (EventType.BOUNCED, None))
    return TYPES.get(kind, EventType.UNKNOWN), None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def metadata(pairs: Any) -> dict[str, Any]:
    """As SocketLabs sends it: a list of objects with a Key and a Value."""
    found = [inside(pair) for pair in listed(pairs)]
    return {key: pair.get("Value") for pair in found if (key := text(pair.get("Key")))}
