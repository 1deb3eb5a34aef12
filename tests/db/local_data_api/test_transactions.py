"""Transactions: commit and rollback, one statement at a time, two limits of time, and what an error leaves behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from botocore.exceptions import ClientError

from tests.db.local_data_api.api import Api, Refused, long, refusal

ABORTED = "ERROR: current transaction is aborted, commands ignored until end of transaction block; SQLState: 25P02"


@pytest.fixture
async def numbers(api: Api) -> AsyncIterator[Api]:
    """With an empty table `numbers`."""
    await api.execute("create table numbers (n int primary key)")
    yield api
    api.reset()
    await api.execute("drop table numbers")


async def refused_end(api: Api, operation: str, transaction: str) -> Refused:
    with pytest.raises(ClientError) as failed:
        await getattr(api, operation)(transaction)
    return refusal(failed.value)


def gone(transaction: str) -> Refused:
    return Refused("TransactionNotFoundException", 404, f"Transaction {transaction} is not found")


async def test_a_commit_keeps_and_a_rollback_forgets(numbers: Api) -> None:
    for number, end in enumerate(("commit", "roll_back")):
        transaction = await numbers.begin()
        assert 0 < len(transaction) <= 192
        insert = "insert into numbers values (:n)"
        await numbers.execute(insert, {"n": long(number)}, transactionId=transaction)
        assert (
            await numbers.rows("select count(*) from numbers", transactionId=transaction) == [[1]]
            if not number
            else True
        )
        assert await numbers.rows("select count(*) from numbers where n = :n", {"n": long(number)}) == [[0]]
        status = await getattr(numbers, end)(transaction)
        assert status == {"commit": "Transaction Committed", "roll_back": "Rollback Complete"}[end]
    assert await numbers.rows("select n from numbers") == [[0]]


async def test_what_has_ended_is_not_found(api: Api) -> None:
    transaction = await api.begin()
    await api.commit(transaction)
    assert await api.refused("select 1", transactionId=transaction) == gone(transaction)
    assert await refused_end(api, "commit", transaction) == gone(transaction)
    assert await refused_end(api, "roll_back", transaction) == gone(transaction)
    assert (await api.refused("select 1", transactionId="nobodys")).code == "TransactionNotFoundException"
    assert (await api.refused("select 1", transactionId="")).code == "TransactionNotFoundException"


async def test_after_an_error_there_is_nothing_but_a_rollback(numbers: Api) -> None:
    transaction = await numbers.begin()
    await numbers.execute("insert into numbers values (1)", transactionId=transaction)
    assert (await numbers.refused("select 1/0", transactionId=transaction)).message.endswith("22012")
    assert await numbers.refused("select 1", transactionId=transaction) == Refused(
        "DatabaseErrorException", 400, ABORTED
    )
    assert await numbers.roll_back(transaction) == "Rollback Complete"
    assert await numbers.rows("select * from numbers") == []


async def test_the_commit_of_an_aborted_transaction_is_a_rollback_that_is_not_told(numbers: Api) -> None:
    """As aurora-data-api's own tests have seen it of the service: their connections commit after a caught error."""
    transaction = await numbers.begin()
    await numbers.execute("insert into numbers values (1)", transactionId=transaction)
    await numbers.refused("select 1/0", transactionId=transaction)
    assert await numbers.commit(transaction) == "Transaction Committed"
    assert await numbers.rows("select * from numbers") == []
    assert await refused_end(numbers, "roll_back", transaction) == gone(transaction)


async def test_a_call_that_is_refused_before_postgresql_sees_it_aborts_nothing(api: Api, transaction: str) -> None:
    for sql in ("select 1; select 2", "select :a", "copy (select 1) to stdout"):
        await api.refused(sql, transactionId=transaction)
    assert await api.rows("select 1", transactionId=transaction) == [[1]]


async def test_savepoints_temporary_tables_cursors_and_local_settings_work(api: Api, transaction: str) -> None:
    async def execute(sql: str) -> object:
        answer = await api.execute(sql, transactionId=transaction)
        return answer.get("records", answer.get("numberOfRecordsUpdated"))

    await execute("create temp table t (n int)")
    await execute("insert into t select generate_series(1, 5)")
    await execute("savepoint a")
    await execute("delete from t")
    await api.refused("select 1/0", transactionId=transaction)
    await execute("rollback to savepoint a")
    await execute("release savepoint a")
    await execute("declare c scroll cursor for select n from t order by n")
    assert await execute("fetch 2 from c") == [[long(1)], [long(2)]]
    assert await execute("move 1 from c") == 0
    assert await execute("fetch 2 from c") == [[long(4)], [long(5)]]
    await execute("set local search_path to pg_catalog")
    assert await execute("show search_path") == [[{"stringValue": "pg_catalog"}]]
    await execute("prepare p (int) as select $1 + 1")
    assert await execute("execute p (1)") == [[long(2)]]


async def test_the_isolation_level_is_as_the_transaction_says(api: Api, transaction: str) -> None:
    await api.execute("set transaction isolation level repeatable read", transactionId=transaction)
    assert await api.rows("show transaction_isolation", transactionId=transaction) == [["repeatable read"]]


