"""The requests' shapes: which members an operation takes, of what type, how long; as the service model has them.

A value of another type does not even parse (SerializationException); one that breaks a constraint is refused with all
of its faults in one message (ValidationException). Null members count as absent, unknown ones are ignored.
"""

import base64
import binascii
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from db.local_data_api.errors import ApiError, invalid

JSON_NAMES = {
    bool: "BOOLEAN_VALUE",
    int: "NUMBER_VALUE",
    float: "NUMBER_VALUE",
    str: "STRING_VALUE",
    list: "START_ARRAY",
    dict: "START_OBJECT",
}
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
LONGEST = 2**63
# libpq reads a text up to its first NUL: half a statement would run.
NO_NUL = r"[^\x00]*"

Faults = list[str]


class Shape(ABC):
    @abstractmethod
    def read(self, value: Any, path: str, faults: Faults) -> Any:
        """The value in Python's types. What is wrong with it is added to `faults`, or raised where nothing can be read."""


@dataclass(frozen=True)
class String(Shape):
    shortest: int = 0
    longest: int | None = None
    allowed: tuple[str, ...] = ()
    pattern: str = ""

    def read(self, value: Any, path: str, faults: Faults) -> str:
        if not isinstance(value, str):
            raise unreadable(value, "a String")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ApiError("SerializationException", "Invalid UTF-16: an unpaired surrogate") from error
        if len(value) < self.shortest:
            faults.append(fault(value, path, f"have length greater than or equal to {self.shortest}"))
        if self.longest is not None and len(value) > self.longest:
            faults.append(fault(value, path, f"have length less than or equal to {self.longest}"))
        if self.allowed and value not in self.allowed:
            faults.append(fault(value, path, f"satisfy enum value set: [{', '.join(self.allowed)}]"))
        if self.pattern and not re.fullmatch(self.pattern, value):
            faults.append(fault(value, path, f"satisfy regular expression pattern: {self.pattern}"))
        return value


class Boolean(Shape):
    def read(self, value: Any, path: str, faults: Faults) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            raise unreadable(value, "a Boolean")
        return value


class Long(Shape):
    def read(self, value: Any, path: str, faults: Faults) -> int:  # noqa: ARG002
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -LONGEST <= value < LONGEST:
            raise unreadable(value, "a Long")
        return value


