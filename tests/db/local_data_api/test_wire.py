"""The wire: routes, answers and errors in AWS's shape, signatures by their form, ARNs, databases."""

import asyncio
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from tests.db.local_data_api.api import ARNS, SIGNATURE, STAMP, Api, Refused, long, string

ONE: dict[str, Any] = {**ARNS, "database": "data_api", "sql": "select 1 as one"}
BEGUN = {**ARNS, "transactionId": "AAAA"}


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"longValues": [1]}
    for _ in range(depth):
        value = {"arrayValues": [value]}
    return {"arrayValue": value}


async def test_an_answer_is_json_with_a_request_id(api: Api) -> None:
    answer = await api.post("/Execute", ONE)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert "x-amzn-errortype" not in answer.headers
    assert answer.json() == {"numberOfRecordsUpdated": 0, "records": [[{"longValue": 1}]]}


async def test_an_error_names_its_code_in_a_header_and_says_why_in_the_body(api: Api) -> None:
    answer = await api.post("/Execute", ONE | {"sql": "select * from nope"})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "DatabaseErrorException")
    assert len(answer.headers["x-amzn-requestid"]) == 36
    assert answer.json() == {"message": 'ERROR: relation "nope" does not exist; Position: 15; SQLState: 42P01'}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "select 1 where 1 = 'a'::text",
            "ERROR: operator does not exist: integer = text; Hint: No operator matches; Position: 18; SQLState: 42883",
        ),
        (
            "do 'begin raise exception using errcode = ''P0001'', message = ''no'', detail = ''the row''; end'",
            "ERROR: no; SQLState: P0001",
        ),
        ("select 1/0", "ERROR: division by zero; SQLState: 22012"),
    ],
)
async def test_an_error_of_postgresql_bears_hint_position_and_sqlstate_but_no_detail(
    api: Api, sql: str, message: str
) -> None:
    refused = await api.refused(sql)
    # PostgreSQL 19 words this hint in another way.
    assert refused.message.partition("Hint")[0] == message.partition("Hint")[0]
    assert refused.message.rpartition(";")[2] == message.rpartition(";")[2]
    assert (refused.code, refused.status) == ("DatabaseErrorException", 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/"), ("POST", "/execute"), ("POST", "/Execute/"), ("GET", "/Execute"), ("PUT", "/BeginTransaction")],
)
async def test_there_is_nothing_else(api: Api, method: str, path: str) -> None:
    answer = await api.post(path, ONE, method=method)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_request_line_with_the_whole_address_is_served(api: Api, scheme: str) -> None:
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps(ONE)
    head = [
        f"POST {scheme}://{address.netloc}/Execute HTTP/1.1",
        f"host: {address.netloc}",
        f"content-length: {len(body)}",
    ]
    head += [f"{name}: {value}" for name, value in SIGNATURE.items()]
    for _ in range(2):  # and the connection is kept
        writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
        status = await reader.readline()
        headers = await reader.readuntil(b"\r\n\r\n")
        [length] = [int(line[15:]) for line in headers.splitlines() if line.startswith(b"content-length")]
        await reader.readexactly(length)
        assert status == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await writer.wait_closed()


async def test_answers_on_a_kept_connection_come_at_once(api: Api) -> None:
    """A second packet that waits for the acknowledgement of the first takes 40 ms."""
    loop = asyncio.get_running_loop()
    await api.execute("select 1")
    start = loop.time()
    for _ in range(20):
        await api.execute("select 1")
    assert loop.time() - start < 20 * 0.03


