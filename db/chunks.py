"""Deliveries into statements: records, and the JSON arrays of a chunk of them; pure."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from providers.adapter import Batch, DeadLetter, Token
from providers.events import Decision, Event

# More rows spill sorts over work_mem; more bytes do not fit one call of the Data API, where JSON is escaped again.
MAX_ROWS = 1_000
MAX_BYTES = 2_000_000

# Of a row's other columns.
ROW_BYTES = 300

# What one column holds. The ledger's key, address and topic, must fit PostgreSQL's 2,704 bytes of index entry.
KEY_LIMIT = 255
TEXT_LIMIT = 2_000

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


class EventRow(msgspec.Struct, omit_defaults=True, gc=False):
    """Of webhook_events, as record_events.sql takes it: what is null is left out."""

    id: str
    source: str
    provider: str
    type: str
    occurred_at: datetime
    received_at: datetime
    payload: msgspec.Raw
    email_address: str | None = None
    topic: str | None = None
    message_id: str | None = None
    provider_event_id: str | None = None
    bounce_class: str | None = None
    reason: str | None = None
    opted_in: bool | None = None
    original: str | None = None
    proof: str | None = None


class Record(msgspec.Struct, gc=False):
    """One thing to write, encoded: an event with its decisions, or a dead letter.

    `source`, `received_at` and `raw` are what a dead letter is made of, should the database refuse the event.
    """

    id: str
    source: str
    received_at: datetime
    raw: bytes
    event: bytes = b""
    decisions: tuple[bytes, ...] = ()
    dead_letter: bytes = b""
    token: Token | None = None
    size: int = 0

    def __post_init__(self) -> None:
        self.size = len(self.event) + len(self.dead_letter) + sum(map(len, self.decisions))


class Records(msgspec.Struct, frozen=True):
    """Those of a delivery, each encoded when it is asked for, and before that read, where its batches are made so: of a
    large delivery, the first are on their way by then.

    `number` and `size`: about how many there will be, of how many bytes in all.
    """

    batches: Iterable[Batch]
    number: int
    size: int

    def __iter__(self) -> Iterator[Record]:
        for batch in self.batches:
            yield from records_of(batch)


def records(batch: Batch) -> Records:
    number = len(batch.events) + len(batch.dead_letters)
    events = sum(len(event.item.payload) for event in batch.events)
    dead_letters = sum(len(letter.body) * 4 // 3 for letter in batch.dead_letters)
    return Records([batch], number, number * ROW_BYTES + events + dead_letters)


def records_of(batch: Batch) -> Iterator[Record]:
    decisions: dict[str, list[Decision]] = {}
    for decision in batch.decisions:
        decisions.setdefault(decision.event_id, []).append(decision)
    for event in batch.events:
        yield event_record(event, decisions.get(event.id, ()), batch.token)
    for letter in batch.dead_letters:
        yield dead_letter_record(letter, batch.token)


def event_record(event: Event, decisions: Sequence[Decision], token: Token | None) -> Record:
    item = event.item
    row = EventRow(
        id=event.id,
        source=item.source,
        provider=item.provider,
        type=event.type,
        occurred_at=event.occurred_at,
        received_at=item.received_at,
        payload=msgspec.Raw(item.payload),
        email_address=event.email_address or None,
        topic=key_text(event.topic) if event.topic else None,
        message_id=key_text(event.message_id) if event.message_id else None,
        provider_event_id=key_text(event.provider_event_id) if event.provider_event_id else None,
        bounce_class=event.bounce_class,
        reason=event.reason[:TEXT_LIMIT] if event.reason else None,
        opted_in=decisions[0].opted_in if decisions else None,
        original=None if item.payload is item.raw else b64encode(item.raw).decode(),
        proof=proof(token) if token else None,
    )
    return Record(
        event.id,
        item.source,
        item.received_at,
        item.raw,
        event=encode(row),
        decisions=tuple(encode(decision_row(each)) for each in decisions) if decisions else (),
        token=token,
    )


def decision_row(decision: Decision) -> dict[str, Any]:
    return {
        "event_id": decision.event_id,
        "email_address": decision.email_address,
        "topic": key_text(decision.topic),
        "opted_in": decision.opted_in,
        "decided_at": decision.decided_at,
    }


def dead_letter_record(letter: DeadLetter, token: Token | None) -> Record:
    """The same bytes from the same source make the same dead letter, however often they are sent."""
    identity = dead_letter_id(letter.source, letter.body)
    row: dict[str, Any] = {
        "id": identity,
        "source": letter.source,
        "received_at": letter.received_at,
        "error": printable(letter.error)[:TEXT_LIMIT],
        "body": b64encode(letter.body).decode(),
        "is_item": letter.is_item,
    }
    if token:
        row["proof"] = proof(token)
    return Record(identity, letter.source, letter.received_at, letter.body, dead_letter=encode(row), token=token)


def refused(record: Record, error: str) -> Record:
    """The dead letter of an event that the database would not take."""
    letter = DeadLetter(
        record.source, record.received_at, record.raw, f"the database refused it: {error}", is_item=True
    )
    return dead_letter_record(letter, record.token)


def dead_letter_id(source: str, body: bytes) -> str:
    digest = hashlib.sha256(source.encode() + b"\0" + body).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def proof(token: Token) -> str:
    return f"{token.token}:{token.body}"


def parameters(chunk: Iterable[Record]) -> Mapping[str, str]:
    """Of `record_events.sql`. Rows go in the order of their ids, which is the order of the statement's locks."""
    chunk = sorted(chunk, key=lambda record: record.id)
    tokens = {record.token for record in chunk if record.token}
    return {
        "events": array(record.event for record in chunk if record.event),
        "decisions": array(decision for record in chunk for decision in record.decisions),
        "dead_letters": array(record.dead_letter for record in chunk if record.dead_letter),
        "tokens": array(encode({"token": each.token, "body": each.body}) for each in tokens),
    }


def halves(whole: Sequence[T]) -> list[Sequence[T]]:
    middle = len(whole) // 2
    return [whole[:middle], whole[middle:]]


def array(rows: Iterable[bytes]) -> str:
    return f"[{b','.join(rows).decode()}]"


def key_text(text: str) -> str:
    """Text that is compared (a topic, an id): where it is too long, its end becomes a hash of the whole."""
    if len(text) <= KEY_LIMIT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: KEY_LIMIT - 1 - len(digest)]}#{digest}"


def printable(text: str) -> str:
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
