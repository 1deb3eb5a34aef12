"""Limits of size and time: at the edge all is well, beyond it there is a clear error."""

import asyncio
from typing import Any

import pytest

from db.local_data_api import Limits
from tests.db.local_data_api.api import ARNS, SIGNATURE, Api, Refused, parameters, string

MIB = 1024 * 1024


def test_the_limits_are_those_of_aws() -> None:
    found = Limits()
    assert (found.request_bytes, found.response_bytes, found.sql_characters) == (4 * MIB, MIB, 65_536)
    assert (found.statement_seconds, found.transaction_idle_seconds, found.transaction_seconds) == (45, 180, 86_400)


async def test_a_text_of_65536_characters_is_taken_and_one_more_is_not(api: Api) -> None:
    sql = "select 1 --"
    assert await api.rows(sql.ljust(65_536, "ü")) == [[1]]
    refused = await api.refused(sql.ljust(65_537, "ü"))
    assert (refused.code, refused.status) == ("ValidationException", 400)
    assert refused.message.endswith("Member must have length less than or equal to 65536")


async def test_a_request_of_four_mebibytes_is_taken_headers_included(api: Api) -> None:
    def body(length: int) -> dict[str, Any]:
        return {**ARNS, "sql": "select length(:v)", "parameters": parameters({"v": string("x" * length)})}

    taken = await api.post("/Execute", body(4 * MIB - 2_000))
    assert taken.json()["records"] == [[{"longValue": 4 * MIB - 2_000}]]
    refused = await api.post("/Execute", body(4 * MIB - 500))  # would fit without the headers
    assert (refused.status_code, refused.headers["x-amzn-errortype"]) == (400, "BadRequestException")
    assert "size limit" in refused.json()["message"]


async def test_nothing_of_a_request_that_is_too_large_runs(api: Api) -> None:
    body: dict[str, Any] = {**ARNS, "sql": "create table never ()", "parameters": []}
    api.limits.request_bytes = 300
    answer = await api.post("/Execute", body, SIGNATURE | {"x-long": "x" * 300})
    assert answer.headers["x-amzn-errortype"] == "BadRequestException"
    api.reset()
    assert await api.rows("select to_regclass('never')::text") == [[None]]


async def test_an_answer_of_one_mebibyte_comes_and_a_byte_more_does_not(api: Api) -> None:
    frame = len('{"numberOfRecordsUpdated":0,"records":[[{"stringValue":""}]]}')
    for character, width in (("x", 1), ("ü", 2), ('"', 2)):  # bytes are counted, as JSON has them
        fits = (MIB - frame) // width
        assert len((await api.rows(f"select repeat('{character}', {fits})"))[0][0]) == fits
        refused = await api.refused(f"select repeat('{character}', {fits + 1})")
        assert refused == Refused("UnsupportedResultException", 400, "The result exceeds the size limit 1 MB.")


async def test_an_answer_as_json_text_has_the_same_limit(api: Api) -> None:
    refused = await api.refused(f"select repeat('x', {MIB})", formatRecordsAs="JSON")
    assert refused.code == "UnsupportedResultException"


@pytest.mark.parametrize("columns", ["n", "null, null", ""])
async def test_what_is_much_too_large_is_not_read_to_its_end(api: Api, transaction: str, columns: str) -> None:
    sql = f"select {columns} from (select generate_series(1, 1000000000)) t(n)"
    api.limits.statement_seconds = 10
    too_large = Refused("UnsupportedResultException", 400, "The result exceeds the size limit 1 MB.")
    assert await api.refused(sql) == too_large
    assert await api.refused(sql, transactionId=transaction) == too_large
    assert (await api.refused("select 1", transactionId=transaction)).code == "TransactionNotFoundException"
    assert await api.rows("select 1") == [[1]]


async def test_what_is_longer_as_text_than_in_its_answer_is_answered(api: Api) -> None:
    blanks = "('[1,' || repeat(' ', 2_000_000) || '2]')::json"
    assert await api.rows(f"select repeat('x', 500_000)::bytea, {blanks}") == [[b"x" * 500_000, "[1,2]"]]


async def test_a_write_whose_answer_is_much_too_large_is_done_all_the_same(empty_api: Api) -> None:
    await empty_api.execute("create table things (n int)")
    empty_api.limits.response_bytes = 200
    refused = await empty_api.refused("insert into things select generate_series(1, 1000) returning n")
    assert refused.message == "The result exceeds the size limit 200 bytes."
    with_ = "with w as (insert into things select generate_series(1, 1000) returning n) select * from w"
    assert (await empty_api.refused(with_)).code == "UnsupportedResultException"
    empty_api.reset()
    assert await empty_api.rows("select count(*) from things") == [[2000]]