@pytest.mark.parametrize(
    ("headers", "code", "status"),
    [
        ({"authorization": ""}, "MissingAuthenticationTokenException", 403),
        ({"authorization": "Bearer abc"}, "IncompleteSignatureException", 400),
        ({"authorization": "AWS4-HMAC-SHA256"}, "IncompleteSignatureException", 400),
        ({"authorization": "AWS4-HMAC-SHA256 nonsense"}, "IncompleteSignatureException", 400),
        (
            {"authorization": SIGNATURE["authorization"].partition(", Signature")[0]},
            "IncompleteSignatureException",
            400,
        ),
        (
            {"authorization": SIGNATURE["authorization"].replace("/aws4_request", "")},
            "IncompleteSignatureException",
            400,
        ),
        ({"authorization": SIGNATURE["authorization"].replace("anybody/", "/")}, "IncompleteSignatureException", 400),
        ({"authorization": SIGNATURE["authorization"].replace("rds-data", "s3")}, "InvalidSignatureException", 403),
        (
            {"authorization": SIGNATURE["authorization"].replace("aws4_request", "aws4")},
            "InvalidSignatureException",
            403,
        ),
        ({"authorization": SIGNATURE["authorization"].replace("=host;", "=")}, "InvalidSignatureException", 403),
        ({"authorization": SIGNATURE["authorization"].replace("0" * 64, "abc")}, "InvalidSignatureException", 403),
        (
            {"authorization": SIGNATURE["authorization"].replace("/20260102/", "/20260103/")},
            "InvalidSignatureException",
            403,
        ),
        ({"x-amz-date": ""}, "IncompleteSignatureException", 400),
        ({"x-amz-date": "2026-01-02"}, "IncompleteSignatureException", 400),
    ],
)
async def test_a_request_that_is_not_signed_in_form_is_refused(
    api: Api, headers: dict[str, str], code: str, status: int
) -> None:
    answer = await api.post("/Execute", ONE, {name: value for name, value in (SIGNATURE | headers).items() if value})
    assert (answer.headers.get("x-amzn-errortype"), answer.status_code) == (code, status)
    assert answer.json()["message"]


