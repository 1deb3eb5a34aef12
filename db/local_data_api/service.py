"""The operations: what each does with a request that is well-formed, signed and meant for us."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from db.local_data_api.connection import CANCELLED, Connection
from db.local_data_api.errors import ApiError, TooLarge, bad_request, invalid, timed_out, too_large
from db.local_data_api.faults import Fault
from db.local_data_api.limits import Limits
from db.local_data_api.parameters import bind
from db.local_data_api.sessions import Sessions
from db.local_data_api.statements import Answer, Request, execute, execute_sets, read_statement
from db.local_data_api.transactions import Transaction, Transactions

# What PostgreSQL says where a fault has it fail: its error is a real one, and aborts a transaction as such.
FAILURES: Mapping[Fault, tuple[str, str]] = {
    Fault.SERIALIZATION: ("40001", "could not serialize access due to concurrent update"),
    Fault.DEADLOCK: ("40P01", "deadlock detected"),
    Fault.TIMEOUT: (CANCELLED, "canceling statement due to user request"),
}


class Service:
    def __init__(
        self, sessions: Sessions, transactions: Transactions, limits: Limits, *, cluster_arn: str, secret_arn: str
    ) -> None:
        self._sessions = sessions
        self._transactions = transactions
        self._limits = limits
        self._cluster_arn = cluster_arn
        self._secret_arn = secret_arn

    async def carry_out(self, operation: str, request: Request, fault: Fault | None = None) -> bytes:
        """The body of the answer. Raises ApiError."""
        self._check_target(request)
        if fault is Fault.EXPIRED and "transactionId" in request:
            await self._transactions.roll_back(request["transactionId"])
        if fault and fault in FAILURES:
            await self._fail(operation, request, fault)
        operations: Mapping[str, Callable[[Request], Awaitable[bytes]]] = {
            "ExecuteStatement": self._execute,
            "BatchExecuteStatement": self._execute_batch,
            "BeginTransaction": self._begin,
            "CommitTransaction": self._commit,
            "RollbackTransaction": self._roll_back,
            "ExecuteSql": self._execute_sql,
        }
        body = await operations[operation](request)
        if fault is Fault.OVERSIZE and "sql" in request:
            await self._refuse_answer(request)
        return body

    def _check_target(self, request: Request) -> None:
        """Both are compared as they are written; a cluster's ARN is in lower case."""
        if request.get("resourceArn", self._cluster_arn) != self._cluster_arn:
            raise ApiError("DatabaseNotFoundException", f"DB cluster {request['resourceArn']} is not found")
        if request.get("secretArn", self._secret_arn) != self._secret_arn:
            raise ApiError("SecretsErrorException", f"Secrets Manager can't find the secret {request['secretArn']}")
        if "schema" in request:
            raise invalid("The schema parameter isn't supported")

    async def _execute(self, request: Request) -> bytes:
        statement = read_statement(request["sql"])
        values = bind(statement.names, request.get("parameters", []))
        async with self._session(request) as (connection, _):
            work = execute(connection, statement, values, request, self._limits.response_bytes)
            goes_on = request.get("continueAfterTimeout", False)
            body = encode(await connection.within(self._limits.statement_seconds, work, goes_on=goes_on))
            self._check_size(body)
        return body

    async def _execute_batch(self, request: Request) -> bytes:
        statement = read_statement(request["sql"])
        sets = [bind(statement.names, each or []) for each in request.get("parameterSets", [])]
        if not sets:
            raise bad_request("There is no parameter set: an empty one runs the statement without parameters")
        async with self._session(request) as (connection, _):
            work = execute_sets(connection, statement, sets)
            body = encode(await connection.within(self._limits.statement_seconds, work))
            self._check_size(body)
        return body

    async def _begin(self, request: Request) -> bytes:
        return encode({"transactionId": await self._transactions.begin(request.get("database") or None)})

    async def _commit(self, request: Request) -> bytes:
        await self._transactions.commit(request["transactionId"])
        return encode({"transactionStatus": "Transaction Committed"})

    async def _roll_back(self, request: Request) -> bytes:
        await self._transactions.roll_back(request["transactionId"])
        return encode({"transactionStatus": "Rollback Complete"})

    async def _execute_sql(self, request: Request) -> bytes:  # noqa: ARG002 - whatever is asked
        raise bad_request("The ExecuteSql API isn't supported: use ExecuteStatement or BatchExecuteStatement.")

    @asynccontextmanager
    async def _session(self, request: Request) -> AsyncIterator[tuple[Connection, Transaction | None]]:
        """Too large an answer is the end of its transaction. Outside of one, what it did is done."""
        database = request.get("database") or None
        if "transactionId" in request:
            async with self._transactions.using(request["transactionId"], database) as transaction:
                try:
                    yield transaction.connection, transaction
                except TooLarge:
                    await self._transactions.end(transaction)
                    raise
        else:
            async with self._sessions.borrowed(database) as connection:
                yield connection, None

    def _check_size(self, body: bytes) -> None:
        if len(body) > self._limits.response_bytes:
            raise too_large(self._limits.response_bytes)

    async def _refuse_answer(self, request: Request) -> None:
        if "transactionId" in request:
            await self._transactions.roll_back(request["transactionId"])
        raise too_large(self._limits.response_bytes)

    async def _fail(self, operation: str, request: Request, fault: Fault) -> None:
        """Statements fail in PostgreSQL, commits come to nothing; the rest has nothing that could fail so."""
        sqlstate, message = FAILURES[fault]
        raising = f"do 'begin raise exception using errcode = ''{sqlstate}'', message = ''{message}''; end'"
        if operation not in {"ExecuteStatement", "BatchExecuteStatement", "CommitTransaction"}:
            return
        try:
            async with self._session(request) as (connection, transaction):
                try:
                    await connection.run(raising)
                finally:
                    if operation == "CommitTransaction" and transaction:
                        await self._transactions.end(transaction)
        except ApiError as error:
            if fault is Fault.TIMEOUT and error.sqlstate == CANCELLED:
                raise timed_out(self._limits.statement_seconds, 0) from error
            raise


def encode(answer: Answer | Mapping[str, Any]) -> bytes:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
