"""Transactions over several calls: one session each, one statement at a time, ended when they are idle or old."""

import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from db.local_data_api.connection import Connection
from db.local_data_api.errors import database_error, invalid, transaction_not_found
from db.local_data_api.limits import Limits
from db.local_data_api.sessions import Sessions


@dataclass(slots=True, eq=False)
class Transaction:
    id: str
    connection: Connection
    begun: float
    used: float
    in_use: bool = False

    @property
    def is_busy(self) -> bool:
        return self.in_use or self.connection.is_busy


class Transactions:
    def __init__(self, sessions: Sessions, limits: Limits, clock: Callable[[], float]) -> None:
        self._sessions = sessions
        self._limits = limits
        self._clock = clock
        self._open: dict[str, Transaction] = {}

    async def begin(self, database: str | None) -> str:
        connection = await self._sessions.acquire(database)
        try:
            await connection.within(self._limits.statement_seconds, connection.run("BEGIN"))
        except BaseException:
            await self._sessions.release(connection)
            raise
        now = self._clock()
        transaction = Transaction(new_id(), connection, now, now)
        self._open[transaction.id] = transaction
        return transaction.id

    @asynccontextmanager
    async def using(self, transaction_id: str, database: str | None = None) -> AsyncIterator[Transaction]:
        """For one call; while it lasts, no other has it."""
        transaction = await self._find(transaction_id)
        if transaction.is_busy:
            raise database_error("Transaction is still running a query")
        if database and database != transaction.connection.database_name:
            raise invalid("Database name is not the same as the transaction's")
        transaction.in_use = True
        try:
            yield transaction
        finally:
            transaction.in_use = False
            transaction.used = self._clock()
            if not transaction.connection.is_alive:
                await self.end(transaction)

    async def commit(self, transaction_id: str) -> None:
        """An aborted one is rolled back, and no error told: so does PostgreSQL, and so does the service."""
        async with self.using(transaction_id) as transaction:
            connection = transaction.connection
            try:
                await connection.within(self._limits.statement_seconds, connection.run("COMMIT"))
            finally:
                await self.end(transaction)

    async def roll_back(self, transaction_id: str) -> None:
        async with self.using(transaction_id) as transaction:
            await self.end(transaction)

    async def end(self, transaction: Transaction) -> None:
        """What is not committed is rolled back, as the session is made ready for its next user."""
        if self._open.pop(transaction.id, None):
            await self._sessions.release(transaction.connection)

    async def expire(self) -> None:
        """Ends those whose time is over."""
        for transaction in list(self._open.values()):
            if self._is_over(transaction):
                await self.end(transaction)

    async def _find(self, transaction_id: str) -> Transaction:
        transaction = self._open.get(transaction_id)
        if transaction is None:
            raise transaction_not_found(transaction_id)
        if self._is_over(transaction) or not transaction.connection.is_alive:
            await self.end(transaction)
            raise transaction_not_found(transaction_id)
        return transaction

    def _is_over(self, transaction: Transaction) -> bool:
        now, limits = self._clock(), self._limits
        return not transaction.is_busy and (
            now - transaction.used >= limits.transaction_idle_seconds
            or now - transaction.begun >= limits.transaction_seconds
        )


def new_id() -> str:
    return base64.b64encode(secrets.token_bytes(96)).decode()
