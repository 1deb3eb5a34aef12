"""The database that the settings name."""

from typing import TYPE_CHECKING

from db.database import Database
from webhooks.settings import Settings

if TYPE_CHECKING:
    from db.embedded import Embedded

# Beside the connections of the statements that record: for /readyz, the operations page.
SPARE_CONNECTIONS = 2
# The Data API cuts off what takes longer; what was meant to take longer then goes on without it.
DATA_API_SECONDS = 45.0
# A paused database takes 15 s to wake, 30 s and more after a day.
WAKING_SECONDS = 45.0


def new_database(
    settings: Settings, embedded: "Embedded | None", *, statement_seconds: float = 10.0, waking_seconds: float = 0.0
) -> Database:
    """Each way imports what it needs and no more: the function on Lambda brings nothing of the others.

    `waking_seconds`: how long a paused database is waited for, beyond the patience with everything else.
    """
    if settings.cluster_arn:
        from db.data_api import DataApi

        return DataApi(
            settings.cluster_arn,
            settings.secret_arn or "",
            settings.database,
            concurrency=settings.statements,
            waking=waking_seconds,
            continue_after_timeout=statement_seconds > DATA_API_SECONDS,
        )
    from db.postgres import Postgres

    connections = settings.statements + SPARE_CONNECTIONS
    if embedded:
        return Postgres(embedded.url, connections=connections, statement_seconds=statement_seconds)
    return Postgres.at(settings.database_url or "", connections=connections, statement_seconds=statement_seconds)
