"""What is tested of the store is tested on both databases: PostgreSQL itself, and PostgreSQL behind the Data API."""

import pytest


@pytest.fixture(params=["postgres", "data_api"])
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
