"""Deliveries over the Data API, where each call takes its time on the way: how many such times until the answer.

A round trip is what `select 1` takes in the same run. The local Data API and its PostgreSQL share the machine's cores
with us, which Aurora would not.
"""

import asyncio
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

from bench.rows import Rows
from db.data_api import DataApi
from db.embedded import free_port
from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from db.store import Store
from providers.events import EventType

LATENCY = 0.15
CONCURRENCY = 16
# Events in one delivery → the most round trips that may pass until it is recorded.
SIZES = {1_000: 1.3, 10_000: 1.6}
RECORDED = "{:,} events in one delivery, recorded"
ANSWERED = "{:,} events in one delivery, verified, parsed and recorded"
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
    """One that is late, in a process of its own, once it listens."""
    port = free_port()
    faults = json.dumps({"latency": LATENCY})
    arguments = ["data-api", "--port", str(port), "--database-url", database_url, "--faults", faults]
    with subprocess.Popen([sys.executable, "-m", "webhooks", *arguments], stdout=subprocess.DEVNULL) as running:
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
    raise TimeoutError("the local Data API does not answer")


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
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    trips: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    written: int = 0

    async def round(self, url: str, scale: float) -> None:
        """`scale` makes deliveries smaller, where it is only to be seen that it runs."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ.setdefault(name, "made-up")
        async with DataApi(
            CLUSTER_ARN, SECRET_ARN, "postgres", concurrency=CONCURRENCY, patience=60, endpoint_url=url
        ) as api:
            store = Store(api, in_flight=CONCURRENCY)
            await self.warm_up(api)
            for size in SIZES:
                await self.deliver(api, store, size, int(size * scale))
            await self.as_the_seed_does(api, int(SEED_EVENTS * scale))

    async def warm_up(self, api: DataApi) -> None:
        """All connections are there, and every module is imported."""
        await asyncio.gather(*(api.select("select pg_sleep(0.05)::text") for _ in range(CONCURRENCY)))

    async def deliver(self, api: DataApi, store: Store, size: int, number: int) -> None:
        trip = await self.round_trip(api)
        [batch] = self.rows.batches(1, number)
        self.add(RECORDED.format(size), await seconds(store.record(batch)), trip)
        [request] = self.rows.requests(1, number)
        self.add(ANSWERED.format(size), await seconds(self.rows.ingest(request, store)), trip)
        self.written += 2 * number

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
    aims = {RECORDED.format(size): aim for size, aim in SIZES.items()}
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
