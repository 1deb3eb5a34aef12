"""Bodies into values: strictly where possible, leniently where a strict reader would lose somebody's opt-out.

What PostgreSQL cannot store (NUL, lone surrogates, bytes that are not UTF-8, numbers beyond a double) is replaced in
the decoded value; the bytes as they were sent stay beside it.
"""

import json
import math
import re
from binascii import a2b_qp
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from functools import lru_cache
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)

REPLACEMENT = "\ufffd"
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
ESCAPED_NUL = b"\\u0000"
# The deepest nesting we keep: far beyond any event, well within what every reader behind us can take.
MAX_DEPTH = 200

# What shapes a JSON array: its strings (as one token, finished or not), brackets and commas.
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{},]', re.DOTALL)
ARRAY_BEGINS = re.compile(rb"\s*:\s*\[")
WHITESPACE = b" \t\r\n"

# What a form seldom has: what is not to be stored, an escape that is none, or what stands for its own signs meanwhile.
NO_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
UNUSUAL = re.compile(rb"[\x00-\x02\xed]")
UNUSUAL_ESCAPE = re.compile(rb"%(?![1-9A-DFa-df][0-9A-Fa-f]|0[3-9A-Fa-f]|[Ee][0-9A-CEFa-cef])")

decode_strictly = msgspec.json.Decoder().decode
split_strictly = msgspec.json.Decoder(list[msgspec.Raw]).decode
fields_strictly = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
encode = msgspec.json.encode


class Shape(BaseModel):
    """What an adapter reads of a record, under the provider's own names: texts also where they were sent as numbers."""

    model_config = ConfigDict(coerce_numbers_to_str=True)


class Unreadable(ValueError):
    """Authentic bytes in which no event can be read."""


