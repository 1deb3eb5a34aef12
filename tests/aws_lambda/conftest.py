"""The function under the real runtime client, in front of the local Data API and a server of AWS's other services."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

import providers
from db.embedded import free_port
from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from providers.adapter import Adapter
from tests.aws_lambda.runtime import Invocation, Runtime

if TYPE_CHECKING:
    from tests.conftest import LocalDataApis

NewFunction = Callable[..., Runtime]


@pytest.fixture
def adapter() -> Adapter:
    sendgrid = providers.load("sendgrid")
    return sendgrid("sendgrid", [sendgrid.new_key()])


@pytest.fixture
async def data_api(data_apis: "LocalDataApis", database_url: str) -> str:
    """Where the function finds the Data API."""
    return await data_apis.at(database_url)


@pytest.fixture
def environment(data_api: str, database_url: str, adapter: Adapter) -> dict[str, str]:
    return {
        "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": list(adapter.keys)}}),
        "WEBHOOKS_CLUSTER_ARN": CLUSTER_ARN,
        "WEBHOOKS_SECRET_ARN": SECRET_ARN,
        "WEBHOOKS_DATABASE": database_url.rpartition("/")[2].partition("?")[0],
        "AWS_ENDPOINT_URL_RDS_DATA": data_api,
    }


@pytest.fixture
async def new_function(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[NewFunction]:
    """An execution environment with these settings beside the usual ones; it has ended when the test has."""
    running: list[Runtime] = []

    def new(handler: str = "webhooks.aws_lambda.handler", **settings: str) -> Runtime:
        runtime = Runtime(tmp_path / f"function-{len(running)}.log", environment | settings, handler=handler)
        running.append(runtime)
        return runtime

    yield new
    for runtime in running:
        runtime.__exit__()


async def invoke(function: Runtime, event: Any, **options: int) -> Invocation:
    """Beside this loop, in which the Data API runs."""
    return await asyncio.to_thread(function.invoke, event, **options)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where SQS, SSM and Secrets Manager answer."""
    port = free_port()
    log = tmp_path_factory.mktemp("aws") / "moto.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as server:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{url}/moto-api/")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield url
        server.kill()


def client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
    )
