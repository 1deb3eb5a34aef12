"""`make bench`: events a second, beside one statement an event and beside COPY, in one interleaved run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import asyncpg
import httpx
import typer
import uvloop
from rich.console import Console
from rich.progress import track
from rich.table import Table

import providers
from bench import database
from bench.load import Measured, fire, prepared
from bench.rows import Rows
from db.embedded import Embedded, free_port
from providers.adapter import Verified

WORKERS = 2
# Events a request → connections, and requests a round.
LOADS = {1: (256, 6_000), 100: (16, 300), 1_000: (4, 40)}

SERVICE = "service, {} a request"
NAIVE = "(a) one statement an event, behind the same HTTP, {} a request"
STATEMENT = "record_events.sql alone, {} a statement"
COPY = "(b) COPY alone, {} rows at a time"
ONE_BY_ONE = "(a) one statement an event, without HTTP"

# A figure, the one that it is compared with, and the least that it should be of it.
AIMS = [
    (SERVICE.format(100), STATEMENT.format(100), 0.6),
    (STATEMENT.format(1_000), COPY.format(1_000), 0.5),
    (SERVICE.format(1), NAIVE.format(1), 1.8),
    (SERVICE.format(100), NAIVE.format(100), None),
    (SERVICE.format(1_000), NAIVE.format(1_000), None),
    (SERVICE.format(1_000), COPY.format(1_000), None),
]

console = Console(width=150)


class Figures:
    """Of each way: events a second in each round, and every latency."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self.latencies: dict[str, list[float]] = defaultdict(list)

    def add(self, way: str, events: int, measured: Measured | float) -> None:
        seconds = measured.seconds if isinstance(measured, Measured) else measured
        self.rates[way].append(events / seconds)
        if isinstance(measured, Measured):
            self.latencies[way] += measured.latencies

    def summary(self) -> dict[str, dict[str, float]]:
        told: dict[str, dict[str, float]] = {}
        for way, rates in self.rates.items():
            told[way] = {
                "events_per_second": round(median(rates)),
                "lowest": round(min(rates)),
                "highest": round(max(rates)),
            }
            if latencies := sorted(self.latencies[way]):
                told[way] |= {"p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}
        return told


def percentile(ordered: list[float], percent: int) -> float:
    """In milliseconds."""
    return round(ordered[(len(ordered) - 1) * percent // 100] * 1000, 1)


@contextmanager
def process(*command: str, port: int, **environment: str) -> Iterator[str]:
    """A server of its own, once it answers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
    arguments = [sys.executable, "-m", *command, "--port", str(port), "--workers", str(WORKERS)]
    with subprocess.Popen(arguments, env=inherited | environment, stdout=subprocess.DEVNULL) as running:
        try:
            url = f"http://127.0.0.1:{port}/webhooks/sendgrid"
            wait_until_up(url)
            yield url
        finally:
            running.terminate()


def wait_until_up(url: str) -> None:
    deadline = time.monotonic() + 60
    with httpx.Client() as client:
        while time.monotonic() < deadline:
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


async def run(servers: Servers, rows: Rows, rounds: int, scale: float) -> Figures:
    url = servers.database
    figures = Figures()
    connection = await asyncpg.connect(url)
    await database.add_people(connection)
    sent = 0
    for _ in track(range(rounds), "measuring", console=console, transient=True):
        for size, (connections, whole) in LOADS.items():
            number = max(int(whole * scale), 2)
            for way, target in ((SERVICE, servers.service), (NAIVE, servers.naive)):
                times = max(number // (1 if way == SERVICE or size == 1 else 4), 1)
                requests = [prepared(target, request) for request in rows.requests(times, size)]
                measured = await fire(target, requests, connections)
                expect(measured.receipt["recorded"], times * size)
                sent += times * size
                figures.add(way.format(size), times * size, measured)
            if size > 1:
                seconds = await database.record_events(connection, rows, number, size)
                figures.add(STATEMENT.format(size), number * size, seconds)
                sent += number * size
                figures.add(COPY.format(size), number * size, await database.copy(connection, rows, number, size))
            else:
                figures.add(ONE_BY_ONE, number, await database.one_by_one(url, rows, number))
                sent += number
    expect(await connection.fetchval("select count(*) from webhook_events"), sent)
    await connection.close()
    return figures


def expect(found: int, expected: int) -> None:
    if found != expected:
        sys.exit(f"{expected} events were sent, {found} are there")


def parse_times() -> dict[str, float]:
    """Microseconds an event, of 1,000 events of each provider's own samples: the median of five."""
    told = {}
    for name in providers.ADAPTERS:
        kind = providers.adapter(name)
        adapter = kind(name, [kind.new_key()])
        now = datetime.now(UTC)
        events = list(adapter.samples)
        made = [adapter.sample(events[n % len(events)], f"person{n}@example.com", now, n) for n in range(1_000)]
        requests = [Verified(request) for request in adapter.sign(made, now)]
        times = []
        for _ in range(5):
            began = time.perf_counter()
            found = sum(len(adapter.parse(request).events) for request in requests)
            times.append((time.perf_counter() - began) / found * 1e6)
        told[name] = round(median(times), 1)
    return told


def show(summary: dict[str, dict[str, float]], parsing: dict[str, float]) -> None:
    table = Table("way", "events/s (median)", "lowest to highest", "p50 ms", "p99 ms", title="Writing")
    for way, each in summary.items():
        spread = f"{each['lowest']:,.0f} to {each['highest']:,.0f}"
        table.add_row(
            way, f"{each['events_per_second']:,.0f}", spread, str(each.get("p50_ms", "")), str(each.get("p99_ms", ""))
        )
    console.print(table)
    ratios = Table("of", "to", "ratio", "aim", title="Ratios of medians")
    for one, other, aim in AIMS:
        ratio = summary[one]["events_per_second"] / summary[other]["events_per_second"]
        ratios.add_row(one, other, f"{ratio:.2f}", f"at least {aim}" if aim else "")
    console.print(ratios)
    parsed = Table("provider", "parsing, µs an event", "aim", title="Reading 1,000 events")
    for name, microseconds in parsing.items():
        parsed.add_row(name, str(microseconds), "under 20")
    console.print(parsed)


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    scale: Annotated[float, typer.Option(help="Of the number of requests in a round.")] = 1.0,
    quick: Annotated[bool, typer.Option("--quick", help="One small round: does it run?")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Exits with another status than 0 only if an event is missing."""
    if quick:
        rounds, scale = 1, 0.02
    kind = providers.adapter("sendgrid")
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
            with (
                process("webhooks", "serve", port=free_port(), **settings) as service,
                process(
                    "uvicorn", "bench.naive:app", "--log-level=warning", "--no-access-log", port=free_port(), **settings
                ) as naive,
            ):
                figures = uvloop.run(run(Servers(url, service, naive), Rows(adapter), rounds, scale))
        finally:
            embedded.discard()
    summary, parsing = figures.summary(), parse_times()
    show(summary, parsing)
    if json_file:
        json_file.write_text(json.dumps({"writing": summary, "parsing_us": parsing}, indent=2))


if __name__ == "__main__":
    typer.run(main)
