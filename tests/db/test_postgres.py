"""Database over asyncpg: what is tried again, for how long, and what each failure is called."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from db.database import BadData, DatabaseMisconfigured, DatabaseUnavailable, IntegrityViolated, TooMuch
from db.postgres import Postgres, positional

if TYPE_CHECKING:
    import asyncpg


@pytest.fixture
def way() -> str:
    return "postgres"


def test_named_parameters_become_numbered_ones_and_casts_stay() -> None:
    assert positional("select :b, cast(:a as text), :b, x::int, 'it''s'") == (
        "select $1, cast($2 as text), $1, x::int, 'it''s'",
        ("b", "a"),
    )


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("select 1/0", BadData),
        ("select cast('x' as uuid)", BadData),
        ("insert into webhook_migrations values (null)", IntegrityViolated),
        ("do 'begin raise exception ''no''; end'", BadData),
        ("select * from nowhere", DatabaseMisconfigured),
        ("select nothing from webhook_events", DatabaseMisconfigured),
        ("select pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable),
    ],
)
async def test_each_failure_says_whether_it_may_pass(database_url: str, sql: str, error: type[Exception]) -> None:
    database = Postgres.at(database_url, patience=0)
    with pytest.raises(error) as failed:
        await database.execute(sql)
    assert type(failed.value) is error
    await database.close()


async def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    for address in ("postgresql://me:12?s3cret@host/app", "postgresql://me:s3cret:host/app"):
        database = Postgres.at(address)
        with pytest.raises(DatabaseMisconfigured, match="percent-encode") as failed:
            await database.execute("select 1")
        assert "s3cret" not in str(failed.value)
        assert failed.value.__suppress_context__
        await database.close()


async def test_a_table_that_is_missing_says_what_to_run(empty_database_url: str) -> None:
    database = Postgres.at(empty_database_url)
    with pytest.raises(DatabaseMisconfigured, match="webhooks migrate"):
        await database.execute("select * from webhook_events")
    await database.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("@127.0.0.1", "x@127.0.0.1"), DatabaseMisconfigured),
        (("/test_", "/nowhere_"), DatabaseMisconfigured),
    ],
    ids=["wrong password", "no such database"],
)
async def test_what_waiting_does_not_mend_is_not_tried_again(
    database_url: str, change: tuple[str, str], error: type[Exception]
) -> None:
    database = Postgres.at(database_url.replace(*change), patience=60)
    with pytest.raises(error, match="doctor"):
        await database.execute("select 1")


async def test_nobody_there_is_unavailable_after_the_patience_is_gone() -> None:
    database = Postgres.at("postgresql://nobody@127.0.0.1:1/none", patience=0.2)
    with pytest.raises(DatabaseUnavailable):
        await database.execute("select 1")


async def test_a_connection_that_is_cut_is_made_anew(database: Postgres, connection: "asyncpg.Connection") -> None:
    [row] = await database.execute("select pg_backend_pid() as pid")
    await connection.execute("select pg_terminate_backend($1)", row["pid"])
    assert [dict(row) for row in await database.execute("select 1 as one")] == [{"one": 1}]


async def test_statements_cut_in_the_middle_are_carried_out_all_the_same(
    database: Postgres, connection: "asyncpg.Connection"
) -> None:
    """As when a server is restarted: every backend ends, whatever it does."""
    others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    statements = [asyncio.create_task(database.execute("select pg_sleep(0.02), 1 as one")) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0.02)
        await connection.execute(others)
    assert [dict(rows[0])["one"] for rows in await asyncio.gather(*statements)] == [1] * 20


async def test_a_statement_that_hangs_is_cut_off(database_url: str) -> None:
    database = Postgres.at(database_url, patience=0, statement_seconds=0.1)
    with pytest.raises(TooMuch, match=r"waited 0\.1 s: does something hold rows"):
        await database.execute("select pg_sleep(30)")
    await database.close()


async def test_where_no_connection_comes_free_that_is_said(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.postgres.CONNECT_SECONDS", 0.5)
    database = Postgres.at(database_url, patience=0, connections=1, statement_seconds=2)
    busy = asyncio.create_task(database.execute("select pg_sleep(1.5)"))
    await asyncio.sleep(0.3)
    database._statement_seconds = 0
    with pytest.raises(DatabaseUnavailable, match="no connection") as failed:
        await database.execute("select 1")
    assert not isinstance(failed.value, TooMuch)
    await busy
    await database.close()
