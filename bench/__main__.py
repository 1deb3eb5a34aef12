"""`make bench`: events a second, beside one statement an event and beside COPY, in one interleaved run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import asyncpg
import httpx
import typer
import uvloop
from rich.console import Console
from rich.progress import track

import providers
from bench import database
from bench.data_api import Summary as TripsSummary
from bench.data_api import Trips, local_data_api, nothing_behind, show_trips
from bench.figures import COPY, NAIVE, ONE_BY_ONE, SERVICE, STATEMENT, STATEMENT_ONCE, Figures, ratios, show
from bench.load import fire, prepared
from bench.naive import CONNECTIONS
from bench.parsing import parse_times
from bench.rows import Rows
from db.embedded import Embedded, free_port
from db.postgres import Postgres
from providers.adapter import Adapter

WORKERS = 2
# As many statements as the workers have under way together.
IN_FLIGHT = 4
# Events a request → connections, and requests a round.
LOADS = {1: (256, 6_000), 100: (16, 300), 1_000: (4, 40)}
# Of those requests, where it is only to be seen that it runs.
QUICK = 0.02

console = Console(width=150)


@contextmanager
def process(*command: str, port: int, **environment: str) -> Iterator[str]:
    """A server of its own, once it answers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
    arguments = [sys.executable, "-m", *command, "--port", str(port), "--workers", str(WORKERS)]
    with subprocess.Popen(arguments, env=inherited | environment, stdout=subprocess.DEVNULL) as running:
        try:
            url = f"http://127.0.0.1:{port}/webhooks/sendgrid"
            wait_until_up(url, running)
            yield url
        finally:
            running.terminate()


def wait_until_up(url: str, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client() as client:
        while time.monotonic() < deadline and running.poll() is None:
            try:
                client.get(url)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                time.sleep(0.5)  # the second worker
                return
    raise TimeoutError(f"{url} does not answer")


@dataclass(frozen=True)
class Servers:
    """Where each listens."""

    database: str
    service: str
    naive: str
    data_api: str
    nothing_behind: str


class Bench:
    """The ways of writing, each measured once a round; nobody's people are another's."""

    def __init__(self, servers: Servers, adapter: Adapter, pool: asyncpg.Pool, ours: Postgres) -> None:
        self.servers = servers
        self.pool = pool
        self.ours = ours
        self.figures = Figures()
        self.rows, self.naive, self.copied, self.seeds = (
            Rows(adapter, people) for people in ("person", "other", "copied", "seed")
        )
        self.trips = Trips(Rows(adapter, "far"), self.seeds, Rows(adapter, "nobody"))

    async def round(self, scale: float) -> None:
        for size, (connections, whole) in LOADS.items():
            number = max(int(whole * scale), 2)
            await self.over_http(SERVICE, self.servers.service, self.rows, (number, size, connections))
            # The naive service takes long over large deliveries: a quarter of them tells as much.
            fewer = number if size == 1 else max(number // 4, 1)
            await self.over_http(NAIVE, self.servers.naive, self.naive, (fewer, size, connections))
            if size == 1:
                self.figures.add(ONE_BY_ONE, number, await database.one_by_one(self.pool, self.naive, number))
                continue
            for way, at_once in ((STATEMENT, IN_FLIGHT), (STATEMENT_ONCE, 1)):
                seconds = await database.record_events(self.ours, self.rows, number, size, at_once)
                self.figures.add(way.format(size), number * size, seconds)
            seconds = await database.copy(self.pool, self.copied, number, size, IN_FLIGHT)
            self.figures.add(COPY.format(size), number * size, seconds)

    async def over_the_data_api(self, scale: float) -> None:
        await self.trips.round(self.servers.data_api, self.servers.nothing_behind, self.ours, scale)

    async def over_http(self, way: str, url: str, rows: Rows, load: tuple[int, int, int]) -> None:
        number, size, connections = load
        measured = await fire(url, [prepared(url, request) for request in rows.requests(number, size)], connections)
        events = number * size
        for name in ("received", "recorded"):
            expect(f"events {name} by {way.format(size)}", measured.receipt[name], events)
        self.figures.add(way.format(size), events, measured)

    async def check(self) -> None:
        """Every event is there, and everybody who left is out."""
        ours, naive, far, seeds = self.rows, self.naive, self.trips.rows, self.seeds
        for what, sql, expected in (
            (
                "events",
                "select count(*) from webhook_events",
                ours.handed_out + naive.handed_out + self.trips.written,
            ),
            ("events by COPY", "select count(*) from copied", self.copied.handed_out),
            (
                "people opted out",
                "select count(*) from email_preferences where not marketing_opt_in",
                sum(each.opted_out for each in (ours, naive, far, seeds)),
            ),
        ):
            expect(what, await self.pool.fetchval(sql), expected)


def expect(what: str, found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"{what}: {expected} expected, {found} are there")


async def run(servers: Servers, adapter: Adapter, rounds: int, scale: float) -> tuple[Figures, TripsSummary]:
    ours = Postgres.at(servers.database, connections=IN_FLIGHT)
    async with asyncpg.create_pool(servers.database, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        bench = Bench(servers, adapter, pool, ours)
        async with pool.acquire() as connection:
            await database.add_people(connection, bench.rows, bench.naive, bench.trips.rows, bench.seeds)
        await bench.round(QUICK)  # to open connections and prepare statements
        bench.figures = Figures()
        for _ in track(range(rounds), "measuring", console=console, transient=True):
            await bench.round(scale)
            await bench.over_the_data_api(scale)
        await bench.check()
    await ours.close()
    return bench.figures, bench.trips.summary()


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="One small round: does it run?")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Exits with another status than 0 only if something is missing."""
    kind = providers.load("sendgrid")
    adapter = kind("sendgrid", [kind.new_key()])
    with tempfile.TemporaryDirectory(prefix="webhooks-bench-") as directory:
        embedded = Embedded(Path(directory) / "data" / "postgres")
        try:
            url = embedded.start()
            settings = {
                "WEBHOOKS_DATA_DIR": str(Path(directory) / "data"),
                "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": list(adapter.keys)}}),
                "WEBHOOKS_LOG_LEVEL": "warning",
                "BENCH_KEYS": json.dumps(list(adapter.keys)),
                "BENCH_DATABASE_URL": url,
            }
            same = ("uvicorn", "bench.naive:app", "--log-level=warning", "--no-access-log", "--no-server-header")
            with (
                process("webhooks", "serve", port=free_port(), **settings) as service,
                process(*same, port=free_port(), **settings) as naive,
                local_data_api(url) as data_api,
                nothing_behind() as idle,
            ):
                servers = Servers(url, service, naive, data_api, idle)
                figures, trips = uvloop.run(run(servers, adapter, 1 if quick else rounds, QUICK if quick else 1.0))
        finally:
            embedded.discard()
    summary, parsing = figures.summary(), parse_times(50 if quick else 1_000)
    show(console, summary, parsing)
    show_trips(console, trips)
    if json_file:
        told = {"writing": summary, "ratios": ratios(summary), "parsing_us": parsing, "round_trips": trips}
        json_file.write_text(json.dumps(told, indent=2))


if __name__ == "__main__":
    typer.run(main)
