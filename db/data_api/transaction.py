"""Transactions: committed or rolled back, whatever happens to their caller, and never left open."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from db.data_api.errors import NotBegun, OutcomeUnknown, TransactionGone
from db.data_api.patience import Patience, not_begun, safe_to_repeat, to_its_end
from db.data_api.requests import Parameters, Target, batches, fits, in_pieces, one, to_json
from db.data_api.values import Rows, decode
from db.data_api.wire import Wire
from db.database import DatabaseMisconfigured, DatabaseUnavailable

log = logging.getLogger(__name__)

# A statement whose caller was cancelled may keep its transaction busy until the Data API's 45 s are over.
ROLLBACK_SECONDS = 60.0
# SQLSTATEs of a connection that broke: all others come from a commit that was refused.
BROKEN = ("08", "57P")


class Transaction:
    """Statements that take effect together. One is under way at a time, as the Data API wants it; others wait.

    None is tried again but where nothing of it reached the database: else it might be carried out twice.
    """

    def __init__(self, wire: Wire, patience: Patience, target: Target, transaction_id: str) -> None:
        self.id = transaction_id
        self._wire = wire
        self._patience = patience
        self._target: Target = {**target, "transactionId": transaction_id}
        self._ending = to_json({**wire.arns, "transactionId": transaction_id})
        self._turn = asyncio.Lock()

    async def execute(self, sql: str, parameters: Parameters | None = None, *, within: float | None = None) -> Rows:
        """Carry out one statement; its rows. `within` so many seconds, or it fails."""
        body = one(sql, parameters, self._target)
        pieces: list[bytes] = []
        if not fits(body):
            pieces, body = in_pieces(sql, parameters or {}, self._target)
        async with self._turn:
            for piece in pieces:
                await self._call("ExecuteStatement", piece, within)
            return decode(await self._call("ExecuteStatement", body, within))

    select = execute

    async def batch_execute(
        self, sql: str, parameter_sets: Iterable[Parameters], *, within: float | None = None
    ) -> None:
        """Carry out one statement for each set, in as few calls as their sizes allow."""
        async with self._turn:
            for body in batches(sql, parameter_sets, self._target):
                await self._call("BatchExecuteStatement", body, within)

    async def _call(self, operation: str, body: bytes, within: float | None) -> dict[str, Any]:
        return await self._patience.tried(lambda: self._wire.call(operation, body), not_begun, within)

    async def commit(self) -> None:
        """Raises OutcomeUnknown where the answer was lost and the next says that there is no such transaction."""
        lost: DatabaseUnavailable | None = None

        async def attempt() -> None:
            nonlocal lost
            try:
                await self.end("CommitTransaction")
            except (NotBegun, DatabaseMisconfigured):
                raise
            except DatabaseUnavailable as error:
                if not isinstance(error, TransactionGone) and is_lost(error):
                    lost = error
                raise

        async with self._turn:
            try:
                await self._patience.tried(attempt, lambda error: safe_to_repeat(error) and is_lost(error))
            except DatabaseUnavailable as error:
                if not lost or not is_lost(error):
                    raise
                if not isinstance(error, TransactionGone) and await self._rolled_back():
                    raise DatabaseUnavailable(f"not committed: {error}") from error
                raise OutcomeUnknown(f"the commit's answer was lost: {lost}") from error

    async def end(self, operation: str) -> None:
        """One call, once."""
        await self._wire.call(operation, self._ending)

    async def rollback(self) -> None:
        async with self._turn:
            await self._rolled_back()

    async def _rolled_back(self) -> bool:
        """Whether it was still open."""
        try:
            await self._patience.tried(lambda: self.end("RollbackTransaction"), safe_to_repeat, ROLLBACK_SECONDS)
        except TransactionGone:
            return False
        except DatabaseUnavailable as error:
            log.warning("a transaction could not be rolled back, so it stays open for three minutes: %s", error)
            return False
        return True


def is_lost(error: DatabaseUnavailable) -> bool:
    """Whether it leaves open what became of a commit."""
    return not error.sqlstate or error.sqlstate.startswith(BROKEN)


async def begin(wire: Wire, patience: Patience, target: Target, within: float | None) -> Transaction:
    """Where we are cancelled meanwhile, or `within` is over, the answer is waited for, and what has begun is rolled
    back.
    """
    body = to_json(target)

    async def begun() -> Transaction:
        answer = await wire.call("BeginTransaction", body)
        return Transaction(wire, patience, target, answer["transactionId"])

    async def attempt() -> Transaction:
        task = asyncio.ensure_future(begun())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await to_its_end(undo(task))
            raise

    return await patience.tried(attempt, safe_to_repeat, within)


async def undo(beginning: asyncio.Task[Transaction]) -> None:
    try:
        transaction = await beginning
    except DatabaseUnavailable:
        return
    await transaction.rollback()
