"""Statements and values into request bodies that the Data API takes: 4 MiB, counted as they are sent; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from db.data_api.statement import Statement, parse
from db.data_api.values import Encoded, encode
from db.database import DatabaseMisconfigured, TooMuch
from db.packing import packed

# Of the 4 MiB that a request may have, what its headers may take: a signature, a session's token.
HEADER_BYTES = 16 * 1024
REQUEST_BYTES = 4 * 1024 * 1024 - HEADER_BYTES
# More sets in one call might not be through within its 45 s.
SETS = 1_000

# A value too long for one request travels before its statement, in pieces, and waits in a setting of the transaction.
SETTING = "data_api.long_{}"
ADD_PIECE = (
    "select length(set_config(:setting, coalesce(current_setting(:setting, true), '') || :piece, true)) as so_far"
)
HINTED_TYPES = {"JSON": "jsonb", "DECIMAL": "numeric"}

Parameters = Mapping[str, Any]
Target = Mapping[str, str]
"""Cluster, secret, database, transaction: what every request names."""

to_json = msgspec.json.Encoder().encode


def one(sql: str, parameters: Parameters | None, target: Target, *, continues: bool = False) -> bytes:
    """The body of ExecuteStatement, however long."""
    statement = parse(sql)
    [encoded] = encoded_sets(statement, [parameters or {}])
    return execute_body(statement.text(casts([encoded])), encoded, target, continues=continues)


def execute_body(sql: str, encoded: Mapping[str, Encoded], target: Target, *, continues: bool = False) -> bytes:
    request: dict[str, Any] = {**target, "sql": sql, "includeResultMetadata": True, "parameters": listed(encoded)}
    return to_json(request | {"continueAfterTimeout": True} if continues else request)


def fits(body: bytes) -> bool:
    return len(body) <= REQUEST_BYTES


def batches(sql: str, parameter_sets: Iterable[Parameters], target: Target) -> Iterator[bytes]:
    """The bodies of BatchExecuteStatement, as few as fit. Each set is encoded once, to be counted and to be sent."""
    statement = parse(sql)
    encoded = encoded_sets(statement, list(parameter_sets))
    begin = to_json({**target, "sql": statement.text(casts(encoded))})[:-1] + b',"parameterSets":['
    room = REQUEST_BYTES - len(begin) - 2
    sets = (checked(to_json(listed(each)), room) for each in encoded)
    for chunk in packed(sets, room, between=1, most=SETS):
        yield begin + b",".join(chunk) + b"]}"


def checked(each: bytes, room: int) -> bytes:
    if len(each) > room:
        raise TooMuch(f"a set of parameters has {len(each):,} bytes, the Data API takes {room:,}")
    return each


def in_pieces(sql: str, parameters: Parameters, target: Target) -> tuple[list[bytes], bytes]:
    """For a transaction: the bodies that bring the longest values, and that of the statement which takes them up."""
    statement = parse(sql)
    [encoded] = encoded_sets(statement, [parameters])
    texts = casts([encoded])
    pieces: list[bytes] = []
    longest_first = sorted(encoded, key=lambda name: len(spelled(encoded[name])), reverse=True)
    for number, name in enumerate(longest_first):
        if fits(body := execute_body(statement.text(texts), encoded, target)):
            return pieces, body
        value = encoded.pop(name)
        setting = SETTING.format(number)
        pieces += [one(ADD_PIECE, {"setting": setting, "piece": piece}, target) for piece in cut(spelled(value))]
        texts[name] = taken_up(setting, value)
    if fits(body := execute_body(statement.text(texts), encoded, target)):
        return pieces, body
    raise TooMuch("the statement is larger than a request of the Data API may be, without any value")


def spelled(value: Encoded) -> str:
    return str(value.value.get("stringValue") or value.value.get("blobValue") or "")


def cut(text: str) -> Iterator[str]:
    """Into pieces each of which fits a request, escaped as it may be."""
    room = REQUEST_BYTES - 4096
    at = 0
    while at < len(text):
        length = room
        while len(to_json(text[at : at + length])) > room:
            length //= 2
        yield text[at : at + length]
        at += length


def taken_up(setting: str, value: Encoded) -> str:
    """SQL in the place of the parameter, of the type as which it would have been bound."""
    there = f"current_setting('{setting}')"
    if "blobValue" in value.value:
        return f"decode({there}, 'base64')"
    kind = value.cast or HINTED_TYPES.get(value.hint, "text")
    return f"cast({there} as {kind})"


def encoded_sets(statement: Statement, parameter_sets: Sequence[Parameters]) -> list[dict[str, Encoded]]:
    """Raises BadData for a value that the database could not take."""
    sets = [{name: encode(name, given(each, name)) for name in statement.names} for each in parameter_sets]
    if len(sets) > 1 and (cast := casts(sets)):
        # One text and one way of binding for all of them.
        for encoded, each in zip(sets, parameter_sets, strict=True):
            encoded |= {name: encode(name, each[name], by_cast=True) for name in cast}
    return sets


def given(parameters: Parameters, name: str) -> Any:
    try:
        return parameters[name]
    except KeyError:
        slice_ = "; where it is part of a slice [a:b], the Data API takes it for one too: use unnest or trim_array"
        raise DatabaseMisconfigured(
            f"the statement's parameter :{name} is not given{slice_ if name.isdigit() else ''}"
        ) from None


def casts(sets: Iterable[Mapping[str, Encoded]]) -> dict[str, str]:
    """What stands in the statement in the place of a parameter that is bound as text and must be of another type."""
    return {name: f"cast(:{name} as {value.cast})" for encoded in sets for name, value in encoded.items() if value.cast}


def listed(encoded: Mapping[str, Encoded]) -> list[dict[str, Any]]:
    return [value.parameter(name) for name, value in encoded.items()]
