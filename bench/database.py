"""The database alone, without HTTP: our statement, COPY of the same rows, and one statement an event."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from uuid import UUID

import asyncpg

from bench.naive import CONNECTIONS, row, write
from bench.rows import PEOPLE, Rows
from db.chunks import parameters, records
from db.database import Database, query
from providers.events import Event

COLUMNS = (
    "id", "source", "provider", "type", "email_address", "occurred_at", "received_at", "message_id",
    "provider_event_id", "payload",
)  # fmt: skip


async def add_people(connection: asyncpg.Connection, *groups: Rows) -> None:
    await connection.executemany(
        "insert into email_preferences values ($1, $2, true, '2020-01-01')",
        [(f"{rows.people}{number}", rows.address(number)) for rows in groups for number in range(PEOPLE)],
    )
    await connection.execute("create table copied (like webhook_events including all)")
    await connection.execute("analyze")


async def timed(jobs: Iterable[Callable[[], Awaitable[object]]], at_once: int) -> float:
    """Seconds for all of it, so many at a time."""
    todo = iter(jobs)

    async def work() -> None:
        for job in todo:
            await job()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return time.perf_counter() - began


async def record_events(database: Database, rows: Rows, number: int, size: int, at_once: int) -> float:
    """`number` statements of `size` events."""
    chunks = [parameters(records(batch)) for batch in rows.batches(number, size)]
    return await timed([partial(database.execute, query("record_events"), chunk) for chunk in chunks], at_once)


async def copy(pool: asyncpg.Pool, rows: Rows, number: int, size: int, at_once: int) -> float:
    """Such rows by COPY, in as many pieces: no ledger, no preferences, no duplicates."""
    pieces = [[copied(event) for event in batch.events] for batch in rows.batches(number, size)]
    jobs = [partial(pool.copy_records_to_table, "copied", records=piece, columns=COLUMNS) for piece in pieces]
    return await timed(jobs, at_once)


def copied(event: Event) -> tuple[object, ...]:
    identity, *others = row(event)
    return (UUID(identity), *others)


async def one_by_one(pool: asyncpg.Pool, rows: Rows, number: int) -> float:
    """One autocommitted statement an event, over as many connections as the naive service has in all."""
    events = [event for batch in rows.batches(number, 1) for event in batch.events]
    return await timed([partial(write, pool, event) for event in events], CONNECTIONS)
