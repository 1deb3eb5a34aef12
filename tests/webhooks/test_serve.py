"""The service as a process: started with nothing set up, stopped in the middle, several workers."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn

import providers
from db.embedded import Embedded, free_port
from providers.adapter import Adapter
from tests import tables
from tests.providers import payloads
from tests.service import Service
from tests.webhooks.conftest import sample, signed
from webhooks.server import APP, Server

if TYPE_CHECKING:
    import asyncpg

    from providers.adapter import WebhookRequest

New = Callable[..., Service]


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[New]:
    made: list[Service] = []

    def new(*options: str, **settings: str) -> Service:
        service = Service(tmp_path / "data", settings=settings, command=("serve", *options))
        made.append(service)
        service.start()
        return service

    yield new
    for service in made:
        service.kill()
    if (tmp_path / "data" / "postgres").exists():
        Embedded(tmp_path / "data" / "postgres").discard()


@pytest.fixture
def adapter() -> Adapter:
    sendgrid = providers.load("sendgrid")
    return sendgrid("sendgrid", [sendgrid.new_key()])


@pytest.fixture
def configured(adapter: Adapter, database_url: str) -> dict[str, str]:
    sources = json.dumps({"sendgrid": {"keys": list(adapter.keys)}})
    return {"WEBHOOKS_SOURCES": sources, "WEBHOOKS_DATABASE_URL": database_url}


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
    command = [sys.executable, "-m", "webhooks", *arguments]
    return subprocess.run(
        command, env=environment | service.settings, capture_output=True, text=True, check=False, timeout=60
    )


def test_with_nothing_set_up_every_event_of_every_provider_can_be_sent(new_service: New) -> None:
    service = new_service()
    samples = {name: list(payloads.new_adapter(name).samples) for name in providers.ADAPTERS}
    for name, events in samples.items():
        sent = run(service, "send", name, *events, "--email", "user{n}@example.com", "--url", service.url)
        assert sent.returncode == 0, sent.stderr
        receipt = json.loads(sent.stdout)
        assert (receipt["recorded"], receipt["dead"]) == (len(events), 0)
    shown = run(service, "events", "--format", "json", "--limit", "1000")
    assert len(shown.stdout.splitlines()) == sum(map(len, samples.values()))
    assert run(service, "doctor").returncode == 0
    assert "user0@example.com" not in service.log.read_text()


def test_what_nobody_verifies_can_be_sent_without_a_key(new_service: New) -> None:
    service = new_service(WEBHOOKS_SOURCES='{"sendgrid": {"verify": false}, "mailgun": {"verify": false}}')
    for name in ("sendgrid", "mailgun"):
        sent = run(service, "send", name, "--email", "ada@example.test", "--url", service.url)
        assert sent.returncode == 0, sent.stderr
        assert json.loads(sent.stdout)["recorded"] == 1


def test_what_was_recorded_is_there_after_a_restart(new_service: New) -> None:
    service = new_service()
    send = ("send", "sendgrid", "--email", "ada@example.test", "--count", "250", "--url", service.url)
    assert json.loads(run(service, *send).stdout)["recorded"] == 250
    assert service.stop() == 0
    service.start()
    assert len(run(service, "events", "--format", "json", "--limit", "1000").stdout.splitlines()) == 250


async def test_workers_share_the_port_and_their_counters(
    new_service: New, configured: dict[str, str], adapter: Adapter
) -> None:
    service = new_service("--workers", "2", **configured)
    async with httpx.AsyncClient() as client:
        for number in range(40):
            request = signed(adapter, sample(adapter, "delivered", number=number))
            # A connection of its own each, so that both workers are met.
            answer = await client.post(
                f"{service.url}/webhooks/sendgrid",
                content=request.body,
                headers={**request.headers, "Connection": "close"},
            )
            assert answer.json()["recorded"] == 1
    text = httpx.get(f"{service.url}/metrics").text
    [number_told] = re.findall(r'webhooks_records_total\{outcome="recorded",source="sendgrid"\} (\S+)', text)
    assert float(number_told) == 40
    assert service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_what_is_in_flight_is_finished_before_it_stops(
    new_service: New, configured: dict[str, str], adapter: Adapter, connection: "asyncpg.Connection", workers: str
) -> None:
    await tables.add_people(connection, "ada@example.test")
    service = new_service("--workers", workers, **configured)
    request = signed(adapter, sample(adapter, "unsubscribe"))
    async with httpx.AsyncClient(timeout=30) as client:
        # An idle connection must not hold it up.
        await client.get(f"{service.url}/healthz")
        async with connection.transaction():
            await connection.execute("select 1 from email_preferences for update")
            delivery = asyncio.create_task(post(client, service, request))
            await until_waiting(connection)
            assert service.process is not None
            service.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            if workers == "1":
                await asyncio.to_thread(service.wait_until, 503)
                late = await post(client, service, signed(adapter, sample(adapter, "unsubscribe", "bob@example.test")))
                assert (late.status_code, late.json()["error"]) == (503, "shutting_down")
        answer = await delivery
    assert (answer.status_code, answer.json()["opted_out"]) == (200, 1)
    assert await asyncio.to_thread(service.process.wait, 20) == 0
    assert time.monotonic() - began < 10
    assert await tables.preferences(connection) == {"ada@example.test": False}


def test_a_signal_during_the_start_ends_it_and_asks_nothing_of_a_half_made_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webhooks.server.stop_taking", lambda: pytest.fail("the app was asked"))
    server = Server(uvicorn.Config(APP, log_config=None))
    for _ in range(2):
        server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit


async def post(client: httpx.AsyncClient, service: Service, request: "WebhookRequest") -> httpx.Response:
    return await client.post(f"{service.url}/webhooks/sendgrid", content=request.body, headers=dict(request.headers))


async def until_waiting(connection: "asyncpg.Connection") -> None:
    while not await connection.fetchval(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    ):
        await connection.execute("select pg_stat_clear_snapshot()")
        await asyncio.sleep(0.01)


def test_uvicorn_alone_serves_it(configured: dict[str, str], adapter: Adapter, tmp_path: Path) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
    command = [sys.executable, "-m", "uvicorn", "webhooks.app:app", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(command, env=environment | configured, cwd=Path(__file__).parents[2]) as process:
        try:
            service = Service(tmp_path / "data")
            service.port, service.url, service.process = port, f"http://127.0.0.1:{port}", process
            service.wait_until(200)
            request = signed(adapter, sample(adapter, "delivered"))
            answer = httpx.post(f"{service.url}/webhooks/sendgrid", content=request.body, headers=dict(request.headers))
            assert answer.json()["recorded"] == 1
        finally:
            process.terminate()
            assert process.wait(20) in {0, -signal.SIGTERM}


def test_a_database_that_was_not_migrated_says_what_to_run_and_then_works(
    tmp_path: Path, adapter: Adapter, empty_database_url: str
) -> None:
    sources = json.dumps({"sendgrid": {"keys": list(adapter.keys)}})
    settings = {"WEBHOOKS_SOURCES": sources, "WEBHOOKS_DATABASE_URL": empty_database_url}
    service = Service(tmp_path / "data", settings=settings)
    try:
        with pytest.raises(AssertionError, match="never said 200"):
            service.start(seconds=2)
        ready = httpx.get(f"{service.url}/readyz")
        assert (ready.status_code, "webhooks migrate" in ready.json()["detail"]) == (503, True)
        assert run(service, "doctor").returncode == 1
        migrated = run(service, "migrate")
        assert (migrated.returncode, "applied 0001_webhook_events" in migrated.stdout) == (0, True)
        service.wait_until(200)
        assert run(service, "doctor").returncode == 0
    finally:
        service.kill()


def test_a_port_that_is_taken_is_a_clear_message(configured: dict[str, str], tmp_path: Path) -> None:
    service = Service(tmp_path / "data", settings=configured)
    with socket.create_server(("127.0.0.1", service.port)):
        for workers in ("1", "2"):
            refused = run(service, "serve", "--port", str(service.port), "--workers", workers)
            assert refused.returncode == 1
            assert refused.stderr == (
                f"cannot listen on 127.0.0.1:{service.port} (Address already in use): choose another port"
                f" (--port, or make run PORT={service.port + 1}) or an address of this machine (--host)\n"
            )


def test_settings_that_cannot_be_used_stop_it_at_once(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", settings={"WEBHOOKS_SOURCES": "{", "WEBHOOKS_MAX_BODY_BYTES": "x"})
    for command in (["serve"], ["migrate"], ["doctor"], ["events"]):
        refused = run(service, *command)
        assert refused.returncode == 2
        assert "WEBHOOKS_SOURCES" in refused.stderr
        assert "WEBHOOKS_MAX_BODY_BYTES" in refused.stderr
        assert "Traceback" not in refused.stderr
