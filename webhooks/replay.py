"""Dead letters, read again: after an adapter has learnt more, or the database's refusal has been mended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from db.database import BadData, Database, Parameter, Row, query
from db.reports import dead_letters
from db.store import Receipt, Store
from providers.adapter import Adapter, Batch, DeadLetter, Verified, WebhookRequest
from webhooks.consent import decide
from webhooks.source import Source


@dataclass(frozen=True, slots=True)
class Replayed:
    """`still_dead`: id → what is still wrong with it."""

    recorded: int
    still_dead: Mapping[str, str]


async def replay(store: Store, sources: Mapping[str, Source]) -> Replayed:
    """Safe to run at any time and twice: events that are there already stay as they are."""
    recorded = 0
    still_dead: dict[str, str] = {}
    database = Heard(store.database)
    async for row in dead_letters(database):
        identity = str(row["id"])
        receipt, error = await replay_one(database, sources, row)
        recorded += receipt.recorded
        if error:
            still_dead[identity] = error
        else:
            await database.execute(query("mark_replayed"), {"id": identity})
    return Replayed(recorded, still_dead)


class Heard:
    """A database of which it is known why it last refused something."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.refusal = ""

    async def execute(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> Sequence[Row]:
        try:
            return await self._database.execute(sql, parameters or {})
        except BadData as error:
            self.refusal = str(error)
            raise

    async def close(self) -> None:
        await self._database.close()


async def replay_one(database: Heard, sources: Mapping[str, Source], row: Row) -> tuple[Receipt, str]:
    source = sources.get(row["source"])
    if source is None:
        return Receipt(), f"there is no source {row['source']} any more"
    batch = read_again(source.adapter, row)
    # What can be read of it now counts, even if it is not all.
    receipt = await Store(database).record(decide(replace(batch, dead_letters=()), source.topics))
    if batch.dead_letters:
        return receipt, batch.dead_letters[0].error
    return receipt, f"the database refuses it again: {database.refusal}" if receipt.dead else ""


def read_again(adapter: Adapter, row: Row) -> Batch:
    letter = DeadLetter(row["source"], row["received_at"], row["body"], row["error"], row["is_item"])
    if letter.is_item:
        events, error = adapter.parse_item(letter.source, letter.received_at, letter.body)
        return Batch(events, [replace(letter, error=error)] if error else [])
    # What was verified when it came in needs no proof again; nor is its one-time token asked for.
    request = Verified(WebhookRequest(source=letter.source, body=letter.body, received_at=letter.received_at))
    return replace(adapter.parse(request), token=None)
