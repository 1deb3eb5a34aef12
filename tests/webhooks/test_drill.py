"""The fault drill: the whole service over a Data API of which a fifth of the calls misbehaves, in every way there is."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from db.local_data_api import CLUSTER_ARN, SECRET_ARN, Fault
from providers.adapter import Adapter, Verified, WebhookRequest
from tests import tables
from tests.misbehaving import Misbehaving
from tests.model import ledger_after, preferences_after
from tests.webhooks.conftest import Client, Served, sample, signed
from webhooks.consent import TopicPolicy, decide

if TYPE_CHECKING:
    import asyncpg

EVENTS = 10_000
DELIVERIES = 500
# Few, so that they share no statements: the more calls, the more of them misbehave.
AT_ONCE = 3
PEOPLE = {f"person{n}@example.test": n % 4 > 0 for n in range(1_000)}
KINDS = ["unsubscribe", "group_resubscribe", "delivered", "open", "processed", "spamreport", "click", "bounce"]
FAULTS = [
    Fault.THROTTLE, Fault.INTERNAL_ERROR, Fault.UNAVAILABLE, Fault.DATABASE_UNAVAILABLE, Fault.RESUMING,
    Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.ERROR_AFTER, Fault.SERIALIZATION, Fault.DEADLOCK, Fault.TIMEOUT,
    Fault.OVERSIZE,
]  # fmt: skip
OPEN = "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'"


@pytest.fixture
async def client(
    served: Served, sendgrid: Adapter, database_url: str, local: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_RDS_DATA", local.url)
    data_api = {
        "cluster_arn": CLUSTER_ARN,
        "secret_arn": SECRET_ARN,
        "database": urlsplit(database_url).path.removeprefix("/"),
    }
    async with served({"sendgrid": {"keys": sendgrid.keys}}, **data_api) as client:
        yield client


def deliveries(adapter: Adapter) -> list[WebhookRequest]:
    chance = random.Random(7)
    people = list(PEOPLE)
    kinds = [kind for kind in KINDS if kind in adapter.samples]
    items = [sample(adapter, chance.choice(kinds), chance.choice(people), number) for number in range(EVENTS)]
    size = EVENTS // DELIVERIES
    return [signed(adapter, *items[start : start + size]) for start in range(0, EVENTS, size)]


async def deliver(client: Client, requests: list[WebhookRequest]) -> int:
    """As a provider does: what is not taken comes again, later. How many answers were no 200."""
    todo = iter(requests)
    refusals = 0

    async def send() -> None:
        nonlocal refusals
        for request in todo:
            while (answer := await client.post(request)).status_code != httpx.codes.OK:
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
                refusals += 1
                await asyncio.sleep(0.01)

    await asyncio.gather(*(send() for _ in range(AT_ONCE)))
    return refusals


async def test_nothing_is_lost_or_doubled_while_a_fifth_of_the_calls_misbehaves(
    client: Client, sendgrid: Adapter, local: Misbehaving, connection: "asyncpg.Connection"
) -> None:
    for opted_in in (True, False):
        await tables.add_people(connection, *(each for each in PEOPLE if PEOPLE[each] is opted_in), opted_in=opted_in)
    requests = deliveries(sendgrid)
    local.faults.chance = random.Random(7)
    local.faults.rates = {fault: 0.2 / len(FAULTS) for fault in FAULTS}
    # Impatient: what does not pass at once is the provider's to send again, so that this is exercised too.
    client.app.state.service.database._patience.seconds = 0.05
    refusals = await deliver(client, requests)

    batches = [decide(sendgrid.parse(Verified(request)), TopicPolicy()) for request in requests]
    expected = ledger_after(batches)
    assert await tables.event_ids(connection) == sorted({each.id for batch in batches for each in batch.events})
    assert await tables.count(connection, "webhook_events") == EVENTS
    assert await tables.count(connection, "webhook_dead_letters") == 0
    assert await tables.ledger(connection) == expected
    assert await tables.preferences(connection) == preferences_after(PEOPLE, expected)
    assert await connection.fetchval(OPEN) == 0
    # It was a drill indeed.
    met = [call.fault for call in local.calls if call.fault]
    assert len(met) > len(local.calls) / 10
    assert len(set(met)) > len(FAULTS) / 2
    assert refusals
