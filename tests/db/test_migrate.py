"""Migrations: to the schema that schema.sql draws, from nothing or from a database of the user's own."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

import db
from db.database import Database, DatabaseMisconfigured
from db.migrate import migrate, migrations, pending
from db.preferences import INDEX, preferences_problems, record_nothing
from db.store import Receipt, Store
from tests import tables
from tests.conftest import Connect, as_role
from tests.samples import decided, opt_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SCHEMA = """
select c.relname as "table", a.attnum as position, a.attname as name, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid) as "default", c.reloptions
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
 where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace and a.attnum > 0
 order by 1, 2
"""
INDEXES = "select indexdef from pg_indexes where schemaname = 'public' order by 1"
SEED = """
create table email_preferences (
    user_id          text      not null primary key,
    email_address    text      not null,
    marketing_opt_in boolean   not null default false,
    updated_at       timestamp not null,
    locale           text      not null default 'en'
);
create unique index email_preferences_idx_address on email_preferences (email_address);
"""


@pytest.fixture
async def empty_database(empty_database_url: str, connect: Connect) -> Database:
    return await connect(empty_database_url)


@pytest.fixture
async def owner(empty_database_url: str) -> "AsyncIterator[asyncpg.Connection]":
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def service_url(empty_database_url: str, owner: asyncpg.Connection) -> "AsyncIterator[str]":
    """For a role that owns nothing and has been granted nothing."""
    await owner.execute("drop role if exists service; create role service login password 'x'")
    yield as_role(empty_database_url, "service", "x")
    await owner.execute("drop owned by service; drop role service")


async def picture(connection: asyncpg.Connection) -> list[Any]:
    return [dict(row) for sql in (SCHEMA, INDEXES) for row in await connection.fetch(sql)]


async def test_the_migrations_lead_to_the_schema_that_is_drawn(
    empty_database: Database, owner: asyncpg.Connection
) -> None:
    await migrate(empty_database)
    migrated = await picture(owner)
    await owner.execute("drop schema public cascade; create schema public")
    await owner.execute(Path(db.__file__).with_name("schema.sql").read_text())
    assert migrated == await picture(owner)


async def test_migrating_twice_changes_nothing(empty_database: Database, owner: asyncpg.Connection) -> None:
    assert (await migrate(empty_database)).applied == list(migrations())
    before = await picture(owner)
    again = await migrate(empty_database)
    assert (again.applied, again.warnings) == ([], [])
    assert await picture(owner) == before


async def test_processes_that_start_together_may_all_migrate(
    connect: Connect, empty_database_url: str, owner: asyncpg.Connection
) -> None:
    databases = [await connect(empty_database_url) for _ in range(4)]
    await asyncio.gather(*map(migrate, databases))
    assert await pending(databases[0]) == []
    assert await owner.fetchval("select count(*) from webhook_migrations") == len(migrations())


async def test_where_the_users_table_is_out_of_sight_the_schema_of_ours_is_told(
    empty_database: Database, owner: asyncpg.Connection
) -> None:
    await owner.execute("create schema app; create table app.email_preferences (user_id text)")
    assert [(await migrate(empty_database)).made_in, (await migrate(empty_database)).made_in] == ["public", None]
    [problem] = await preferences_problems(empty_database, preferences_index=True)
    assert "there is another in app, outside the search_path" in problem
    await tables.add_people(owner, "ada@example.test")
    assert await preferences_problems(empty_database, preferences_index=True) == []


async def test_a_new_database_has_everything_pending(empty_database: Database) -> None:
    assert await pending(empty_database) == list(migrations())


async def test_a_table_of_the_users_own_is_left_as_it_is(empty_database: Database, owner: asyncpg.Connection) -> None:
    await owner.execute(SEED)
    await owner.execute("insert into email_preferences values ('1', 'Ada@example.test', true, '2020-01-01', 'de')")
    before = [each for each in await picture(owner) if each.get("table") == "email_preferences"]
    assert (await migrate(empty_database)).made_in is None
    assert [each for each in await picture(owner) if each.get("table") == "email_preferences"] == before
    assert tuple(await owner.fetchrow("select * from email_preferences"))[1:3] == ("Ada@example.test", True)
    store = Store(empty_database)
    assert await store.record(decided(opt_out("ada@example.test"))) == Receipt(received=1, recorded=1, opted_out=1)


async def test_the_index_can_be_turned_off(empty_database: Database, owner: asyncpg.Connection) -> None:
    await migrate(empty_database, preferences_index=False)
    assert await owner.fetchval("select to_regclass($1)", INDEX) is None
    await tables.add_people(owner, "ada@example.test")
    assert (await Store(empty_database).record(decided(opt_out()))).opted_out == 1


async def test_an_index_of_the_users_own_is_enough(empty_database: Database, owner: asyncpg.Connection) -> None:
    await owner.execute(SEED)
    await owner.execute("create unique index theirs on email_preferences (lower(email_address))")
    assert (await migrate(empty_database)).warnings == []
    assert await owner.fetchval("select to_regclass($1)", INDEX) is None


async def test_an_index_that_was_broken_off_is_made_anew(empty_database: Database, owner: asyncpg.Connection) -> None:
    await migrate(empty_database)
    await owner.execute(f"update pg_index set indisvalid = false where indexrelid = '{INDEX}'::regclass")
    assert (await migrate(empty_database)).warnings == []
    assert await owner.fetchval(f"select indisvalid from pg_index where indexrelid = '{INDEX}'::regclass")


async def test_where_the_table_belongs_to_somebody_else_the_index_is_a_warning(
    connect: Connect, service_url: str, owner: asyncpg.Connection
) -> None:
    await owner.execute(SEED)
    await owner.execute("grant create on schema public to service")
    await owner.execute("grant select, update on email_preferences to service")
    database = await connect(service_url)
    migrated = await migrate(database)
    assert migrated.applied == list(migrations())
    [warning] = migrated.warnings
    assert "create index concurrently" in warning
    await tables.add_people(owner, "ada@example.test")
    assert (await Store(database).record(decided(opt_out()))).opted_out == 1


async def test_who_may_not_make_tables_hears_which_right_is_missing(
    connect: Connect, service_url: str, owner: asyncpg.Connection
) -> None:
    database = await connect(service_url)
    with pytest.raises(DatabaseMisconfigured, match="grant usage, create on schema public to service"):
        await migrate(database)
    await owner.execute("revoke usage on schema public from public")
    with pytest.raises(
        DatabaseMisconfigured, match=r"any schema of its search_path .*grant usage, create on schema public"
    ):
        await migrate(database)


async def test_tables_of_the_owners_that_we_may_not_read_are_not_taken_for_missing(
    connect: Connect, service_url: str, empty_database: Database, owner: asyncpg.Connection
) -> None:
    await migrate(empty_database)
    database = await connect(service_url)
    for step in (pending, record_nothing):
        with pytest.raises(DatabaseMisconfigured) as refused:
            await step(database)
        grant = str(refused.value).partition("name: ")[2].partition(";")[0]
        await owner.execute(grant.replace("USER", "service"))
    await record_nothing(database)
    assert (await migrate(database)).applied == []


async def test_of_a_partitioned_table_the_index_is_made_as_the_warning_tells(
    empty_database: Database, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        """
        create table email_preferences (
            user_id text primary key, email_address text not null, marketing_opt_in boolean not null, updated_at timestamp not null
        ) partition by hash (user_id);
        create table one partition of email_preferences for values with (modulus 2, remainder 0);
        create table two partition of email_preferences for values with (modulus 2, remainder 1);
        """
    )
    [warning] = (await migrate(empty_database)).warnings
    assert await preferences_problems(empty_database, preferences_index=True) == [warning]
    for partition in ("one", "two"):
        await owner.execute(f"create index concurrently on {partition} (lower(email_address))")
    await owner.execute(warning[warning.index(f"create index {INDEX}") : warning.index(" or set")])
    assert await preferences_problems(empty_database, preferences_index=True) == []
    assert (await migrate(empty_database)).warnings == []
    await tables.add_people(owner, "ada@example.test", "bob@example.test")
    receipt = await Store(empty_database).record(decided(opt_out("ada@example.test"), opt_out("bob@example.test")))
    assert receipt == Receipt(received=2, recorded=2, opted_out=2)


async def test_behind_a_view_the_index_is_the_tables(empty_database: Database, owner: asyncpg.Connection) -> None:
    await owner.execute(SEED)
    await owner.execute("alter table email_preferences rename to people")
    await owner.execute("create view email_preferences as select * from people")
    [warning] = (await migrate(empty_database)).warnings
    assert "It is a view. Let the owner of the table behind it" in warning
    assert await preferences_problems(empty_database, preferences_index=False) == []
    await tables.add_people(owner, "ada@example.test")
    assert (await Store(empty_database).record(decided(opt_out()))).opted_out == 1
