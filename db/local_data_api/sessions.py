"""Sessions with PostgreSQL, pooled a database at a time: each call gets any of them, as good as new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from db.local_data_api.connection import Connection
from db.local_data_api.errors import ApiError, database_error
from db.local_data_api.limits import Limits

TOO_MANY_CONNECTIONS = "53300"


@dataclass(frozen=True, slots=True)
class Idle:
    connection: Connection
    since: float


class Sessions:
    def __init__(self, url: Callable[[], Awaitable[str]], limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._idle: list[Idle] = []
        self._lent: set[Connection] = set()
        self._places = asyncio.Semaphore(limits.connections)
        self._releases: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def borrowed(self, database: str | None) -> AsyncIterator[Connection]:
        connection = await self.acquire(database)
        try:
            yield connection
        finally:
            await self.release(connection)

    async def acquire(self, database: str | None) -> Connection:
        """Where all are in use it waits for one, as long as a statement may take."""
        try:
            async with asyncio.timeout(self._limits.statement_seconds):
                await self._places.acquire()
        except TimeoutError as error:
            raise database_error("FATAL: sorry, too many clients already", TOO_MANY_CONNECTIONS) from error
        try:
            connection = await self._from_pool(database) or await Connection.open(await self._url(), database)
        except BaseException:
            self._places.release()
            raise
        self._lent.add(connection)
        return connection

    async def _from_pool(self, database: str | None) -> Connection | None:
        found = None
        for idle in [each for each in reversed(self._idle) if each.connection.database == database]:
            self._idle.remove(idle)
            if idle.connection.is_alive:
                found = idle.connection
                break
            await idle.connection.close()
        # Those of other databases make room.
        while self._idle and len(self._idle) + len(self._lent) >= self._limits.connections:
            await self._idle.pop(0).connection.close()
        return found

    async def release(self, connection: Connection) -> None:
        if connection.is_busy:  # with a statement that goes on after its time
            connection.when_idle(lambda: self._release_soon(connection))
            return
        try:
            if connection.is_alive:
                await connection.reset()
        except ApiError:
            await connection.close()
        finally:
            self._lent.discard(connection)
            self._places.release()
        if connection.is_alive:
            self._idle.append(Idle(connection, asyncio.get_running_loop().time()))
        else:
            await connection.close()

    def _release_soon(self, connection: Connection) -> None:
        task = asyncio.create_task(self.release(connection))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def close_idle(self) -> None:
        """Those that nobody has asked for since a while: else one could not drop a database, or copy it."""
        before = asyncio.get_running_loop().time() - self._limits.pooled_seconds
        for idle in [each for each in self._idle if each.since <= before]:
            self._idle.remove(idle)
            await idle.connection.close()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().connection.close()
        for connection in list(self._lent):
            await connection.close()
