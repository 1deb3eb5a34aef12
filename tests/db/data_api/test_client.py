"""Calls: what is tried again and what is not, how many at a time, how large, how long."""

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from db.data_api import DataApi, DatabaseResuming, StatementTimedOut, Throttled, wire
from db.database import BadData, DatabaseMisconfigured, DatabaseUnavailable, IntegrityViolated, TooMuch
from db.local_data_api import CLUSTER_ARN, SECRET_ARN, Fault
from tests.db.data_api.conftest import NewApi
from tests.misbehaving import Misbehaving

PASSING = [
    Fault.THROTTLE, Fault.INTERNAL_ERROR, Fault.UNAVAILABLE, Fault.DATABASE_UNAVAILABLE, Fault.RESUMING,
    Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.ERROR_AFTER, Fault.SERIALIZATION, Fault.DEADLOCK,
]  # fmt: skip
INSERT = "insert into t values (:n)"


async def numbers(api: DataApi) -> list[int]:
    return [row["n"] for row in await api.select("select n from t order by n")]


@pytest.mark.parametrize("fault", PASSING)
async def test_a_failure_that_may_pass_is_tried_again_and_the_statement_has_its_effect(
    api: DataApi, local: Misbehaving, fault: Fault
) -> None:
    local.faults.next_calls.extend([fault, fault])
    await api.execute("insert into t select :n where not exists (select 1 from t where n = :n)", {"n": 7})
    assert [call.fault for call in local.calls] == [fault, fault, None]
    assert await numbers(api) == [7]


@pytest.mark.parametrize("fault", PASSING)
async def test_what_must_not_run_twice_is_tried_again_only_where_nothing_of_it_was_done(
    api: DataApi, local: Misbehaving, fault: Fault
) -> None:
    local.faults.next_calls.append(fault)
    surely_undone = fault in {Fault.THROTTLE, Fault.RESUMING, Fault.SERIALIZATION, Fault.DEADLOCK}
    try:
        await api.execute(INSERT, {"n": 7}, idempotent=False)
    except DatabaseUnavailable:
        assert not surely_undone
    assert len(local.calls) == (2 if surely_undone else 1)
    assert await numbers(api) == ([7] if surely_undone or fault in {Fault.CUT_AFTER, Fault.ERROR_AFTER} else [])


@pytest.mark.parametrize(
    ("sql", "kind", "sqlstate"),
    [
        ("select cast('x' as uuid)", BadData, "22P02"),
        ("insert into t values (1), (1)", IntegrityViolated, "23505"),
        ("select * from nowhere", DatabaseMisconfigured, "42P01"),
        ("select 1; select 2", DatabaseMisconfigured, ""),
        ("select interval '1 day'", DatabaseMisconfigured, ""),
    ],
)
async def test_what_would_only_fail_again_is_not_tried_again(
    api: DataApi, local: Misbehaving, sql: str, kind: type[Exception], sqlstate: str
) -> None:
    with pytest.raises(kind) as failed:
        await api.execute(sql)
    assert type(failed.value) is kind
    assert failed.value.sqlstate == sqlstate  # type: ignore[attr-defined] # both kinds have it
    assert len(local.calls) == 1


@pytest.mark.parametrize("fault", [Fault.ENDPOINT_DISABLED, Fault.SECRET_UNREADABLE, Fault.ACCESS_DENIED])
async def test_what_somebody_must_mend_is_said_at_once(api: DataApi, local: Misbehaving, fault: Fault) -> None:
    local.faults.rates = {fault: 1}
    with pytest.raises(DatabaseMisconfigured):
        await api.execute("select 1")
    assert len(local.calls) == 1


async def test_patience_has_an_end_and_may_be_asked_for_each_time(new_api: NewApi, local: Misbehaving) -> None:
    local.faults.rates = {Fault.THROTTLE: 1}
    left = [0.3, 0.0]
    api = new_api(patience=lambda: left.pop(0))
    with pytest.raises(Throttled):
        await api.execute("select 1")
    first = len(local.calls)
    assert first > 1
    with pytest.raises(Throttled):
        await api.execute("select 1")
    assert len(local.calls) <= first + 2


async def test_a_callers_deadline_ends_retries_and_what_is_under_way(api: DataApi, local: Misbehaving) -> None:
    local.faults.rates = {Fault.RESUMING: 1}
    with pytest.raises(DatabaseUnavailable):
        await api.execute("select 1", within=0.2)
    local.faults.rates = {}
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=r"not done within 0.1 s"):
        await api.execute("select pg_sleep(10)", within=0.1)
    assert time.monotonic() - began < 5


async def test_a_paused_database_is_waited_for_longer_and_it_is_told_how_long(
    new_api: NewApi, local: Misbehaving
) -> None:
    local.faults.resuming_until = time.monotonic() + 0.5
    with pytest.raises(DatabaseResuming):
        await new_api(patience=0).select("select 1")
    patient = new_api(patience=0, waking=10)
    assert await patient.select("select 1 as one") == [{"one": 1}]
    assert patient.woke_after is not None
    assert 0.1 < patient.woke_after < 5
    assert new_api().woke_after is None


async def test_nobody_there_is_no_statement_begun(new_api: NewApi) -> None:
    api = new_api(endpoint_url="http://127.0.0.1:1", patience=0)
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        await api.execute("select 1")


