"""The database alone, without HTTP: our statement, COPY of the same rows, and one statement an event."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import asyncpg

from bench.naive import CONNECTIONS, row, write
from bench.rows import PEOPLE, Rows, address
from db.chunks import parameters, records
from db.database import query
from db.postgres import positional
from providers.events import Event

COLUMNS = (
    "id", "source", "provider", "type", "email_address", "occurred_at", "received_at", "message_id",
    "provider_event_id", "payload",
)  # fmt: skip


async def add_people(connection: asyncpg.Connection) -> None:
    await connection.executemany(
        "insert into email_preferences values ($1, $2, true, '2020-01-01') on conflict do nothing",
        [(str(number), address(number)) for number in range(PEOPLE)],
    )
    await connection.execute("create table if not exists copied (like webhook_events including all)")
    await connection.execute("analyze")


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def record_events(connection: asyncpg.Connection, rows: Rows, number: int, size: int) -> float:
    """Seconds for `number` statements of `size` events, one after the other on one connection."""
    sql, names = positional(query("record_events"))
    chunks = [parameters(records(batch)) for batch in rows.batches(number, size)]

    async def work() -> None:
        for chunk in chunks:
            await connection.fetch(sql, *(chunk[name] for name in names))

    return await timed(work)


async def copy(connection: asyncpg.Connection, rows: Rows, number: int, size: int) -> float:
    """The same rows by COPY, in as many pieces: no ledger, no preferences, no duplicates."""
    pieces = [[copied(event) for event in batch.events] for batch in rows.batches(number, size)]

    async def work() -> None:
        for piece in pieces:
            await connection.copy_records_to_table("copied", records=piece, columns=COLUMNS)

    return await timed(work)


def copied(event: Event) -> tuple[object, ...]:
    identity, *others = row(event)
    return (UUID(identity), *others)


async def one_by_one(url: str, rows: Rows, number: int) -> float:
    """One autocommitted statement an event, over as many connections as the service beside it has."""
    events: Sequence[Event] = [event for batch in rows.batches(number, 1) for event in batch.events]
    todo = iter(events)
    async with asyncpg.create_pool(url, max_size=CONNECTIONS, min_size=CONNECTIONS) as pool:

        async def work() -> None:
            for event in todo:
                await write(pool, event)

        return await timed(lambda: asyncio.gather(*(work() for _ in range(CONNECTIONS))))