async def test_too_large_an_answer_is_the_end_of_its_transaction(api: Api, transaction: str) -> None:
    api.limits.response_bytes = 200
    refused = await api.refused("select repeat('x', 200)", transactionId=transaction)
    assert refused.code == "UnsupportedResultException"
    assert (await api.refused("select 1", transactionId=transaction)).code == "TransactionNotFoundException"


async def test_outside_of_a_transaction_what_a_statement_did_is_done_though_its_answer_is_too_large(
    empty_api: Api,
) -> None:
    await empty_api.execute("create table things (name text)")
    empty_api.limits.response_bytes = 200
    await empty_api.refused("insert into things values (repeat('x', 200)) returning name")
    empty_api.reset()
    assert await empty_api.rows("select count(*) from things") == [[1]]


async def test_a_statement_that_takes_too_long_is_cut_off(empty_api: Api) -> None:
    await empty_api.execute("create table things (n int)")
    empty_api.limits.statement_seconds = 0.05
    refused = await empty_api.refused("with w as (insert into things values (1)) select pg_sleep(30)")
    assert (refused.code, refused.status) == ("StatementTimeoutException", 400)
    empty_api.reset()
    assert await empty_api.rows("select count(*) from things") == [[0]]
    assert await running(empty_api) == 0


async def test_the_cut_off_statement_names_its_session(api: Api) -> None:
    api.limits.statement_seconds = 0.05
    answer = await api.post("/Execute", {**ARNS, "sql": "select pg_sleep(30)"})
    assert set(answer.json()) == {"message", "dbConnectionId"}
    assert answer.json()["dbConnectionId"] > 0


async def test_a_statement_that_is_cut_off_aborts_its_transaction(api: Api, transaction: str) -> None:
    api.limits.statement_seconds = 0.05
    assert (await api.refused("select pg_sleep(30)", transactionId=transaction)).code == "StatementTimeoutException"
    api.reset()
    assert (await api.refused("select 1", transactionId=transaction)).message.endswith("25P02")


async def test_a_batch_has_the_same_time_as_a_statement(api: Api) -> None:
    api.limits.statement_seconds = 0.1
    sets = {**ARNS, "sql": "select pg_sleep(0.06)", "parameterSets": [[]] * 100}
    answer = await api.post("/BatchExecute", sets)
    assert answer.headers["x-amzn-errortype"] == "StatementTimeoutException"


async def test_a_statement_goes_on_after_its_time_if_it_is_told_to(empty_api: Api) -> None:
    await empty_api.execute("create table things (n int)")
    empty_api.limits.statement_seconds = 0.05
    slow = "with w as (insert into things values (1)) select pg_sleep(0.3)"
    assert (await empty_api.refused(slow, continueAfterTimeout=True)).code == "StatementTimeoutException"
    empty_api.reset()
    assert await empty_api.rows("select count(*) from things") == [[0]]
    while await running(empty_api):
        await asyncio.sleep(0.02)
    assert await empty_api.rows("select count(*) from things") == [[1]]


async def test_a_transaction_is_busy_while_its_statement_goes_on_and_usable_afterwards(
    api: Api, transaction: str
) -> None:
    api.limits.statement_seconds = 0.05
    slow = "select pg_sleep(0.3)"
    refused = await api.refused(slow, transactionId=transaction, continueAfterTimeout=True)
    assert refused.code == "StatementTimeoutException"
    api.reset()
    assert (await api.refused("select 1", transactionId=transaction)).message == "Transaction is still running a query"
    while await running(api):
        await asyncio.sleep(0.02)
    assert await api.rows("select 1", transactionId=transaction) == [[1]]


async def test_a_timeout_that_the_caller_has_set_is_an_error_of_postgresql(api: Api, transaction: str) -> None:
    await api.execute("set local statement_timeout = 20", transactionId=transaction)
    refused = await api.refused("select pg_sleep(30)", transactionId=transaction)
    assert refused.message == "ERROR: canceling statement due to statement timeout; SQLState: 57014"


async def test_who_finds_all_sessions_taken_waits(server: str) -> None:
    from db.local_data_api import create_app, serving

    async with serving(create_app(server, limits=Limits(connections=2, statement_seconds=0.5))) as url:
        body = {**ARNS, "sql": "select pg_sleep(0.05)"}
        answers = await asyncio.gather(*(Api(url, "", None).post("/Execute", body) for _ in range(6)))
        assert [each.status_code for each in answers] == [200] * 6
        for _ in range(2):
            await Api(url, "", None).post("/BeginTransaction", ARNS)
        refused = await Api(url, "", None).post("/Execute", body)
        assert refused.json()["message"] == "FATAL: sorry, too many clients already; SQLState: 53300"


async def running(api: Api) -> int:
    """Statements that sleep."""
    sql = "select count(*) from pg_stat_activity where state = 'active' and query like '%pg_sleep(%' and pid <> pg_backend_pid()"
    number: int = (await api.rows(sql))[0][0]
    return number
