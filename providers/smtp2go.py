"""SMTP2GO: one event a request, as JSON or as a form, signed by nothing."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, Unreadable, decode_form, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.unsigned import UnsignedAdapter

TYPES = {
    "processed": EventType.ACCEPTED,
    "delivered": EventType.DELIVERED,
    "bounce": EventType.BOUNCED,
    "reject": EventType.DROPPED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "spam": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "resubscribe": EventType.RESUBSCRIBED,
}

LIST = "recipients"
# Sent in place of what SMTP2GO does not know.
NOTHING = {"", "Unavailable"}
BY_A_READER = {"open", "click"}


class Payload(Shape):
    """What we read, under SMTP2GO's own names in lower case; the rest stays in the item's payload."""

    event: str
    rcpt: Any = None
    recipients: Any = None
    time: Any = None
    id: str | None = None
    email_id: str | None = None
    message_id: str | None = Field(None, alias="message-id")
    bounce: str | None = None
    message: str | None = None
    context: str | None = None
    click_url: str | None = None
    link: str | None = None
    srchost: str | None = None
    user_agent: str | None = Field(None, alias="user-agent")
    custom_headers: dict[str, Any] = Field(default_factory=dict)


class Smtp2Go(UnsignedAdapter):
    name = "smtp2go"
    key = (
        "the webhook's Authorization header (SMTP2GO › Settings › Webhooks): user:password where it is basic, the token"
        " where it is bearer; or a long secret of your own at the end of its URL (…/webhooks/smtp2go?key=…)"
    )
    final_statuses = range(200, 300)
    samples = {
        "unsubscribe": {},
        "spam": {},
        "resubscribe": {},
        "processed": {},
        "delivered": {"host": "mx.example.com [192.0.2.10]", "message": "250 2.0.0 OK", "context": "Unavailable"},
        "bounce": {"bounce": "hard", "message": "550 5.1.1 no such user", "context": "RCPT TO"},
        "reject": {"message": "Recipient has unsubscribed"},
        "open": {"srchost": "192.0.2.1", "user-agent": "Mozilla/5.0", "read-secs": 5},
        "click": {"srchost": "192.0.2.1", "user-agent": "Mozilla/5.0", "context": "https://example.com/offer"},
    }

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, with_list)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, in_lower_case(item.value))
        message_id = told(payload.email_id) or told(payload.message_id)
        url = clicked(payload)
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event,
                    message_id,
                    folded(email_address),
                    str(payload.time),
                    url,
                    payload.bounce,
                    payload.message,
                    payload.srchost,
                    payload.user_agent,
                ),
                type=TYPES.get(payload.event.lower(), EventType.UNKNOWN),
                at=moment(payload.time),
                email_address=email_address,
                message_id=message_id and message_id.strip("<>"),
                provider_event_id=told(payload.id),
                # Sent also where an address was taken off the suppressions by hand.
                by_recipient=payload.event.lower() != "resubscribe",
                bounce_class=bounce_class(payload),
                reason=told(payload.message),
                url=url,
                ip=payload.srchost if payload.event.lower() in BY_A_READER else None,
                user_agent=payload.user_agent,
                metadata=payload.custom_headers,
            )
            for email_address in people(payload)
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event": event,
            "time": iso(at),
            "sendtime": iso(at),
            "sender": "sender@example.com",
            "from_address": "sender@example.com",
            "rcpt": email_address,
            "recipients": [email_address],
            "auth": "api-sample",
            "email_id": f"1sample-{number:06}-AB",
            "id": f"{number:032x}",
            "message-id": f"<sample-{number}@example.com>",
            "subject": "Sample",
            **self.samples[event],
        }


def with_list(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Of equal names the last counts, but for the one that is a list."""
    found: dict[str, Any] = {}
    for name, value in fields:
        found[name] = [*found.get(LIST, []), value] if name == LIST else value
    return found


def in_lower_case(value: Any) -> Mapping[str, Any]:
    """Headers of the message lie among SMTP2GO's own fields, in their own case: `Message-Id`, `Subject`, yours."""
    if not isinstance(value, dict):
        raise Unreadable(f"not an object but {type(value).__name__}")
    return {**{name.lower(): each for name, each in value.items()}, **value}


def told(value: str | None) -> str | None:
    return None if value in NOTHING else value


def people(payload: Payload) -> list[str | None]:
    """Whom the event is about: one person, or at first all whom the message is for."""
    for found in (payload.rcpt, payload.recipients):
        addresses = [address(each) for each in (found if isinstance(found, list) else [found])]
        if any(addresses):
            return [each for each in addresses if each]
    return [None]


def clicked(payload: Payload) -> str | None:
    if payload.event.lower() != "click":
        return None
    return payload.click_url or payload.link or told(payload.context)


def bounce_class(payload: Payload) -> BounceClass | None:
    if payload.event.lower() != "bounce":
        return None
    return BounceClass.HARD if payload.bounce == "hard" else BounceClass.SOFT
