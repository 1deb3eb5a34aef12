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

    sqlstate = ""
    """PostgreSQL's own word for it, where it was PostgreSQL that failed."""


class DatabaseMisconfigured(DatabaseUnavailable):
    """It could not, and will not before somebody mends something: the message says what."""


class SerializationFailed(DatabaseUnavailable):
    """It got in the way of another (a deadlock, a conflict), and nothing of it was carried out."""


class TooMuch(DatabaseUnavailable):
    """One call cannot carry it or finish it: the same again would fail again, parts of it need not."""


class BadData(Exception):
    """The database refuses the values: the same values again would be refused again."""

    sqlstate = ""


class IntegrityViolated(BadData):
    """A constraint refuses them: a key that is there already, a row that is missing, a check."""


class Database(Protocol):
    async def execute(self, sql: str, parameters: Mapping[str, Parameter] = ...) -> Sequence[Row]:
        """Carry out one statement as one transaction; its rows.

        A failure that may pass is tried again for some seconds, blindly: statements are safe to run twice.
        Raises DatabaseUnavailable (with DatabaseMisconfigured) and BadData.
        """
        ...

    async def close(self) -> None: ...


# The longest beginning of the SQLSTATE that is here says what a failure is.
KINDS: Mapping[str, type[DatabaseUnavailable | BadData]] = {
    # Data exceptions, broken constraints, program limits, and what a trigger of the user's own raises.
    "21": BadData,
    "22": BadData,
    "23": IntegrityViolated,
    "38": BadData,
    "39": BadData,
    "44": BadData,
    "45": BadData,
    "54": BadData,
    "P0": BadData,
    # So the standard lets everybody's own classes begin; of those, PostgreSQL's are named here.
    **dict.fromkeys("56789IJKLMNOPQRSTUVWXYZ", BadData),
    # What may pass: the connection, the transaction's state, resources, an operator, the system, the server's insides.
    "08": DatabaseUnavailable,
    "25": DatabaseUnavailable,
    "26": DatabaseUnavailable,
    "40": SerializationFailed,
    "53": DatabaseUnavailable,
    "55": DatabaseUnavailable,
    "57": DatabaseUnavailable,
    "58": DatabaseUnavailable,
    "72": DatabaseUnavailable,
    "XX": DatabaseUnavailable,
    # Cut off: it took too long, or waited too long for a lock.
    "57014": TooMuch,
    "55P03": TooMuch,
    # What no waiting mends: no such table or column or function, no rights, no such database, wrong password; and
    # whatever is not here.
    "25001": DatabaseMisconfigured,
    "55000": DatabaseMisconfigured,
    "": DatabaseMisconfigured,
}
# What is no more the trouble of one part of a statement than of another.
OF_THE_WHOLE = ("08", "25", "26", "40", "53", "57")
NOT_MIGRATED = {"42P01", "42703"}
LOCKED = "does something hold rows of email_preferences?"
# Said at the end, but by doctor itself.
DOCTOR = "; `webhooks doctor` tells more"
DENIED = re.compile(r"permission denied for (schema|table|view) ([^\s;]+)")
OUR_TABLES = "webhook_migrations, webhook_events, email_consents, webhook_dead_letters, webhook_tokens"


def by_sqlstate(state: str, message: str) -> DatabaseUnavailable | BadData:
    """What PostgreSQL's failure is to us, with what to do where something can be done."""
    kind = KINDS[max((prefix for prefix in KINDS if state.startswith(prefix)), key=len)]
    error = kind(message + advice(state, message) + (DOCTOR if issubclass(kind, DatabaseMisconfigured) else ""))
    error.sqlstate = state
    return error


def advice(state: str, message: str) -> str:
    if state in NOT_MIGRATED:
        return ": run `webhooks migrate`"
    if state == "55P03":
        return f": {LOCKED}"
    if state == "42501" and (denied := DENIED.search(message)):
        return f": let its owner run, with our user's name: grant {rights(*denied.groups())} to USER;"
    return ""


def rights(kind: str, name: str) -> str:
    """What we need of that which is denied; of our own tables all at once, else the next would be denied."""
    if kind == "schema":
        return f"usage, create on schema {name}"
    if name == "email_preferences":
        return "select, update on email_preferences"
    return f"select, insert, update, delete on {OUR_TABLES if name in OUR_TABLES.split(', ') else name}"


def may_be_of_a_part(error: DatabaseUnavailable) -> bool:
    """Whether other parts of the statement might fare better."""
    return isinstance(error, TooMuch) or (error.sqlstate != "" and not error.sqlstate.startswith(OF_THE_WHOLE))


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
