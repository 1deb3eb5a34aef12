"""Postmark: one event a request, signed by nothing: a credential that the user has given it with our address."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import CredentialOptions, UnsignedAdapter

TYPES = {
    "Delivery": EventType.DELIVERED,
    "Open": EventType.OPENED,
    "Click": EventType.CLICKED,
    "SpamComplaint": EventType.COMPLAINED,
}

# By `Type`: the numbers in `TypeCode` have been seen to contradict it.
BOUNCES: Mapping[str, tuple[EventType, BounceClass | None]] = {
    "HardBounce": (EventType.BOUNCED, BounceClass.HARD),
    "SoftBounce": (EventType.BOUNCED, BounceClass.SOFT),
    "SpamNotification": (EventType.BOUNCED, BounceClass.SOFT),
    "VirusNotification": (EventType.BOUNCED, BounceClass.SOFT),
    "Blocked": (EventType.BOUNCED, BounceClass.SOFT),
    "Transient": (EventType.DEFERRED, None),
    "DnsError": (EventType.DEFERRED, None),
    "BadEmailAddress": (EventType.DROPPED, None),
    "ManuallyDeactivated": (EventType.DROPPED, None),
    "Unconfirmed": (EventType.DROPPED, None),
    "DMARCPolicy": (EventType.DROPPED, None),
    "SMTPApiError": (EventType.FAILED, None),
    "TemplateRenderingFailed": (EventType.FAILED, None),
    "Unsubscribe": (EventType.UNSUBSCRIBED, None),
    "SpamComplaint": (EventType.COMPLAINED, None),
}

# Why Postmark stopped sending to somebody. A hard bounce is no word of theirs.
SUPPRESSIONS = {
    "ManualSuppression": EventType.UNSUBSCRIBED,
    "SpamComplaint": EventType.COMPLAINED,
    "HardBounce": EventType.UNKNOWN,
}

TIMES = {
    "Delivery": "delivered_at",
    "Bounce": "bounced_at",
    "SpamComplaint": "bounced_at",
    "SubscriptionChange": "changed_at",
}


class Payload(Shape):
    """What we read, under Postmark's own names; the rest stays in the item's payload."""

    record_type: str | None = Field(None, alias="RecordType")
    id: str | None = Field(None, alias="ID")
    type: str | None = Field(None, alias="Type")
    message_id: str | None = Field(None, alias="MessageID")
    message_stream: str | None = Field(None, alias="MessageStream")
    recipient: str | None = Field(None, alias="Recipient")
    email: str | None = Field(None, alias="Email")
    sender: str | None = Field(None, alias="From")
    delivered_at: Any = Field(None, alias="DeliveredAt")
    bounced_at: Any = Field(None, alias="BouncedAt")
    changed_at: Any = Field(None, alias="ChangedAt")
    received_at: Any = Field(None, alias="ReceivedAt")
    origin: str | None = Field(None, alias="Origin")
    suppress_sending: bool | None = Field(None, alias="SuppressSending")
    suppression_reason: str | None = Field(None, alias="SuppressionReason")
    details: str | None = Field(None, alias="Details")
    description: str | None = Field(None, alias="Description")
    original_link: str | None = Field(None, alias="OriginalLink")
    user_agent: str | None = Field(None, alias="UserAgent")
    geo: dict[str, Any] = Field(default_factory=dict, alias="Geo")
    tag: str | None = Field(None, alias="Tag")
    metadata: dict[str, Any] = Field(default_factory=dict, alias="Metadata")

    @property
    def time(self) -> Any:
        return getattr(self, TIMES.get(self.record_type or "", "received_at"))


class Postmark(UnsignedAdapter):
    name = "postmark"
    key = "user:password, as in the webhook's address (https://user:password@…) or its basic auth fields"
    # It drops an event at the first other 4xx.
    final_statuses = (200, *(status for status in range(400, 500) if status not in {408, 429}))
    leaving_a_topic_leaves_all = True
    samples = {
        "SubscriptionChange": {
            "Origin": "Recipient",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
            "MessageStream": "broadcast",
        },
        "Resubscribe": {
            "RecordType": "SubscriptionChange",
            "Origin": "Recipient",
            "SuppressSending": False,
            "SuppressionReason": None,
            "MessageStream": "broadcast",
        },
        "SpamComplaint": {"Type": "SpamComplaint", "TypeCode": 100001, "Details": "marked as spam"},
        "Delivery": {"Details": "250 OK"},
        "Bounce": {"Type": "HardBounce", "TypeCode": 1, "Details": "smtp;550 5.1.1 no such user", "Inactive": True},
        "Open": {"FirstOpen": True, "UserAgent": "Mozilla/5.0", "Geo": {"IP": "192.0.2.1"}},
        "Click": {
            "OriginalLink": "https://example.com/offer",
            "UserAgent": "Mozilla/5.0",
            "Geo": {"IP": "192.0.2.1"},
        },
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if self.options == CredentialOptions() and not all(":" in key for key in keys):
            raise ValueError(f"a key without a colon: {self.key}")

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        if payload.record_type is None and "FromFull" in item.value:
            return [read_inbound(item, payload)]
        kind, bounce_class = event_type(payload)
        email_address = address(payload.recipient or payload.email)
        return [
            Event(
                item=item,
                natural_key=natural_key(payload, email_address),
                type=kind,
                at=moment(payload.time),
                email_address=email_address,
                message_id=payload.message_id,
                provider_event_id=payload.id,
                topic=payload.message_stream if payload.record_type == "SubscriptionChange" else None,
                by_recipient=by_recipient(payload, kind),
                bounce_class=bounce_class,
                reason=payload.details or payload.description or payload.suppression_reason,
                url=payload.original_link,
                ip=str(payload.geo["IP"]) if payload.geo.get("IP") else None,
                user_agent=payload.user_agent,
                tags=(payload.tag,) if payload.tag else (),
                metadata=payload.metadata,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = self.samples[event]
        kind = details.get("RecordType", event)
        time = {
            "Delivery": "DeliveredAt",
            "SubscriptionChange": "ChangedAt",
            "Open": "ReceivedAt",
            "Click": "ReceivedAt",
        }
        person = "Email" if kind in {"Bounce", "SpamComplaint"} else "Recipient"
        return {
            "RecordType": kind,
            "MessageID": f"{number:032x}",
            "ServerID": 1,
            "MessageStream": "outbound",
            "Tag": "sample",
            "Metadata": {},
            person: email_address,
            time.get(kind, "BouncedAt"): at.isoformat().replace("+00:00", "Z"),
            **({"ID": number} if person == "Email" else {}),
            **details,
        }


def event_type(payload: Payload) -> tuple[EventType, BounceClass | None]:
    match payload.record_type:
        case "Bounce":
            return BOUNCES.get(payload.type or "", (EventType.UNKNOWN, None))
        case "SubscriptionChange" if payload.suppress_sending is False:
            return EventType.RESUBSCRIBED, None
        case "SubscriptionChange":
            # In doubt opted out: a reason that is new to us is still a stop.
            return SUPPRESSIONS.get(payload.suppression_reason or "", EventType.UNSUBSCRIBED), None
        case _:
            return TYPES.get(payload.record_type or "", EventType.UNKNOWN), None


def by_recipient(payload: Payload, kind: EventType) -> bool:
    """Coming back counts as their own act only to a stream that is named."""
    if payload.record_type != "SubscriptionChange":
        return True
    return payload.origin == "Recipient" and (kind != EventType.RESUBSCRIBED or bool(payload.message_stream))


def natural_key(payload: Payload, email_address: str | None) -> tuple[str | bool | None, ...]:
    return (
        payload.record_type,
        payload.id,
        payload.message_id,
        folded(email_address),
        str(payload.time),
        payload.message_stream,
        payload.suppress_sending,
        payload.original_link,
        payload.user_agent,
    )


def read_inbound(item: Item, payload: Payload) -> Event:
    """A mail that has come in. It tells no time of its own but the sender's `Date`, which proves nothing."""
    return Event(
        item=item,
        natural_key=("inbound", payload.message_id),
        type=EventType.INBOUND,
        at=None,
        email_address=address(payload.sender),
        message_id=payload.message_id,
    )
