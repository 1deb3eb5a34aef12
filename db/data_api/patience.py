"""How long, how often and after which failures something is tried again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from db.data_api.errors import DatabaseResuming, NotBegun, OutcomeUnknown, TransactionGone
from db.database import DatabaseMisconfigured, DatabaseUnavailable, SerializationFailed, TooMuch, pauses

T = TypeVar("T")

# What the same again does not mend.
FINAL = (DatabaseMisconfigured, TooMuch, TransactionGone, OutcomeUnknown)


def safe_to_repeat(error: DatabaseUnavailable) -> bool:
    """Of what may run twice: anything that may pass."""
    return not isinstance(error, FINAL)


def surely_undone(error: DatabaseUnavailable) -> bool:
    """Of what may run once only: nothing of it was done."""
    return isinstance(error, NotBegun | SerializationFailed)


def not_begun(error: DatabaseUnavailable) -> bool:
    return isinstance(error, NotBegun)


def from_the_beginning(error: DatabaseUnavailable) -> bool:
    """Of a whole transaction."""
    return isinstance(error, TransactionGone) or safe_to_repeat(error)


def whatever_became_of_it(error: DatabaseUnavailable) -> bool:
    """Of a whole transaction that may be there twice."""
    return isinstance(error, OutcomeUnknown) or from_the_beginning(error)


@dataclass(slots=True)
class Patience:
    """`seconds` of trying again: a number, or what tells one when it is asked. For a paused database `waking`, if more."""

    seconds: float | Callable[[], float]
    waking: float = 0.0
    woke_after: float | None = None
    """How long a paused database has let us wait, when one was met last."""

    async def tried(
        self,
        attempt: Callable[[], Awaitable[T]],
        may_pass: Callable[[DatabaseUnavailable], bool],
        within: float | None = None,
    ) -> T:
        """An attempt, and again, after growing pauses, while its failure may pass.

        `within` so many seconds all of it ends, the attempt that is under way too; else patience says when the last
        attempt begins.
        """
        now = asyncio.get_running_loop().time
        began = now()
        until = began + (self._left() if within is None else within)
        met: DatabaseUnavailable | None = None
        resuming_since: float | None = None
        try:
            async with asyncio.timeout_at(None if within is None else until) as deadline:
                for pause in pauses():
                    try:
                        result = await attempt()
                    except DatabaseUnavailable as error:
                        met = error
                        if isinstance(error, DatabaseResuming) and resuming_since is None:
                            resuming_since = now()
                            until = until if within is not None else max(until, began + self.waking)
                        if not may_pass(error) or now() + pause > until:
                            raise
                        await asyncio.sleep(pause)
                    else:
                        if resuming_since is not None:
                            self.woke_after = now() - resuming_since
                        return result
        except TimeoutError as error:
            if not deadline.expired():
                raise  # the attempt's own
            raise DatabaseUnavailable(f"not done within {within:g} s{f': {met}' if met else ''}") from error
        raise AssertionError("pauses() never ends")

    def _left(self) -> float:
        return self.seconds() if callable(self.seconds) else self.seconds


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Carried out whole even where we are cancelled meanwhile: the cancellation waits."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled and not task.cancelled():
        task.exception()  # looked at: the cancellation outweighs it
        raise cancelled
    return task.result()
