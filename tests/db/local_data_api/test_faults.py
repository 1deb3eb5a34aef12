"""Misbehaving on demand: each fault as a caller meets it, by rate, by operation, by order; and the side door for drills."""

import asyncio
import random
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from db.local_data_api import CLUSTER_ARN, Call, Fault, Faults, Limits, create_app, serving
from tests.db.local_data_api.api import ARNS, SIGNATURE, Api, Refused, long, refusal

RESUMING = Refused(
    "DatabaseResumingException",
    400,
    "The Aurora DB instance local-data-api is resuming after being auto-paused. Please wait a few seconds and try again.",
)
ADD_ONE = "insert into numbers values (1)"


@pytest.fixture
async def numbers(api: Api) -> AsyncIterator[Api]:
    """With an empty table `numbers`."""
    await api.execute("create table numbers (n int primary key)")
    api.calls.clear()
    yield api
    api.reset()
    await api.execute("drop table numbers")


async def count(api: Api) -> int:
    number: int = (await api.rows("select count(*) from numbers"))[0][0]
    return number


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("throttle", "ThrottlingException", 400),
        ("internal_error", "InternalServerErrorException", 500),
        ("unavailable", "ServiceUnavailableError", 503),
        ("database_unavailable", "DatabaseUnavailableException", 504),
        ("resuming", "DatabaseResumingException", 400),
        ("serialization", "DatabaseErrorException", 400),
        ("deadlock", "DatabaseErrorException", 400),
        ("timeout", "StatementTimeoutException", 400),
        ("endpoint_disabled", "HttpEndpointNotEnabledException", 400),
        ("secret_unreadable", "SecretsErrorException", 400),
        ("secret_invalid", "InvalidSecretException", 400),
        ("password_refused", "DatabaseErrorException", 400),
        ("access_denied", "AccessDeniedException", 403),
    ],
)
async def test_a_call_that_is_refused_is_not_carried_out(numbers: Api, fault: str, code: str, status: int) -> None:
    numbers.faults.next_calls.append(fault)
    refused = await numbers.refused(ADD_ONE)
    assert (refused.code, refused.status) == (code, status)
    assert refused.message
    assert await count(numbers) == 0


@pytest.mark.parametrize(
    ("fault", "code"), [("error_after", "InternalServerErrorException"), ("oversize", "UnsupportedResultException")]
)
async def test_an_answer_that_is_lost_is_lost_after_the_commit(numbers: Api, fault: str, code: str) -> None:
    numbers.faults.next_calls.append(fault)
    assert (await numbers.refused(ADD_ONE)).code == code
    assert await count(numbers) == 1


@pytest.mark.parametrize(("fault", "rows"), [("cut_before", 0), ("cut_after", 1)])
async def test_a_connection_is_cut_before_or_after_the_commit(numbers: Api, fault: str, rows: int) -> None:
    numbers.faults.next_calls.append(fault)
    with pytest.raises(ConnectionClosedError):
        await numbers.execute(ADD_ONE)
    assert await count(numbers) == rows
    assert [(call.fault, call.status) for call in numbers.calls] == [(fault, None), (None, 200)]


