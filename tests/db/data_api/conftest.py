"""Clients of a local Data API that misbehaves when it is told to."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from db.data_api import DataApi
from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from tests.conftest import LocalDataApis
from tests.misbehaving import Misbehaving


@dataclass
class NewApi:
    """Makes a client with options, which is closed after the test."""

    endpoint_url: str
    database: str
    apis: LocalDataApis
    opened: list[DataApi] = field(default_factory=list)

    def __call__(self, **options: Any) -> DataApi:
        settings = {"endpoint_url": self.endpoint_url, "session": self.apis.session} | options
        api = DataApi(CLUSTER_ARN, SECRET_ARN, self.database, **settings)
        self.opened.append(api)
        return api


@pytest.fixture
async def new_api(local: Misbehaving, database_url: str, data_apis: LocalDataApis) -> AsyncIterator[NewApi]:
    new = NewApi(local.url, urlsplit(database_url).path.removeprefix("/"), data_apis)
    yield new
    local.behave()
    await asyncio.gather(*(api.close() for api in new.opened))


@pytest.fixture
async def api(new_api: NewApi, local: Misbehaving) -> DataApi:
    """With a table `t`, of one column `n`, whose values must be unique by the end of a transaction."""
    api = new_api()
    await api.execute("create table t (n int8 unique deferrable initially deferred)")
    local.calls.clear()
    return api
