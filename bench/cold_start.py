"""The start of the function on Lambda, beside that of a handler that imports boto3 and makes an `rds-data` client.

`python -m bench.cold_start`: under the real runtime client, from the process's start to its first question for an
event; bytecode shipped, each in turn, medians; and on which packages' own modules the time goes.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import providers
from deploy.package import OURS as PACKAGED
from deploy.package import ROOT, build, install, interpreter
from providers.adapter import WebhookRequest
from tests.aws_lambda import events
from tests.aws_lambda.runtime import Runtime

RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
BOTO3 = ("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "python-dateutil", "six")
BASELINE = """import boto3
client = boto3.client("rds-data")
def handler(event, context):
    return {}
"""
# What our user has fixed, each made ready and nothing done with it: the client, the front door, one model.
LIBRARIES_ALONE = """import gc
gc.disable()
import asyncio, os
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
from aiobotocore.session import get_session
from mangum import Mangum
from pydantic import BaseModel
from starlette.applications import Starlette
class Model(BaseModel):
    name: str
async def open():
    return await get_session().create_client("rds-data").__aenter__()
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
client = loop.run_until_complete(open())
handler = Mangum(Starlette(), lifespan="off")
"""
EMPTY = "def handler(event, context):\n    return {}\n"
OURS, LIBRARIES, THEIRS, NOTHING = (
    "webhooks.aws_lambda",
    "aiobotocore's client, Starlette, Mangum, one pydantic model",
    "boto3 and a client",
    "an empty handler",
)
AIM = 1.3
# So many packages are named, those that take longest.
PACKAGES = 25

console = Console(width=150)


def environment() -> dict[str, str]:
    kind = providers.load("sendgrid")
    return {
        "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": [kind.new_key()]}}),
        "WEBHOOKS_CLUSTER_ARN": "arn:aws:rds:eu-west-1:000000000000:cluster:bench",
        "WEBHOOKS_SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:000000000000:secret:bench-AbCdEf",
        "WEBHOOKS_DATABASE": "bench",
    }


class Bench:
    """Task roots for one version of Python, side by side."""

    def __init__(self, directory: Path, minor: str) -> None:
        self.directory = directory
        self.minor = minor
        self.architecture = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
        self.base = interpreter(minor)
        self.python = self.bare_python()
        self.roots = {
            OURS: (self.ours(), "webhooks.aws_lambda.handler"),
            LIBRARIES: (self.libraries(), "function.handler"),
            THEIRS: (self.root("theirs", BASELINE, BOTO3), "function.handler"),
            NOTHING: (self.root("nothing", EMPTY), "function.handler"),
        }

    def bare_python(self) -> str:
        """An interpreter that knows the runtime client and nothing else."""
        home = self.directory / "python"
        subprocess.run([self.base, "-m", "venv", "--without-pip", str(home)], check=True)
        self.installed(next((home / "lib").glob("python*")) / "site-packages", RUNTIME_CLIENT)
        return str(home / "bin" / "python")

    def ours(self) -> Path:
        archive = self.directory / "lambda.zip"
        build(archive, architecture=self.architecture, python=self.base, minor=self.minor)
        with zipfile.ZipFile(archive) as unzipped:
            unzipped.extractall(self.directory / "ours")
        return self.directory / "ours"

    def libraries(self) -> Path:
        """Those of our package, as pruned as there."""
        root = self.directory / "libraries"
        shutil.copytree(self.directory / "ours", root, ignore=shutil.ignore_patterns(*PACKAGED))
        (root / "function.py").write_text(LIBRARIES_ALONE)
        self.compiled(root / "function.py")
        return root

    def root(self, name: str, text: str, packages: tuple[str, ...] = ()) -> Path:
        root = self.directory / name
        root.mkdir()
        (root / "function.py").write_text(text)
        self.installed(root, packages)
        return root

    def installed(self, target: Path, packages: tuple[str, ...]) -> None:
        if packages:
            lock = self.directory / "some.lock"
            lock.write_text(locked(packages))
            install(target, lock, architecture=self.architecture, minor=self.minor)
        self.compiled(target)

    def compiled(self, target: Path) -> None:
        command = [self.base, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", str(target)]
        subprocess.run(command, check=True)

    def started(self, way: str) -> float:
        """Milliseconds."""
        root, handler = self.roots[way]
        log = self.directory / "log"
        with Runtime(log, environment(), python=self.python, handler=handler, task_root=root) as runtime:
            return runtime.wait_until_ready() * 1000

    def warm(self, times: int) -> float:
        """Milliseconds that an invocation takes which reaches no database."""
        event = events.http_api_2(WebhookRequest(source="sendgrid", body=b"{}"))
        root, handler = self.roots[OURS]
        taken = []
        with Runtime(
            self.directory / "log", environment(), python=self.python, handler=handler, task_root=root
        ) as runtime:
            for _ in range(times):
                began = time.perf_counter()
                runtime.invoke(event)
                taken.append((time.perf_counter() - began) * 1000)
        return median(taken)

    def packages(self) -> list[tuple[str, float]]:
        """Milliseconds in each package's own modules, without what they import in turn."""
        inherited = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "eu-west-1"}
        ran = subprocess.run(
            [self.python, "-X", "importtime", "-c", "import webhooks.aws_lambda"],
            cwd=self.roots[OURS][0],
            env=inherited | environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        taken: dict[str, float] = {}
        for line in ran.stderr.splitlines():
            if found := re.match(r"import time: +(\d+) \| +\d+ \| +(\w+)", line):
                taken[found[2]] = taken.get(found[2], 0) + int(found[1]) / 1000
        return sorted(taken.items(), key=lambda each: -each[1])[:PACKAGES]


def locked(packages: tuple[str, ...]) -> str:
    """What the lock says of some packages."""
    blocks = re.split(r"\n(?=[a-z])", (ROOT / "requirements-dev.lock").read_text())
    return "\n".join(block for block in blocks if block.partition("==")[0] in packages)


def main(
    times: Annotated[int, typer.Option(min=1)] = 9,
    python: Annotated[str, typer.Option(help="The runtime's version.")] = "3.13",
) -> None:
    with tempfile.TemporaryDirectory(prefix="webhooks-cold-") as directory:
        bench = Bench(Path(directory), python)
        found: dict[str, list[float]] = {way: [] for way in bench.roots}
        for _ in range(times):
            for way, each in found.items():
                each.append(bench.started(way))
        warm = bench.warm(200)
        slowest = bench.packages()
    medians = {way: median(each) for way, each in found.items()}
    table = Table(
        "handler", "ms to the first event (median)", "lowest to highest", title=f"Cold start, Python {python}"
    )
    for way, each in found.items():
        table.add_row(way, f"{medians[way]:.0f}", f"{min(each):.0f} to {max(each):.0f}")
    console.print(table)
    for way, aim in ((OURS, f" (aim: at most {AIM})"), (LIBRARIES, "")):
        console.print(f"{way} to {THEIRS}: {medians[way] / medians[THEIRS]:.2f}{aim}")
    console.print(f"a warm invocation that reaches no database, runtime client and loopback included: {warm:.2f} ms")
    spent = Table("package", "ms in its own modules", title="Where the imports' time goes")
    for package, milliseconds in slowest:
        spent.add_row(package, f"{milliseconds:.1f}")
    console.print(spent)


if __name__ == "__main__":
    typer.run(main)
