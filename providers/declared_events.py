"""Events by declaration: settings say where type, address, time and id lie in a record, and what its types mean."""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, NamedTuple, Self

import msgspec
from pydantic import BeforeValidator, Field, model_validator

from providers.decoding import Unreadable, decode, elements, elements_of, encode, fields_strictly, text
from providers.events import BounceClass, Event, EventType, Item, addresses, folded, iso, moment
from providers.faults import Declaration, fault, refuse

Path = tuple[str, ...]

DOT = re.compile(r"(?<!\\)\.")


class Meaning(NamedTuple):
    """What a provider's name for an event says. `by_recipient`: the recipient came back, not somebody in their place."""

    type: EventType
    bounce_class: BounceClass | None = None
    by_recipient: bool = False


MEANINGS = {
    **{each.value: Meaning(each) for each in EventType},
    "bounced hard": Meaning(EventType.BOUNCED, BounceClass.HARD),
    "bounced soft": Meaning(EventType.BOUNCED, BounceClass.SOFT),
    "resubscribed by recipient": Meaning(EventType.RESUBSCRIBED, by_recipient=True),
}
WITHDRAWS = {EventType.UNSUBSCRIBED, EventType.COMPLAINED}
UNKNOWN = Meaning(EventType.UNKNOWN)


def path_of(written: Any) -> Path:
    """`event.name` → ("event", "name"); a dot that belongs to a name has a backslash before it."""
    if not isinstance(written, str) or not written:
        raise fault(f'{written!r} is no path: write names with dots between, "event.name"')
    if written.startswith("$") or "[" in written:
        raise fault(f'{written!r} is no path of ours: for $.recipients[0].email write "recipients.0.email"')
    parts = tuple(part.replace("\\.", ".") for part in DOT.split(written))
    if not all(part and part == part.strip() for part in parts):
        raise fault(f'{written!r} is no path: there is an empty name or a stray space in it; write "event.name"')
    return parts


def paths_of(written: Any) -> tuple[Path, ...]:
    """One path, or several of which the first that leads somewhere counts."""
    several = written if isinstance(written, list | tuple) else [written]
    if not several:
        raise fault('is an empty list: write "event.name", or leave the option out')
    return tuple(map(path_of, several))


def meanings_of(written: Any) -> dict[str, Meaning]:
    named = dict(flattened(written)) if isinstance(written, Mapping) else {}
    if not named:
        raise fault(f'says nothing: write {{ "their.name" = "unsubscribed" }}; of ours there are {", ".join(MEANINGS)}')
    if wrong := [f"{name} = {each!r} {correction(each)}" for name, each in named.items() if each not in MEANINGS]:
        raise fault(f"{'; '.join(wrong)}; there are {', '.join(MEANINGS)}")
    if len({name.casefold() for name in named}) < len(named):
        raise fault("says the same name twice: capitals make no difference")
    return {name: MEANINGS[each] for name, each in named.items()}


