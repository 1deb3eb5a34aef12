"""Upkeep: opt-outs reach rows that came later, and what is old goes."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from db.database import Database, DatabaseMisconfigured
from db.store import Receipt, Store
from db.upkeep import Repair, prune_payloads, prune_tokens, repair_preferences
from providers.adapter import Batch, Token
from tests import tables
from tests.samples import NOON, batch, decided, event, opt_in, opt_out

if TYPE_CHECKING:
    import asyncpg


async def test_an_opt_out_is_applied_to_a_row_that_was_imported_later(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(
        decided(opt_out("Ada@example.test"), opt_out("bob@example.test", topic="news"), opt_in("eve@example.test"))
    )
    await tables.add_people(connection, "ADA@example.test", "bob@example.test", "eve@example.test")
    assert [await repair_preferences(database), await repair_preferences(database)] == [Repair(1), Repair()]
    assert await tables.preferences(connection) == {
        "ADA@example.test": False,
        "bob@example.test": True,
        "eve@example.test": True,
    }


@pytest.mark.parametrize("address", [" Ada@Example.test ", "ada@example.test\r\n", "\tADA@example.test"])
async def test_an_opt_out_reaches_a_row_whose_address_has_blanks_around_it(
    store: Store, database: Database, connection: "asyncpg.Connection", address: str
) -> None:
    await tables.add_people(connection, address)
    await store.record(decided(opt_out()))
    assert [await repair_preferences(database), await repair_preferences(database)] == [Repair(1), Repair()]
    assert await tables.preferences(connection) == {address: False}


async def test_a_row_that_does_not_say_when_or_what_it_was_is_opted_out(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out("ada@example.test"), opt_out("bob@example.test")))
    await connection.execute(
        """
        alter table email_preferences alter marketing_opt_in drop not null, alter updated_at drop not null;
        insert into email_preferences values ('1', 'ada@example.test', true, null), ('2', 'bob@example.test', null, '2020-01-01');
        """
    )
    assert [await repair_preferences(database), await repair_preferences(database)] == [Repair(2), Repair()]


async def test_a_row_that_the_application_has_written_since_the_opt_out_stays(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out()))
    await tables.add_people(connection, "ada@example.test", updated_at=(NOON + timedelta(days=1)).replace(tzinfo=None))
    assert await repair_preferences(database) == Repair()
    assert await tables.preferences(connection) == {"ada@example.test": True}


@pytest.mark.parametrize("page", [1, 4, 20_000])
@pytest.mark.parametrize("sqlstate", ["P0001", "42501"])
async def test_a_row_that_is_refused_costs_no_other_its_opt_out(
    store: Store,
    database: Database,
    connection: "asyncpg.Connection",
    monkeypatch: pytest.MonkeyPatch,
    page: int,
    sqlstate: str,
) -> None:
    monkeypatch.setattr("db.upkeep.PAGE", page)
    people = [f"person{number}@example.test" for number in range(13)]
    await store.record(decided(*map(opt_out, people)))
    await tables.add_people(connection, *people)
    await connection.execute(
        f"""
        create function picky() returns trigger language plpgsql as
        'begin if new.email_address ~ ''[57]@'' then raise exception ''not her'' using errcode = ''{sqlstate}''; end if; return new; end';
        create trigger picky before update on email_preferences for each row execute function picky();
        """
    )
    repair = await repair_preferences(database)
    assert (repair.repaired, sorted(repair.refused)) == (11, [people[5], people[7]])
    assert "person5@example.test: " in repair.refusals()
    assert {address for address, opted_in in (await tables.preferences(connection)).items() if opted_in} == {
        people[5],
        people[7],
    }


async def test_a_row_that_the_application_holds_is_left_for_another_day(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out("ada@example.test"), opt_out("bob@example.test")))
    await tables.add_people(connection, "ada@example.test", "bob@example.test")
    async with connection.transaction():
        await connection.execute("select 1 from email_preferences where email_address like 'ada%' for update")
        repair = await repair_preferences(database)
    assert (repair.repaired, list(repair.refused)) == (1, ["ada@example.test"])
    assert "does something hold rows" in repair.refusals()


async def test_where_nothing_may_be_written_the_repair_says_so_at_once(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out()))
    await connection.execute("drop table email_preferences")
    with pytest.raises(DatabaseMisconfigured):
        await repair_preferences(database)


async def test_old_payloads_go_and_their_events_stay(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    events = [event(str(n), minutes=n) for n in range(10)]
    await store.record(batch(*events))
    assert await prune_payloads(database, NOON + timedelta(minutes=4)) == 4
    assert await prune_payloads(database, NOON + timedelta(minutes=4)) == 0
    kept = await connection.fetch("select occurred_at from webhook_events where payload is not null order by 1")
    assert tables.column(kept, "occurred_at") == [NOON + timedelta(minutes=n) for n in range(4, 10)]
    assert await store.record(batch(*events)) == Receipt(received=10, duplicates=10)


async def test_tokens_that_have_outlived_their_signatures_go(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    for name in ("old", "new"):
        await store.record(Batch([event(name)], token=Token(name, "body")))
    await connection.execute("update webhook_tokens set received_at = now() - interval '5 days' where token = 'old'")
    assert await prune_tokens(database) == 1
    assert tables.column(await connection.fetch("select token from webhook_tokens"), "token") == ["new"]
