"""Resend: one event a request, signed as Standard Webhooks say, under Svix's header names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, Unreadable, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, addresses, folded, iso, moment
from providers.standard_signed import Scheme, StandardAdapter

SVIX = Scheme(headers=("svix", "webhook"))

TYPES = {
    "email.scheduled": EventType.ACCEPTED,
    "email.sent": EventType.SENT,
    "email.delivered": EventType.DELIVERED,
    "email.delivery_delayed": EventType.DEFERRED,
    "email.bounced": EventType.BOUNCED,
    "email.suppressed": EventType.DROPPED,
    "email.failed": EventType.FAILED,
    "email.complained": EventType.COMPLAINED,
    "email.opened": EventType.OPENED,
    "email.clicked": EventType.CLICKED,
    "email.received": EventType.INBOUND,
    "suppression.removed": EventType.RESUBSCRIBED,
}

SUBSCRIPTIONS = {"opt_out": EventType.UNSUBSCRIBED, "opt_in": EventType.RESUBSCRIBED}
# `unsubscribed`, in lower case: a snapshot, so that somebody is not is no word of theirs.
UNSUBSCRIBED = {
    **dict.fromkeys(("true", "1"), EventType.UNSUBSCRIBED),
    **dict.fromkeys(("false", "0", "none"), EventType.UNKNOWN),
}
# In whose data an opt-out may lie.
ABOUT_PEOPLE = ("contact.", "suppression.")

# A bounce of something that was never sent, as it was told before there was email.suppressed.
SUPPRESSED = {"Suppressed", "OnAccountSuppressionList"}


class Payload(Shape):
    """What we read, under Resend's own names; the rest stays in the item's payload."""

    type: str
    created_at: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class Resend(StandardAdapter):
    name = "resend"
    key = "the signing secret of a webhook (Resend › Webhooks › the webhook): whsec_ and base64; not an API key (re_…)"
    samples = {
        "contact.updated": {"unsubscribed": True},
        "contact.topics.updated": {
            "topics": [{"id": "b6d24b8e-0000-4000-8000-000000000001", "subscription": "opt_out"}]
        },
        "email.complained": {},
        "email.scheduled": {},
        "email.sent": {},
        "email.delivered": {},
        "email.delivery_delayed": {},
        "email.bounced": {"bounce": {"type": "Permanent", "subType": "General", "message": "no such mailbox"}},
        "email.suppressed": {"suppressed": {"type": "OnAccountSuppressionList", "message": "on your suppression list"}},
        "email.failed": {"failed": {"reason": "reached_daily_quota"}},
        "email.opened": {},
        "email.clicked": {
            "click": {"ipAddress": "192.0.2.1", "link": "https://example.com/offer", "userAgent": "Mozilla/5.0"}
        },
        "suppression.removed": {"origin": "manual", "source_id": None},
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if any(key.startswith("re_") for key in keys):
            raise ValueError("an API key")

    @property
    def scheme(self) -> Scheme:
        return SVIX

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        if payload.type.startswith(ABOUT_PEOPLE) and not payload.data:
            raise Unreadable(f"{payload.type} without its data")
        if payload.type == "contact.topics.updated":
            person = address(payload.data.get("email"))
            return (event(item, payload, person, kind, topic) for kind, topic in topic_changes(payload.data))
        return [event(item, payload, each, event_type(payload)) for each in recipients(payload)]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        email = {
            "email_id": f"sample-{number}",
            "message_id": f"<sample-{number}@example.com>",
            "from": "Sample <hi@example.com>",
            "to": [email_address],
            "subject": "Sample",
            "tags": {"kind": "sample"},
        }
        contact = {"id": f"sample-{number}", "email": email_address}
        return {
            "type": event,
            "created_at": iso(at),
            "data": {
                "created_at": iso(at),
                **(email if event.startswith("email.") else contact),
                **self.samples[event],
            },
        }


def event(item: Item, payload: Payload, email_address: str | None, kind: EventType, topic: str | None = None) -> Event:
    data = payload.data
    click = inside(data, "click")
    message_id = text(data.get("email_id"))
    tags = named(data.get("tags"))
    return Event(
        item=item,
        natural_key=(
            item.delivery_id,
            payload.type,
            message_id or text(data.get("id")),
            folded(email_address),
            str(payload.created_at),
            text(click.get("link")),
            topic,
            kind,
        ),
        type=kind,
        at=moment(payload.created_at),
        email_address=email_address,
        message_id=message_id,
        provider_event_id=item.delivery_id,
        topic=topic,
        # Whose hand it was is told neither of a topic joined nor of a suppression lifted.
        by_recipient=kind != EventType.RESUBSCRIBED,
        bounce_class=bounce_class(data) if kind == EventType.BOUNCED else None,
        reason=reason(data),
        url=text(click.get("link")),
        ip=text(click.get("ipAddress")),
        user_agent=text(click.get("userAgent")),
        tags=tuple(tags),
        metadata=tags,
    )


def recipients(payload: Payload) -> Sequence[str | None]:
    """Of several, an event does not say which one it is about: then it is about each."""
    data = payload.data
    sent = data.get("from") if payload.type == "email.received" else data.get("email") or data.get("to")
    several = sent if isinstance(sent, list) else [sent]
    return [found for each in several for found in addresses(each)] or [None]


def topic_changes(data: Mapping[str, Any]) -> Iterator[tuple[EventType, str | None]]:
    """Only topics that have changed are listed. Raises Unreadable, after all that can be read."""
    topics = data.get("topics")
    if topics == []:
        yield EventType.UNKNOWN, None
    several = topics if isinstance(topics, list) else [topics]
    kinds = [SUBSCRIPTIONS.get(str(inside(each).get("subscription")).lower()) for each in several]
    for each, kind in zip(several, kinds, strict=True):
        if kind:
            yield kind, text(each.get("id"))
    if not all(kinds):
        raise Unreadable("a topic that is neither opt_in nor opt_out")


def event_type(payload: Payload) -> EventType:
    match payload.type:
        case "contact.created" | "contact.updated":
            return unsubscribed(payload.data.get("unsubscribed"))
        case "suppression.added" if payload.data.get("origin") == "complaint":
            return EventType.COMPLAINED
        case "email.bounced" if is_suppressed(inside(payload.data, "bounce")):
            return EventType.DROPPED
        case _:
            return TYPES.get(payload.type, EventType.UNKNOWN)


def unsubscribed(sent: object) -> EventType:
    kind = UNSUBSCRIBED.get(str(sent).lower())
    if kind is None:
        raise Unreadable("unsubscribed is neither true nor false")
    return kind


def is_suppressed(bounce: Mapping[str, Any]) -> bool:
    message = text(bounce.get("message")) or ""
    return text(bounce.get("subType")) in SUPPRESSED or message.startswith("Resend has suppressed")


def bounce_class(data: Mapping[str, Any]) -> BounceClass:
    return BounceClass.HARD if inside(data, "bounce").get("type") == "Permanent" else BounceClass.SOFT


def reason(data: Mapping[str, Any]) -> str | None:
    bounce = inside(data, "bounce")
    diagnostic = bounce.get("diagnosticCode")
    return (
        text(bounce.get("message"))
        or text("; ".join(map(str, diagnostic)) if isinstance(diagnostic, list) else diagnostic)
        or text(inside(data, "failed").get("reason"))
        or text(inside(data, "suppressed").get("message"))
    )


def named(tags: Any) -> dict[str, Any]:
    """An object of names and values, or a list of them."""
    if isinstance(tags, list):
        return {str(each.get("name")): each.get("value") for each in tags if isinstance(each, dict)}
    return tags if isinstance(tags, dict) else {}
