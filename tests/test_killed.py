"""Killed in the middle of a load, again and again: every event that was acknowledged is there, once, and so are the others.

The provider's part is played as providers do: what is not answered with 2xx is sent again, in any order.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

import providers
from db.embedded import Cluster, Embedded
from providers.adapter import Adapter, Verified, WebhookRequest
from tests import tables
from tests.model import ledger_after, preferences_after
from tests.service import Service
from webhooks.consent import TopicPolicy, decide

KILLS = 20
SENDERS = 12
PEOPLE = {f"person{n}@example.test": True for n in range(50)}
EVENTS = ["unsubscribe", "group_resubscribe", "spamreport", "delivered", "open", "group_unsubscribe"]


@pytest.fixture
def adapter() -> Adapter:
    sendgrid = providers.load("sendgrid")
    return sendgrid("sendgrid", [sendgrid.new_key()])


@pytest.fixture
def service(tmp_path: Path, adapter: Adapter) -> Iterator[Service]:
    sources = json.dumps({"sendgrid": {"keys": list(adapter.keys)}})
    service = Service(tmp_path / "data", settings={"WEBHOOKS_SOURCES": sources})
    service.start()
    yield service
    service.kill()
    Embedded(service.data_dir / "postgres").discard()


def deliveries(adapter: Adapter) -> Iterator[WebhookRequest]:
    """Without end: one to thirty events each, of the last hour."""
    chance = random.Random(7)
    now = datetime.now(UTC)
    people = list(PEOPLE)
    number = 0
    while True:
        samples = []
        for _ in range(chance.choice([1, 1, 1, 5, 30])):
            number += 1
            at = now - timedelta(seconds=chance.randrange(3_600))
            samples.append(adapter.sample(chance.choice(EVENTS), chance.choice(people), at, number))
        yield from adapter.sign(samples, now)


class Provider:
    """Sends until it is told to stop, and what was not acknowledged again until it is."""

    def __init__(self, service: Service, adapter: Adapter) -> None:
        self.url = f"{service.url}/webhooks/{adapter.source}"
        self.new = deliveries(adapter)
        self.acknowledged: list[WebhookRequest] = []
        self.is_stopping = False

    async def send(self, client: httpx.AsyncClient) -> None:
        while not self.is_stopping:
            request = next(self.new)
            while not await self.is_taken(client, request):
                await asyncio.sleep(0.02)
            self.acknowledged.append(request)

    async def is_taken(self, client: httpx.AsyncClient, request: WebhookRequest) -> bool:
        try:
            response = await client.post(self.url, content=request.body, headers=dict(request.headers))
        except httpx.TransportError:
            return False
        assert response.status_code in {200, 503}, response.text
        return response.is_success

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self.send(client))
            yield
            self.is_stopping = True


async def drill(service: Service, adapter: Adapter, kill: Callable[[], Awaitable[None]]) -> None:
    embedded = Embedded(service.data_dir / "postgres")
    connection = await asyncpg.connect(embedded.start())
    await tables.add_people(connection, *PEOPLE)
    await connection.close()
    provider = Provider(service, adapter)
    chance = random.Random(7)
    async with provider.sending():
        for _ in range(KILLS):
            before = len(provider.acknowledged)
            while len(provider.acknowledged) < before + 10:  # it works again
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0, 0.2))
            await kill()

    connection = await asyncpg.connect(embedded.start())
    batches = [decide(adapter.parse(Verified(each)), TopicPolicy()) for each in provider.acknowledged]
    expected = ledger_after(batches)
    ids = sorted(event.id for batch in batches for event in batch.events)
    assert await tables.event_ids(connection) == ids
    assert await tables.ledger(connection) == expected
    assert await tables.preferences(connection) == preferences_after(PEOPLE, expected)
    await connection.close()
    embedded.stop()


async def test_the_service_killed_under_load_loses_nothing(service: Service, adapter: Adapter) -> None:
    async def kill() -> None:
        service.kill()
        await asyncio.to_thread(service.start)

    await drill(service, adapter, kill)


async def test_postgresql_killed_under_load_loses_nothing(service: Service, adapter: Adapter) -> None:
    data = Cluster.at(service.data_dir / "postgres").data

    async def kill() -> None:
        while not (data / "postmaster.pid").exists():  # it is being started
            await asyncio.sleep(0.01)
        postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)

    await drill(service, adapter, kill)
