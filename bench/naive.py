"""What we compare with: the same verification and parsing, then one autocommitted statement an event, as the seed does."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import providers
from providers.adapter import Verified, WebhookRequest
from providers.events import Event, EventType

CONNECTIONS = 16
INSERT = """
insert into webhook_events
       (id, source, provider, type, email_address, occurred_at, received_at, message_id, provider_event_id, payload)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict (id) do nothing
"""
UPDATE = """
update email_preferences set marketing_opt_in = false, updated_at = now() at time zone 'UTC'
 where lower(email_address) = lower($1)
"""


def row(event: Event) -> tuple[Any, ...]:
    item = event.item
    return (
        event.id, item.source, item.provider, event.type.value, event.email_address, event.occurred_at,
        item.received_at, event.message_id, event.provider_event_id, item.payload.decode(),
    )  # fmt: skip


async def write(pool: asyncpg.Pool, event: Event) -> None:
    await pool.execute(INSERT, *row(event))
    if event.type == EventType.UNSUBSCRIBED:
        await pool.execute(UPDATE, event.email_address)


async def receive(request: Request) -> JSONResponse:
    adapter = request.app.state.adapter
    body = await request.body()
    verified = await adapter.verify(WebhookRequest(source="sendgrid", body=body, headers=dict(request.headers)))
    events = adapter.parse(Verified(verified)).events
    for event in events:
        await write(request.app.state.pool, event)
    return JSONResponse({"received": len(events), "recorded": len(events)})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.adapter = providers.load("sendgrid")("sendgrid", json.loads(os.environ["BENCH_KEYS"]))
    async with asyncpg.create_pool(
        os.environ["BENCH_DATABASE_URL"], min_size=1, max_size=CONNECTIONS // 2
    ) as app.state.pool:
        yield


app = Starlette(routes=[Route("/webhooks/sendgrid", receive, methods=["POST"])], lifespan=lifespan)
