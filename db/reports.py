"""What people ask of what was recorded."""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Sequence
from typing import Any

from db.database import Database, Row, query

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
