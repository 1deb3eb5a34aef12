"""What a database is to us: somewhere that takes a statement with named parameters, whole or not at all."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

COMMENT = re.compile(r"--[^\n]*")
Parameter = str | int | bool | None
Row = Mapping[str, Any]


class DatabaseUnavailable(Exception):
    """The statement could not be carried out, now; nothing of it was, or all of it, and it may be sent again."""


class DatabaseMisconfigured(DatabaseUnavailable):
    """It could not, and will not before somebody mends something: the message says what."""


class BadData(Exception):
    """The database refuses the values: the same values again would be refused again."""


class Database(Protocol):
    async def execute(self, sql: str, parameters: Mapping[str, Parameter] = ...) -> Sequence[Row]:
        """Carry out one statement as one transaction; its rows.

        A failure that may pass is tried again for some seconds, blindly: statements are safe to run twice.
        Raises DatabaseUnavailable (with DatabaseMisconfigured) and BadData.
        """
        ...

    async def close(self) -> None: ...


@cache
def query(name: str) -> str:
    """The statement in `queries/<name>.sql`, without its comments."""
    return without_comments(files("db").joinpath("queries", f"{name}.sql").read_text())


def without_comments(sql: str) -> str:
    return COMMENT.sub("", sql).strip().removesuffix(";")


def pauses(first: float = 0.05, longest: float = 1.0) -> Iterator[float]:
    """Seconds to wait before each new try: growing, and random, so that clients do not come back in step."""
    ceiling = first
    while True:
        yield random.uniform(0, ceiling)  # noqa: S311 - no secret
        ceiling = min(ceiling * 2, longest)
