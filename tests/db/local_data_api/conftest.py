"""One local Data API for all of these tests, over a database of its own; each test finds it without faults."""

from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError

from db.local_data_api import REGION, create_app, serving
from tests.conftest import create_database, in_database
from tests.db.local_data_api.api import Api, Clock

NO_RETRIES = Config(retries={"total_max_attempts": 1}, read_timeout=30)


@pytest.fixture(scope="session")
async def shared_api(server: str) -> AsyncIterator[Api]:
    await create_database(server, "data_api")
    found = Api(url="", database="data_api", client=None, clock=Clock())
    app = create_app(
        in_database(server, "postgres"),
        limits=found.limits,
        faults=found.faults,
        calls=found.calls,
        clock=found.clock,
        side_door=True,
    )
    async with serving(app) as found.url:
        session = get_session()
        session.set_credentials("anybody", "whatever")
        async with session.create_client(
            "rds-data", region_name=REGION, endpoint_url=found.url, config=NO_RETRIES
        ) as found.client:
            yield found


@pytest.fixture
def api(shared_api: Api) -> Api:
    shared_api.reset()
    return shared_api


@pytest.fixture
async def transaction(api: Api) -> AsyncIterator[str]:
    """What is done in it leaves no trace."""
    transaction = await api.begin()
    yield transaction
    with suppress(ClientError):
        await api.roll_back(transaction)


@pytest.fixture
async def empty_api(shared_api: Api, empty_database_url: str) -> Api:
    """The same, on a database that no other test sees."""
    shared_api.reset()
    return Api(
        shared_api.url,
        urlsplit(empty_database_url).path[1:],
        shared_api.client,
        shared_api.clock,
        shared_api.limits,
        shared_api.faults,
        shared_api.calls,
    )
