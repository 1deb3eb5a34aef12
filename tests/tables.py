"""What stands in the tables, read past all code of ours."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.model import Ledger

if TYPE_CHECKING:
    import asyncpg

LONG_AGO = datetime(2020, 1, 1)  # noqa: DTZ001 - as the seed's column has it, in UTC


async def add_people(
    connection: "asyncpg.Connection", *addresses: str, opted_in: bool = True, updated_at: datetime = LONG_AGO
) -> None:
    await connection.executemany(
        "insert into email_preferences (user_id, email_address, marketing_opt_in, updated_at) values ($1, $2, $3, $4)",
        [(f"user of {address}", address, opted_in, updated_at) for address in addresses],
    )


async def application_writes(connection: "asyncpg.Connection", address: str, *, opted_in: bool) -> None:
    """As the user's own application would, now."""
    await connection.execute(
        "update email_preferences set marketing_opt_in = $2, updated_at = clock_timestamp() at time zone 'UTC' where email_address = $1",
        address,
        opted_in,
    )


async def preferences(connection: "asyncpg.Connection") -> dict[str, bool]:
    rows = await connection.fetch("select email_address, marketing_opt_in from email_preferences")
    return {row["email_address"]: row["marketing_opt_in"] for row in rows}


async def updated_at(connection: "asyncpg.Connection", address: str) -> datetime:
    stamp: datetime = await connection.fetchval(
        "select updated_at from email_preferences where email_address = $1", address
    )
    return stamp


async def ledger(connection: "asyncpg.Connection") -> Ledger:
    rows = await connection.fetch("select email_address, topic, decided_at, opted_in from email_consents")
    return {(row["email_address"], row["topic"]): (row["decided_at"], row["opted_in"]) for row in rows}


async def event_ids(connection: "asyncpg.Connection") -> list[str]:
    return [str(row["id"]) for row in await connection.fetch("select id from webhook_events order by id")]


async def dead_bodies(connection: "asyncpg.Connection") -> list[bytes]:
    return [
        row["body"]
        for row in await connection.fetch("select body from webhook_dead_letters order by received_at, body")
    ]


async def count(connection: "asyncpg.Connection", table: str) -> int:
    number: int = await connection.fetchval(f"select count(*) from {table}")
    return number


async def empty(connection: "asyncpg.Connection", *tables: str) -> None:
    for table in tables or (
        "webhook_events",
        "email_consents",
        "webhook_dead_letters",
        "webhook_tokens",
        "email_preferences",
    ):
        await connection.execute(f"truncate {table}")


def column(rows: Iterable[Any], name: str) -> list[Any]:
    return [row[name] for row in rows]
