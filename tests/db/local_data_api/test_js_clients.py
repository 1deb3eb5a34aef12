"""Clients in JavaScript that know nothing of us, unchanged: drizzle-orm's aws-data-api/pg and data-api-client.

Their packages are installed once, by the hashes in js/package-lock.json, into pytest's cache.
"""

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from db.local_data_api import CLUSTER_ARN, SECRET_ARN, environment
from tests.db.local_data_api.api import Api

SCRIPTS = Path(__file__).parent / "js"
OLDEST_NODE = 20
INSTALL = "npm ci --ignore-scripts --no-audit --no-fund --loglevel=error"


@pytest.fixture(scope="module")
def installed(pytestconfig: pytest.Config) -> Path:
    """A directory with the scripts and the packages that they use."""
    skip_without_node()
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    place = pytestconfig.cache.mkdir(f"js-{hashlib.sha256(lock).hexdigest()[:12]}")
    shutil.copytree(SCRIPTS, place, dirs_exist_ok=True)
    done = place / "installed"
    if not done.exists():
        installing = subprocess.run(INSTALL.split(), cwd=place, capture_output=True, text=True, check=False)
        assert installing.returncode == 0, installing.stderr
        done.touch()
    return place


def skip_without_node() -> None:
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed: clients in JavaScript are not tried")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version.strip()}, the AWS SDK wants {OLDEST_NODE} or later")


@pytest.mark.parametrize("script", ["drizzle.test.js", "data_api_client.test.cjs"])
async def test_a_client_in_javascript_finds_everything_as_it_expects(
    empty_api: Api, installed: Path, script: str
) -> None:
    settings = os.environ | environment(empty_api.url)
    settings |= {"CLUSTER_ARN": CLUSTER_ARN, "SECRET_ARN": SECRET_ARN, "DATABASE": empty_api.database}
    # Of its second version the SDK says that it is no longer mended.
    settings |= {"AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE": "1"}
    node = await asyncio.create_subprocess_exec(
        "node",
        "--test",
        "--test-reporter=spec",
        script,
        cwd=installed,
        env=settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await asyncio.wait_for(node.communicate(), 120)
    assert node.returncode == 0, told.decode()


def test_the_lock_bears_hashes_and_no_address_to_fetch_from() -> None:
    lock = (SCRIPTS / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') == len(re.findall(r'"node_modules/', lock))
