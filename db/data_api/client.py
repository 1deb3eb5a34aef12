"""Database over the RDS Data API: statements, batches and transactions; failures that may pass are tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from aiobotocore.session import AioSession

from db.data_api.patience import (
    Patience,
    from_the_beginning,
    safe_to_repeat,
    surely_undone,
    to_its_end,
    whatever_became_of_it,
)
from db.data_api.requests import Parameters, Target, batches, fits, one
from db.data_api.transaction import Transaction, begin
from db.data_api.values import Rows, decode
from db.data_api.wire import Wire

T = TypeVar("T")


class DataApi:
    """A database of an Aurora cluster. One is enough for a process, and lasts as long: at most `concurrency` calls are
    under way at a time, over as many connections.

    `patience` is how many seconds a failure that may pass is tried again: a number, or what tells it when asked (a
    function's remaining time); a paused database is waited for `waking` seconds, if that is more. A call's `within` is
    its caller's deadline: in so many seconds all of it ends. `continue_after_timeout`: what the Data API cuts off after
    45 s goes on in the database all the same (migrations).
    The region is the cluster's; credentials and endpoint are the AWS SDK's own settings, or a `session`'s of yours.
    """

    def __init__(  # noqa: PLR0913 - but for the first three, all may be left out
        self,
        cluster_arn: str,
        secret_arn: str,
        database: str | None = None,
        *,
        concurrency: int = 16,
        patience: float | Callable[[], float] = 5.0,
        waking: float = 0.0,
        continue_after_timeout: bool = False,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: AioSession | None = None,
    ) -> None:
        self._wire = Wire(
            cluster_arn, secret_arn, concurrency=concurrency, region=region, endpoint_url=endpoint_url, session=session
        )
        self._target: Target = self._wire.arns | ({"database": database} if database else {})
        self._patience = Patience(patience, waking)
        self._continue_after_timeout = continue_after_timeout

    @property
    def woke_after(self) -> float | None:
        """How many seconds a paused database has let us wait, when one was met last."""
        return self._patience.woke_after

    async def execute(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        idempotent: bool = True,
        within: float | None = None,
    ) -> Rows:
        """Carry out one statement as one transaction; its rows, with `updated` where it returns none.

        Where an answer is lost, it may have been carried out: it is sent again, unless it is not `idempotent`, not safe
        to run twice. Raises DatabaseUnavailable (with DatabaseMisconfigured and TooMuch) and BadData.
        """
        body = one(sql, parameters, self._target, continues=self._continue_after_timeout)
        if not fits(body):
            return await self.run(
                lambda transaction: transaction.execute(sql, parameters), idempotent=idempotent, within=within
            )
        return decode(await self._call("ExecuteStatement", body, idempotent, within))

    async def select(self, sql: str, parameters: Parameters | None = None, *, within: float | None = None) -> Rows:
        """The rows of a statement that changes nothing, each value of its column's type."""
        return await self.execute(sql, parameters, within=within)

    async def batch_execute(
        self,
        sql: str,
        parameter_sets: Iterable[Parameters],
        *,
        idempotent: bool = True,
        within: float | None = None,
    ) -> None:
        """Carry out one statement for each set, in as few calls as their sizes allow, side by side.

        Each call succeeds or fails by itself, and whether a failed one leaves something behind is promised nowhere. What
        must be there as a whole goes into a transaction, or into one statement over jsonb_to_recordset.
        """
        bodies = list(batches(sql, parameter_sets, self._target))
        # All are waited for: else what became of the others after a failure would be anybody's guess.
        for answer in await asyncio.gather(
            *(self._call("BatchExecuteStatement", body, idempotent, within) for body in bodies), return_exceptions=True
        ):
            if isinstance(answer, BaseException):
                raise answer

    @asynccontextmanager
    async def transaction(self, *, within: float | None = None) -> AsyncIterator[Transaction]:
        """Committed where its body ends, rolled back where that raises or is cancelled; never left open.

        Raises OutcomeUnknown where the commit's answer was lost and nothing tells what became of it. Nothing of a
        transaction is carried out twice, so a lost answer in its middle ends it: `run` does all of it again.
        `within` so many seconds it begins, or what may have begun is undone first, and then it fails.
        """
        transaction = await begin(self._wire, self._patience, self._target, within)
        try:
            yield transaction
            await to_its_end(transaction.commit())
        except BaseException:
            await to_its_end(transaction.rollback())
            raise

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        idempotent: bool = False,
        within: float | None = None,
    ) -> T:
        """`work` in a transaction, from its beginning again where it fails in a way that may pass.

        OutcomeUnknown is raised, for `work` may be done then; where it is `idempotent`, it is done again instead.
        """

        async def attempt() -> T:
            async with self.transaction() as transaction:
                return await work(transaction)

        return await self._patience.tried(attempt, whatever_became_of_it if idempotent else from_the_beginning, within)

    async def _call(self, operation: str, body: bytes, idempotent: bool, within: float | None) -> dict[str, Any]:
        may_pass = safe_to_repeat if idempotent else surely_undone
        return await self._patience.tried(lambda: self._wire.call(operation, body), may_pass, within)

    async def try_out(self) -> None:
        """Each operation that ours need once, to no effect. Raises what stands in the way of the first that fails."""
        await self.select("select 1")
        async with self.transaction():
            pass
        transaction = await begin(self._wire, self._patience, self._target, None)
        await transaction.end("RollbackTransaction")

    async def open(self) -> Self:
        """Make the SDK's client now, at a function's start, and not at the first call."""
        await self._wire.open()
        return self

    async def close(self) -> None:
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
