"""`email_preferences` is the user's own: which of our decisions count beside what their application writes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from db.database import DatabaseUnavailable
from db.store import Receipt, Store
from tests import tables
from tests.conftest import Connect
from tests.samples import NOON, decided, opt_in, opt_out

if TYPE_CHECKING:
    import asyncpg

ADA = "ada@example.test"


async def test_a_decision_stamps_the_row_with_the_moment_of_writing(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    before = datetime.now(UTC).replace(tzinfo=None)
    await store.record(decided(opt_out()))
    assert before - timedelta(seconds=1) < await tables.updated_at(connection, ADA) < before + timedelta(seconds=10)


async def test_a_decision_that_changes_no_flag_stamps_the_row_but_counts_no_flip(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA, opted_in=False)
    assert await store.record(decided(opt_out())) == Receipt(received=1, recorded=1)
    assert await tables.updated_at(connection, ADA) > tables.LONG_AGO


async def test_an_older_decision_that_comes_later_changes_nothing(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    await store.record(decided(opt_out(minutes=5)))
    stamp = await tables.updated_at(connection, ADA)
    assert await store.record(decided(opt_in(minutes=4))) == Receipt(received=1, recorded=1)
    assert await tables.updated_at(connection, ADA) == stamp
    assert await tables.preferences(connection) == {ADA: False}


async def test_our_own_write_does_not_stand_in_the_way_of_a_newer_decision_made_before_it(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    """Written now, decided at noon; the opt-in of 12:01 arrives after our stamp, which is no write of the application."""
    await tables.add_people(connection, ADA)
    await store.record(decided(opt_out(minutes=0)))
    assert await store.record(decided(opt_in(minutes=1))) == Receipt(received=1, recorded=1, opted_in=1)
    assert await store.record(decided(opt_out(minutes=2))) == Receipt(received=1, recorded=1, opted_out=1)
    assert await store.record(decided(opt_in(minutes=3))) == Receipt(received=1, recorded=1, opted_in=1)


async def test_an_opt_in_made_before_the_application_opted_out_is_skipped(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    await tables.application_writes(connection, ADA, opted_in=False)
    stamp = await tables.updated_at(connection, ADA)
    assert await store.record(decided(opt_in())) == Receipt(received=1, recorded=1)
    assert await tables.preferences(connection) == {ADA: False}
    assert await tables.updated_at(connection, ADA) == stamp


async def test_an_opt_out_counts_even_where_the_application_wrote_an_opt_in_since(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA, opted_in=False)
    await tables.application_writes(connection, ADA, opted_in=True)
    assert await store.record(decided(opt_out())) == Receipt(received=1, recorded=1, opted_out=1)


async def test_an_overruled_opt_out_of_an_opted_out_row_leaves_the_stamp_so_that_an_older_opt_in_stays_out(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    await tables.application_writes(connection, ADA, opted_in=False)
    stamp = await tables.updated_at(connection, ADA)
    await store.record(decided(opt_out(minutes=1)))
    assert await tables.updated_at(connection, ADA) == stamp
    await store.record(decided(opt_in(minutes=2)))
    assert await tables.preferences(connection) == {ADA: False}


async def test_the_application_has_the_last_word_after_our_write(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    await store.record(decided(opt_out(minutes=1)))
    await tables.application_writes(connection, ADA, opted_in=True)
    await store.record(decided(opt_out(minutes=0)))
    assert await tables.preferences(connection) == {ADA: True}


@pytest.mark.parametrize("index", [True, False], ids=["with index", "without"])
async def test_chunks_that_wait_for_each_other_see_each_others_stamps(
    store: Store, connect: Connect, database_url: str, connection: "asyncpg.Connection", *, index: bool
) -> None:
    """The second waits behind the first, which a third transaction holds back: it must work on what the first wrote."""
    if not index:
        await connection.execute("drop index email_preferences_lower_email_address")
    await tables.add_people(connection, ADA)
    other = Store(await connect(database_url))
    for minute in range(0, 20, 2):
        async with connection.transaction():
            await connection.execute("select 1 from email_preferences for update")
            first = asyncio.create_task(store.record(decided(opt_out(minutes=minute))))
            await waits(connection, 1)
            second = asyncio.create_task(other.record(decided(opt_in(minutes=minute + 1))))
            await waits(connection, 2)
        assert await first == Receipt(received=1, recorded=1, opted_out=1)
        assert await second == Receipt(received=1, recorded=1, opted_in=1)
    await other.close()


async def waits(connection: "asyncpg.Connection", number: int) -> None:
    """Until so many statements wait for a lock."""
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    while await connection.fetchval(waiting) < number:
        await connection.execute("select pg_stat_clear_snapshot()")
        await asyncio.sleep(0.005)


async def test_a_row_that_the_application_holds_costs_its_neighbours_nothing(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    people = [f"person{number}@example.test" for number in range(6)]
    await tables.add_people(connection, *people)
    async with connection.transaction():
        await connection.execute("select 1 from email_preferences where email_address = $1 for update", people[2])
        receipts = await asyncio.gather(
            *(store.record(decided(opt_out(person))) for person in people), return_exceptions=True
        )
    failure = receipts.pop(2)
    assert isinstance(failure, DatabaseUnavailable)
    assert "does something hold rows of email_preferences?" in str(failure)
    assert receipts == [Receipt(received=1, recorded=1, opted_out=1)] * 5
    assert await store.record(decided(opt_out(people[2]))) == Receipt(received=1, recorded=1, opted_out=1)


async def test_an_application_write_that_commits_while_we_wait_is_seen(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, ADA)
    await store.record(decided(opt_in(minutes=0)))
    async with connection.transaction():
        await tables.application_writes(connection, ADA, opted_in=False)
        waiting = asyncio.create_task(store.record(decided(opt_in(minutes=1))))
        await waits(connection, 1)
    assert await waiting == Receipt(received=1, recorded=1)
    assert await tables.preferences(connection) == {ADA: False}


async def test_a_stamp_is_read_once_the_ledgers_lock_is_ours(store: Store, connection: "asyncpg.Connection") -> None:
    """So that the stamps of one address never run back, however long a statement has waited."""
    await tables.add_people(connection, ADA)
    await store.record(decided(opt_in(minutes=0)))
    async with connection.transaction():
        await connection.execute("select 1 from email_consents for update")
        waiting = asyncio.create_task(store.record(decided(opt_out(minutes=1))))
        await waits(connection, 1)
        released = await connection.fetchval("select clock_timestamp() at time zone 'UTC'")
    await waiting
    assert await tables.updated_at(connection, ADA) > released


async def test_a_repeat_of_an_opt_out_that_tells_no_time_takes_no_effect_again(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    """It counts from its receipt, and each repeat is received later: only the first may count."""
    await tables.add_people(connection, ADA)
    first = replace(opt_out(), at=None)
    await store.record(decided(first))
    await tables.application_writes(connection, ADA, opted_in=True)
    again = replace(first, item=replace(first.item, received_at=first.item.received_at + timedelta(hours=1)))
    assert await store.record(decided(again)) == Receipt(received=1, duplicates=1)
    assert await tables.preferences(connection) == {ADA: True}


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp(0)"])
async def test_an_opt_out_takes_effect_whatever_kind_of_stamp_the_users_column_keeps(
    store: Store, connection: "asyncpg.Connection", kind: str
) -> None:
    await connection.execute(f"alter table email_preferences alter updated_at type {kind}")
    await connection.execute("insert into email_preferences values ('1', $1, true, '2020-01-01')", ADA)
    await store.record(decided(opt_out(minutes=0)))
    await store.record(decided(opt_in(minutes=1)))
    assert await store.record(decided(opt_out(minutes=2))) in (
        Receipt(received=1, recorded=1, opted_out=1),
        Receipt(received=1, recorded=1),
    )
    assert await tables.preferences(connection) == {ADA: False}


async def test_the_users_own_columns_triggers_and_foreign_keys_stay_as_they_are(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await connection.execute(
        """
        alter table email_preferences add column locale text not null default 'de', add column score int;
        create table orders (user_id text references email_preferences);
        create table audit (address text, was boolean, now boolean);
        create function note() returns trigger language plpgsql as
        'begin insert into audit values (new.email_address, old.marketing_opt_in, new.marketing_opt_in); return new; end';
        create trigger note after update on email_preferences for each row execute function note();
        """
    )
    await tables.add_people(connection, ADA)
    await connection.execute("insert into orders select user_id from email_preferences")
    await store.record(decided(opt_out()))
    assert dict(await connection.fetchrow("select locale, score, marketing_opt_in from email_preferences")) == {
        "locale": "de",
        "score": None,
        "marketing_opt_in": False,
    }
    assert [tuple(row) for row in await connection.fetch("select * from audit")] == [(ADA, True, False)]


async def test_user_ids_may_be_of_any_type(store: Store, connection: "asyncpg.Connection") -> None:
    await connection.execute("alter table email_preferences alter user_id type bigint using 1")
    await connection.execute("insert into email_preferences values (7, $1, true, '2020-01-01')", ADA)
    assert await store.record(decided(opt_out())) == Receipt(received=1, recorded=1, opted_out=1)
    assert (await tables.ledger(connection)) == {(ADA, ""): (NOON, False)}


async def by_tenant(connection: "asyncpg.Connection", *rows: tuple[str, str, bool, datetime]) -> None:
    """Rows of a table where user_id is unique within a tenant only: user 7 in each of them."""
    await connection.execute(
        """
        alter table email_preferences drop constraint email_preferences_pkey, add column tenant text;
        alter table email_preferences add primary key (tenant, user_id);
        drop index email_preferences_idx_address;
        """
    )
    await connection.executemany(
        "insert into email_preferences (user_id, tenant, email_address, marketing_opt_in, updated_at) values ('7', $1, $2, $3, $4)",
        rows,
    )


async def by_tenant_now(connection: "asyncpg.Connection") -> dict[str, bool]:
    return {row["tenant"]: row["marketing_opt_in"] for row in await connection.fetch("select * from email_preferences")}


async def test_where_user_ids_are_not_unique_a_decision_reaches_nobody_else(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await by_tenant(connection, ("a", ADA, False, tables.LONG_AGO), ("b", "bob@example.test", False, tables.LONG_AGO))
    assert await store.record(decided(opt_in())) == Receipt(received=1, recorded=1, opted_in=1)
    assert await by_tenant_now(connection) == {"a": True, "b": False}
    assert await store.record(decided(opt_out(minutes=1))) == Receipt(received=1, recorded=1, opted_out=1)
    assert await by_tenant_now(connection) == {"a": False, "b": False}


@pytest.mark.parametrize("written", ["a", "b"])
async def test_of_rows_that_cannot_be_told_apart_none_is_opted_in_where_the_application_has_opted_out_one(
    store: Store, connection: "asyncpg.Connection", written: str
) -> None:
    stamps = {"a": tables.LONG_AGO, "b": tables.LONG_AGO, written: (NOON + timedelta(days=1)).replace(tzinfo=None)}
    await by_tenant(connection, *((tenant, ADA, False, stamp) for tenant, stamp in stamps.items()))
    assert await store.record(decided(opt_in())) == Receipt(received=1, recorded=1)
    assert await by_tenant_now(connection) == {"a": False, "b": False}
    assert await store.record(decided(opt_out(minutes=1))) == Receipt(received=1, recorded=1)


@pytest.mark.parametrize(("flag", "stamp"), [("true", "null"), ("null", "null"), ("null", "'2099-01-01'")])
async def test_what_the_users_row_does_not_say_is_no_reason_to_stay_opted_in(
    store: Store, connection: "asyncpg.Connection", flag: str, stamp: str
) -> None:
    await connection.execute(
        "alter table email_preferences alter marketing_opt_in drop not null, alter updated_at drop not null"
    )
    await connection.execute(f"insert into email_preferences values ('1', $1, {flag}, {stamp})", ADA)
    assert await store.record(decided(opt_out())) == Receipt(received=1, recorded=1, opted_out=1)
    assert await tables.preferences(connection) == {ADA: False}
