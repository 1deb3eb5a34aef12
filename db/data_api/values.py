"""Python's values as the Data API's, and back: by type hint on the way in, by column metadata on the way out."""

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from db.database import BadData, DatabaseMisconfigured, Row

Field = dict[str, Any]

# More digits than any numeric of PostgreSQL's.
DIGITS = 131_072
TYPE_NAME = re.compile(r"[a-z_][a-z0-9_ .]*(\(\d+(,\d+)?\))?")
# A NUL in JSON text: \u0000 after an even number of backslashes.
NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Json:
    """A value to be sent as JSON that is no dict or list: a text, a number, null."""

    value: Any


@dataclass(frozen=True, slots=True)
class Array:
    """An array of PostgreSQL's, `of` one of its types: Array([1, 2], "int8"). A plain list is JSON."""

    values: Sequence[Any]
    of: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value, the hint by which the Data API binds it, and the type to which the statement must cast it."""

    value: Field
    hint: str = ""
    cast: str = ""

    def parameter(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = {"name": name, "value": self.value}
        return told | {"typeHint": self.hint} if self.hint else told


def encode(name: str, value: Any, *, by_cast: bool = False) -> Encoded:
    """The parameter `:name`. Raises BadData, which names the parameter and never the value.

    `by_cast`: times always as text with a cast. The hints TIME and TIMESTAMP go to milliseconds only, so what is
    finer is cast; and all sets of a batch must be bound alike.
    """
    for kind in type(value).__mro__:
        if kind in ENCODERS:
            try:
                encoded = ENCODERS[kind](value)
            except (ValueError, RecursionError) as error:
                raise BadData(f"the parameter :{name} {error}") from None
            return by_text(value, encoded) if by_cast else encoded
    raise BadData(f"the parameter :{name} is of type {type(value).__name__}, for which the Data API has none")


def text(value: str) -> Encoded:
    # A plain str, where it is a member of an enumeration.
    return Encoded({"stringValue": str.__str__(storable(value))})


def storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character, which PostgreSQL's text cannot")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return value


def integer(value: int) -> Encoded:
    if -(2**63) <= value < 2**63:
        return Encoded({"longValue": int(value)})
    return Encoded({"stringValue": str(int(value))}, "DECIMAL")


def double(value: float) -> Encoded:
    if not math.isfinite(value):
        raise ValueError(f"is {value}, which JSON cannot carry: send it as text, with cast(… as float8)")
    return Encoded({"doubleValue": float(value)})


def decimal(value: Decimal) -> Encoded:
    if not value.is_finite():
        raise ValueError(f"is {value}, which is no decimal number: send it as text, with cast(… as numeric)")
    if value and abs(value.adjusted()) > DIGITS:
        raise ValueError("has more digits than PostgreSQL's numeric")
    return Encoded({"stringValue": f"{value:f}"}, "DECIMAL")


def moment(value: datetime) -> Encoded:
    """With its offset, and cast: so it is the same instant whatever the session's zone. A naive one has no zone."""
    if value.tzinfo:
        return Encoded({"stringValue": value.isoformat(" ")}, cast="timestamptz")
    return hinted(value.isoformat(" "), value.microsecond, "TIMESTAMP")


def time_of_day(value: time) -> Encoded:
    if value.tzinfo:
        raise ValueError("is a time with a zone, which the Data API does not know")
    return hinted(value.isoformat(), value.microsecond, "TIME")


def hinted(value: str, microsecond: int, hint: str) -> Encoded:
    if microsecond % 1000:
        return Encoded({"stringValue": value}, cast=hint.lower())
    # Milliseconds, where it has any: the last three digits are noughts.
    return Encoded({"stringValue": value[:-3] if microsecond else value}, hint)


def by_text(value: Any, encoded: Encoded) -> Encoded:
    if encoded.hint not in {"TIME", "TIMESTAMP"}:
        return encoded
    return Encoded({"stringValue": str(value)}, cast=encoded.hint.lower())


def interval(value: timedelta) -> Encoded:
    spelled = f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    return Encoded({"stringValue": spelled}, cast="interval")


def document(value: Any) -> Encoded:
    return Encoded({"stringValue": json_text(value)}, "JSON")


def json_text(value: Any) -> str:
    try:
        spelled = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except TypeError as error:
        raise ValueError(f"cannot be written as JSON: {error}") from None
    if NUL_IN_JSON.search(spelled):
        raise ValueError("holds a NUL character, which PostgreSQL's jsonb cannot")
    return storable(spelled)


