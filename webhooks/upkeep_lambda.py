"""Entry point on Lambda for the daily upkeep: it opens the database and nothing else, and reads no source's keys."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from db.database import BadData, Database, DatabaseUnavailable
from db.upkeep import prune_payloads, prune_tokens, repair_preferences
from webhooks.aws import seconds_left
from webhooks.database import WAKING_SECONDS, new_database
from webhooks.settings import load_settings
from webhooks.telemetry import configure_logging, log

# What takes longer than one call may goes on in the database.
STATEMENT_SECONDS = 600.0

Step = Callable[[Database], Awaitable[int]]

settings = load_settings()
configure_logging(settings.log_level)


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """What Lambda calls. Raises for a step that failed, when all have been tried."""
    return asyncio.run(upkeep(steps(event), seconds_left(context)))


def steps(event: dict[str, Any]) -> dict[str, Step]:
    found: dict[str, Step] = {"opted_out": opt_out, "tokens": prune_tokens}
    # As a parameter of the deployment it is text.
    days = int(event.get("payloads_after") or 0)
    if days > 0:
        found["payloads"] = partial(prune_payloads, before=datetime.now(UTC) - timedelta(days=days))
    return found


async def opt_out(database: Database) -> int:
    """Raises BadData, when all others are opted out, for those whose row is refused."""
    repair = await repair_preferences(database)
    if repair.refused:
        raise BadData(f"opted out {repair.repaired}; {repair.refusals()}")
    return repair.repaired


async def upkeep(wanted: dict[str, Step], seconds: float) -> dict[str, int]:
    """Each step by itself: where one fails or takes too long, the others are done all the same."""
    database = new_database(settings, None, statement_seconds=STATEMENT_SECONDS, waking_seconds=WAKING_SECONDS)
    deadline = asyncio.get_running_loop().time() + seconds
    done: dict[str, int] = {}
    failures: list[str] = []
    try:
        for name, step in wanted.items():
            try:
                async with asyncio.timeout_at(deadline):
                    done[name] = await step(database)
            except (DatabaseUnavailable, BadData, TimeoutError) as failure:
                failures.append(f"{name}: {type(failure).__name__}: {failure}")
    finally:
        await database.close()
    log.info("upkeep", **done)
    if failures:
        raise RuntimeError(f"not all of the upkeep is done: {'; '.join(failures)}")
    return done
