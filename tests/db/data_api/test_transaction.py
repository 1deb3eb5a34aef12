"""Transactions: whole or not at all, whatever happens to whoever runs them, and none left open."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from db.data_api import DataApi, OutcomeUnknown, Transaction, TransactionGone
from db.database import BadData, DatabaseUnavailable, IntegrityViolated
from db.local_data_api import Fault
from tests.misbehaving import Misbehaving

if TYPE_CHECKING:
    import asyncpg

INSERT = "insert into t values (:n)"
OPEN = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"


class Halted(Exception):
    """What goes wrong in the body of a transaction."""


async def numbers(connection: "asyncpg.Connection") -> list[int]:
    return [row["n"] for row in await connection.fetch("select n from t order by n")]


@pytest.fixture(autouse=True)
async def none_is_left_open(api: DataApi, connection: "asyncpg.Connection") -> AsyncIterator[None]:  # noqa: ARG001 - made first
    yield
    assert await connection.fetchval(OPEN) == 0


async def fill(api: DataApi) -> None:
    async with api.transaction() as transaction:
        await transaction.execute(INSERT, {"n": 1})
        await transaction.execute(INSERT, {"n": 2})


async def until(local: Misbehaving, operation: str) -> None:
    """A call of it is under way, or has been."""
    async with asyncio.timeout(5):
        while operation not in local.operations():
            await asyncio.sleep(0.005)


async def test_statements_take_effect_together(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    async with api.transaction() as transaction:
        await transaction.execute(INSERT, {"n": 1})
        await transaction.batch_execute(INSERT, [{"n": n} for n in range(2, 1_500)])
        assert await transaction.select("select count(*) as n from t") == [{"n": 1_499}]
        assert await numbers(connection) == []
    assert await numbers(connection) == list(range(1, 1_500))
    assert local.operations()[0] == "BeginTransaction"
    assert local.operations()[-1] == "CommitTransaction"


@pytest.mark.parametrize(
    ("sql", "error"), [("select 1/0", BadData), ("select pg_terminate_backend(pg_backend_pid())", DatabaseUnavailable)]
)
async def test_a_statement_that_fails_undoes_the_others(
    api: DataApi, connection: "asyncpg.Connection", sql: str, error: type[Exception]
) -> None:
    async def fail(transaction: Transaction) -> None:
        await transaction.execute(INSERT, {"n": 1})
        await transaction.execute(sql)

    with pytest.raises(error):
        async with api.transaction() as transaction:
            await fail(transaction)
    assert await numbers(connection) == []


async def test_any_exception_of_the_body_rolls_back_and_is_raised(
    api: DataApi, connection: "asyncpg.Connection"
) -> None:
    async def halt(transaction: Transaction) -> None:
        await transaction.execute(INSERT, {"n": 1})
        raise Halted

    with pytest.raises(Halted):
        async with api.transaction() as transaction:
            await halt(transaction)
    assert await numbers(connection) == []


@pytest.mark.parametrize("during", ["BeginTransaction", "ExecuteStatement", "CommitTransaction"])
async def test_a_cancellation_leaves_nothing_open_whenever_it_comes(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection", during: str
) -> None:
    local.faults.latency = 0.1
    task = asyncio.create_task(fill(api))
    await until(local, during)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    local.faults.latency = 0
    # A commit that was on its way is not called back.
    assert await numbers(connection) == ([1, 2] if during == "CommitTransaction" else [])
    assert local.operations()[-1] == "RollbackTransaction"


async def test_a_cancelled_statement_that_is_still_at_work_is_waited_for(
    api: DataApi, connection: "asyncpg.Connection"
) -> None:
    """The Data API refuses to roll back meanwhile: a rollback that gave up then would leave the transaction open."""

    async def sleep() -> None:
        async with api.transaction() as transaction:
            await transaction.execute("insert into t select 1 from pg_sleep(0.5)")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sleep()
    assert await numbers(connection) == []


async def test_a_second_cancellation_does_not_stop_the_rollback(api: DataApi, local: Misbehaving) -> None:
    local.faults.latency = 0.1
    task = asyncio.create_task(fill(api))
    await until(local, "ExecuteStatement")
    task.cancel()
    await until(local, "RollbackTransaction")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert local.calls[-1].status == 200


@pytest.mark.parametrize(
    "fault", [Fault.THROTTLE, Fault.UNAVAILABLE, Fault.RESUMING, Fault.CUT_BEFORE, Fault.INTERNAL_ERROR]
)
async def test_a_commit_that_did_not_arrive_is_sent_again(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection", fault: Fault
) -> None:
    local.faults.next_calls.extend([None, None, None, fault])
    await fill(api)
    assert await numbers(connection) == [1, 2]
    assert local.operations()[-2:] == ["CommitTransaction"] * 2


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.ERROR_AFTER])
async def test_a_commit_whose_answer_is_lost_is_neither_called_done_nor_undone(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection", fault: Fault
) -> None:
    local.faults.next_calls.extend([None, None, None, fault])
    with pytest.raises(OutcomeUnknown):
        await fill(api)
    assert await numbers(connection) == [1, 2]


async def test_a_commit_that_never_arrives_is_known_to_be_undone_where_the_rollback_says_so(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    api._patience.seconds = 0.1
    local.faults.operations = {"CommitTransaction": {Fault.CUT_BEFORE: 1}}
    with pytest.raises(DatabaseUnavailable, match="not committed") as failed:
        await fill(api)
    assert not isinstance(failed.value, OutcomeUnknown)
    assert await numbers(connection) == []


async def test_what_a_commit_refuses_is_undone_and_said(api: DataApi, connection: "asyncpg.Connection") -> None:
    async def twice() -> None:
        async with api.transaction() as transaction:
            await transaction.batch_execute(INSERT, [{"n": 1}, {"n": 1}])

    with pytest.raises(IntegrityViolated) as failed:
        await twice()
    assert failed.value.sqlstate == "23505"
    assert await numbers(connection) == []


async def test_a_statement_that_may_have_been_carried_out_ends_the_transaction(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    local.faults.next_calls.extend([None, None, Fault.CUT_AFTER])
    with pytest.raises(DatabaseUnavailable):
        await fill(api)
    assert local.operations().count("ExecuteStatement") == 2
    assert await numbers(connection) == []


async def test_a_statement_that_never_reached_the_database_is_sent_again(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    local.faults.next_calls.extend([Fault.CUT_AFTER, None, Fault.THROTTLE, Fault.RESUMING])
    await fill(api)
    assert await numbers(connection) == [1, 2]
    # The first beginning's answer was lost: nobody knows its name, so the Data API ends it after three minutes.
    await connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction' and datname = current_database()"
    )


async def test_statements_of_one_transaction_take_turns(api: DataApi) -> None:
    async with api.transaction() as transaction:
        sleeping = "select count(*) as n from pg_sleep(0.02)"
        found = await asyncio.gather(*(transaction.select(sleeping) for _ in range(5)))
    assert found == [[{"n": 1}]] * 5


async def test_a_transaction_that_has_expired_is_gone(api: DataApi, local: Misbehaving) -> None:
    local.faults.next_calls.extend([None, None, Fault.EXPIRED])
    with pytest.raises(TransactionGone):
        await fill(api)


@pytest.mark.parametrize("fault", [Fault.EXPIRED, Fault.SERIALIZATION, Fault.DEADLOCK, Fault.CUT_AFTER])
async def test_run_does_all_of_it_again(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection", fault: Fault
) -> None:
    attempts = []

    async def work(transaction: Transaction) -> int:
        attempts.append(transaction.id)
        await transaction.execute(INSERT, {"n": len(attempts)})
        await transaction.execute(INSERT, {"n": 10 + len(attempts)})
        return len(attempts)

    local.faults.next_calls.extend([None, None, fault])
    assert await api.run(work) == 2
    assert len(set(attempts)) == 2
    assert await numbers(connection) == [2, 12]


async def test_run_does_nothing_again_that_may_be_done(api: DataApi, local: Misbehaving) -> None:
    local.faults.next_calls.extend([None, None, Fault.CUT_AFTER])
    with pytest.raises(OutcomeUnknown):
        await api.run(lambda transaction: transaction.execute(INSERT, {"n": 1}))
    assert local.operations().count("BeginTransaction") == 1


async def test_run_does_again_what_may_be_there_twice(
    api: DataApi, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    local.faults.next_calls.extend([None, None, Fault.CUT_AFTER])
    once = "insert into t select :n where not exists (select 1 from t where n = :n)"
    await api.run(lambda transaction: transaction.execute(once, {"n": 1}), idempotent=True)
    assert local.operations().count("BeginTransaction") == 2
    assert await numbers(connection) == [1]


async def test_a_timeout_of_the_works_own_is_raised_as_it_is(api: DataApi) -> None:
    async def too_slow(_: Transaction) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await api.run(too_slow)
    with pytest.raises(TimeoutError, match="its own"):
        await api.run(too_slow, within=5)


async def test_a_deadline_ends_a_run_and_rolls_it_back(api: DataApi, connection: "asyncpg.Connection") -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute(INSERT, {"n": 1})
        await asyncio.sleep(10)

    with pytest.raises(DatabaseUnavailable, match="not done within"):
        await api.run(work, within=0.2)
    assert await numbers(connection) == []


async def test_what_begins_after_its_deadline_is_rolled_back(api: DataApi, local: Misbehaving) -> None:
    local.faults.latency = 0.3
    with pytest.raises(DatabaseUnavailable, match="not done within"):
        async with api.transaction(within=0.2):
            pass
    assert local.operations() == ["BeginTransaction", "RollbackTransaction"]


async def test_savepoints_and_settings_of_a_transaction_work(api: DataApi, connection: "asyncpg.Connection") -> None:
    async with api.transaction() as transaction:
        await transaction.execute("set transaction isolation level serializable")
        await transaction.execute("savepoint before")
        with pytest.raises(BadData):
            await transaction.execute("select 1/0")
        await transaction.execute("rollback to savepoint before")
        await transaction.execute(INSERT, {"n": 1})
    assert await numbers(connection) == [1]


async def test_trying_out_needs_what_the_service_needs_and_changes_nothing(api: DataApi, local: Misbehaving) -> None:
    await api.try_out()
    assert set(local.operations()) == {
        "ExecuteStatement", "BeginTransaction", "CommitTransaction", "RollbackTransaction"
    }  # fmt: skip
    local.faults.operations = {"RollbackTransaction": {Fault.ACCESS_DENIED: 1}}
    with pytest.raises(DatabaseUnavailable, match="AccessDenied"):
        await api.try_out()
    local.faults.operations = {}
    left = local.calls[-1].transaction_id or ""
    await Transaction(api._wire, api._patience, api._target, left).rollback()
