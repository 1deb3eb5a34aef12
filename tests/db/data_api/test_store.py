"""The Data API's limits, met by the store: smaller chunks or a clear error, and never a loss."""

import asyncio
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest

from db.data_api import DataApi
from db.database import DatabaseUnavailable
from db.migrate import migrate
from db.preferences import INDEX
from db.store import Receipt, Store
from providers.adapter import Batch, DeadLetter
from tests import tables
from tests.conftest import LocalDataApis
from tests.misbehaving import Misbehaving
from tests.samples import NOON, batch, decided, event, opt_out

SLOW = """
create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.01); return new; end';
create trigger slow before insert on webhook_events for each row execute function slow()
"""


@pytest.fixture
async def store(api: DataApi) -> AsyncIterator[Store]:
    store = Store(api, in_flight=16)
    yield store
    await store.committer.drain()


async def test_a_statement_that_is_cut_off_is_written_in_smaller_ones(
    store: Store, local: Misbehaving, connection: asyncpg.Connection
) -> None:
    await connection.execute(SLOW)
    await tables.add_people(connection, "ada@example.test")
    local.limits.statement_seconds = 0.3
    receipt = await store.record(decided(*(event(str(n)) for n in range(59)), opt_out()))
    assert receipt == Receipt(received=60, recorded=60, opted_out=1)
    assert await tables.count(connection, "webhook_events") == 60


async def test_an_answer_that_is_too_large_costs_no_event(
    store: Store, local: Misbehaving, connection: asyncpg.Connection
) -> None:
    """What such a statement wrote is written: the smaller ones that follow find it there."""
    await tables.add_people(connection, "ada@example.test")
    local.limits.response_bytes = 5_000
    receipt = await store.record(decided(*(event(str(n)) for n in range(499)), opt_out()))
    assert (receipt.received, receipt.recorded + receipt.duplicates, receipt.dead) == (500, 500, 0)
    assert await tables.count(connection, "webhook_events") == 500
    assert await tables.preferences(connection) == {"ada@example.test": False}


async def test_a_request_that_is_too_large_is_written_in_smaller_ones(
    store: Store, local: Misbehaving, connection: asyncpg.Connection
) -> None:
    local.limits.request_bytes = 100_000
    receipt = await store.record(batch(*(event(str(n)) for n in range(1_000))))
    assert receipt == Receipt(received=1_000, recorded=1_000)
    assert await tables.count(connection, "webhook_events") == 1_000


async def test_an_event_larger_than_any_request_is_recorded_whole(store: Store, connection: asyncpg.Connection) -> None:
    payload = {"attachment": "\"'\\ é😀" * 700_000}
    assert await store.record(batch(event("a", value=payload), event("b"))) == Receipt(received=2, recorded=2)
    stored = await connection.fetchval(
        "select payload ->> 'attachment' from webhook_events where payload ? 'attachment'"
    )
    assert stored == payload["attachment"]


async def test_a_dead_letter_larger_than_any_request_is_kept_byte_for_byte(
    store: Store, connection: asyncpg.Connection
) -> None:
    body = bytes(range(256)) * 30_000
    letter = DeadLetter("sendgrid", NOON, body, "unreadable")
    assert await store.record(Batch(dead_letters=[letter])) == Receipt(received=1, dead=1)
    assert await tables.dead_bodies(connection) == [body]


async def test_chunks_of_a_delivery_go_out_side_by_side(store: Store, local: Misbehaving) -> None:
    local.faults.latency = 0.3
    recording = asyncio.create_task(store.record(batch(*(event(str(n), minutes=n) for n in range(10_000)))))
    async with asyncio.timeout(10):
        while len(local.calls) < 10:
            await asyncio.sleep(0.005)
    assert [call.status for call in local.calls] == [None] * 10
    assert await recording == Receipt(received=10_000, recorded=10_000)


async def test_a_paused_database_is_an_error_at_once_for_who_cannot_wait(
    store: Store, api: DataApi, local: Misbehaving
) -> None:
    api._patience.seconds = 0.1
    local.faults.resuming_until = time.monotonic() + 60
    with pytest.raises(DatabaseUnavailable, match="resuming"):
        await store.record(batch(event("a")))
    local.faults.resuming_until = 0
    assert await store.record(batch(event("a"))) == Receipt(received=1, recorded=1)


async def test_an_index_that_takes_longer_than_a_call_is_waited_for(
    empty_database_url: str, local: Misbehaving, data_apis: LocalDataApis
) -> None:
    """`create index concurrently` waits for every transaction that is open: here for one of the application's."""
    api = await data_apis.connect(empty_database_url, endpoint_url=local.url, continue_after_timeout=True)
    await migrate(api, preferences_index=False)
    application = await asyncpg.connect(empty_database_url)
    transaction = application.transaction()
    await transaction.start()
    await application.execute("insert into email_preferences values ('1', 'a@b', true, now())")
    local.limits.statement_seconds = 0.3
    migrating = asyncio.create_task(migrate(api))
    async with asyncio.timeout(10):
        while not [call for call in local.calls if call.error == "StatementTimeoutException"]:
            await asyncio.sleep(0.01)
    await transaction.commit()
    assert (await migrating).warnings == []
    assert await application.fetchval(f"select indisvalid from pg_index where indexrelid = '{INDEX}'::regclass")
    await application.close()
    await api.close()
