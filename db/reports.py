"""What people ask of what was recorded."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from db.chunks import parameters
from db.database import Database, Row, query

PREFERENCES_COLUMNS = {
    "user_id": "any type",
    "email_address": "text",
    "marketing_opt_in": "boolean",
    "updated_at": "timestamp",
}


# So much of long values in one answer: the Data API gives no more than 1 MiB, and writes some letters as two or four.
PART_BYTES = 500_000
PART_LETTERS = 120_000
PAGE = 200
FIRST_ID = "00000000-0000-0000-0000-000000000000"
LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


async def latest_events(
    database: Database, *, limit: int, email_address: str | None = None, event_type: str | None = None
) -> Sequence[Row]:
    """Newest first, each with its payload as it was sent."""
    found: list[Row] = []
    asked = {"email_address": email_address, "type": event_type, "part": PART_LETTERS}
    while len(found) < limit:
        before = str(found[-1]["id"]) if found else LAST_ID
        page = await database.execute(
            query("latest_events"), {**asked, "before": before, "limit": min(limit - len(found), PAGE)}
        )
        if not page:
            break
        found += [await with_payload(database, row) for row in page]
    return found


async def with_payload(database: Database, row: Row) -> Row:
    event = dict(row)
    text, size = event["payload"], event.pop("size")
    while len(text) < size:
        text += await part(database, "event_payload_part", row["id"], len(text), PART_LETTERS)
    return event | {"payload": json.loads(text or "null")}


async def dead_letters(database: Database) -> AsyncIterator[Row]:
    """Those that wait to be replayed, each with its whole body."""
    after = FIRST_ID
    while page := await database.execute(query("dead_letters"), {"after": after, "limit": PAGE, "part": PART_BYTES}):
        for row in page:
            body = b64decode(row["body"])
            while len(body) < row["size"]:
                body += b64decode(await part(database, "dead_letter_part", row["id"], len(body), PART_BYTES))
            yield {**row, "body": body}
        after = str(page[-1]["id"])


async def part(database: Database, name: str, identity: Any, so_far: int, size: int) -> str:
    """The next of a long value. Raises LookupError where it has gone meanwhile."""
    [row] = await database.execute(query(name), {"id": str(identity), "begin": so_far + 1, "part": size}) or [{}]
    text: str = row["part"]
    if not text:
        raise LookupError(f"{identity} has gone")
    return text


async def preferences_problems(database: Database, *, preferences_index: bool) -> list[str]:
    """What stands between `email_preferences`, which may be the user's own, and being kept right."""
    columns = {row["name"]: row for row in await database.execute(query("preferences_columns"))}
    if not columns:
        return ["there is no table email_preferences: run `webhooks migrate`"]
    problems = [
        f"email_preferences has no column {name} ({kind}): nothing can be recorded without it"
        for name, kind in PREFERENCES_COLUMNS.items()
        if name not in columns
    ]
    stamp = columns.get("updated_at")
    if stamp and (not stamp["type"].startswith("timestamp") or "(" in stamp["type"]):
        problems.append(
            f"email_preferences.updated_at is {stamp['type']}: what it cuts off keeps us from knowing our own writes, so"
            " some opt-ins will be skipped; opt-outs are safe. Best is timestamp"
        )
    problems += await rows_without_user_id(database, columns)
    if preferences_index and not any(
        index["is_valid"] for index in await database.execute(query("preferences_indexes"))
    ):
        problems.append(
            "email_preferences has no index on lower(email_address), so each opt-out reads the whole table: run `webhooks"
            " migrate` as its owner, or set WEBHOOKS_PREFERENCES_INDEX=false"
        )
    return problems


async def preferences_warnings(database: Database) -> list[str]:
    """What is as it may be, and good to know."""
    columns = {row["name"]: row for row in await database.execute(query("preferences_columns"))}
    if "user_id" not in columns or columns["user_id"]["is_key"]:
        return []
    return [
        (
            "email_preferences.user_id is not unique and not null: a row with none is never changed, and where one user_id"
            " has the same address twice, what the application writes to one of the rows counts for both"
        )
    ]


async def rows_without_user_id(database: Database, columns: Mapping[str, Row]) -> list[str]:
    if "user_id" not in columns or columns["user_id"]["is_key"]:
        return []
    [row] = await database.execute("select count(*) as number from email_preferences where user_id is null")
    if not row["number"]:
        return []
    return [f"{row['number']} rows of email_preferences have no user_id, so no opt-out reaches them: give them one"]


async def record_nothing(database: Database) -> None:
    """The statement that records, over no events: it needs every table, column and right that deliveries need."""
    await database.execute(query("record_events"), parameters([]))
