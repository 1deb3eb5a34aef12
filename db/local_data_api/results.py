"""Fields out: PostgreSQL's text of a value into the member of `Field` that the Data API answers it with."""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from psycopg import pq

from db.local_data_api.errors import ApiError, unsupported
from db.local_data_api.types import Type

Field = dict[str, Any]
LONGEST = 2**63
JSON_PART = re.compile(r'("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)|\s+')
FRACTION = re.compile(r"\.(\d+)")
ZONED = re.compile(r"(.*?)([+-]\d{2}(?::\d{2}){0,2})( BC)?")
ELEMENT = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}]+)|([{}])', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Options:
    """How the caller wants its results."""

    decimals: Literal["STRING", "DOUBLE_OR_LONG"] = "STRING"
    longs: Literal["STRING", "LONG"] = "LONG"

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Options":
        return cls(request.get("decimalReturnType", "STRING"), request.get("longReturnType", "LONG"))


Read = Callable[[str, Options], Field]


def records(rows: Iterable[Sequence[bytes | None]], types: Sequence[Type], options: Options) -> list[list[Field]]:
    readers = [reader(each) for each in types]
    return [[field(value, read, options) for value, read in zip(row, readers, strict=True)] for row in rows]


def field(value: bytes | None, read: Read, options: Options) -> Field:
    return {"isNull": True} if value is None else read(value.decode(), options)


def reader(of: Type) -> Read:
    if of.element is None:
        read = READERS.get(of.kind)
        if read is None:
            raise unsupported(f"The result contains the unsupported data type {of.shown}.")
        return read
    element = READERS.get(of.element.kind)
    if element is None or not of.element.in_arrays:
        raise unsupported(f"The result contains the unsupported data type {of.element.shown}[].")
    member = ARRAY_MEMBERS.get(of.element.kind, "stringValues")
    return lambda text, _: {"arrayValue": {member: [plain(each, element) for each in array_elements(text)]}}


def plain(text: str | None, read: Read) -> Any:
    """What a field holds, without its member: so are the elements of arrays, whatever the options say."""
    if text is None:
        return None
    [value] = read(text, Options()).values()
    return value


def long(text: str, options: Options) -> Field:
    return {"stringValue": text} if options.longs == "STRING" else {"longValue": int(text)}


def double(text: str, _: Options) -> Field:
    """NaN and the infinities have no number in JSON: they go as strings, which the SDKs read as what they are."""
    return {"doubleValue": text if text.lstrip("-") in {"NaN", "Infinity"} else float(text)}


def decimal(text: str, options: Options) -> Field:
    if options.decimals == "STRING":
        return {"stringValue": text}
    # Python reads no more than some thousand digits; a long has 19.
    if text.lstrip("-").isdecimal() and len(text) <= 20 and -LONGEST <= int(text) < LONGEST:
        return {"longValue": int(text)}
    found = double(text, options)
    if found["doubleValue"] in {math.inf, -math.inf}:
        raise unsupported("The result contains a numeric that no double can hold.")
    return found


def boolean(text: str, _: Options) -> Field:
    return {"booleanValue": text == "t"}


def string(text: str, _: Options) -> Field:
    return {"stringValue": text}


def blob(text: str, _: Options) -> Field:
    value = bytes.fromhex(text[2:]) if text.startswith("\\x") else pq.Escaping().unescape_bytea(text.encode())
    return {"blobValue": base64.b64encode(value).decode()}


def json_text(text: str, _: Options) -> Field:
    """Without blanks between its parts. The service fails at a number that no double can hold."""
    return {"stringValue": JSON_PART.sub(json_part, text)}


def json_part(match: re.Match[str]) -> str:
    if match[2] and math.isinf(float(match[2])):
        raise ApiError("InternalFailure", "")
    return match[1] or match[2] or ""


def temporal(text: str, _: Options) -> Field:
    """A fraction has three digits or six, or there is none."""
    if "infinity" in text:
        raise ApiError("InternalFailure", "")
    return {"stringValue": FRACTION.sub(fraction, text)}


def fraction(match: re.Match[str]) -> str:
    digits = match[1].rstrip("0")
    return f".{digits.ljust(3 if len(digits) < 4 else 6, '0')}" if digits else ""


def timestamptz(text: str, options: Options) -> Field:
    """In UTC, whatever the session's zone, and without an offset."""
    match = ZONED.fullmatch(text)
    if not match:
        return temporal(text, options)
    local, offset, era = match[1], match[2], match[3] or ""
    if offset.strip("+-0:"):
        try:
            local = datetime.fromisoformat(text).astimezone(UTC).isoformat(" ").partition("+")[0]
        except (ValueError, OverflowError) as error:
            raise ApiError("InternalFailure", "") from error
    return temporal(f"{local}{era}", options)


READERS: Mapping[str, Read] = {
    "boolean": boolean,
    "long": long,
    "double": double,
    "decimal": decimal,
    "string": string,
    "blob": blob,
    "json": json_text,
    "temporal": temporal,
    "timestamptz": timestamptz,
}
ARRAY_MEMBERS = {"boolean": "booleanValues", "long": "longValues", "double": "doubleValues"}


def array_elements(text: str) -> Iterable[str | None]:
    """Of PostgreSQL's `{1,NULL,"a, b"}`; bounds other than from 1 stand before it: `[0:1]={…}`."""
    depth = 0
    for match in ELEMENT.finditer(text, text.index("{")):
        quoted, bare, brace = match.groups()
        if brace:
            depth += 1 if brace == "{" else -1
            if depth > 1:
                raise unsupported("The result contains a multidimensional array.")
        elif quoted is not None:
            yield ESCAPED.sub(r"\1", quoted)
        else:
            yield None if bare == "NULL" else bare


def as_json(rows: Sequence[Sequence[Field]], labels: Sequence[str]) -> str:
    """`formatRecordsAs: JSON`: of columns with the same label the last one stays."""
    return json.dumps(
        [dict(zip(labels, map(json_value, row), strict=True)) for row in rows],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def json_value(field: Field) -> Any:
    [(kind, value)] = field.items()
    if kind == "isNull":
        return None
    return next(iter(value.values())) if kind == "arrayValue" else value