async def test_no_more_calls_are_under_way_than_may(new_api: NewApi) -> None:
    api = new_api(concurrency=3)
    active = """
        select pg_sleep(0.03)::text,
               (select count(*) from pg_stat_activity where datname = current_database() and state = 'active') as n
    """
    found = await asyncio.gather(*(api.select(active) for _ in range(20)))
    assert max(rows[0]["n"] for rows in found) == 3


async def test_the_chunks_of_a_batch_go_out_side_by_side_and_all_arrive(api: DataApi, local: Misbehaving) -> None:
    local.faults.latency = 0.5
    batch = asyncio.create_task(api.batch_execute(INSERT, [{"n": n} for n in range(2_500)]))
    async with asyncio.timeout(5):
        while len(local.calls) < 3:
            await asyncio.sleep(0.01)
    assert [call.status for call in local.calls] == [None] * 3
    await batch
    assert await numbers(api) == list(range(2_500))


async def test_a_batch_fails_with_the_first_failure_when_all_of_it_is_settled(api: DataApi) -> None:
    with pytest.raises(BadData):
        await api.batch_execute("insert into t values (:n + 0 / (:n - 1500))", [{"n": n} for n in range(2_500)])
    assert len(await numbers(api)) >= 1_500  # the others' calls are through


async def test_values_longer_than_a_request_arrive_whole(api: DataApi, local: Misbehaving) -> None:
    text, document = "é😀" * 1_000_000, {"quotes": '"' * 3_000_000}
    sql = "select length(:text) as text, length(cast(:doc as jsonb) ->> 'quotes') as doc, octet_length(:bytes) as bytes"
    [row] = await api.select(sql, {"text": text, "doc": document, "bytes": bytes(5_000_000)})
    assert row == {"text": 2_000_000, "doc": 3_000_000, "bytes": 5_000_000}
    assert local.operations()[0] == "BeginTransaction"
    assert local.operations()[-1] == "CommitTransaction"


async def test_an_answer_that_is_too_large_is_said_to_be(api: DataApi) -> None:
    with pytest.raises(TooMuch, match="fewer rows"):
        await api.select("select repeat('x', 2000000)")


async def test_a_statement_that_is_cut_off_is_undone_and_not_tried_again(api: DataApi, local: Misbehaving) -> None:
    local.limits.statement_seconds = 0.2
    with pytest.raises(StatementTimedOut):
        await api.execute("insert into t select 1 from pg_sleep(10)")
    assert len(local.calls) == 1
    assert await numbers(api) == []


async def test_a_statement_may_go_on_when_it_is_cut_off(new_api: NewApi, api: DataApi, local: Misbehaving) -> None:
    local.limits.statement_seconds = 0.1
    with pytest.raises(StatementTimedOut):
        await new_api(continue_after_timeout=True).execute("insert into t select 1 from pg_sleep(0.4)")
    async with asyncio.timeout(10):
        while not await numbers(api):
            await asyncio.sleep(0.02)


class Proxy:
    """Between client and server: it counts connections, and closes them behind the client's back."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.connections: list[asyncio.StreamWriter] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        to_reader, to_writer = await asyncio.open_connection(self.target.hostname, self.target.port)
        await asyncio.gather(self.pass_on(reader, to_writer), self.pass_on(to_reader, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(65_536):
                writer.write(part)
        writer.close()

    def close_all(self) -> None:
        """At once: the client's event loop has had no turn since, as in a process that was frozen."""
        for writer in self.connections:
            with suppress(OSError):
                writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


@pytest.fixture
async def proxy(local: Misbehaving) -> AsyncIterator[Proxy]:
    proxy = Proxy(local.url)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1") as server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        proxy.close_all()
        await asyncio.sleep(0.05)


async def test_an_idle_client_survives_a_frozen_process(
    new_api: NewApi, api: DataApi, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections are closed behind its back; the next statement, which must not run twice, goes over a new one."""
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0)
    frozen = new_api(endpoint_url=proxy.url, patience=0)
    for number in range(3):
        await frozen.execute(INSERT, {"n": number}, idempotent=False)
        proxy.close_all()
    assert await numbers(api) == [0, 1, 2]
    assert len(proxy.connections) == 3
    await frozen.close()


async def test_a_client_is_made_once_and_connections_are_used_again(
    new_api: NewApi, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    original = wire.Wire._new_client

    def new_client(self: wire.Wire) -> object:
        made.append(self)
        return original(self)

    monkeypatch.setattr(wire.Wire, "_new_client", new_client)
    api = new_api(endpoint_url=proxy.url, concurrency=4)
    await asyncio.gather(*(api.select("select 1") for _ in range(20)))
    await asyncio.gather(*(api.select("select 1") for _ in range(20)))
    assert (len(made), len(proxy.connections)) == (1, 4)
    await api.close()


async def test_one_object_serves_one_event_loop_after_another(local: Misbehaving) -> None:
    api = DataApi(CLUSTER_ARN, SECRET_ARN, endpoint_url=local.url)

    async def use() -> object:
        async with api:
            return await api.select("select 1 as one")

    found = await asyncio.to_thread(lambda: [asyncio.run(use()), asyncio.run(use())])
    assert found == [[{"one": 1}]] * 2


async def test_parameters_and_rows_are_never_logged(api: DataApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert await api.select("select :word || '-answer' as word", {"word": "hush"}) == [{"word": "hush-answer"}]
    assert caplog.records
    assert "hush" not in caplog.text
    assert "hush" not in repr(api)
