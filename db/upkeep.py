"""What keeps the tables right and small over the years: safe to run at any time, twice, and beside deliveries."""

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from db.chunks import halves
from db.database import BadData, Database, DatabaseUnavailable, may_be_of_a_part, query
from providers.events import event_id

# Longer than any adapter accepts a signature; then its age alone refuses it.
TOKEN_DAYS = 4
STEP = 10_000
# Addresses that one answer of the Data API carries (1 MiB).
PAGE = 5_000
# So many refusals are told of by name.
TOLD = 10


@dataclass(slots=True)
class Repair:
    """How many rows were set to false, and whose could not be: address → why."""

    repaired: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def refusals(self) -> str:
        told = "; ".join(f"{address}: {error}" for address, error in islice(self.refused.items(), TOLD))
        more = len(self.refused) - TOLD
        return f"email_preferences refuses the opt-out of {told}{f'; and of {more} more' if more > 0 else ''}"


async def repair_preferences(database: Database) -> Repair:
    """Apply the ledger's opt-outs to the rows of `email_preferences` that they have not reached."""
    repair = Repair()
    after = ""
    while page := await database.execute(query("preferences_to_repair"), {"after": after, "limit": PAGE}):
        addresses = list(dict.fromkeys(row["address"] for row in page))
        await repair_page(database, addresses, repair)
        after = addresses[-1]
    return repair


async def repair_page(database: Database, addresses: Sequence[str], repair: Repair) -> None:
    """One statement; where a row is refused, halves, until it stands alone."""
    parts = deque([addresses])
    while parts:
        part = parts.popleft()
        try:
            repair.repaired += await repaired(database, part)
        except (BadData, DatabaseUnavailable) as error:
            if isinstance(error, DatabaseUnavailable) and not may_be_of_a_part(error):
                raise
            if part is addresses:
                # With a right missing no row would fare better: over none of them it fails as well.
                await repaired(database, [])
            if len(part) > 1:
                parts += halves(part)
            else:
                repair.refused[part[0]] = str(error)


async def repaired(database: Database, addresses: Sequence[str]) -> int:
    [row] = await database.execute(query("repair_preferences"), {"addresses": json.dumps(addresses)})
    number: int = row["repaired"]
    return number


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
