"""BatchExecuteStatement: a statement for each set of parameters, no rows, no counts."""

import pytest
from botocore.exceptions import ClientError

from tests.db.local_data_api.api import ARNS, NULL, Api, Value, long, refusal, string

EMPTY = {"generatedFields": list[object]()}


@pytest.fixture
async def table(api: Api, transaction: str) -> str:
    await api.execute("create table things (n int primary key, name text)", transactionId=transaction)
    return transaction


async def test_each_set_is_carried_out(api: Api, table: str) -> None:
    sql = "insert into things values (:n, :name)"
    sets: list[dict[str, Value]] = [
        {"n": long(1), "name": string("a")},
        {"n": long(2), "name": NULL},
        {"name": string("c"), "n": long(3)},
    ]
    answer = await api.batch(sql, *sets, transactionId=table)
    assert answer == {"updateResults": [EMPTY] * 3}
    assert await api.rows("select * from things", transactionId=table) == [[1, "a"], [2, None], [3, "c"]]


async def test_rows_do_not_come_back(api: Api, table: str) -> None:
    answer = await api.batch("insert into things values (:n) returning n", {"n": long(1)}, transactionId=table)
    assert answer == {"updateResults": [EMPTY]}
    assert await api.batch("select 1", {}, transactionId=table) == {"updateResults": [EMPTY]}


async def test_an_empty_set_runs_the_statement_once(api: Api, table: str) -> None:
    await api.batch("insert into things values (1)", {}, transactionId=table)
    assert await api.rows("select n from things", transactionId=table) == [[1]]


@pytest.mark.parametrize("sets", [[], None])
async def test_without_a_set_there_is_nothing_to_do(api: Api, sets: object) -> None:
    answer = await api.post("/BatchExecute", {**ARNS, "sql": "select 1", "parameterSets": sets})
    assert answer.headers["x-amzn-errortype"] == "BadRequestException"


async def test_in_a_transaction_a_failing_set_takes_all_with_it(api: Api, table: str) -> None:
    with pytest.raises(ClientError, match="SQLState: 23505"):
        await api.batch("insert into things values (:n)", *[{"n": long(1)}] * 2, transactionId=table)
    assert (await api.refused("select 1", transactionId=table)).message.endswith("25P02")


async def test_outside_of_a_transaction_each_set_is_committed_by_itself(empty_api: Api) -> None:
    await empty_api.execute("create table things (n int primary key)")
    with pytest.raises(ClientError, match="SQLState: 23505"):
        await empty_api.batch("insert into things values (:n)", *({"n": long(n)} for n in (1, 2, 1, 3)))
    assert await empty_api.rows("select n from things order by n") == [[1], [2]]


async def test_a_set_that_does_not_fit_is_found_before_anything_runs(api: Api, table: str) -> None:
    with pytest.raises(ClientError) as failed:
        await api.batch("insert into things values (:n)", {"n": long(1)}, {"m": long(2)}, transactionId=table)
    assert refusal(failed.value).code == "BadRequestException"
    assert await api.rows("select n from things", transactionId=table) == []


async def test_a_thousand_sets_are_no_trouble(api: Api, table: str) -> None:
    answer = await api.batch(
        "insert into things values (:n)", *({"n": long(n)} for n in range(1_000)), transactionId=table
    )
    assert len(answer["updateResults"]) == 1_000
    assert await api.rows("select count(*) from things", transactionId=table) == [[1_000]]
