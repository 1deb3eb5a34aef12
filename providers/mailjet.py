"""Mailjet: one event a request, or grouped ones; signed by nothing."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, encode, given, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter

TYPES = {
    "sent": EventType.DELIVERED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "bounce": EventType.BOUNCED,
    "blocked": EventType.DROPPED,
    "spam": EventType.COMPLAINED,
    "unsub": EventType.UNSUBSCRIBED,
}


class Payload(Shape):
    """What we read, under Mailjet's own names; the rest stays in the item's payload."""

    event: str
    email: str | None = None
    time: Any = None
    message_id: str | None = Field(None, alias="MessageID")
    mj_message_id: str | None = None
    mj_list_id: str | None = None
    hard_bounce: bool | None = None
    error: str | None = None
    error_related_to: str | None = None
    comment: str | None = None
    smtp_reply: str | None = None
    url: str | None = None
    ip: str | None = None
    agent: str | None = None
    customcampaign: str | None = None
    custom_id: str | None = Field(None, alias="CustomID")
    payload: Any = Field(None, alias="Payload")


class Mailjet(UnsignedAdapter):
    name = "mailjet"
    key = "user:password, as in the webhook's address: https://user:password@your-host/webhooks/mailjet"
    # Anything else is sent again, for a day; then Mailjet gives the address up.
    final_statuses = (200,)
    samples = {
        "unsub": {"mj_list_id": 0, "ip": "192.0.2.1", "agent": "Mozilla/5.0"},
        "spam": {"source": "JMRPP"},
        "sent": {"smtp_reply": "sent (250 2.0.0 OK)"},
        "open": {"ip": "192.0.2.1", "agent": "Mozilla/5.0"},
        "click": {"ip": "192.0.2.1", "agent": "Mozilla/5.0", "url": "https://example.com/offer"},
        "bounce": {"hard_bounce": True, "blocked": True, "error_related_to": "recipient", "error": "user unknown"},
        "blocked": {"error_related_to": "mailjet", "error": "preblocked"},
    }

    def read(self, item: Item) -> Iterable[Event]:
        fields = inside(item.value)
        if "event" not in fields and "Sender" in fields:
            return [read_inbound(item)]
        payload = shaped(Payload, item.value)
        kind = event_type(payload)
        email_address = address(payload.email)
        message_id = payload.message_id or payload.mj_message_id
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event,
                    message_id,
                    folded(email_address),
                    str(payload.time),
                    payload.url,
                    payload.ip,
                    payload.agent,
                    payload.mj_list_id,
                ),
                type=kind,
                at=moment(payload.time),
                email_address=email_address,
                message_id=message_id,
                topic=list_left(payload),
                bounce_class=bounce_class(payload) if kind == EventType.BOUNCED else None,
                reason=payload.comment or payload.error or payload.smtp_reply,
                url=payload.url,
                ip=payload.ip,
                user_agent=payload.agent,
                tags=(payload.customcampaign,) if payload.customcampaign else (),
                metadata={
                    **given("CustomID", payload.custom_id),
                    **given("Payload", payload.payload),
                },
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event": event,
            "time": int(at.timestamp()),
            # Beyond what a double holds, as the real ones.
            "MessageID": 19421777835146490 + number,
            "email": email_address,
            "mj_campaign_id": 0,
            "mj_contact_id": 0,
            "customcampaign": "sample",
            "CustomID": "",
            "Payload": "",
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode(samples)]


def event_type(payload: Payload) -> EventType:
    match payload.event:
        case "bounce" if payload.error == "greylisted" and not payload.hard_bounce:
            return EventType.DEFERRED
        case "blocked" if payload.error_related_to == "content":
            return EventType.FAILED
        case _:
            return TYPES.get(payload.event, EventType.UNKNOWN)


def bounce_class(payload: Payload) -> BounceClass:
    return BounceClass.HARD if payload.hard_bounce else BounceClass.SOFT


def list_left(payload: Payload) -> str | None:
    """List 0 is none, and neither is what is no number: they have left everything."""
    is_list = (payload.mj_list_id or "").lstrip("0").isdecimal()
    return payload.mj_list_id if payload.event == "unsub" and is_list else None


def read_inbound(item: Item) -> Event:
    """A mail that has come in. It tells no time of its own but the sender's, which proves nothing."""
    headers = inside(item.value, "Headers")
    message = text(headers.get("Message-ID"))
    return Event(
        item=item,
        natural_key=(
            "inbound",
            message,
            text(item.value.get("Recipient")),
            *(() if message else (text(item.value["Sender"]), text(item.value.get("Date")))),
        ),
        type=EventType.INBOUND,
        at=None,
        email_address=address(item.value["Sender"]),
        message_id=message and message.strip("<>"),
    )
