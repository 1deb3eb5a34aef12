"""The sample sender: speaks for a provider, with genuine signatures, and comes again as providers do."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice
from typing import Any

import httpx
from pydantic import TypeAdapter

from providers.adapter import Adapter, WebhookRequest

# What one delivery carries where a provider batches, and how many are under way at once.
EVENTS_A_DELIVERY = 100
CONCURRENCY = 16
TRIES = 6
Receipt = TypeAdapter(dict[str, int])


@dataclass(slots=True)
class Sent:
    """The answers: by status, the receipts added up, and what an answer that was no receipt said."""

    statuses: Counter[int] = field(default_factory=Counter)
    receipt: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)


def samples(adapter: Adapter, events: Sequence[str], addresses: Sequence[str], number: int) -> Iterator[Any]:
    """`number` different events that happened in the last seconds; `{n}` in an address counts them."""
    now = datetime.now(UTC)
    first = int(now.timestamp() * 1000) * 1000
    kinds, recipients = cycle(events), cycle(addresses)
    for n in islice(count(), number):
        at = now - timedelta(milliseconds=number - n)
        yield adapter.sample(next(kinds), next(recipients).replace("{n}", str(n)), at, first + n)


def deliveries(adapter: Adapter, found: Iterator[Any]) -> Iterator[WebhookRequest]:
    while several := list(islice(found, EVENTS_A_DELIVERY)):
        yield from adapter.sign(several, datetime.now(UTC))


async def send(url: str, requests: Iterator[WebhookRequest]) -> AsyncIterator[Sent]:
    """Yields the answers so far after each. Raises httpx.HTTPError where nobody answers."""
    sent = Sent()
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        while several := list(islice(requests, CONCURRENCY)):
            under_way = [asyncio.create_task(deliver(client, url, request)) for request in several]
            try:
                for answering in asyncio.as_completed(under_way):
                    note(sent, await answering)
                    yield sent
            finally:
                for each in under_way:
                    each.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)


async def deliver(client: httpx.AsyncClient, url: str, request: WebhookRequest) -> httpx.Response:
    for _ in range(TRIES - 1):
        response = await post(client, url, request)
        if response.status_code not in {429, 503}:
            return response
        await asyncio.sleep(pause_of(response))
    return await post(client, url, request)


def pause_of(response: httpx.Response) -> float:
    """A proxy on the way may name a date instead of seconds."""
    told: str = response.headers.get("Retry-After", "")
    return int(told) if told.isdecimal() else 1


async def post(client: httpx.AsyncClient, url: str, request: WebhookRequest) -> httpx.Response:
    return await client.post(url, content=request.body, headers=dict(request.headers), params=dict(request.query))


def note(sent: Sent, response: httpx.Response) -> None:
    sent.statuses[response.status_code] += 1
    if not response.is_success:
        sent.refusals[response.text[:300]] += 1
        return
    try:
        sent.receipt.update(Receipt.validate_json(response.content))
    except ValueError:
        sent.refusals[f"no receipt, so this is not our service: {response.text[:300]}"] += 1