class Double(Shape):
    def read(self, value: Any, path: str, faults: Faults) -> float:  # noqa: ARG002
        if isinstance(value, str) and value in NOT_FINITE:
            return NOT_FINITE[value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise unreadable(value, "a Double")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise unreadable(value, "a Double")
        return number


class Blob(Shape):
    def read(self, value: Any, path: str, faults: Faults) -> bytes:  # noqa: ARG002
        if not isinstance(value, str):
            raise unreadable(value, "a Blob")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ApiError("SerializationException", "Invalid base64 encoding") from error


@dataclass(frozen=True)
class List(Shape):
    member: Shape

    def read(self, value: Any, path: str, faults: Faults) -> list[Any]:
        if not isinstance(value, list):
            raise unreadable(value, "a List")
        return [
            None if each is None else self.member.read(each, f"{path}.{number}.member", faults)
            for number, each in enumerate(value, 1)
        ]


@dataclass(frozen=True)
class Structure(Shape):
    members: Mapping[str, Shape]
    required: tuple[str, ...] = ()

    def read(self, value: Any, path: str, faults: Faults) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unreadable(value, "a Structure")
        prefix = f"{path}." if path else ""
        for name in self.required:
            if value.get(name) is None:
                faults.append(f"Value null at '{prefix}{name}' failed to satisfy constraint: Member must not be null")
        return {
            name: shape.read(value[name], f"{prefix}{name}", faults)
            for name, shape in self.members.items()
            if value.get(name) is not None
        }


@dataclass(frozen=True)
class Union(Structure):
    """A structure that bears exactly one of its members."""

    def read(self, value: Any, path: str, faults: Faults) -> dict[str, Any]:
        found = super().read(value, path, faults)
        if len(found) > 1:
            raise ApiError(
                "SerializationException", f"The union at '{path}' has more than one member: {', '.join(found)}"
            )
        return found


@dataclass(frozen=True)
class Recursive(Shape):
    """A shape that is known only once it is complete: arrays of arrays."""

    shapes: list[Shape] = field(default_factory=list)

    def read(self, value: Any, path: str, faults: Faults) -> Any:
        return self.shapes[0].read(value, path, faults)


ARN = String(11, 570)
NAME = String(0, 64, pattern=NO_NUL)
# Its length is a limit that can be set: `Limits.sql_characters`.
SQL = String(pattern=NO_NUL)
ID = String(0, 192)
NESTED = Recursive()
ARRAY = Union(
    {
        "booleanValues": List(Boolean()),
        "longValues": List(Long()),
        "doubleValues": List(Double()),
        "stringValues": List(String()),
        "arrayValues": List(NESTED),
    }
)
NESTED.shapes.append(ARRAY)
FIELD = Union(
    {
        "isNull": Boolean(),
        "booleanValue": Boolean(),
        "longValue": Long(),
        "doubleValue": Double(),
        "stringValue": String(),
        "blobValue": Blob(),
        "arrayValue": ARRAY,
    }
)
HINTS = ("JSON", "UUID", "TIMESTAMP", "DATE", "TIME", "DECIMAL")
PARAMETER = Structure({"name": String(), "value": FIELD, "typeHint": String(allowed=HINTS)})
OPTIONS = Structure(
    {
        "decimalReturnType": String(allowed=("STRING", "DOUBLE_OR_LONG")),
        "longReturnType": String(allowed=("STRING", "LONG")),
    }
)
PLACE = {"resourceArn": ARN, "secretArn": ARN}
TARGET = {**PLACE, "database": NAME, "schema": NAME}

OPERATIONS = {
    "ExecuteStatement": Structure(
        {
            **TARGET,
            "sql": SQL,
            "parameters": List(PARAMETER),
            "transactionId": ID,
            "includeResultMetadata": Boolean(),
            "continueAfterTimeout": Boolean(),
            "resultSetOptions": OPTIONS,
            "formatRecordsAs": String(allowed=("NONE", "JSON")),
        },
        (*PLACE, "sql"),
    ),
    "BatchExecuteStatement": Structure(
        {**TARGET, "sql": SQL, "parameterSets": List(List(PARAMETER)), "transactionId": ID}, (*PLACE, "sql")
    ),
    "BeginTransaction": Structure(TARGET, tuple(PLACE)),
    "CommitTransaction": Structure({**PLACE, "transactionId": ID}, (*PLACE, "transactionId")),
    "RollbackTransaction": Structure({**PLACE, "transactionId": ID}, (*PLACE, "transactionId")),
    "ExecuteSql": Structure(
        {
            "dbClusterOrInstanceArn": ARN,
            "awsSecretStoreArn": ARN,
            "sqlStatements": SQL,
            "database": NAME,
            "schema": NAME,
        },
        ("dbClusterOrInstanceArn", "awsSecretStoreArn", "sqlStatements"),
    ),
}


def read_request(operation: str, body: bytes, sql_characters: int) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}", parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"The request is not JSON: {error}") from error
    faults: Faults = []
    try:
        request: dict[str, Any] = OPERATIONS[operation].read(value, "", faults)
    except RecursionError as error:
        raise ApiError("SerializationException", "The request is nested too deeply") from error
    for name in ("sql", "sqlStatements"):
        if len(request.get(name, "")) > sql_characters:
            faults.append(fault(request[name], name, f"have length less than or equal to {sql_characters}"))
    if faults:
        number = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected"
        raise invalid(f"{number}: {'; '.join(faults)}")
    return request


def no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def fault(value: str, path: str, constraint: str) -> str:
    shown = value if len(value) <= 100 else f"{value[:100]}…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: Member must {constraint}"


def unreadable(value: Any, wanted: str) -> ApiError:
    return ApiError("SerializationException", f"{JSON_NAMES.get(type(value), 'NULL')} cannot be converted to {wanted}")