async def test_an_error_is_lost_on_the_way_as_well(api: Api) -> None:
    api.faults.next_calls.append("cut_after")
    with pytest.raises(ConnectionClosedError):
        await api.execute("select nonsense")


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_failure(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    address = urlsplit(api.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"POST /Execute HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await api.rows("select 1") == [[1]]
    assert caplog.records == []


async def test_a_cut_connection_says_nothing_at_all(api: Api) -> None:
    address = urlsplit(api.url)
    for fault in ("cut_before", "cut_after"):
        api.faults.next_calls.append(fault)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in SIGNATURE.items())
        body = f'{{"resourceArn": "{CLUSTER_ARN}", "secretArn": "{ARNS["secretArn"]}", "sql": "select 1"}}'
        writer.write(f"POST /Execute HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_a_server_that_cannot_cut_fails_in_its_own_way(api: Api) -> None:
    app = create_app("postgresql://nowhere", faults=Faults(next_calls=deque(["cut_before"])))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        with pytest.raises(ConnectionAbortedError):
            await client.post("/Execute", json={**ARNS, "sql": "select 1"}, headers=SIGNATURE)
    assert api.url


@pytest.mark.parametrize(("fault", "state"), [("serialization", "40001"), ("deadlock", "40P01")])
async def test_conflicts_are_real_and_abort_the_transaction(api: Api, transaction: str, fault: str, state: str) -> None:
    api.faults.next_calls.append(fault)
    assert (await api.refused("select 1", transactionId=transaction)).message.endswith(f"SQLState: {state}")
    assert (await api.refused("select 1", transactionId=transaction)).message.endswith("SQLState: 25P02")


@pytest.mark.parametrize("fault", ["serialization", "deadlock"])
async def test_a_commit_that_meets_a_conflict_comes_to_nothing(numbers: Api, fault: str) -> None:
    transaction = await numbers.begin()
    await numbers.execute(ADD_ONE, transactionId=transaction)
    numbers.faults.next_calls.append(fault)
    with pytest.raises(ClientError, match="SQLState: 40"):
        await numbers.commit(transaction)
    assert await count(numbers) == 0
    with pytest.raises(ClientError, match="TransactionNotFoundException"):
        await numbers.commit(transaction)


async def test_a_lost_answer_to_a_commit_leaves_no_way_to_ask_again(numbers: Api) -> None:
    transaction = await numbers.begin()
    await numbers.execute(ADD_ONE, transactionId=transaction)
    numbers.faults.next_calls.append("cut_after")
    with pytest.raises(HTTPClientError):
        await numbers.commit(transaction)
    with pytest.raises(ClientError, match="TransactionNotFoundException"):
        await numbers.commit(transaction)
    assert await count(numbers) == 1


async def test_a_transaction_that_has_expired_is_rolled_back(numbers: Api) -> None:
    transaction = await numbers.begin()
    await numbers.execute(ADD_ONE, transactionId=transaction)
    numbers.faults.next_calls.append("expired")
    assert (await numbers.refused("select 1", transactionId=transaction)).code == "TransactionNotFoundException"
    assert await count(numbers) == 0
    numbers.faults.next_calls.append("expired")
    assert await count(numbers) == 0  # a call without a transaction has nothing that could expire


async def test_too_large_an_answer_by_fault_is_the_end_of_its_transaction(numbers: Api) -> None:
    transaction = await numbers.begin()
    numbers.faults.next_calls.append("oversize")
    assert (await numbers.refused(ADD_ONE, transactionId=transaction)).code == "UnsupportedResultException"
    assert (await numbers.refused("select 1", transactionId=transaction)).code == "TransactionNotFoundException"


async def test_a_paused_database_is_resuming_for_a_while(api: Api) -> None:
    api.faults.resuming_until = api.clock.now + 15
    assert await api.refused("select 1") == RESUMING
    with pytest.raises(ClientError) as failed:
        await api.begin()
    assert refusal(failed.value) == RESUMING
    api.clock.now += 15
    assert await api.rows("select 1") == [[1]]


async def test_latency_is_paid_by_every_answer(api: Api) -> None:
    api.faults.latency = 0.1
    loop = asyncio.get_running_loop()
    for sql in ("select 1", "select nonsense"):
        start = loop.time()
        await asyncio.gather(*(api.execute(sql) for _ in range(5)), return_exceptions=True)
        assert 0.1 <= loop.time() - start < 0.3


async def test_nothing_befalls_a_call_unless_it_is_ordered(api: Api) -> None:
    for _ in range(20):
        await api.execute("select 1")
    assert {call.fault for call in api.calls} == {None}


def test_faults_come_at_their_rates() -> None:
    faults = Faults(rates={"throttle": 0.1, Fault.CUT_AFTER: 0.2}, chance=random.Random(7))
    drawn = Counter(faults.draw("ExecuteStatement") for _ in range(10_000))
    assert 900 < drawn[Fault.THROTTLE] < 1_100
    assert 1_900 < drawn[Fault.CUT_AFTER] < 2_100
    assert 6_800 < drawn[None] < 7_200


def test_an_operation_may_have_rates_of_its_own() -> None:
    faults = Faults(rates={"throttle": 1}, operations={"CommitTransaction": {"throttle": 0, "cut_after": 1}})
    assert faults.draw("CommitTransaction") == Fault.CUT_AFTER
    assert faults.draw("ExecuteStatement") == Fault.THROTTLE


def test_the_same_seed_brings_the_same_faults() -> None:
    def drawn() -> list[Fault | None]:
        faults = Faults(rates={"throttle": 0.5}, chance=random.Random(7))
        return [faults.draw("ExecuteStatement") for _ in range(50)]

    assert drawn() == drawn()


def test_the_next_calls_are_told_apart() -> None:
    faults = Faults(next_calls=deque(["throttle", None, "cut_before"]))
    assert [faults.draw("ExecuteStatement") for _ in range(4)] == [Fault.THROTTLE, None, Fault.CUT_BEFORE, None]


async def test_however_it_misbehaves_no_session_and_no_transaction_is_lost(numbers: Api) -> None:
    numbers.faults.chance = random.Random(7)
    numbers.faults.rates = dict.fromkeys(Fault, 0.02)
    numbers.limits.statement_seconds = 2
    told = Counter[str]()

    async def write(number: int) -> None:
        try:
            transaction = await numbers.begin()
            await numbers.execute("insert into numbers values (:n)", {"n": long(number)}, transactionId=transaction)
            await numbers.commit(transaction)
            told["committed"] += 1
        except (ClientError, HTTPClientError):
            told["failed"] += 1

    for batch in range(8):
        await asyncio.gather(*(write(40 * batch + number) for number in range(40)))
        numbers.clock.now += 180  # those left open are found
    numbers.reset()
    begun = "select count(*) from pg_stat_activity where state like 'idle in transaction%' and application_name = 'local-data-api'"
    while (await numbers.rows(begun))[0][0]:
        await asyncio.sleep(0.02)
    assert told["failed"] > 100
    assert 0 < told["committed"] <= await count(numbers) < 320
    transactions = [await numbers.begin() for _ in range(Limits().connections - 1)]
    assert await numbers.rows("select 1") == [[1]]
    for transaction in transactions:
        await numbers.roll_back(transaction)


async def test_calls_are_logged_as_they_come(api: Api) -> None:
    transaction = await api.begin()
    await api.execute("select :n", {"n": long(1)}, transactionId=transaction)
    await api.refused("select 1/0", transactionId=transaction)
    await api.roll_back(transaction)
    named = {"transaction_id": transaction, "database": "data_api"}
    assert api.calls == [
        Call("BeginTransaction", status=200, **named),
        Call("ExecuteStatement", sql="select :n", status=200, **named),
        Call("ExecuteStatement", sql="select 1/0", status=400, error="DatabaseErrorException", **named),
        Call("RollbackTransaction", transaction_id=transaction, status=200),
    ]


async def test_faults_are_ordered_shown_and_ended_over_http(api: Api) -> None:
    order = {
        "latency": 0.01,
        "resuming_seconds": 0,
        "rates": {"throttle": 0.5},
        "operations": {"CommitTransaction": {"cut_after": 1}},
        "next_calls": ["unavailable", None],
    }
    answer = await api.post("/faults", order, {}, method="PUT")
    assert (answer.status_code, answer.json()) == (200, order)
    assert (await api.post("/faults", b"", {}, method="GET")).json() == order
    assert (await api.refused("select 1")).code == "ServiceUnavailableError"
    assert await api.rows("select 1") == [[1]]
    ended = await api.post("/faults", b"", {}, method="DELETE")
    assert ended.json() == {"latency": 0, "resuming_seconds": 0, "rates": {}, "operations": {}, "next_calls": []}
    assert api.faults.draw("CommitTransaction") is None


async def test_a_pause_is_ordered_in_seconds_from_now(api: Api) -> None:
    await api.post("/faults", {"resuming_seconds": 5}, {}, method="PUT")
    assert await api.refused("select 1") == RESUMING
    api.clock.now += 5
    assert await api.rows("select 1") == [[1]]


@pytest.mark.parametrize(
    "order", [{"rates": {"nonsense": 1}}, {"rates": {"throttle": 2}}, {"latency": -1}, {"nonsense": 1}, b"{"]
)
async def test_an_order_that_makes_no_sense_is_refused(api: Api, order: object) -> None:
    answer = await api.post("/faults", order, {}, method="PUT")
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert api.faults.rates == {}


async def test_there_is_no_side_door_unless_it_was_asked_for(server: str) -> None:
    async with serving(create_app(server)) as url:
        answer = await Api(url, "", None).post("/faults", {"latency": 1}, {}, method="PUT")
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


async def test_a_port_can_be_named(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    async with serving(create_app(server), port=port) as url:
        assert url == f"http://127.0.0.1:{port}"
