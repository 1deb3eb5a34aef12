"""A real PostgreSQL for every test that needs one: the embedded server, and a database of its own for each test."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from db.embedded import Embedded
from db.migrate import migrate
from db.postgres import Postgres
from db.store import Store

numbers = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty server, as its owner."""
    embedded = Embedded(tmp_path_factory.mktemp("server") / "postgres")
    yield embedded.start()
    embedded.discard()


@pytest.fixture(scope="session")
async def template(server: str) -> str:
    """The name of a database with the present schema."""
    await create_database(server, "template_webhooks")
    database = Postgres.at(in_database(server, "template_webhooks"))
    await migrate(database)
    await database.close()
    return "template_webhooks"


@pytest.fixture
async def empty_database_url(server: str) -> AsyncIterator[str]:
    """A database that `webhooks migrate` has not seen."""
    name = f"empty_{next(numbers)}"
    await create_database(server, name)
    yield in_database(server, name)
    await drop_database(server, name)


@pytest.fixture
async def database_url(server: str, template: str) -> AsyncIterator[str]:
    name = f"test_{next(numbers)}"
    await create_database(server, name, template)
    yield in_database(server, name)
    await drop_database(server, name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Postgres]:
    database = Postgres.at(database_url)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Postgres) -> AsyncIterator[Store]:
    store = Store(database)
    yield store
    await store.committer.drain()


@pytest.fixture
async def connection(database_url: str) -> "AsyncIterator[asyncpg.Connection]":
    """For looking at what was written, past all code of ours."""
    connection = await asyncpg.connect(database_url, server_settings={"TimeZone": "UTC"})
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine's environment says of webhooks is not a test's business."""
    import os

    for name in [name for name in os.environ if name.startswith("WEBHOOKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WEBHOOKS_DATA_DIR", str(tmp_path / "data"))


def in_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def create_database(server: str, name: str, template: str = "template1") -> None:
    await at_server(server, f"create database {name} template {template}")


async def drop_database(server: str, name: str) -> None:
    await at_server(server, f"drop database if exists {name} with (force)")


async def at_server(server: str, sql: str) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute(sql)
    await connection.close()
