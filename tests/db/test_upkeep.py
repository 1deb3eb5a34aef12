"""Upkeep: opt-outs reach rows that came later, and what is old goes."""

from datetime import timedelta
from typing import TYPE_CHECKING

from db.database import Database
from db.store import Receipt, Store
from db.upkeep import prune_payloads, prune_tokens, repair_preferences
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
    assert [await repair_preferences(database), await repair_preferences(database)] == [1, 0]
    assert await tables.preferences(connection) == {
        "ADA@example.test": False,
        "bob@example.test": True,
        "eve@example.test": True,
    }


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
    assert [await repair_preferences(database), await repair_preferences(database)] == [2, 0]


async def test_a_row_that_the_application_has_written_since_the_opt_out_stays(
    store: Store, database: Database, connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out()))
    await tables.add_people(connection, "ada@example.test", updated_at=(NOON + timedelta(days=1)).replace(tzinfo=None))
    assert await repair_preferences(database) == 0
    assert await tables.preferences(connection) == {"ada@example.test": True}


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
