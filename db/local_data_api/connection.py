"""A session with PostgreSQL: statements with typed parameters, results as text, cut off when they take too long."""

import asyncio
import math
import re
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
from psycopg import generators, pq
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from db.local_data_api.errors import (
    ApiError,
    database_error,
    database_unavailable,
    refused_by_postgresql,
    timed_out,
    too_large,
    unknown_database,
    unpinned,
)
from db.local_data_api.parameters import UNTYPED, Bound

CONNECT_SECONDS = 10
CANCEL_SECONDS = 0.5
CANCELLATIONS = 10
# Defaults of the session, to which RESET ALL returns. What the reading of results rests on is among them.
SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
# PostgreSQL tells when one of these changes.
PINNED = {"client_encoding": "UTF8", "DateStyle": "ISO", "standard_conforming_strings": "on"}
FATAL = re.compile(r"(FATAL|PANIC): +(.+)")
# libpq hands on no SQLSTATE of a connection that is refused.
REFUSED = {
    r"database .* does not exist": "3D000",
    r"password authentication failed": "28P01",
    r"no pg_hba.conf entry|authentication failed": "28000",
    r"role .* does not exist|role .* is not permitted": "28000",
    r"too many clients|remaining connection slots|too many connections": "53300",
}
UNKNOWN_DATABASE = "3D000"
CANCELLED = "57014"

Result = TypeVar("Result")
DONE = {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}
COPYING = {pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH}
# Rows are let go where they are surely too much: a text may be longer than what is answered of it (bytea in hex, JSON
# with blanks), but not that much, and each row and value has its own frame.
LONGER = 4
FRAME_BYTES = 8

Row = list[bytes | None]


@dataclass(slots=True)
class Outcome:
    """What comes back for a statement: its rows, as far as there is room for them, and how it ends."""

    room: float
    rows: list[Row] = field(default_factory=list)
    ends: list[pq.abc.PGresult] = field(default_factory=list)

    @property
    def end(self) -> pq.abc.PGresult:
        """It tells the command and the columns too."""
        return self.ends[-1]

    @property
    def failed(self) -> pq.abc.PGresult | None:
        return next((each for each in self.ends if each.status not in DONE), None)

    @property
    def is_too_large(self) -> bool:
        return self.room < 0

    def add(self, result: pq.abc.PGresult) -> None:
        row = [result.get_value(0, column) for column in range(result.nfields)]
        self.room -= FRAME_BYTES + sum(FRAME_BYTES + len(value or b"") for value in row)
        self.rows.append(row)


