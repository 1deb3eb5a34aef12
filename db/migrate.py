"""From an empty database, or one of an earlier version, to the present schema."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from db.database import (
    DOCTOR,
    BadData,
    Database,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    TooMuch,
    query,
    without_comments,
)
from db.preferences import INDEX, has_index, make_index_yourself, no_index

LOOK_AGAIN_SECONDS = 1.0
# The SQLSTATE of a table that is not there.
MISSING = "42P01"
MIGRATIONS_TABLE = """
create table if not exists webhook_migrations (
    name       text        not null primary key,
    applied_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Migrated:
    """`applied` are the migrations that were not there yet; `warnings` what could not be done and matters little.

    `made_in` is the schema in which email_preferences was made, where it was missing.
    """

    applied: Sequence[str]
    warnings: Sequence[str]
    made_in: str | None = None


def migrations() -> dict[str, str]:
    """Name → statement, in order."""
    found = sorted(
        (file.name.removesuffix(".sql"), file.read_text())
        for file in files("db").joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    )
    return {name: without_comments(sql) for name, sql in found}


async def pending(database: Database) -> list[str]:
    """The migrations that this database has not seen. Raises DatabaseUnavailable."""
    try:
        rows = await database.execute("select name from webhook_migrations")
    except DatabaseMisconfigured as error:
        if error.sqlstate != MISSING:
            raise
        rows = []
    seen = {row["name"] for row in rows}
    return [name for name in migrations() if name not in seen]


async def migrate(database: Database, *, preferences_index: bool = True) -> Migrated:
    """Every statement is safe to run twice, so two processes may do this at once, and a broken-off one again."""
    applied = await pending(database)
    if applied:
        if refused := await rights_missing(database):
            raise DatabaseMisconfigured(refused[0])
        await at_once(database, MIGRATIONS_TABLE)
    there = await database.execute(query("preferences_table"))
    for name in applied:
        await at_once(database, migrations()[name])
        await database.execute(
            "insert into webhook_migrations (name) values (:name) on conflict do nothing", {"name": name}
        )
    warnings = await index_preferences(database) if preferences_index else []
    made = [] if there else await database.execute(query("preferences_table"))
    return Migrated(applied, warnings, made[0]["schema"] if made else None)


async def rights_missing(database: Database) -> list[str]:
    """What keeps us from making tables; nothing, where we may."""
    [row] = await database.execute(query("rights"))
    if row["may_create"]:
        return []
    schema = row["schema"] or "public"
    where = f"in schema {schema}" if row["schema"] else f"in any schema of its search_path ({row['search_path']})"
    return [
        (
            f"{row['role']} may not make tables {where}: let its owner run: grant usage, create on schema {schema} to"
            f" {row['role']}; or run `webhooks migrate` as its owner"
        )
    ]


async def at_once(database: Database, sql: str) -> None:
    """PostgreSQL's `if not exists` looks first and creates then: whom another overtakes between, tries again."""
    try:
        await database.execute(sql)
    except (BadData, DatabaseMisconfigured):
        await database.execute(sql)


async def index_preferences(database: Database) -> list[str]:
    """The index by which an address is found, made without locking the user's table; a warning where it cannot be."""
    [table] = await database.execute(query("preferences_table")) or [{"kind": "r"}]
    try:
        found = await database.execute(query("preferences_indexes"))
        if any(index["is_valid"] for index in found):
            return []
        if table["kind"] != "r":
            return [no_index(table)]
        if any(index["name"] == INDEX for index in found):
            # An earlier try was broken off: what it left is never used.
            await database.execute(f"drop index concurrently if exists {INDEX}")
        await make_index(database)
    except (DatabaseUnavailable, BadData) as error:
        if await has_index(database):
            return []  # another process was first
        slow = "no index on email_preferences (lower(email_address)), so each opt-out reads the whole table"
        return [f"{slow}: {str(error).removesuffix(DOCTOR)}. {make_index_yourself(table['kind'])}"]
    return []


async def make_index(database: Database) -> None:
    """Where the call is cut off (the Data API's end after 45 s), the index is made all the same: we wait for that."""
    try:
        await database.execute(f"create index concurrently {INDEX} on email_preferences (lower(email_address))")
    except TooMuch:
        while (await database.execute(query("preferences_index_progress")))[0]["under_way"]:  # noqa: ASYNC110 - it is the database's
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        if not await has_index(database):
            raise
