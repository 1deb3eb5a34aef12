"""Database over asyncpg."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any

import asyncpg

from db.database import LOCKED, DatabaseMisconfigured, DatabaseUnavailable, Parameter, Row, TooMuch, by_sqlstate, pauses

NAMED = re.compile(r"(?<!:):([a-z][a-z_]*)")

# What takes longer is cut off, and tried again while there is patience.
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 10.0


class Postgres:
    """`url` may change between connections (the embedded server's port does): it is asked for at each.

    `patience` is how long a failure that may pass is tried again, in seconds.
    """

    def __init__(
        self,
        url: Callable[[], Awaitable[str]],
        *,
        connections: int = 4,
        patience: float = 5.0,
        statement_seconds: float = STATEMENT_SECONDS,
    ) -> None:
        self._url = url
        self._connections = connections
        self._patience = patience
        self._statement_seconds = statement_seconds
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    @classmethod
    def at(cls, url: str, **options: Any) -> "Postgres":
        async def address() -> str:
            return url

        return cls(address, **options)

    async def execute(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> Sequence[Row]:
        text, names = positional(sql)
        values = [(parameters or {})[name] for name in names]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        for pause in pauses():
            try:
                return await self._execute_once(text, values)
            except (DatabaseMisconfigured, TooMuch):
                raise
            except DatabaseUnavailable:
                if loop.time() + pause > deadline:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("pauses() never ends")

    async def _execute_once(self, sql: str, values: Sequence[Parameter]) -> Sequence[Row]:
        try:
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=CONNECT_SECONDS + self._statement_seconds) as connection:
                return await self._fetch(connection, sql, values)
        except asyncpg.PostgresError as error:
            state = error.sqlstate or ""
            raise by_sqlstate(state, f"{error} (SQLSTATE {state})") from error
        except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # What is no data error of the server's own is a broken connection, whatever asyncpg makes of it.
            raise DatabaseUnavailable(f"{type(error).__name__}: {str(error) or 'no connection in time'}") from error

    async def _fetch(
        self, connection: "asyncpg.pool.PoolConnectionProxy", sql: str, values: Sequence[Parameter]
    ) -> Sequence[Row]:
        try:
            rows: Sequence[Row] = await connection.fetch(sql, *values)
        except TimeoutError as error:
            raise TooMuch(f"waited {self._statement_seconds:g} s: {LOCKED}") from error
        return rows

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._new_pool()
            return self._pool

    def _new_pool(self) -> asyncpg.Pool:
        return asyncpg.create_pool(
            min_size=0,
            max_size=self._connections,
            connect=self._connect,
            reset=keep,
            command_timeout=self._statement_seconds,
            # A timestamptz column of the user's own takes our UTC stamps as they are meant.
            server_settings={"application_name": "email-webhooks", "TimeZone": "UTC"},
        )

    async def _connect(self, *_: Any, **options: Any) -> asyncpg.Connection:
        try:
            connection = await asyncpg.connect(await self._url(), timeout=CONNECT_SECONDS, **options)
        except asyncpg.InterfaceError:
            raise
        except ValueError:
            # Its text may quote the password.
            raise DatabaseMisconfigured(
                "the database's address cannot be read: percent-encode / # ? @ : [ ] in user and password, and look into"
                " what stands behind the question mark and in the variables PG…"
            ) from None
        for name in ("json", "jsonb"):
            # Parsed on the way out, as over the Data API; on the way in it is text.
            await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=json.loads)
        return connection

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()


async def keep(_: asyncpg.Connection) -> None:
    """Nothing is left on a connection that its next user would have to be spared: each statement stands alone."""


@cache
def positional(sql: str) -> tuple[str, tuple[str, ...]]:
    """`:name` as asyncpg has it, `$1`, and the names in that order."""
    names: dict[str, int] = {}
    text = NAMED.sub(lambda match: f"${names.setdefault(match[1], len(names) + 1)}", sql)
    return text, tuple(names)
