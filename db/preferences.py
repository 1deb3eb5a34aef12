"""What stands between `email_preferences`, which may be the user's own, and being kept right."""

from collections.abc import Mapping, Sequence

from db.chunks import parameters
from db.database import Database, Row, query

Columns = Mapping[str, Row]

INDEX = "email_preferences_lower_email_address"
COLUMNS = {
    "user_id": "any type",
    "email_address": "text",
    "marketing_opt_in": "boolean",
    "updated_at": "timestamp",
}
# By pg_type's categories, and what may be written to the last as a moment.
CATEGORIES = {"email_address": "S", "marketing_opt_in": "B", "updated_at": "D"}
MOMENTS = {"timestamp", "timestamptz", "date"}
# What is no plain table; the rest is updated as one, where it can be.
KINDS = {"p": "partitioned table", "v": "view", "f": "foreign table", "m": "materialized view"}
MEND_BLANKS = (
    r"update email_preferences set email_address = btrim(email_address, E' \t\r\n')"
    r" where email_address <> btrim(email_address, E' \t\r\n');"
)


async def preferences_problems(database: Database, *, preferences_index: bool) -> list[str]:
    columns = await preferences_columns(database)
    if not columns:
        return ["there is no table email_preferences: run `webhooks migrate`"]
    [table] = await database.execute(query("preferences_table"))
    if unfit := [*columns_missing(columns), *columns_unfit(columns), *relation_unfit(table)]:
        return unfit
    [rows] = await database.execute(query("preferences_rows"))
    problems = [*nothing_takes_effect(table, rows), *stamps_cut_off(columns), *rows_not_reached(rows)]
    if preferences_index and not await has_index(database):
        problems.append(no_index(table))
    return problems


async def preferences_warnings(database: Database) -> list[str]:
    """What is as it may be, and good to know."""
    columns = await preferences_columns(database)
    if "user_id" not in columns or columns["user_id"]["is_key"]:
        return []
    return [
        (
            "email_preferences.user_id is not declared unique and not null: a row with none is never changed, and where one user_id"
            " has the same address twice, what the application writes to one of the rows counts for both"
        )
    ]


async def record_nothing(database: Database) -> None:
    """The statement that records, over no events: it needs every table, column and right that deliveries need."""
    await database.execute(query("record_events"), parameters([]))


async def preferences_columns(database: Database) -> Columns:
    return {row["name"]: row for row in await database.execute(query("preferences_columns"))}


async def has_index(database: Database) -> bool:
    return any(index["is_valid"] for index in await database.execute(query("preferences_indexes")))


def columns_missing(columns: Columns) -> list[str]:
    return [
        f"email_preferences has no column {name} ({kind}): nothing can be recorded without it"
        for name, kind in COLUMNS.items()
        if name not in columns
    ]


def nothing_takes_effect(table: Row, rows: Row) -> list[str]:
    problems = []
    if table["elsewhere"] and not rows["rows"]:
        problems.append(
            f"email_preferences in schema {table['schema']} is empty, and there is another in {table['elsewhere']}, outside"
            f" the search_path: if that is yours, put its schema first for us (alter role {table['role']} set search_path ="
            f" {table['elsewhere']}, {table['schema']};) and drop the empty one"
        )
    if table["is_hidden"]:
        problems.append(
            f"row-level security hides rows of email_preferences from {table['role']}, so no opt-out reaches them. Let its"
            f" owner run: create policy email_webhooks on email_preferences to {table['role']} using (true);"
        )
    if table["encoding"] != "UTF8":
        problems.append(
            f"the database's encoding is {table['encoding']}: what has other letters is refused or not matched, and becomes"
            " a dead letter. Take a database with encoding UTF8"
        )
    return problems


def columns_unfit(columns: Columns) -> list[str]:
    return [
        f"email_preferences.{name} is {columns[name]['type']} and must be {COLUMNS[name]}: nothing can be recorded"
        for name, category in CATEGORIES.items()
        if name in columns and not fits(columns[name], category)
    ]


def fits(column: Row, category: str) -> bool:
    return column["category"] == category and (category != "D" or column["base"] in MOMENTS)


def relation_unfit(table: Row) -> list[str]:
    if table["kind"] != "m":
        return []
    return ["email_preferences is a materialized view, to which nobody can write: nothing can be recorded"]


def no_index(table: Row) -> str:
    slow = "email_preferences has no index on lower(email_address), so each opt-out reads the whole table"
    if table["kind"] == "r":
        return f"{slow}: run `webhooks migrate` as its owner, or set WEBHOOKS_PREFERENCES_INDEX=false"
    return f"{slow}. {make_index_yourself(table['kind'])}"


def make_index_yourself(kind: str) -> str:
    """What its owner can do: of a partitioned table no index is made concurrently, a view has none."""
    if kind == "r":
        sql = f"create index concurrently {INDEX} on email_preferences (lower(email_address));"
        return f"Let its owner run: {sql} or set WEBHOOKS_PREFERENCES_INDEX=false"
    if kind == "p":
        return (
            "It is a partitioned table. Let its owner run for each partition: create index concurrently on PARTITION"
            f" (lower(email_address)); and then, which takes those and is quick: create index {INDEX} on email_preferences"
            " (lower(email_address)); or set WEBHOOKS_PREFERENCES_INDEX=false"
        )
    return (
        f"It is a {KINDS[kind]}. Let the owner of the table behind it make the index there: create index concurrently on TABLE"
        " (lower(email_address)); and set WEBHOOKS_PREFERENCES_INDEX=false, for from here it cannot be seen"
    )


def stamps_cut_off(columns: Columns) -> Sequence[str]:
    kind = columns["updated_at"]["type"]
    if columns["updated_at"]["base"] != "date" and "(" not in kind:
        return []
    return [
        (
            f"email_preferences.updated_at is {kind}: what it cuts off keeps us from knowing our own writes, so some opt-ins"
            " will be skipped; opt-outs are safe. Best is timestamp"
        )
    ]


def rows_not_reached(rows: Row) -> list[str]:
    problems = []
    if number := rows["without_user_id"]:
        problems.append(
            f"{number} rows of email_preferences have no user_id, so no opt-out reaches them: give them one"
        )
    if number := rows["with_blanks"]:
        problems.append(
            f"{number} rows of email_preferences have blanks around the address, so an opt-out reaches them by `webhooks"
            f" prune` only. Mend them: {MEND_BLANKS}"
        )
    return problems
