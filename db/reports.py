"""What people ask of what was recorded."""

from collections.abc import Sequence

from db.database import Database, Row, query

PREFERENCES_COLUMNS = {
    "user_id": "any type",
    "email_address": "text",
    "marketing_opt_in": "boolean",
    "updated_at": "timestamp",
}


async def latest_events(
    database: Database, *, limit: int, email_address: str | None = None, event_type: str | None = None
) -> Sequence[Row]:
    """Newest first."""
    parameters = {"limit": limit, "email_address": email_address, "type": event_type}
    return await database.execute(query("latest_events"), parameters)


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
    if preferences_index and not any(
        index["is_valid"] for index in await database.execute(query("preferences_indexes"))
    ):
        problems.append(
            "email_preferences has no index on lower(email_address), so each opt-out reads the whole table: run `webhooks"
            " migrate` as its owner, or set WEBHOOKS_PREFERENCES_INDEX=false"
        )
    return problems
