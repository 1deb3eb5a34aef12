"""Parameters in: each value with the one PostgreSQL type that the Data API binds it with.

So `where number = :x` with a string fails here as it does there: that needs a cast or a hint.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from db.local_data_api.errors import ApiError, bad_request, database_error, invalid
from db.local_data_api.shapes import no_constant

# PostgreSQL's numbers of its types.
BOOL, BYTEA, INT8, TEXT, FLOAT8, DATE, TIME, TIMESTAMP, NUMERIC, UUID, JSONB = (
    16, 17, 20, 25, 701, 1082, 1083, 1114, 1700, 2950, 3802,
)  # fmt: skip
UNTYPED = 0

AS_TEXT, AS_BYTES = 0, 1

DECIMAL_FORM = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
UUID_FORM = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DATE_FORM = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
TIME_FORM = re.compile(r"\d{2}:\d{2}:\d{2}(\.\d{1,6})?", re.ASCII)
TIMESTAMP_FORM = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?", re.ASCII)
TIMESTAMP_CHARACTERS = re.compile(r"[\d :.-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bound:
    """One value as libpq takes it."""

    oid: int
    value: bytes | None
    format: int = AS_TEXT


@dataclass(frozen=True, slots=True)
class Hint:
    oid: int
    check: Callable[[str], None]


def bind(names: Sequence[str], parameters: Sequence[Mapping[str, Any] | None]) -> list[Bound]:
    """The values of the statement's names, in their order: every name has one, and nothing is left over."""
    given: dict[str, Bound] = {}
    for parameter in parameters:
        name = (parameter or {}).get("name")
        if not parameter or not name:
            raise bad_request("Parameter name is missing")
        if name in given:
            raise bad_request(f"Parameter {name} is given twice")
        given[name] = bound(name, parameter)
    if missing := [name for name in names if name not in given]:
        raise bad_request(f"Cannot find parameter: {missing[0]}")
    if unused := given.keys() - set(names):
        raise bad_request(f"The statement does not use the parameter: {min(unused)}")
    return [given[name] for name in names]


def bound(name: str, parameter: Mapping[str, Any]) -> Bound:
    field: Mapping[str, Any] = parameter.get("value") or {}
    if not field:
        raise bad_request(f'Parameter "{name}" has value with no field set')
    [(kind, value)] = field.items()
    if kind == "stringValue" and "typeHint" in parameter:
        hint = HINTS[parameter["typeHint"]]
        hint.check(value)
        return Bound(hint.oid, value.encode())
    return FIELDS[kind](value)


def null(value: bool) -> Bound:
    if not value:
        raise bad_request("isNull must be true: another value has its own member")
    return Bound(UNTYPED, None)


def array(_: Any) -> Bound:
    raise invalid("Array parameters are not supported.")


FIELDS: Mapping[str, Callable[[Any], Bound]] = {
    "isNull": null,
    "booleanValue": lambda value: Bound(BOOL, b"t" if value else b"f"),
    "longValue": lambda value: Bound(INT8, b"%d" % value),
    "doubleValue": lambda value: Bound(FLOAT8, repr(value).encode()),
    # As bytes: a text would end at its first NUL, where PostgreSQL must refuse it.
    "stringValue": lambda value: Bound(TEXT, value.encode(), AS_BYTES),
    "blobValue": lambda value: Bound(BYTEA, value, AS_BYTES),
    "arrayValue": array,
}


def check_decimal(value: str) -> None:
    if not DECIMAL_FORM.fullmatch(value):
        raise not_parsed("Decimal")


def check_uuid(value: str) -> None:
    if not UUID_FORM.fullmatch(value):
        raise not_parsed("UUID")


def check_json(value: str) -> None:
    try:
        json.loads(value, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise not_parsed("JSON") from error


def check_date(value: str) -> None:
    if not (DATE_FORM.fullmatch(value) and is_valid(date.fromisoformat, value)):
        raise not_parsed("Date")


def check_time(value: str) -> None:
    if not (TIME_FORM.fullmatch(value) and is_valid(time.fromisoformat, value)):
        raise not_parsed("Time")


def check_timestamp(value: str) -> None:
    if not TIMESTAMP_CHARACTERS.fullmatch(value):
        raise not_parsed("TimeStamp", "input contains invalid characters")
    if not (TIMESTAMP_FORM.fullmatch(value) and is_valid(datetime.fromisoformat, value)):
        raise not_parsed("TimeStamp")


HINTS: Mapping[str, Hint] = {
    "DATE": Hint(DATE, check_date),
    "DECIMAL": Hint(NUMERIC, check_decimal),
    "JSON": Hint(JSONB, check_json),
    "TIME": Hint(TIME, check_time),
    "TIMESTAMP": Hint(TIMESTAMP, check_timestamp),
    "UUID": Hint(UUID, check_uuid),
}


def is_valid(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


def not_parsed(what: str, why: str = "the format is not the documented one") -> ApiError:
    return database_error(f"Parse Error for {what}: {why}")