def flattened(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`email.opened = …` without quotes is a table in a table to TOML: the dotted name was meant."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def correction(meaning: str) -> str:
    close = difflib.get_close_matches(meaning, MEANINGS, n=1)
    return f"is no event type: do you mean {close[0]!r}?" if close else "is no event type"


Paths = Annotated[tuple[Path, ...], BeforeValidator(paths_of)]
NOWHERE: tuple[Path, ...] = ()
TEXTS = ("reason", "url", "ip", "user_agent")


class Events(Declaration):
    """Where things lie in a record: names with dots between, each a path or several of which the first that is there counts.

    A path through a list, `recipients.email`, leads to each of its elements; `recipients.0.email` to the first.
    """

    items: Annotated[Path, BeforeValidator(path_of)] = ()
    type: Paths = Field(description='type = "event.name", the path to what the provider calls the event')
    subtype: Paths = NOWHERE
    types: Annotated[dict[str, Meaning], BeforeValidator(meanings_of)] = Field(
        description='types = { "their.name" = "unsubscribed" }, what its names mean in our words'
    )
    address: Paths = Field(description='address = "recipient.email", the path to the recipient\'s address')
    time: Paths = NOWHERE
    id: Paths = NOWHERE
    ignore: Paths = NOWHERE
    message_id: Paths = NOWHERE
    topic: Paths = NOWHERE
    reason: Paths = NOWHERE
    url: Paths = NOWHERE
    ip: Paths = NOWHERE
    user_agent: Paths = NOWHERE
    is_machine: Paths = NOWHERE
    tags: Paths = NOWHERE
    metadata: Paths = NOWHERE

    @model_validator(mode="after")
    def _fit(self) -> Self:
        detailed = [name for name in self.types if "/" in name]
        if self.subtype and not detailed:
            refuse([("subtype", 'no name in types has one: write types = { "bounce/hard" = "bounced hard" }')])
        return self

    @property
    def decide_consent(self) -> bool:
        return any(each.by_recipient or each.type in WITHDRAWS for each in self.types.values())

    @property
    def are_told_apart(self) -> bool:
        return bool(self.time or self.id)

    @cached_property
    def _meanings(self) -> Mapping[str, Meaning]:
        return {name.casefold(): meaning for name, meaning in self.types.items()}

    @cached_property
    def _texts(self) -> Sequence[tuple[str, tuple[Path, ...]]]:
        return [(name, getattr(self, name)) for name in TEXTS if getattr(self, name)]

    def meaning(self, name: str, subtype: str | None) -> Meaning:
        """Of `name/subtype`, else of the name alone, in whatever case they are written."""
        name = name.strip().casefold()
        detailed = subtype and self._meanings.get(f"{name}/{subtype.strip().casefold()}")
        return detailed or self._meanings.get(name, UNKNOWN)

    def split(self, body: bytes) -> Iterable[bytes]:
        """The records in a body. Raises Unreadable."""
        if not self.items:
            return elements(body)
        envelopes = list(elements(body))
        if len(envelopes) == 1:
            return records_in(body, self.items)
        return [each for envelope in envelopes for each in records_or_envelope(envelope, self.items)]

    def read(self, item: Item) -> list[Event]:
        """Raises Unreadable."""
        record = item.value
        if not isinstance(record, dict):
            raise Unreadable(f"not an object but {type(record).__name__}")
        name = text_at(record, self.type)
        if name is None:
            raise Unreadable(f"no type at {' or '.join(map('.'.join, self.type))}")
        subtype = text_at(record, self.subtype)
        meaning = self.meaning(name, subtype)
        time, at = time_at(record, self.time)
        event_id = text_at(record, self.id) or item.delivery_id
        texts: dict[str, Any] = {each: text_at(record, paths) for each, paths in self._texts}
        topics: Sequence[str | None] = texts_at(record, self.topic) or [None]
        message_id = text_at(record, self.message_id)
        is_machine = first_at(record, self.is_machine)
        metadata = first_at(record, self.metadata)
        identity = (
            # Ids of different providers may be the same: the source tells them apart.
            item.source,
            event_id or self.digest(record),
            name,
            subtype,
            str(time),
            message_id,
        )
        return [
            Event(
                item=item,
                natural_key=(*identity, topic, texts.get("url"), folded(email_address)),
                type=meaning.type,
                at=at,
                email_address=email_address,
                message_id=message_id and message_id.strip("<>"),
                provider_event_id=event_id,
                topic=topic,
                by_recipient=self._is_by_recipient(meaning, topic),
                bounce_class=meaning.bounce_class,
                is_machine=is_machine if isinstance(is_machine, bool) else None,
                tags=tuple(filter(None, map(text, all_at(record, self.tags)))),
                metadata=metadata if isinstance(metadata, dict) else {},
                **texts,
            )
            for email_address in addresses_at(record, self.address)
            for topic in topics
        ]

    def _is_by_recipient(self, meaning: Meaning, topic: str | None) -> bool:
        """Who joins a topic that is not told has not joined everything."""
        if meaning.type != EventType.RESUBSCRIBED:
            return True
        return meaning.by_recipient and (topic is not None or not self.topic)

    def digest(self, record: dict[str, Any]) -> str:
        """Of what the record says, in whatever order, without what is known to change when it is sent again."""
        for path in self.ignore:
            record = less(record, path)
        return hashlib.sha256(msgspec.json.encode(record, order="sorted")).hexdigest()

    @property
    def samples(self) -> dict[str, Mapping[str, Any]]:
        """The names to try out: an unsubscribe first."""
        known = [name for name, meaning in self.types.items() if meaning.type != EventType.UNKNOWN]
        return {name: {} for name in sorted(known, key=lambda name: self.types[name].type != EventType.UNSUBSCRIBED)}

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        name, _, subtype = event.partition("/") if self.subtype else (event, "", "")
        record: dict[str, Any] = {}
        for paths, value in (
            (self.type, name),
            (self.subtype, subtype),
            (self.address, email_address),
            (self.time, iso(at)),
            (self.id, f"sample-{number}"),
            (self.message_id, f"sample-message-{number}"),
        ):
            if paths and value:
                put(record, paths[0], value)
        return record

    def bodies(self, samples: Sequence[Any]) -> Iterable[bytes]:
        if not self.items:
            return map(encode, samples)
        body: dict[str, Any] = {}
        put(body, self.items, list(samples))
        return [encode(body)]


def records_in(envelope: bytes, items: Path) -> Iterable[bytes]:
    *outer, name = items
    return elements_of(inner(envelope, outer), name)


def records_or_envelope(envelope: bytes, items: Path) -> Iterable[bytes]:
    """Of several envelopes, one without its list costs no other."""
    try:
        return records_in(envelope, items)
    except Unreadable:
        return [envelope]


def inner(body: bytes, names: Iterable[str]) -> bytes:
    """What lies in a JSON object under these names, each in the one before; nothing where there is nothing."""
    for name in names:
        try:
            body = bytes(fields_strictly(body).get(name, b""))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            value, _ = decode(body)
            body = encode(value.get(name)) if isinstance(value, dict) else b""
    return body


def leaves(value: Any, path: Path) -> list[Any]:
    """What lies at a path; of a list, what lies there in each of its elements."""
    for number, name in enumerate(path):
        if isinstance(value, dict):
            value = value.get(name)
        elif not isinstance(value, list):
            return []
        elif name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return [leaf for each in value for leaf in leaves(each, path[number:])]
    return value if isinstance(value, list) else [] if value is None else [value]


def all_at(record: Any, paths: Iterable[Path]) -> list[Any]:
    for path in paths:
        if found := leaves(record, path):
            return found
    return []


def first_at(record: Any, paths: Iterable[Path]) -> Any:
    found = all_at(record, paths)
    return found[0] if found else None


def time_at(record: Any, paths: Iterable[Path]) -> tuple[Any, datetime | None]:
    """The first that can be read as a time, as it was sent and as a moment."""
    found = [leaf for path in paths for leaf in leaves(record, path)[:1]]
    for each in found:
        if at := moment(each):
            return each, at
    return (found[0] if found else None), None


def texts_at(record: Any, paths: Iterable[Path]) -> list[str]:
    """Each once; of several paths, those of the first that leads to any."""
    for path in paths:
        if found := list(dict.fromkeys(filter(None, map(text, leaves(record, path))))):
            return found
    return []


def text_at(record: Any, paths: Iterable[Path]) -> str | None:
    for path in paths:
        for leaf in leaves(record, path):
            if found := text(leaf):
                return found
    return None


def addresses_at(record: Any, paths: Iterable[Path]) -> Sequence[str | None]:
    """What is no address is passed over: an id or a name in its place would be nobody's opt-out."""
    for path in paths:
        if found := [each for leaf in leaves(record, path) for each in addresses(leaf)]:
            return found
    return [None]


def less(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """A copy without what lies at the path."""
    name, *rest = path
    kept = {each: value for each, value in record.items() if each != name}
    if rest and isinstance(record.get(name), dict):
        kept[name] = less(record[name], tuple(rest))
    return kept


def put(record: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(record.get(name), dict):
            record[name] = {}
        record = record[name]
    record[path[-1]] = value