@pytest.mark.parametrize(
    "headers",
    [
        SIGNATURE,
        SIGNATURE | {"authorization": SIGNATURE["authorization"].replace(", ", ",")},
        SIGNATURE | {"authorization": SIGNATURE["authorization"].replace("anybody", "some/body")},
        {"date": "Fri, 02 Jan 2026 03:04:05 GMT", "authorization": SIGNATURE["authorization"]},
    ],
)
async def test_any_credentials_of_any_day_will_do(api: Api, headers: dict[str, str]) -> None:
    assert (await api.post("/Execute", ONE, headers)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"sql": NaN}',
        b"[" * 100_000,
        {**ONE, "sql": 1},
        {**ONE, "sql": "select \ud800"},
        {**ONE, "parameters": {}},
        {**ONE, "parameters": ["a"]},
        {**ONE, "includeResultMetadata": "yes"},
        {**ONE, "parameters": [{"name": "a", "value": {"longValue": "1"}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"longValue": 1.5}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"longValue": 2**63}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"longValue": True}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"booleanValue": 1}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"doubleValue": "1"}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"doubleValue": 10**400}}]},
        json.dumps(ONE)[:-1].encode() + b', "parameters": [{"name": "a", "value": {"doubleValue": 1e400}}]}',
        {**ONE, "parameters": [{"name": "a", "value": nested(300)}]},
        {**ONE, "parameters": [{"name": "a", "value": {"blobValue": "no base64!"}}]},
        {**ONE, "parameters": [{"name": "a", "value": {"stringValue": "x", "longValue": 1}}]},
    ],
    ids=lambda body: repr(body)[:60],
)
async def test_what_is_not_of_the_shape_does_not_parse(api: Api, body: Any) -> None:
    answer = await api.post("/Execute", body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "SerializationException")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/Execute", ONE | {"resourceArn": None}, "Value null at 'resourceArn' failed to satisfy constraint: Member must not be null"),
        ("/Execute", ONE | {"sql": None}, "Value null at 'sql' failed to satisfy constraint: Member must not be null"),
        ("/Execute", ONE | {"secretArn": "arn:short"}, "Value 'arn:short' at 'secretArn' failed to satisfy constraint: Member must have length greater than or equal to 11"),
        ("/Execute", ONE | {"formatRecordsAs": "XML"}, "Value 'XML' at 'formatRecordsAs' failed to satisfy constraint: Member must satisfy enum value set: [NONE, JSON]"),
        ("/Execute", ONE | {"parameters": [{"name": "a", "value": string("x"), "typeHint": "INET"}]}, "Value 'INET' at 'parameters.1.member.typeHint' failed to satisfy constraint: Member must satisfy enum value set: [JSON, UUID, TIMESTAMP, DATE, TIME, DECIMAL]"),
        ("/BeginTransaction", ARNS | {"database": "x" * 65}, f"Value '{'x' * 65}' at 'database' failed to satisfy constraint: Member must have length less than or equal to 64"),
        ("/Execute", ONE | {"database": "data_api\0"}, "Value 'data_api\0' at 'database' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\\x00]*"),
        ("/CommitTransaction", ARNS, "Value null at 'transactionId' failed to satisfy constraint: Member must not be null"),
        ("/RollbackTransaction", BEGUN | {"transactionId": "x" * 193}, f"Value '{'x' * 100}…' at 'transactionId' failed to satisfy constraint: Member must have length less than or equal to 192"),
    ],
)  # fmt: skip
async def test_a_broken_constraint_is_named(api: Api, path: str, body: Any, message: str) -> None:
    answer = await api.post(path, body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert answer.json() == {"message": f"1 validation error detected: {message}"}


@pytest.mark.parametrize(("path", "more"), [("/Execute", {}), ("/BatchExecute", {"parameterSets": [[]]})])
async def test_of_a_statement_with_a_nul_no_part_runs(empty_api: Api, path: str, more: dict[str, Any]) -> None:
    await empty_api.execute("create table t as select 1 as id, 0 as a union select 2, 0")
    body = {**ARNS, **more, "database": empty_api.database, "sql": "update t set a = 1\0 where id = 2"}
    answer = await empty_api.post(path, body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "ValidationException")
    assert "at 'sql' failed to satisfy constraint" in answer.json()["message"]
    assert await empty_api.rows("select sum(a) from t") == [[0]]


async def test_all_broken_constraints_are_named_at_once(api: Api) -> None:
    answer = await api.post("/Execute", {})
    assert answer.json()["message"].startswith("3 validation errors detected: ")


async def test_absent_and_null_mean_the_same_and_unknown_members_are_ignored(api: Api) -> None:
    nulls = dict.fromkeys(("transactionId", "schema", "parameters", "resultSetOptions", "continueAfterTimeout"))
    parameter = {"name": "a", "value": {"stringValue": "x", "longValue": None, "newValue": 1}, "typeHint": None}
    body = ONE | nulls | {"sql": "select :a", "parameters": [parameter], "somethingNew": {"a": 1}}
    assert (await api.post("/Execute", body)).json()["records"] == [[{"stringValue": "x"}]]


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"resourceArn": CLUSTER_ARN + "x"}, "DatabaseNotFoundException", 404),
        ({"resourceArn": CLUSTER_ARN.replace("local-data-api", "Local-Data-Api")}, "DatabaseNotFoundException", 404),
        ({"secretArn": SECRET_ARN.lower()}, "SecretsErrorException", 400),
        ({"database": "nowhere"}, "DatabaseNotFoundException", 404),
        ({"schema": "public"}, "ValidationException", 400),
        ({"schema": ""}, "ValidationException", 400),
    ],
)
@pytest.mark.parametrize("operation", ["execute_statement", "batch_execute_statement", "begin_transaction"])
async def test_only_what_is_known_is_served(
    api: Api, operation: str, change: dict[str, str], code: str, status: int
) -> None:
    path = {"execute_statement": "/Execute", "batch_execute_statement": "/BatchExecute"}.get(
        operation, "/BeginTransaction"
    )
    answer = await api.post(path, ONE | {"parameterSets": [[]]} | change)
    assert (answer.headers.get("x-amzn-errortype"), answer.status_code) == (code, status)


@pytest.mark.parametrize("path", ["/CommitTransaction", "/RollbackTransaction"])
async def test_the_arns_count_at_the_end_of_a_transaction_too(api: Api, path: str) -> None:
    answer = await api.post(path, BEGUN | {"secretArn": SECRET_ARN + "x"})
    assert answer.headers["x-amzn-errortype"] == "SecretsErrorException"


async def test_the_request_chooses_the_database(api: Api, empty_api: Api) -> None:
    name = "select current_database()"
    assert await api.rows(name) == [["data_api"]]
    assert await empty_api.rows(name) == [[empty_api.database]]
    assert await api.rows(name, database="") == [["postgres"]]
    transaction = await empty_api.begin()
    assert await empty_api.rows(name, transactionId=transaction) == [[empty_api.database]]
    await api.roll_back(transaction)


