"""Brevo (formerly Sendinblue): one event a request, or batches of them; signed by nothing."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from pydantic import Field

from providers.decoding import (
    WHITESPACE,
    Shape,
    Unreadable,
    decode,
    elements,
    elements_of_broken,
    encode,
    fields_strictly,
    given,
    in_utf8,
    inside,
    json_in,
    shaped,
    text,
)
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter

# Settings say hardBounce, payloads hard_bounce: compared in lower case and without underscores.
BOUNCES = {
    "softbounce": BounceClass.SOFT,
    "softbounced": BounceClass.SOFT,
    "hardbounce": BounceClass.HARD,
    "hardbounced": BounceClass.HARD,
    "invalidemail": BounceClass.HARD,
    "invalid": BounceClass.HARD,
}

TYPES = {
    "request": EventType.ACCEPTED,
    "sent": EventType.ACCEPTED,
    "delivered": EventType.DELIVERED,
    "deferred": EventType.DEFERRED,
    "blocked": EventType.DROPPED,
    "error": EventType.FAILED,
    "spam": EventType.COMPLAINED,
    "complaint": EventType.COMPLAINED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "opened": EventType.OPENED,
    "uniqueopened": EventType.OPENED,
    "proxyopen": EventType.OPENED,
    "uniqueproxyopen": EventType.OPENED,
    "click": EventType.CLICKED,
    "listaddition": EventType.RESUBSCRIBED,
    **dict.fromkeys(BOUNCES, EventType.BOUNCED),
}

OPT_OUTS = {EventType.UNSUBSCRIBED, EventType.COMPLAINED}

# A field of an object that is not JSON as a whole.
FIELD = re.compile(rb'"([^"\\]*)"\s*:\s*(.*)', re.DOTALL)
ARRAY_OF_OBJECTS = re.compile(rb"\[\s*\{")


class Payload(Shape):
    """What we read, under Brevo's own names; the rest stays in the item's payload."""

    event: str
    email: str | None = None
    message_id: str | None = Field(None, alias="message-id")
    camp_id: str | None = None
    ts_epoch: Any = None
    ts_event: Any = None
    ts: Any = None
    link: str | None = None
    url: str | None = Field(None, alias="URL")
    reason: str | None = None
    list_id: Any = None
    tags: list[str] | str | None = None
    tag: list[str] | str | None = None
    custom: Any = Field(None, alias="X-Mailin-custom")
    ip: str | None = None
    user_agent: str | None = None


class Brevo(UnsignedAdapter):
    name = "brevo"
    key = (
        "user:password, as in the webhook's address (https://user:password@…); or its bearer token,"
        " or the value of the header that the option `header` names"
    )
    # Any other answer makes it throw the event away, 5xx too.
    unavailable_status = 429
    final_statuses = tuple(status for status in range(200, 600) if status != 429)
    samples = {
        "unsubscribed": {},
        "spam": {},
        "request": {},
        "delivered": {},
        "deferred": {"reason": "451 try again later"},
        "soft_bounce": {"reason": "452 mailbox full"},
        "hard_bounce": {"reason": "550 5.1.1 no such user"},
        "blocked": {"reason": "blocked : due to blacklist user"},
        "error": {"reason": "template error"},
        "opened": {},
        "click": {"link": "https://example.com/offer"},
        "list_addition": {"list_id": [3]},
    }

    def split(self, body: bytes) -> Iterable[bytes]:
        """An event; or several in an array, which may lie in an object, under whatever name: no document shows a batch."""
        fields = {} if body.startswith(b"[") else fields_in(body)
        arrays = [array for array in fields.values() if ARRAY_OF_OBJECTS.match(array)]
        return elements(arrays[0] if len(arrays) == 1 and "event" not in fields else body)

    def read(self, item: Item) -> Iterable[Event]:
        fields = inside(item.value)
        if "event" not in fields and "MessageId" in fields:
            return [read_inbound(item)]
        payload = shaped(Payload, item.value)
        name = payload.event.lower().replace("_", "")
        # Text messages share the account and the names of events.
        kind = TYPES.get(name, EventType.UNKNOWN) if "email" in fields else EventType.UNKNOWN
        email_address = address(payload.email)
        message_id = payload.message_id and payload.message_id.strip("<>")
        return [
            Event(
                item=item,
                natural_key=(
                    name,
                    message_id or payload.camp_id,
                    folded(email_address),
                    str(payload.ts_epoch or payload.ts_event or payload.ts),
                    payload.link or payload.url,
                    payload.reason,
                    str(payload.list_id),
                ),
                type=kind,
                at=time(payload, kind),
                email_address=email_address,
                message_id=message_id,
                # Who put somebody on a list is not told: a form, an import, the API.
                by_recipient=kind != EventType.RESUBSCRIBED,
                bounce_class=BOUNCES.get(name),
                reason=payload.reason,
                url=payload.link or payload.url,
                ip=payload.ip,
                user_agent=payload.user_agent,
                is_machine="proxy" in name or None,
                tags=tags(payload),
                metadata=given("X-Mailin-custom", payload.custom),
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event": event,
            "email": email_address,
            "id": 26224,
            "ts_event": int(at.timestamp()),
            "ts_epoch": int(at.timestamp() * 1000),
            "message-id": f"<sample-{number}@smtp-relay.example.com>",
            "tags": ["sample"],
            **self.samples[event],
        }


def fields_in(body: bytes) -> Mapping[str, bytes]:
    """The fields of an object, as they were sent where that is JSON to the letter, or broken; none of what is no object."""
    try:
        return {name: bytes(each) for name, each in fields_strictly(body).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value, _ = decode(body)
    except Unreadable:
        found = map(FIELD.fullmatch, elements_of_broken(in_utf8(body).strip(WHITESPACE)))
        return {field[1].decode(errors="replace"): field[2] for field in found if field}
    return {name: encode(each) for name, each in inside(value).items()}


def read_inbound(item: Item) -> Event:
    """A mail that has come in. It tells no time of its own but the sender's, which proves nothing."""
    message = text(item.value["MessageId"])
    return Event(
        item=item,
        natural_key=("inbound", message, str(item.value.get("Uuid"))),
        type=EventType.INBOUND,
        at=None,
        email_address=address(inside(item.value, "From").get("Address")),
        message_id=message and message.strip("<>"),
    )


def time(payload: Payload, kind: EventType) -> datetime | None:
    """`ts` alone follows the account's time zone: hours too early, it would put an opt-out before what it revokes."""
    return moment(payload.ts_epoch) or moment(payload.ts_event) or (None if kind in OPT_OUTS else moment(payload.ts))


def tags(payload: Payload) -> tuple[str, ...]:
    """A list; or a text, which may be the JSON of a list."""
    found = json_in(payload.tags or payload.tag or ())
    return tuple(map(str, found)) if isinstance(found, list | tuple) else (str(found),)