async def test_a_second_statement_at_the_same_time_is_refused_at_once(api: Api, transaction: str) -> None:
    busy = Refused("DatabaseErrorException", 400, "Transaction is still running a query")
    slow = asyncio.create_task(api.execute("select pg_sleep(0.3)", transactionId=transaction))
    await asyncio.sleep(0.1)
    assert await api.refused("select 1", transactionId=transaction) == busy
    assert await refused_end(api, "commit", transaction) == busy
    assert await refused_end(api, "roll_back", transaction) == busy
    assert not slow.done()
    await slow
    assert await api.rows("select 1", transactionId=transaction) == [[1]]


async def test_of_many_statements_at_once_one_gets_through_at_a_time(api: Api, transaction: str) -> None:
    answers = await asyncio.gather(
        *(api.execute("select pg_sleep(0.05)", transactionId=transaction) for _ in range(10)), return_exceptions=True
    )
    refusals = [refusal(answer) for answer in answers if isinstance(answer, ClientError)]
    assert 0 < len(refusals) < 10
    assert {each.message for each in refusals} == {"Transaction is still running a query"}


async def test_three_minutes_of_idleness_are_the_end(numbers: Api) -> None:
    transaction = await numbers.begin()
    await numbers.execute("insert into numbers values (1)", transactionId=transaction)
    for _ in range(4):  # each use counts anew
        numbers.clock.now += 179
        await numbers.rows("select 1", transactionId=transaction)
    numbers.clock.now += 180
    assert await numbers.refused("select 1", transactionId=transaction) == gone(transaction)
    assert await numbers.rows("select * from numbers") == []


async def test_a_day_is_the_end_however_busy_it_was(api: Api) -> None:
    api.limits.transaction_idle_seconds = 1e9
    transaction = await api.begin()
    api.clock.now += 24 * 3600 - 1
    assert await api.rows("select 1", transactionId=transaction) == [[1]]
    api.clock.now += 1
    assert await refused_end(api, "commit", transaction) == gone(transaction)


async def test_a_transaction_that_is_left_open_holds_its_locks_no_longer_than_that(numbers: Api) -> None:
    """Nobody asks for it again: it is found all the same."""
    transaction = await numbers.begin()
    await numbers.execute("lock table numbers", transactionId=transaction)
    waiting = asyncio.create_task(numbers.execute("insert into numbers values (1)"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    numbers.clock.now += 180
    assert (await asyncio.wait_for(waiting, 5))["numberOfRecordsUpdated"] == 1


async def test_a_transaction_keeps_to_its_database(api: Api, transaction: str) -> None:
    assert await api.rows("select current_database()", transactionId=transaction, database=api.database)
    refused = await api.refused("select 1", transactionId=transaction, database="postgres")
    assert refused.code == "ValidationException"
    answer = await api.post("/Execute", {**body(transaction), "sql": "select current_database()"})
    assert answer.json()["records"] == [[{"stringValue": "data_api"}]]


async def test_a_transaction_that_began_without_a_database_is_in_that_of_the_url(api: Api) -> None:
    transaction = await api.begin(database="")
    assert await api.rows("select current_database()", transactionId=transaction, database="postgres") == [["postgres"]]
    assert (await api.refused("select 1", transactionId=transaction)).code == "ValidationException"
    await api.roll_back(transaction)


async def test_a_schema_is_refused(api: Api, transaction: str) -> None:
    refused = await api.refused("select 1", transactionId=transaction, schema="public")
    assert refused == Refused("ValidationException", 400, "The schema parameter isn't supported")


async def test_a_transaction_whose_session_has_died_is_not_found(api: Api) -> None:
    transaction = await api.begin()
    [[process]] = await api.rows("select pg_backend_pid()", transactionId=transaction)
    await api.execute("select pg_terminate_backend(:p::int, 5000)", {"p": long(process)})
    assert await api.refused("select 1", transactionId=transaction) == gone(transaction)


async def test_a_transaction_whose_session_dies_in_the_middle_is_gone(api: Api) -> None:
    transaction = await api.begin()
    refused = await api.refused("select pg_terminate_backend(pg_backend_pid())", transactionId=transaction)
    assert refused.message.endswith("SQLState: 57P01")
    assert await refused_end(api, "roll_back", transaction) == gone(transaction)


async def test_a_commit_that_postgresql_refuses_is_the_end(numbers: Api) -> None:
    await numbers.execute("alter table numbers add p int references numbers deferrable initially deferred")
    transaction = await numbers.begin()
    await numbers.execute("insert into numbers values (1, 2)", transactionId=transaction)
    refused = await refused_end(numbers, "commit", transaction)
    assert (refused.code, refused.message[-15:]) == ("DatabaseErrorException", "SQLState: 23503")
    assert await refused_end(numbers, "roll_back", transaction) == gone(transaction)


async def test_sessions_are_given_back(api: Api) -> None:
    api.limits.pooled_seconds = 0
    for _ in range(100):  # more than there are connections
        await api.roll_back(await api.begin())


def body(transaction: str) -> dict[str, str]:
    from tests.db.local_data_api.api import ARNS

    return {**ARNS, "transactionId": transaction}
