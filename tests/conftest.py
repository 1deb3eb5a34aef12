"""A real PostgreSQL for every test that needs one: the embedded server, and a database of its own for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiobotocore.session import AioSession, get_session

from db.data_api import DataApi
from db.database import Database
from db.embedded import Embedded
from db.local_data_api import CLUSTER_ARN, SECRET_ARN, create_app, serving
from db.migrate import migrate
from db.postgres import Postgres
from db.store import Store
from tests.misbehaving import Misbehaving

numbers = count()
# A new `Database` at a URL, with its options.
Connect = Callable[..., Awaitable[Database]]


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
def way() -> str:
    """How tests come to the database: "postgres", directly, or by the "data_api". Those of `db` go both ways."""
    return "postgres"


class LocalDataApis:
    """A local Data API for each account on the server, started when it is asked for."""

    def __init__(self) -> None:
        self.stack = AsyncExitStack()
        self.session: AioSession = get_session()
        self._at: dict[str, str] = {}

    async def at(self, url: str) -> str:
        server = in_database(url, "postgres")
        if server not in self._at:
            self._at[server] = await self.stack.enter_async_context(serving(create_app(server)))
        return self._at[server]

    async def connect(self, url: str, **options: object) -> DataApi:
        endpoint = await self.at(url)
        name = urlsplit(url).path.removeprefix("/")
        settings: dict[str, object] = {"endpoint_url": endpoint, "session": self.session, **options}
        return DataApi(CLUSTER_ARN, SECRET_ARN, name, **settings)  # type: ignore[arg-type] # the test's own


@pytest.fixture(scope="session")
async def data_apis() -> AsyncIterator[LocalDataApis]:
    apis = LocalDataApis()
    async with apis.stack:
        yield apis


@pytest.fixture(scope="session")
async def served_local(server: str) -> AsyncIterator[Misbehaving]:
    local = Misbehaving()
    async with serving(create_app(server, limits=local.limits, faults=local.faults, calls=local.calls)) as local.url:
        yield local


@pytest.fixture
def local(served_local: Misbehaving) -> Iterator[Misbehaving]:
    served_local.behave()
    yield served_local
    served_local.behave()


@pytest.fixture
async def connect(way: str, data_apis: LocalDataApis) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as opened:

        async def connect(url: str, **options: object) -> Database:
            database = await data_apis.connect(url, **options) if way == "data_api" else Postgres.at(url, **options)
            opened.push_async_callback(database.close)
            return database

        yield connect


@pytest.fixture
async def database(database_url: str, connect: Connect) -> Database:
    return await connect(database_url)


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
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
    """What this machine's environment says of webhooks, or of AWS, is not a test's business."""
    import os

    for name in [name for name in os.environ if name.startswith(("WEBHOOKS_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("WEBHOOKS_DATA_DIR", str(tmp_path / "data"))


def in_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def as_role(url: str, name: str, password: str) -> str:
    split = urlsplit(url)
    return urlunsplit(split._replace(netloc=f"{name}:{password}@{split.netloc.rpartition('@')[2]}"))


async def create_database(server: str, name: str, template: str = "template1") -> None:
    await at_server(server, f"create database {name} template {template}")


async def drop_database(server: str, name: str) -> None:
    await at_server(server, f"drop database if exists {name} with (force)")


async def at_server(server: str, sql: str) -> None:
    connection = await asyncpg.connect(server)
    await connection.execute(sql)
    await connection.close()
