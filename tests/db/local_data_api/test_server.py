"""The server as a process and in a loop: it stops when it is told to, and leaves nothing behind."""

import asyncio
import re
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import pytest

from db.local_data_api import create_app, environment, serving
from tests.conftest import in_database
from tests.db.local_data_api.api import ARNS, SIGNATURE, Api

SERVE = """
import sys
from db.local_data_api import create_app, serve
serve(create_app(sys.argv[1]), port=0, when_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


async def sessions(url: str) -> int:
    connection = await asyncpg.connect(url)
    number: int = await connection.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()
    return number


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_whatever_is_under_way(empty_database_url: str, how: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, empty_database_url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    api = Api(url, "", None)
    assert (await api.post("/BeginTransaction", ARNS)).status_code == 200
    slow = asyncio.create_task(api.post("/Execute", {**ARNS, "sql": "select pg_sleep(30)"}))
    while await sessions(empty_database_url) < 2:
        await asyncio.sleep(0.01)
    process.send_signal(how)
    told, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (told, process.returncode) == (b"stopped\n", 0), errors.decode()
    with suppress(httpx.TransportError):
        assert (await slow).status_code == 500
    while await sessions(empty_database_url):
        await asyncio.sleep(0.01)


async def test_a_port_that_is_taken_is_an_error_at_once(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with serving(create_app(server), port=taken.getsockname()[1]):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6_has_its_brackets(server: str) -> None:
    try:
        async with serving(create_app(server), host="::1") as url:
            assert re.fullmatch(r"http://\[::1\]:\d+", url)
            assert (await Api(url, "", None).post("/Execute", {**ARNS, "sql": "select 1"})).status_code == 200
    except OSError:
        pytest.skip("no IPv6 here")


async def test_sessions_are_closed_with_it(empty_database_url: str) -> None:
    async with serving(create_app(empty_database_url)) as url:
        api = Api(url, "", None)
        await api.post("/Execute", {**ARNS, "sql": "select 1"})
        await api.post("/BeginTransaction", ARNS)
        assert await sessions(empty_database_url) == 1
    assert await sessions(empty_database_url) == 0


async def test_the_url_of_the_database_may_change(empty_database_url: str, server: str) -> None:
    urls = iter([empty_database_url, in_database(server, "postgres")])

    async def next_url() -> str:
        return next(urls)

    async with serving(create_app(next_url)) as url:
        api = Api(url, "", None)
        sql = {**ARNS, "sql": "select current_database(), pg_terminate_backend(pg_backend_pid())"}
        await api.post("/Execute", sql)
        answer = await api.post("/Execute", {**ARNS, "sql": "select current_database()"})
    assert answer.json()["records"] == [[{"stringValue": "postgres"}]]


@pytest.mark.parametrize("extra", ["", "?connect_timeout=3&options=-c%20work_mem%3D1MB"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_any_form_of_url_will_do(server: str, scheme: str, extra: str) -> None:
    url = f"{scheme}{in_database(server, 'postgres').removeprefix('postgresql')}{extra}"
    async with serving(create_app(url)) as endpoint:
        answer = await Api(endpoint, "", None).post("/Execute", {**ARNS, "sql": "show timezone"})
    assert answer.json()["records"] == [[{"stringValue": "UTC"}]]


async def test_a_url_that_is_none_is_told(server: str) -> None:
    async with serving(create_app(server.replace("postgresql://", "nonsense "))) as url:
        answer = await Api(url, "", None).post("/Execute", {**ARNS, "sql": "select 1"})
    assert answer.headers["x-amzn-errortype"] == "DatabaseErrorException"


async def test_idle_sessions_are_closed_soon(empty_api: Api, empty_database_url: str) -> None:
    await empty_api.execute("select 1")
    empty_api.limits.pooled_seconds = 0
    while await sessions(empty_database_url):
        await asyncio.sleep(0.02)


async def test_servers_that_hand_on_the_whole_address_are_understood(server: str) -> None:
    """h11's do, where httptools' take it apart."""
    sent: list[Any] = []
    body = b'{"resourceArn": "%s", "secretArn": "%s", "sql": "select 1"}' % tuple(map(str.encode, ARNS.values()))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in SIGNATURE.items()]
    scope = {"type": "http", "method": "POST", "path": "http://here:1/Execute", "query_string": b"", "headers": headers}
    app = create_app(server)
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    assert sent[0]["status"] == 200


def test_the_environment_points_any_sdk_here() -> None:
    found = environment("http://127.0.0.1:8002")
    assert found["AWS_ENDPOINT_URL_RDS_DATA"] == "http://127.0.0.1:8002"
    assert all(found.values())
