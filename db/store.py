"""What ingestion writes, and what it learns of it."""

from dataclasses import dataclass

from db.chunks import Records, records
from db.committer import Committer
from db.database import Database
from providers.adapter import Batch, NotVerified


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery: `received` = `recorded` + `duplicates` + `dead`.

    `opted_out` and `opted_in` count rows of `email_preferences` that were set to false and to true.
    """

    received: int = 0
    recorded: int = 0
    duplicates: int = 0
    dead: int = 0
    opted_out: int = 0
    opted_in: int = 0


class Store:
    def __init__(self, database: Database, *, in_flight: int = 2) -> None:
        self.database = database
        self.committer = Committer(database, in_flight=in_flight)

    async def record(self, batch: Batch) -> Receipt:
        """Returns when everything in the batch is committed.

        Raises DatabaseUnavailable, after which the same batch may be recorded again; NotVerified, where its one-time
        token has proven another body before.
        """
        return await self.record_all(records(batch))

    async def record_all(self, records: Records) -> Receipt:
        """As `record`, of batches that are read while the first of them are being written."""
        outcome = await self.committer.submit(records)
        if outcome.refused:
            raise NotVerified("replayed: this one-time token has come with another body before")
        received = outcome.recorded + outcome.duplicates + outcome.dead
        return Receipt(
            received, outcome.recorded, outcome.duplicates, outcome.dead, outcome.opted_out, outcome.opted_in
        )

    async def close(self) -> None:
        await self.committer.drain()
        await self.database.close()
