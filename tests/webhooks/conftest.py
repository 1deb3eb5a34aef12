"""The app in this process, on a database of its own."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

import providers
from providers.adapter import Adapter, WebhookRequest
from webhooks.app import create_app, lifespan
from webhooks.settings import Settings


@dataclass
class Client:
    """What a provider and an operator can do, by HTTP alone."""

    http: httpx.AsyncClient
    app: Starlette

    async def post(self, request: WebhookRequest, **changes: Any) -> httpx.Response:
        arguments: dict[str, Any] = {
            "content": request.body,
            "headers": dict(request.headers),
            "params": dict(request.query) or None,
        } | changes
        return await self.http.post(f"/webhooks/{request.source}", **arguments)

    async def get(self, path: str) -> httpx.Response:
        return await self.http.get(path)


Served = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """A context manager: the app with these sources and settings, and a client for it."""

    @asynccontextmanager
    async def served(sources: Mapping[str, Any], **settings: Any) -> AsyncIterator[Client]:
        app = create_app(Settings(sources=dict(sources), data_dir=tmp_path / "data", **settings))
        transport = httpx.ASGITransport(app)
        async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://service") as http:
            yield Client(http, app)

    return served


@pytest.fixture
def sendgrid() -> Adapter:
    adapter = providers.load("sendgrid")
    return adapter("sendgrid", [adapter.new_key()])


@pytest.fixture
async def client(served: Served, sendgrid: Adapter, database_url: str) -> AsyncIterator[Client]:
    async with served({"sendgrid": {"keys": sendgrid.keys}}, database_url=database_url) as client:
        yield client


def signed(adapter: Adapter, *samples: Any) -> WebhookRequest:
    """Several samples in the one request of a provider that batches."""
    [request] = adapter.sign(samples, datetime.now(UTC))
    return request


def signed_body(adapter: Adapter, body: bytes) -> WebhookRequest:
    """Any bytes at all, genuinely signed as SendGrid signs."""
    import base64

    from providers.sendgrid import SIGNATURE, TIMESTAMP
    from providers.signing import ECDSA, ecdsa_private_key

    timestamp = str(int(datetime.now(UTC).timestamp()))
    signature = ecdsa_private_key(adapter.keys[0]).sign(timestamp.encode() + body, ECDSA)
    headers = {SIGNATURE.lower(): base64.b64encode(signature).decode(), TIMESTAMP.lower(): timestamp}
    return WebhookRequest(source=adapter.source, headers=headers, body=body)


def sample(adapter: Adapter, event: str, email: str = "ada@example.test", number: int = 1) -> Any:
    return adapter.sample(event, email, datetime.now(UTC), number)
