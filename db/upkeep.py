"""What keeps the tables right and small over the years: safe to run at any time, twice, and beside deliveries."""

from datetime import datetime

from db.database import Database, query
from providers.events import event_id

# Longer than any adapter accepts a signature; then its age alone refuses it.
TOKEN_DAYS = 4
STEP = 10_000


async def repair_preferences(database: Database) -> int:
    """Apply the ledger's opt-outs to rows of `email_preferences` that came after them; how many were set to false."""
    [row] = await database.execute(query("repair_preferences"))
    repaired: int = row["repaired"]
    return repaired


async def prune_tokens(database: Database) -> int:
    [row] = await database.execute(query("prune_tokens"), {"days": TOKEN_DAYS})
    removed: int = row["removed"]
    return removed


async def prune_payloads(database: Database, before: datetime) -> int:
    """Take the payloads from the events that occurred before a moment; how many had one."""
    first = f"{event_id('', (), before)[:13]}-8000-8000-000000000000"
    removed: int = 0
    while True:
        [row] = await database.execute(query("prune_payloads"), {"before": first, "limit": STEP})
        step: int = row["removed"]
        removed += step
        if step < STEP:
            return removed