def decode(raw: bytes) -> tuple[Any, bytes]:
    """The value in some JSON, and JSON text of it that can be stored: `raw` itself, but for what cannot be stored."""
    try:
        value = decode_strictly(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = decode_leniently(raw)
    else:
        if ESCAPED_NUL not in raw:
            return value, raw
    value = storable(value)
    return value, encode(value)


def decode_leniently(raw: bytes) -> Any:
    """As `decode`, of JSON in the wrong charset, with lone surrogates, NaN, Infinity or endless numbers; what is broken is
    refused.
    """
    try:
        text = raw.decode(json.detect_encoding(raw), "replace").lstrip("\ufeff")
        return json.loads(text, parse_constant=str, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {str(error)[:200]}") from error


def integer(digits: str) -> int | str:
    """As text where it has more digits than Python reads."""
    try:
        return int(digits)
    except ValueError:
        return digits


def storable(value: Any, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise Unreadable(f"nested more than {MAX_DEPTH} deep")
    match value:
        case str():
            return UNSTORABLE.sub(REPLACEMENT, value)
        case float() if not math.isfinite(value):
            return str(value)
        case list():
            return [storable(each, depth + 1) for each in value]
        case dict():
            return {storable(name, depth + 1): storable(each, depth + 1) for name, each in value.items()}
        case _:
            return value


def elements(body: bytes) -> Iterator[bytes]:
    """The elements of a JSON array, as they were sent, whatever is wrong inside of one; else the body itself."""
    if first_sign(body) != b"[":
        return iter([body])
    try:
        return map(bytes, split_strictly(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = in_utf8(body).strip(WHITESPACE)
        found = list(elements_of_broken(text)) if text.startswith(b"[") else []
        return iter(found if any(map(is_readable, found)) else [body])


def is_readable(raw: bytes) -> bool:
    try:
        decode(raw)
    except Unreadable:
        return False
    return True


def is_json(body: bytes) -> bool:
    """Whether it is, rather than a form: by its first byte, for no form begins so and no Content-Type is proven."""
    return first_sign(body) in {b"{", b"["}


def first_sign(body: bytes) -> bytes:
    """The first byte that is neither white space nor of a mark of the encoding, nor half of a wide character."""
    return body.lstrip(b" \t\r\n\xef\xbb\xbf\xff\xfe\x00")[:1]


def in_utf8(body: bytes) -> bytes:
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    return body.decode(encoding, "replace").lstrip("\ufeff").encode("utf-8", "replace")


def elements_of_broken(array: bytes) -> Iterator[bytes]:
    """As `elements`, of an array that is not JSON as a whole: cut at the commas that lie in no string or bracket."""
    depth, start, end = 0, 1, len(array)
    for token in TOKENS.finditer(array):
        match token[0]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
            case b"," if depth == 1:
                if element := array[start : token.start()].strip(WHITESPACE):
                    yield element
                start = token.end()
        if depth == 0:
            end = token.start()
            break
    if last := array[start:end].strip(WHITESPACE):
        yield last
    if rest := array[end + 1 :].strip(WHITESPACE):
        yield rest


def elements_of(body: bytes, name: str) -> Iterator[bytes]:
    """As `elements`, of the array that lies in a JSON object under this name. Raises Unreadable where there is none."""
    try:
        array = bytes(fields_strictly(body).get(name, b""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = list(elements_of_broken(array_in_broken(in_utf8(body), name)))
        if not any(map(is_readable, found)):
            raise Unreadable(f"no array {name}") from None
        return iter(found)
    if not array.startswith(b"["):
        raise Unreadable(f"no array {name}")
    return elements(array)


def array_in_broken(body: bytes, name: str) -> bytes:
    """The array under this name in an object that is not JSON as a whole, from bracket to bracket."""
    depth, start, quoted = 0, 0, f'"{name}"'.encode()
    for token in TOKENS.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
            case b"]" | b"}":
                depth -= 1
                if start and depth == 1:
                    return body[start : token.end()]
            case key if key == quoted and depth == 1 and (opening := ARRAY_BEGINS.match(body, token.end())):
                start = opening.end() - 1
    return body[start:] if start else b""


def without(raw: bytes, name: str) -> bytes:
    """A JSON object less a field that must not be kept, in whatever case its name is; the others as they were sent."""
    try:
        fields: dict[str, Any] = fields_strictly(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value, _ = decode(raw)
        if not isinstance(value, dict):
            raise Unreadable(f"not an object but {type(value).__name__}") from None
        fields = value
    return encode({key: value for key, value in fields.items() if key.casefold() != name.casefold()})


def text(value: object) -> str | None:
    """A text, also where it was sent as a whole number; None where there is none."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float):
        value = whole(value)
    return str(value) if isinstance(value, int) else None


def whole(value: object) -> object:
    """A float that is whole as the integer that it means: 10.0 names the same list as 10."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Number = Annotated[str | None, BeforeValidator(whole)]
"""In a shape, a number that names something, as a text. (Not every number: of times, 1.0 and 1 must stay as they were sent.)"""


def inside(value: Any, *names: str) -> dict[str, Any]:
    """The object that lies under these names, each in the one before; an empty one where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def json_in(sent: Any) -> Any:
    """The object or list in a text that is the JSON of one; anything else as it is."""
    if not isinstance(sent, str) or not sent.startswith(("{", "[")):
        return sent
    try:
        return decode(sent.encode())[0]
    except Unreadable:
        return sent


def given(name: str, sent: Any) -> dict[str, Any]:
    """What senders gave along with a message: the fields of an object, also as JSON, or anything else under this name."""
    found = json_in(sent)
    return found if isinstance(found, dict) else {name: sent} if sent else {}


Names = tuple[str, ...]


def nested(fields: Sequence[tuple[str, str]], told_apart: Callable[[Names], Iterable[str]] = iter) -> dict[str, Any]:
    """A form whose names have brackets, `data[merges][EMAIL]`, as objects in objects. Of equal names the last counts.

    `told_apart` gives names that would hide each other others.
    """
    found: dict[str, Any] = {}
    for (path, last), (_, value) in zip(paths(tuple(name for name, _ in fields), told_apart), fields, strict=True):
        inner = found
        for part in path:
            deeper = inner.setdefault(part, {})
            inner = deeper if isinstance(deeper, dict) else inner.setdefault(f"{part}[]", {})
        inner[last] = value
    return found


@lru_cache(maxsize=64)
def paths(names: Names, told_apart: Callable[[Names], Iterable[str]]) -> list[tuple[list[str], str]]:
    """The same few forms come again and again."""
    split = (name.replace("]", "").split("[", MAX_DEPTH) for name in told_apart(names))
    return [(path, last) for *path, last in split]


def form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form, urlencoded or multipart (files left out), in their order."""
    if body.startswith(b"--"):
        return multipart(body)
    if UNUSUAL.search(body) or UNUSUAL_ESCAPE.search(body):
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        return [(storable(name), storable(value)) for name, value in fields]
    # Quoted-printable differs by its sign only, and is decoded all at once.
    quoted = body.replace(b"+", b" ").replace(b"&", b"\x02").replace(b"=", b"\x01").replace(b"%", b"=")
    pairs = [field.partition("\x01") for field in a2b_qp(quoted).decode("utf-8", "replace").split("\x02")]
    return [(name, value.replace("\x01", "=")) for name, is_, value in pairs if name or is_]


def unquoted(quoted: bytes) -> bytes:
    """What was percent-encoded, byte for byte; `+` is a blank."""
    plain = quoted.replace(b"+", b" ")
    if NO_ESCAPE.search(plain):
        return unquote_to_bytes(plain)
    return a2b_qp(plain.replace(b"=", b"=3D").replace(b"%", b"="))


def decode_form(raw: bytes, arrange: Callable[[list[tuple[str, str]]], dict[str, Any]]) -> tuple[Any, bytes]:
    """As `decode`, of a form whose fields are arranged so, or of JSON where that is what has come."""
    if is_json(raw):
        return decode(raw)
    fields = arrange(form(raw))
    return fields, encode(fields)


def multipart(body: bytes) -> list[tuple[str, str]]:
    boundary = body[2 : body.find(b"\r\n")]
    head = b'Content-Type: multipart/form-data; boundary="' + boundary + b'"\r\n\r\n'
    parts = message_from_bytes(head + body, policy=policy.HTTP).iter_parts()
    return [
        (storable(str(part.get_param("name", header="content-disposition"))), storable(part_text(part)))
        for part in parts
        if part.get_filename() is None
    ]


def part_text(part: Any) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def shaped(model: type[Model], value: Any) -> Model:
    """The record in a provider's own shape. A field of the wrong kind that we can do without is left out.

    Raises Unreadable where a field that we need is missing or wrong: one such would not be worth an opt-out.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        if not isinstance(value, Mapping):
            raise Unreadable(f"not an object but {type(value).__name__}") from error
        wrong = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
    try:
        return model.model_validate({name: each for name, each in value.items() if name not in wrong})
    except ValidationError as error:
        raise Unreadable("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from error