class Connection:
    def __init__(self, connection: psycopg.AsyncConnection[Any], database: str | None) -> None:
        self._connection = connection
        self.database = database
        """As it was asked for; none: the URL's own."""
        self.database_name = connection.info.dbname
        self.process: int = connection.pgconn.backend_pid
        self._running: asyncio.Task[Any] | None = None
        # Whoever watches the socket holds it: were it closed meanwhile, the loop would fail, and uvloop abort the process.
        self._watching = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, database: str | None) -> "Connection":
        try:
            opened = await psycopg.AsyncConnection.connect(conninfo(url, database), autocommit=True)
        except psycopg.OperationalError as error:
            raise not_connected(str(error)) from error
        return cls(opened, database)

    @property
    def is_alive(self) -> bool:
        """Whether it can be used, as far as the server has told: its last words, then the end."""
        pgconn = self._connection.pgconn
        with suppress(psycopg.OperationalError):
            for _ in range(2):
                if pgconn.status == pq.ConnStatus.OK and not self.is_busy:
                    pgconn.consume_input()
        return pgconn.status == pq.ConnStatus.OK

    @property
    def is_busy(self) -> bool:
        return self._running is not None and not self._running.done()

    @property
    def state(self) -> pq.TransactionStatus:
        return pq.TransactionStatus(self._connection.pgconn.transaction_status)

    async def run(
        self, sql: str, parameters: Sequence[Bound] = (), *, at_most: float = math.inf, is_vain: bool = False
    ) -> Outcome:
        """Where much more than `at_most` bytes come, the rest is let go, and it fails as an answer that is too large.

        `is_vain`: nothing of it is of use then, so it is cut off.
        """
        pgconn = self._connection.pgconn
        outcome = Outcome(at_most * LONGER)
        try:
            pgconn.send_query_params(
                sql.encode(),
                [each.value for each in parameters],
                param_types=[each.oid for each in parameters],
                param_formats=[each.format for each in parameters],
            )
            pgconn.set_single_row_mode()
            await self._receive(outcome)
            if outcome.is_too_large:
                if is_vain:
                    await self._cancel()
                await self._receive(outcome)
        except psycopg.OperationalError as error:
            raise database_unavailable() from error
        if outcome.failed and not (is_vain and outcome.is_too_large):
            raise await self._failed(outcome.failed)
        if outcome.is_too_large:
            raise too_large(int(at_most))
        self._check_settings()
        return outcome

    async def _receive(self, outcome: Outcome) -> None:
        async with self._watching:
            await self._connection.wait(received(self._connection.pgconn, outcome))

    async def _failed(self, result: pq.abc.PGresult) -> ApiError:
        if result.status in COPYING:
            await self.close()
            return database_error(f"unexpected message: {pq.ExecStatus(result.status).name}")
        return refused_by_postgresql(result)

    def _check_settings(self) -> None:
        """A session whose results would be read wrongly is of no more use."""
        pgconn = self._connection.pgconn
        for name, value in PINNED.items():
            now = (pgconn.parameter_status(name.encode()) or b"").decode()
            if now.partition(",")[0] != value:
                pgconn.finish()
                raise unpinned(name, value)

    async def rows(self, sql: str, *values: str) -> list[list[str | None]]:
        """Of a query of our own."""
        outcome = await self.run(sql, [Bound(UNTYPED, value.encode()) for value in values])
        return [[None if cell is None else cell.decode() for cell in row] for row in outcome.rows]

    async def within(self, seconds: float, work: Coroutine[Any, Any, Result], *, goes_on: bool = False) -> Result:
        """What the work gives, if it is done in time; else it is cut off, or left to go on by itself."""
        self._running = task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
        if goes_on:
            raise timed_out(seconds, self.process)
        return await self._cut_off(task, seconds)

    async def _cut_off(self, task: "asyncio.Task[Result]", seconds: float) -> Result:
        for _ in range(CANCELLATIONS):
            # Between two statements there is nothing to cancel: so it is asked again.
            await self._cancel()
            if (await asyncio.wait({task}, timeout=CANCEL_SECONDS))[0]:
                break
        else:
            await self.close()
        try:
            return task.result()  # it has come through after all
        except (ApiError, asyncio.InvalidStateError) as error:
            if isinstance(error, ApiError) and error.sqlstate != CANCELLED:
                raise
            raise timed_out(seconds, self.process) from error

    async def _cancel(self) -> None:
        with suppress(psycopg.Error):
            await self._connection.cancel_safe(timeout=CANCEL_SECONDS)

    def when_idle(self, then: Callable[[], object]) -> None:
        if self._running is None or self._running.done():
            then()
        else:
            self._running.add_done_callback(lambda task: (task.cancelled() or task.exception(), then()))

    async def reset(self) -> None:
        """Nothing of this user is left for the next."""
        if self.state != pq.TransactionStatus.IDLE:
            await self.run("ROLLBACK")
        await self.run("DISCARD ALL")

    async def close(self) -> None:
        """PostgreSQL would carry on with a statement whose client is gone: so it is told first."""
        if self._running is not None and not self._running.done():
            await self._cancel()
            self._running.cancel()
        is_free = False
        with suppress(TimeoutError):
            is_free = await asyncio.wait_for(self._watching.acquire(), CANCEL_SECONDS)
        await self._connection.close()
        if is_free:
            self._watching.release()


def received(pgconn: pq.abc.PGconn, outcome: Outcome) -> PQGen[None]:
    """Row by row, until there is no more room; called again, to the end."""
    yield from generators.send(pgconn)
    try:
        while result := (yield from generators.fetch(pgconn)):
            if result.status != pq.ExecStatus.SINGLE_TUPLE:
                outcome.ends.append(result)
                if result.status in COPYING:
                    return
            elif not outcome.is_too_large:
                outcome.add(result)
                if outcome.is_too_large:
                    return
    except psycopg.DatabaseError:
        # Where the server has said why it goes, that counts.
        if not outcome.failed:
            raise


def conninfo(url: str, database: str | None) -> str:
    try:
        own_options = conninfo_to_dict(url).get("options") or ""
        settings = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
        changes: dict[str, Any] = {
            "options": f"{own_options} {settings}".strip(),
            "client_encoding": "UTF8",
            "application_name": "local-data-api",
            "connect_timeout": CONNECT_SECONDS,
        }
        return make_conninfo(url, **changes, **({"dbname": database} if database else {}))
    except psycopg.ProgrammingError as error:
        raise database_error(f"the URL of the database cannot be read: {error}") from error


def not_connected(message: str) -> ApiError:
    """By what the server said, if it was there to say something."""
    fatal = FATAL.search(message)
    if not fatal:
        return database_unavailable()
    for pattern, sqlstate in REFUSED.items():
        if re.search(pattern, fatal[2]):
            error = database_error(f"{fatal[1]}: {fatal[2]}", sqlstate)
            return unknown_database(error) if sqlstate == UNKNOWN_DATABASE else error
    return database_unavailable()
