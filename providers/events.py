"""Events: the one vocabulary that every provider's dialect is turned into, and the id that tells them apart."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import force_setattr

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_TIME = "0" * 12
# The two bits that every UUID has after its first 64: of the digest's digit there, the rest.
VARIANTS = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}

# The longest e-mail address has 320 characters (RFC 3696): what is longer is none.
ADDRESS_LIMIT = 320

# Looser than any standard, but nothing that names several people or nobody: a joined list, a name, "REDACTED". A quoted
# local part with a blank in it is refused too: so rare, and so easily a name, that somebody should look.
ADDRESS = re.compile(r"[^\s,;<>]+@[^\s,;<>]+")
# Of a list, what lies between commas or semicolons that are not quoted.
LISTED = re.compile(r'(?:"[^"]*"|[^",;]+)++')

encode = msgspec.json.Encoder().encode

IN_BRACKETS = re.compile(r"<([^<>]*)>\s*$")
UNSEEN = "".join(map(chr, range(0x21))) + "\x7f\ufffd\ufeff\u00a0\u200b"


class EventType(StrEnum):
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"
    RESUBSCRIBED = "resubscribed"
    COMPLAINED = "complained"
    FAILED = "failed"
    INBOUND = "inbound"
    UNKNOWN = "unknown"


CONSENT_TYPES = frozenset({EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED, EventType.COMPLAINED})


class BounceClass(StrEnum):
    HARD = "hard"
    SOFT = "soft"


class Item(msgspec.Struct, frozen=True, gc=False):
    """One record of a delivery: what an adapter reads events from.

    `value` is the decoded record, `payload` its JSON text as it can be stored, `raw` its bytes as they were sent;
    `delivery_id` is None for one that is read again from a dead letter.
    """

    source: str
    provider: str
    received_at: datetime
    value: Any
    payload: bytes
    raw: bytes
    delivery_id: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that happened to one message or one person.

    `natural_key` is what makes this event itself and no other, the same whenever it is sent again; `id` is made of it.
    `at` is the event's own time; None where it tells none that can be stored. `by_recipient` is False where somebody
    else (an administrator, the provider) did it in the recipient's place.
    """

    item: Item
    natural_key: tuple[str | int | float | None, ...]
    type: EventType
    at: datetime | None
    email_address: str | None = None
    message_id: str | None = None
    provider_event_id: str | None = None
    topic: str | None = None
    by_recipient: bool = True
    bounce_class: BounceClass | None = None
    reason: str | None = None
    url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    is_machine: bool | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = {}
    id: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "id", event_id(self.item.provider, self.natural_key, self.at))

    @property
    def occurred_at(self) -> datetime:
        return self.at or self.item.received_at


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What an event says about consent: for one address, to everything (topic '') or to one topic."""

    event_id: str
    email_address: str
    topic: str
    opted_in: bool
    decided_at: datetime


def event_id(provider: str, natural_key: tuple[str | int | float | None, ...], at: datetime | None) -> str:
    """A UUID of version 8: 48 bits of milliseconds since 1970, then 74 bits of the natural key's SHA-256.

    Begins with the event's time, so that the log's index grows at its edge; an event without one begins with 0.
    """
    time = f"{milliseconds(at):012x}" if at else NO_TIME
    digest = hashlib.sha256(encode((provider, natural_key))).hexdigest()
    return f"{time[:8]}-{time[8:]}-8{digest[:3]}-{VARIANTS[digest[3]]}{digest[4:7]}-{digest[7:19]}"


def milliseconds(at: datetime) -> int:
    since = at - EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


def address(text: object) -> str | None:
    """The bare address in `a@b` or `Name <a@b>`, in the case it was written in; None where there is none."""
    if not isinstance(text, str):
        return None
    if "<" in text and (bracketed := IN_BRACKETS.search(text)):
        text = bracketed[1]
    text = text.strip(UNSEEN)
    return text if 0 < len(text) <= ADDRESS_LIMIT else None


def is_address(text: str | None) -> bool:
    return text is not None and ADDRESS.fullmatch(text) is not None


def addresses(text: object) -> list[str]:
    """The bare address of each in a text that may name several, `a@b, "Doe, Jo" <c@d>`; what is none is passed over."""
    # Not email.utils: what it makes of a list that is not to the letter depends on the patch level of Python.
    several = LISTED.findall(text) if isinstance(text, str) and ("," in text or ";" in text) else [text]
    return [found for each in several if (found := address(each)) and "@" in found]


def folded(email_address: str | None) -> str | None:
    """An address for a natural key: the same in whatever case it is written."""
    return email_address and email_address.lower()


def moment(value: object) -> datetime | None:
    """A provider's time (Unix seconds or milliseconds, as number or text, or ISO 8601) in UTC.

    None for what is no time, and for times that nothing that was mailed can have: before 1970, after 5138 (seconds)
    or 9999 (ISO). A text without offset is taken for UTC.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        if not isinstance(value, str):
            return from_unix(value)
        value = value.strip()
        if value.replace(".", "", 1).isdigit():
            return from_unix(float(value))
        parsed = datetime.fromisoformat(value)
        parsed = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return parsed if parsed >= EPOCH else None


def iso(at: datetime) -> str:
    """As most providers write it: milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_unix(number: float) -> datetime | None:
    # Milliseconds have 13 digits since 2001. Seconds of 12 digits lie after the year 5138: a mistake.
    seconds = number / 1000 if number >= 10**12 else number
    return EPOCH + timedelta(seconds=seconds) if 0 <= seconds < 10**11 else None
