"""A signature that does not cover the body is good for one body, and is spent only when that is committed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

import providers
from db.database import DatabaseUnavailable
from providers.adapter import Adapter, WebhookRequest
from tests import tables
from tests.webhooks.conftest import Client, Served, sample, signed

if TYPE_CHECKING:
    import asyncpg


@pytest.fixture
def mailgun() -> Adapter:
    adapter = providers.load("mailgun")
    return adapter("mailgun", [adapter.new_key()])


@pytest.fixture
async def client(served: Served, mailgun: Adapter, database_url: str) -> AsyncIterator[Client]:
    async with served({"mailgun": {"keys": mailgun.keys}}, database_url=database_url) as client:
        yield client


def forged(request: WebhookRequest, email: str) -> WebhookRequest:
    """The proof of one body on another."""
    body = msgspec.json.decode(request.body)
    body["event-data"] |= {"recipient": email, "id": email}
    return replace(request, body=msgspec.json.encode(body))


async def test_a_repeat_is_a_duplicate_and_another_body_is_refused(
    client: Client, mailgun: Adapter, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "ada@example.test", "eve@example.test")
    request = signed(mailgun, sample(mailgun, "unsubscribed"))
    assert (await client.post(request)).json()["recorded"] == 1
    assert (await client.post(request)).json()["duplicates"] == 1
    refused = await client.post(forged(request, "eve@example.test"))
    assert (refused.status_code, refused.json()["error"]) == (401, "not_verified")
    assert "replayed" in refused.json()["detail"]
    assert await tables.preferences(connection) == {"ada@example.test": False, "eve@example.test": True}


async def test_of_bodies_that_race_with_one_token_one_is_taken(
    client: Client, mailgun: Adapter, connection: "asyncpg.Connection"
) -> None:
    for number in range(10):
        request = signed(mailgun, sample(mailgun, "unsubscribed", number=number))
        bodies = [forged(request, f"person{n}.{number}@example.test") for n in range(6)]
        answers = await asyncio.gather(*map(client.post, bodies))
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]
    assert await tables.count(connection, "webhook_events") == 10


async def test_a_token_is_not_spent_by_a_delivery_that_failed(
    client: Client, mailgun: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = signed(mailgun, sample(mailgun, "unsubscribed"))

    async def execute(*_: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(client.app.state.service.database, "execute", execute)
        assert (await client.post(request)).status_code == 503
    assert (await client.post(request)).json()["recorded"] == 1


async def test_an_unreadable_body_spends_its_token_too(
    client: Client, mailgun: Adapter, connection: "asyncpg.Connection"
) -> None:
    request = signed(mailgun, {"no": "event"})
    assert (await client.post(request)).json()["dead"] == 1
    assert (await client.post(request)).json()["dead"] == 1
    assert (await client.post(forged(request, "eve@example.test"))).status_code == 401
    assert await tables.dead_bodies(connection) == [request.body]
