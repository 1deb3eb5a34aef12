"""One statement carried out on a session, and what is answered."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import pq

from db.local_data_api.columns import labels, metadata
from db.local_data_api.connection import Connection
from db.local_data_api.errors import database_error, invalid
from db.local_data_api.lexer import Statement, parse
from db.local_data_api.parameters import Bound
from db.local_data_api.results import Options, as_json, records
from db.local_data_api.types import types_of

Request = Mapping[str, Any]
Answer = dict[str, Any]

# Only these are counted; other commands' tags bear numbers too (SELECT INTO, MOVE).
COUNTED = (b"INSERT", b"UPDATE", b"DELETE", b"MERGE")
READING = {("SELECT",), ("VALUES",), ("TABLE",)}
# They would take the session out of the service's hands.
TRANSACTION_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
FROM_CLIENT = re.compile(r"\bfrom\s+stdin\b", re.IGNORECASE)


def read_statement(sql: str) -> Statement:
    """Raises ApiError for what the Data API does not take."""
    statement = parse(sql)
    first, *rest = statement.words or ("",)
    if first == "COPY":
        raise database_error(f"unexpected message: Copy{'In' if FROM_CLIENT.search(sql) else 'Out'}Response")
    if first in TRANSACTION_CONTROL and "TO" not in rest:  # ROLLBACK TO a savepoint is an ordinary statement
        raise invalid(f"{first} isn't supported: use BeginTransaction, CommitTransaction and RollbackTransaction.")
    return statement


async def execute(
    connection: Connection, statement: Statement, values: Sequence[Bound], request: Request, at_most: int
) -> Answer:
    """Fails where surely more than `at_most` bytes would be answered; what is near that, is for the caller to count."""
    # What a statement has written outside of a transaction stays, so it is let to its end.
    is_vain = "transactionId" in request or statement.words[:1] in READING
    outcome = await connection.run(statement.sql, values, at_most=at_most, is_vain=is_vain)
    result = outcome.end
    if result.status != pq.ExecStatus.TUPLES_OK:
        return {"generatedFields": [], "numberOfRecordsUpdated": updated(result)}
    types = await types_of([result.ftype(column) for column in range(result.nfields)], connection)
    rows = records(outcome.rows, types, Options.of(request.get("resultSetOptions", {})))
    answer: Answer = {"numberOfRecordsUpdated": 0}
    if request.get("formatRecordsAs") == "JSON":
        return answer | {"formattedRecords": as_json(rows, labels(result))}
    if request.get("includeResultMetadata"):
        answer["columnMetadata"] = await metadata(result, types, connection)
    return answer | {"records": rows}


async def execute_sets(connection: Connection, statement: Statement, sets: Sequence[Sequence[Bound]]) -> Answer:
    """Outside a transaction each set commits by itself: what came before the one that fails, stays."""
    for values in sets:
        await connection.run(statement.sql, values)
    return {"updateResults": [{"generatedFields": []} for _ in sets]}


def updated(result: pq.abc.PGresult) -> int:
    tag = result.command_status or b""
    return (result.command_tuples or 0) if tag.startswith(COUNTED) else 0