async def test_execute_sql_is_refused_as_aws_refuses_it(api: Api) -> None:
    body = {
        "dbClusterOrInstanceArn": CLUSTER_ARN,
        "awsSecretStoreArn": SECRET_ARN,
        "sqlStatements": "select 1; select 2",
    }
    answer = await api.post("/ExecuteSql", body)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "BadRequestException")
    assert "ExecuteSql" in answer.json()["message"]
    assert (await api.post("/ExecuteSql", {})).headers["x-amzn-errortype"] == "ValidationException"


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    from db.local_data_api import create_app, serving

    async def nowhere() -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/none"

    async with serving(create_app(nowhere)) as url:
        answer = await Api(url, "", None).post("/Execute", ONE)
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (504, "DatabaseUnavailableException")


async def test_a_wrong_password_is_an_error_of_postgresql(server: str) -> None:
    from db.local_data_api import create_app, serving

    async with serving(create_app(server.replace("@", "x@"))) as url:
        answer = await Api(url, "", None).post("/Execute", ONE)
    assert answer.headers["x-amzn-errortype"] == "DatabaseErrorException"
    assert answer.json()["message"].startswith("FATAL: password authentication failed")
    assert answer.json()["message"].endswith("; SQLState: 28P01")


async def test_a_session_that_dies_is_replaced(api: Api) -> None:
    refused = await api.refused("select pg_terminate_backend(pg_backend_pid())")
    assert refused == Refused(
        "DatabaseErrorException", 400, "FATAL: terminating connection due to administrator command; SQLState: 57P01"
    )
    assert await api.rows("select 1") == [[1]]
    await api.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'local-data-api'"
        " and pid <> pg_backend_pid()"
    )
    assert await api.rows("select 1") == [[1]]


async def test_a_call_gets_a_session_without_traces_of_the_last_one(api: Api) -> None:
    for sql in (
        "create temp table t (a int)",
        "set search_path to pg_catalog",
        "prepare p as select 1",
        "select pg_advisory_lock(1)",
        "listen news",
    ):
        await api.execute(sql)
    rows = await api.rows(
        "select to_regclass('pg_temp.t')::text, current_setting('search_path'),"
        " (select count(*) from pg_prepared_statements), (select count(*) from pg_locks where locktype = 'advisory')"
    )
    assert rows == [[None, '"$user", public', 0, 0]]


async def test_sessions_are_in_utc(api: Api) -> None:
    assert await api.rows("show timezone") == [["UTC"]]


@pytest.mark.parametrize("sql", ["begin", "start transaction", "COMMIT", "rollback", "end", "abort"])
async def test_transactions_are_not_made_by_statements(api: Api, sql: str) -> None:
    assert (await api.refused(sql)).code == "ValidationException"


@pytest.mark.parametrize(("sql", "kind"), [("copy (select 1) to stdout", "Out"), ("COPY t FROM STDIN", "In")])
async def test_copy_is_refused(api: Api, sql: str, kind: str) -> None:
    assert await api.refused(sql) == Refused("DatabaseErrorException", 400, f"unexpected message: Copy{kind}Response")


@pytest.mark.parametrize(
    "sql", ["set client_encoding to latin1", "set datestyle to german", "set standard_conforming_strings to off"]
)
async def test_what_results_are_read_by_cannot_be_changed(api: Api, sql: str) -> None:
    transaction = await api.begin()
    assert (await api.refused(sql, transactionId=transaction)).code == "ValidationException"
    assert (await api.refused("select 1", transactionId=transaction)).code == "TransactionNotFoundException"
    assert await api.rows("select '2026-01-02'::date") == [["2026-01-02"]]


async def test_a_positional_parameter_is_counted_by_postgresql(api: Api) -> None:
    refused = await api.refused("select $1")
    assert refused.message.endswith("SQLState: 08P01")
    assert "bind message supplies 0 parameters" in refused.message


async def test_many_calls_at_a_time_are_answered(api: Api) -> None:
    rows = await asyncio.gather(*(api.rows("select :n", {"n": long(n)}) for n in range(200)))
    assert rows == [[[n]] for n in range(200)]


def test_the_signature_of_these_tests_is_old() -> None:
    assert STAMP < "20260103"
