"""Group commit: while a statement is in flight, what arrives meanwhile waits for the next one.

No timer: a record that finds nothing in flight is written at once. Under load, one statement carries many requests.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from db.chunks import MAX_BYTES, MAX_ROWS, Record, Records, halves, parameters, proof, refused
from db.database import BadData, Database, DatabaseUnavailable, Row, TooMuch, may_be_of_a_part, query

# Once one statement is full, so many records of a large delivery are read and encoded before others have their turn.
TURN = 100
# So long are the parts of a chunk tried that has failed: whoever sent the last of them has given up by then.
SEARCH_SECONDS = 10.0


class Overloaded(DatabaseUnavailable):
    """As much waits for the database as may: nothing was taken, the sender may come again."""


@dataclass(slots=True)
class Outcome:
    """What became of the records of one submission."""

    recorded: int = 0
    duplicates: int = 0
    dead: int = 0
    opted_out: int = 0
    opted_in: int = 0
    refused: int = 0
    """Records whose one-time token has proven another body."""


@dataclass(slots=True, eq=False)
class Submission:
    """The records of one request: it is answered when all have been taken in and the last of them is settled."""

    settled: asyncio.Future[Outcome]
    outcome: Outcome = field(default_factory=Outcome)
    unsettled: int = 1
    """With the taking in."""
    failure: Exception | None = None
    """Of a record that alone was not taken: the others are written before the request hears of it."""

    def settle(self, failure: Exception | None = None) -> None:
        self.failure = self.failure or failure
        self.unsettled -= 1
        if self.unsettled:
            return
        if self.failure:
            self.fail(self.failure)
        elif not self.settled.done():
            self.settled.set_result(self.outcome)

    def fail(self, error: Exception) -> None:
        if not self.settled.done():
            self.settled.set_exception(error)


Waiting = tuple[Submission, Record]


class Committer:
    """`in_flight` statements at a time: 2 beside the database; more where each takes its time on the way."""

    def __init__(
        self, database: Database, *, in_flight: int = 2, max_records: int = 20_000, max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._database = database
        self._in_flight = in_flight
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def submit(self, records: Records) -> Outcome:
        """Returns when all of the records are committed. Raises DatabaseUnavailable, Overloaded at once."""
        # One delivery alone is always taken, whatever its size: refused, it would only come again.
        if self._waiting and (
            len(self._waiting) + records.number > self._max_records
            or self._waiting_bytes + records.size > self._max_bytes
        ):
            raise Overloaded(f"{len(self._waiting)} records wait for the database")
        submission = Submission(asyncio.get_running_loop().create_future())
        await self._take_in(submission, records)
        submission.settle()
        return await submission.settled

    async def _take_in(self, submission: Submission, records: Iterable[Record]) -> None:
        """While the later ones of a large delivery are still being read, the first are under way."""
        for number, record in enumerate(records, 1):
            submission.unsettled += 1
            self._waiting.append((submission, record))
            self._waiting_bytes += record.size
            if number >= MAX_ROWS and number % TURN == 0:
                self._start_writes(full=True)
                await asyncio.sleep(0)
                if submission.settled.done():
                    # It has failed: all of it will come again.
                    return
        # Not now but in the loop's next turn: what arrives in this one joins the same statement.
        asyncio.get_running_loop().call_soon(self._start_writes)

    async def drain(self) -> None:
        """Returns when nothing waits and nothing is in flight."""
        while self._waiting or self._writes:
            self._start_writes()
            await asyncio.wait(self._writes)

    def _start_writes(self, *, full: bool = False) -> None:
        """As many as may be in flight; or only such as would not be larger if they waited for more."""
        while len(self._waiting) >= (MAX_ROWS if full else 1) and len(self._writes) < self._in_flight:
            write = asyncio.create_task(self._write(self._take()))
            self._writes.add(write)
            write.add_done_callback(self._written)

    def _written(self, write: asyncio.Task[None]) -> None:
        self._writes.discard(write)
        self._start_writes()

    def _take(self) -> list[Waiting]:
        """The next chunk: as many records as one statement may carry, no token with two bodies among them."""
        chunk: list[Waiting] = []
        size = 0
        bodies: dict[str, str] = {}
        while self._waiting and len(chunk) < MAX_ROWS:
            submission, record = self._waiting[0]
            if chunk and size + record.size > MAX_BYTES:
                break
            token = record.token
            if token and bodies.setdefault(token.token, token.body) != token.body:
                break
            self._waiting.popleft()
            self._waiting_bytes -= record.size
            size += record.size
            # What a request has failed with already, it will send again: writing the rest would help nobody.
            if not submission.settled.done():
                chunk.append((submission, record))
        return chunk

    async def _write(self, chunk: Sequence[Waiting]) -> None:
        try:
            await self._record(chunk)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for submission, _ in chunk:
                submission.fail(error)

    async def _record(self, chunk: Sequence[Waiting]) -> None:
        """One statement; where it fails for what may lie in a part of it, halves, until the culprit stands alone.

        The larger part is tried before the smaller: most neighbours of a culprit have their answer soon.
        """
        parts = deque([chunk] if chunk else [])
        now = asyncio.get_running_loop().time
        until = math.inf
        while parts:
            part = parts.popleft()
            try:
                rows = await self._execute(part)
            except DatabaseUnavailable as error:
                if not may_be_of_a_part(error) or now() > until:
                    raise
                until = min(until, now() + SEARCH_SECONDS)
                if len(part) > 1 and part is chunk and not isinstance(error, TooMuch):
                    # With a table or a right missing no part would fare better: over no records it fails as well.
                    await self._execute([])
                parts += smaller(part, error)
            except BadData as error:
                parts += smaller(part, error)
            else:
                settle(part, **rows[0])

    async def _execute(self, part: Sequence[Waiting]) -> Sequence[Row]:
        return await self._database.execute(query("record_events"), parameters(record for _, record in part))


def smaller(part: Sequence[Waiting], error: DatabaseUnavailable | BadData) -> list[Sequence[Waiting]]:
    """What is tried in its place: halves; for one record that is bad data its dead letter. Else its request hears of it."""
    if len(part) > 1:
        return halves(part)
    [(submission, record)] = part
    if isinstance(error, BadData) and not record.dead_letter:
        return [[(submission, refused(record, str(error)))]]
    submission.settle(error)
    return []


def settle(
    chunk: Sequence[Waiting], *, recorded: str | None, opted_out: str | None, opted_in: str | None, proofs: str | None
) -> None:
    """Tell each request what became of its records. An id in two requests is new to the first of them only."""
    new = ids(recorded)
    accepted = ids(proofs)
    flips_out, flips_in = (opted_out or "").split(","), (opted_in or "").split(",")
    for submission, record in sorted(chunk, key=lambda waiting: waiting[1].id):
        outcome = submission.outcome
        if record.token and proof(record.token) not in accepted:
            outcome.refused += 1
        elif record.dead_letter:
            outcome.dead += 1
        elif record.id in new:
            new.remove(record.id)
            outcome.recorded += 1
            if record.decisions:
                outcome.opted_out += flips_out.count(record.id)
                outcome.opted_in += flips_in.count(record.id)
        else:
            outcome.duplicates += 1
        submission.settle()


def ids(joined: str | None) -> set[str]:
    return set(joined.split(",")) if joined else set()
