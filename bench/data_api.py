"""Deliveries over the Data API, where each call takes its time on the way: how many such times until the answer.

A round trip is what `select 1` takes in the same run. The local Data API and its PostgreSQL share the machine's cores
with us, which Aurora would not.
"""

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.database import record_events
from bench.rows import Rows
from db.chunks import MAX_ROWS
from db.data_api import DataApi
from db.database import Database
from db.embedded import free_port
from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from db.store import Store
from providers.events import EventType

LATENCY = 0.15
CONCURRENCY = 16
# Events in one delivery → the most round trips that may pass until it is recorded.
SIZES = {1_000: 1.3, 10_000: 1.6}
RECORDED = "{:,} events in one delivery, recorded"
NOTHING_BEHIND = "{:,} events in one delivery, to a Data API whose database takes no time"
ANSWERED = "{:,} events in one delivery, verified, parsed and recorded"
ALONE = "the same statements straight to PostgreSQL, {:,} events: what its work takes here"
SEED = "the seed's way: one ExecuteStatement an event that matters, {:,} of {:,} events"
SEED_EVENTS = 1_000
CALLS = 5

UPDATE = """
update email_preferences set marketing_opt_in = false, updated_at = now() at time zone 'UTC'
 where lower(email_address) = lower(:address)
"""

Summary = dict[str, dict[str, float]]


@contextmanager
def local_data_api(database_url: str) -> Iterator[str]:
    """One that is late."""
    faults = json.dumps({"latency": LATENCY})
    with listening("webhooks", "data-api", "--database-url", database_url, "--faults", faults) as url:
        yield url


@contextmanager
def nothing_behind() -> Iterator[str]:
    with listening("uvicorn", "bench.nothing_behind:app", "--log-level=warning", "--no-access-log") as url:
        yield url


@contextmanager
def listening(*command: str) -> Iterator[str]:
    """A process of its own, once it listens."""
    port = free_port()
    arguments = [sys.executable, "-m", *command, "--port", str(port)]
    environment = os.environ | {"BENCH_LATENCY": str(LATENCY)}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL) as running:
        try:
            wait_until_up(port, running)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def wait_until_up(port: int, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("what stands for the Data API does not answer")


def client(url: str) -> DataApi:
    return DataApi(CLUSTER_ARN, SECRET_ARN, "postgres", concurrency=CONCURRENCY, patience=60, endpoint_url=url)


async def seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


@dataclass
class Trips:
    """Of each way, how long it took in each round, and how many round trips that was."""

    rows: Rows
    """Written by us."""
    seeds: Rows
    """Written as the seed does: its people are nobody else's."""
    nobodys: Rows
    """Written nowhere."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    trips: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    written: int = 0

    async def round(self, url: str, idle_url: str, beside: Database, scale: float) -> None:
        """At `idle_url` no database does anything; `beside` is the one behind `url`, without the way to it.

        `scale` makes deliveries smaller, where it is only to be seen that it runs.
        """
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(name, "made-up")
        async with client(url) as api, client(idle_url) as idle:
            for each in (api, idle):
                await self.warm_up(each)
            gc.freeze()  # as the service does at its start
            for size in SIZES:
                number = int(size * scale)
                await self.deliver(api, size, number)
                await self.deliver_to_nothing(idle, size, number)
                await self.alone(api, beside, size, number)
            await self.as_the_seed_does(api, int(SEED_EVENTS * scale))

    async def warm_up(self, api: DataApi) -> None:
        """All connections are there, and every module is imported."""
        await asyncio.gather(*(api.select("select pg_sleep(0.05)::text") for _ in range(CONCURRENCY)))

    async def deliver(self, api: DataApi, size: int, number: int) -> None:
        store = Store(api, in_flight=CONCURRENCY)
        trip = await self.round_trip(api)
        [batch] = self.rows.batches(1, number)
        self.add(RECORDED.format(size), await seconds(store.record(batch)), trip)
        [request] = self.rows.requests(1, number)
        self.add(ANSWERED.format(size), await seconds(self.rows.ingest(request, store)), trip)
        self.written += 2 * number

    async def deliver_to_nothing(self, idle: DataApi, size: int, number: int) -> None:
        trip = await self.round_trip(idle)
        [batch] = self.nobodys.batches(1, number)
        store = Store(idle, in_flight=CONCURRENCY)
        self.add(NOTHING_BEHIND.format(size), await seconds(store.record(batch)), trip)

    async def alone(self, api: DataApi, beside: Database, size: int, number: int) -> None:
        chunk = min(MAX_ROWS, number)
        took = await record_events(beside, self.rows, number // chunk, chunk, number // chunk)
        self.add(ALONE.format(size), took, await self.round_trip(api))
        self.written += number // chunk * chunk

    async def as_the_seed_does(self, api: DataApi, number: int) -> None:
        trip = await self.round_trip(api)
        [batch] = self.seeds.batches(1, number)
        leaving = [event.email_address for event in batch.events if event.type == EventType.UNSUBSCRIBED]

        async def one_by_one() -> None:
            for address in leaving:
                await api.execute(UPDATE, {"address": address})

        self.add(SEED.format(SEED_EVENTS // 10, SEED_EVENTS), await seconds(one_by_one()), trip)

    async def round_trip(self, api: DataApi) -> float:
        return median([await seconds(api.select("select 1")) for _ in range(CALLS)])

    def add(self, way: str, took: float, trip: float) -> None:
        self.seconds[way].append(took)
        self.trips[way].append(took / trip)

    def summary(self) -> Summary:
        return {
            way: {
                "ms": round(median(self.seconds[way]) * 1000, 1),
                "round_trips": round(median(trips), 2),
                "fewest": round(min(trips), 2),
                "most": round(max(trips), 2),
            }
            for way, trips in self.trips.items()
        }


def show_trips(console: Console, summary: Summary) -> None:
    aims = {way.format(size): aim for way in (RECORDED, NOTHING_BEHIND) for size, aim in SIZES.items()}
    table = Table("way", "ms", "round trips", "fewest to most", "aim", "", title="Over the Data API, 150 ms a call")
    for way, each in summary.items():
        aim = aims.get(way)
        reached = each["round_trips"] <= aim if aim else None
        verdict = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[reached]
        table.add_row(
            way,
            f"{each['ms']:,}",
            f"{each['round_trips']:.2f}",
            f"{each['fewest']:.2f} to {each['most']:.2f}",
            f"at most {aim}" if aim else "",
            verdict,
        )
    console.print(table)
