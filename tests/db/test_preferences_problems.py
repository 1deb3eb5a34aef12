"""What doctor says of the user's own table."""

from typing import TYPE_CHECKING

import pytest

from db.database import BadData, Database, DatabaseUnavailable
from db.migrate import migrate
from db.preferences import preferences_problems, preferences_warnings, record_nothing
from tests import tables
from tests.conftest import Connect, as_role, at_server, drop_database, in_database

if TYPE_CHECKING:
    import asyncpg


async def problems(database: Database) -> list[str]:
    return await preferences_problems(database, preferences_index=True)


async def test_doctor_is_content_with_the_table_that_we_make(database: Database) -> None:
    assert await problems(database) == []
    assert await preferences_warnings(database) == []


async def test_rows_without_a_user_id_are_a_problem_and_the_possibility_is_worth_a_word(
    database: Database, connection: "asyncpg.Connection"
) -> None:
    await connection.execute(
        "alter table email_preferences drop constraint email_preferences_pkey, alter user_id drop not null"
    )
    await tables.add_people(connection, "ada@example.test")
    assert await problems(database) == []
    [warning] = await preferences_warnings(database)
    assert "not declared unique" in warning
    await connection.execute("update email_preferences set user_id = null")
    [problem] = await problems(database)
    assert "1 rows" in problem


async def test_rows_with_blanks_around_the_address_are_counted_and_the_update_that_is_told_mends_them(
    database: Database, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, " ada@example.test", "bob@example.test\r", "eve@example.test")
    [problem] = await problems(database)
    assert problem.startswith("2 rows")
    await connection.execute(problem[problem.index("update email_preferences") :])
    assert await problems(database) == []
    assert set(await tables.preferences(connection)) == {"ada@example.test", "bob@example.test", "eve@example.test"}


async def test_rows_that_a_policy_hides_are_a_problem_until_one_lets_us_at_them(
    database_url: str, connect: Connect, connection: "asyncpg.Connection"
) -> None:
    await connection.execute(
        """
        drop role if exists tenant;
        create role tenant login password 'x';
        grant select, insert, update, delete on all tables in schema public to tenant;
        alter table email_preferences enable row level security;
        """
    )
    database = await connect(as_role(database_url, "tenant", "x"))
    [problem] = await problems(database)
    assert problem.startswith("row-level security hides rows of email_preferences from tenant")
    await connection.execute(problem[problem.index("create policy") :])
    assert await problems(database) == []
    await connection.execute("create policy narrow on email_preferences as restrictive using (user_id = '1')")
    assert len(await problems(database)) == 1
    await connection.execute("drop owned by tenant; drop role tenant")


async def test_an_encoding_that_lacks_letters_is_a_problem(server: str, connect: Connect) -> None:
    await at_server(
        server,
        "create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' locale_provider libc",
    )
    database = await connect(in_database(server, "latin"))
    await migrate(database)
    [problem] = await problems(database)
    assert "encoding is LATIN1" in problem
    await database.close()
    await drop_database(server, "latin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("updated_at type text", "updated_at is text and must be timestamp"),
        ("updated_at type bigint using 1", "updated_at is bigint and must be timestamp"),
        ("updated_at type time", "updated_at is time without time zone and must be timestamp"),
        (
            "marketing_opt_in drop default, alter marketing_opt_in type int using 1",
            "marketing_opt_in is integer and must be boolean",
        ),
        ("email_address type bytea using ''", "email_address is bytea and must be text"),
    ],
)
async def test_a_column_of_a_type_that_takes_nothing_is_named_and_nothing_is_called_safe(
    database: Database, connection: "asyncpg.Connection", change: str, words: str
) -> None:
    await connection.execute("drop index email_preferences_lower_email_address")
    await connection.execute(f"alter table email_preferences alter {change}")
    assert await problems(database) == [f"email_preferences.{words}: nothing can be recorded"]
    with pytest.raises((DatabaseUnavailable, BadData)):
        await record_nothing(database)


@pytest.mark.parametrize(
    "change",
    [
        "updated_at type timestamptz",
        "updated_at type moment",
        "email_address type varchar(200)",
        "marketing_opt_in type yes_or_no",
        "user_id type int using 1",
    ],
)
async def test_a_column_of_a_type_that_does_is_right(
    database: Database, connection: "asyncpg.Connection", change: str
) -> None:
    await connection.execute("create domain moment as timestamp; create domain yes_or_no as boolean")
    await connection.execute(f"alter table email_preferences alter {change}")
    assert await problems(database) == []
    await record_nothing(database)


@pytest.mark.parametrize("kind", ["date", "timestamp(3)"])
async def test_a_stamp_that_is_cut_off_is_told(database: Database, connection: "asyncpg.Connection", kind: str) -> None:
    await connection.execute(f"alter table email_preferences alter updated_at type {kind}")
    [problem] = await problems(database)
    assert "opt-outs are safe" in problem
    await record_nothing(database)