def array(value: Array) -> Encoded:
    if not TYPE_NAME.fullmatch(value.of):
        raise ValueError("is an array of what is no type's name")
    return Encoded({"stringValue": array_literal(value.values)}, cast=f"{value.of}[]")


def array_literal(values: Iterable[Any]) -> str:
    return f"{{{','.join(map(element, values))}}}"


def element(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case list() | tuple():
            return array_literal(value)
        case bytes() | bytearray():
            spelled = f"\\x{value.hex()}"
        case float():
            spelled = repr(value)
        case dict() | Json():
            spelled = json_text(value.value if isinstance(value, Json) else value)
        case datetime():
            spelled = value.isoformat(" ")
        case str() | bool() | int() | Decimal() | UUID() | date() | time():
            spelled = storable(str(value))
        case _:
            raise ValueError(f"is an array with an element of type {type(value).__name__}")
    quoted = spelled.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


# By the value's type or the nearest of those that it is made from: a bool is no int here, a datetime no date.
ENCODERS: Mapping[type, Callable[[Any], Encoded]] = {
    type(None): lambda _: Encoded({"isNull": True}),
    bool: lambda value: Encoded({"booleanValue": value}),
    int: integer,
    float: double,
    Decimal: decimal,
    str: text,
    bytes: lambda value: Encoded({"blobValue": b64encode(value).decode()}),
    bytearray: lambda value: Encoded({"blobValue": b64encode(value).decode()}),
    memoryview: lambda value: Encoded({"blobValue": b64encode(value).decode()}),
    datetime: moment,
    date: lambda value: Encoded({"stringValue": value.isoformat()}, "DATE"),
    time: time_of_day,
    timedelta: interval,
    UUID: lambda value: Encoded({"stringValue": str(value)}, "UUID"),
    dict: document,
    list: document,
    Json: lambda value: document(value.value),
    Array: array,
}


class Rows(list[Row]):
    """The rows of an answer; `updated` is how many rows a statement changed that returns none."""

    def __init__(self, rows: Iterable[Row] = (), *, updated: int = 0) -> None:
        super().__init__(rows)
        self.updated = updated


def decode(answer: Mapping[str, Any]) -> Rows:
    """Raises DatabaseMisconfigured for a value that Python's type cannot hold."""
    columns = [(column.get("label") or column["name"], column) for column in answer.get("columnMetadata") or ()]
    readers = [(name, reader(name, column.get("typeName", ""))) for name, column in columns]
    rows = (
        {name: read(field) for (name, read), field in zip(readers, record, strict=True)}
        for record in answer.get("records") or ()
    )
    return Rows(rows, updated=answer.get("numberOfRecordsUpdated") or 0)


def reader(column: str, type_name: str) -> Callable[[Field], Any]:
    """Reads the fields of one column."""
    return partial(read, column, READERS.get(type_name.removeprefix("_")))


def read(column: str, convert: Callable[[Any], Any] | None, field: Field) -> Any:
    kind, value = member(field)
    if kind == "isNull":
        return None
    try:
        if kind == "arrayValue":
            return elements(convert, value)
        return converted(convert, b64decode(value) if kind == "blobValue" else value)
    except (ValueError, ArithmeticError) as error:
        raise DatabaseMisconfigured(
            f"the column {column} holds what Python's type cannot ({type(error).__name__}): select it ::text"
        ) from None


def elements(convert: Callable[[Any], Any] | None, array: Mapping[str, Any]) -> list[Any]:
    kind, values = member(array)
    if kind == "arrayValues":
        return [elements(convert, each) for each in values]
    return [None if each is None else converted(convert, each) for each in values]


def member(union: Mapping[str, Any]) -> tuple[str, Any]:
    """The one member that is there: one that is null is not."""
    return next(item for item in union.items() if item[1] is not None)


def converted(convert: Callable[[Any], Any] | None, value: Any) -> Any:
    return convert(value) if convert else value


def exact(value: Any) -> Decimal:
    return Decimal(str(value))


def instant(value: str) -> datetime:
    """In UTC, of which the Data API says nothing."""
    found = datetime.fromisoformat(value)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


# By PostgreSQL's own name of the column's type, or of its elements' type. What is not here stays as the answer has it.
READERS: Mapping[str, Callable[[Any], Any]] = {
    "bool": bool,
    "int2": int,
    "int4": int,
    "int8": int,
    "smallserial": int,
    "serial": int,
    "bigserial": int,
    "oid": int,
    "float4": float,
    "float8": float,
    "numeric": exact,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": instant,
    "uuid": UUID,
    "json": json.loads,
    "jsonb": json.loads,
}
