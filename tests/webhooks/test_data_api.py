"""The service over the Data API: its commands, and each trap on the way there with what to do about it."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

import providers
from db import local_data_api
from db.embedded import free_port
from db.local_data_api import CLUSTER_ARN, SECRET_ARN, Fault
from tests.misbehaving import Misbehaving
from tests.samples import decided, event, opt_out
from webhooks.cli import app

if TYPE_CHECKING:
    import asyncpg

    from db.store import Store

KEY = providers.load("sendgrid").new_key()
Configure = Callable[[str], None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, local: Misbehaving) -> Configure:
    """Settings that lead to a database by the Data API."""

    def configure(url: str) -> None:
        for name, value in {
            "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": [KEY]}}),
            "WEBHOOKS_CLUSTER_ARN": CLUSTER_ARN,
            "WEBHOOKS_SECRET_ARN": SECRET_ARN,
            "WEBHOOKS_DATABASE": urlsplit(url).path.removeprefix("/"),
            "AWS_ENDPOINT_URL_RDS_DATA": local.url,
            "COLUMNS": "200",
        }.items():
            monkeypatch.setenv(name, value)

    return configure


@pytest.fixture
def configured(configure: Configure, database_url: str) -> None:
    configure(database_url)


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


async def diagnosed(configure: Configure, url: str) -> str:
    configure(url)
    result = await run("doctor")
    assert result.exit_code == 1
    return result.output


async def test_commands_work_from_an_empty_database_on(
    configure: Configure, empty_database_url: str, local: Misbehaving
) -> None:
    assert "run `webhooks migrate`" in await diagnosed(configure, empty_database_url)
    migrated = await run("migrate")
    assert migrated.exit_code == 0, migrated.output
    assert "applied 0001" in migrated.output
    assert (await run("migrate")).output.startswith("The schema is current.")
    healthy = await run("doctor")
    assert healthy.exit_code == 0, healthy.output
    assert {"BeginTransaction", "CommitTransaction", "RollbackTransaction"} < set(local.operations())
    assert (await run("prune", "--payloads-after", "1")).exit_code == 0
    assert (await run("replay")).exit_code == 0


@pytest.mark.usefixtures("configured")
async def test_events_are_shown_as_they_are_beside_postgresql(store: "Store") -> None:
    await store.record(decided(opt_out("ada@example.test"), event("1", email_address="bob@example.test", minutes=5)))
    shown = await run("events", "--format", "json")
    assert [json.loads(line)["email_address"] for line in shown.output.splitlines()] == [
        "bob@example.test",
        "ada@example.test",
    ]
    table = await run("events", "--email", "ADA@example.test")
    assert table.exit_code == 0
    assert "unsubscribed" in table.output


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.ENDPOINT_DISABLED, "aws rds enable-http-endpoint"),
        (Fault.SECRET_UNREADABLE, "secretsmanager:GetSecretValue"),
        (Fault.SECRET_INVALID, '"username" and "password"'),
        (Fault.PASSWORD_REFUSED, "another cluster's"),
        (Fault.ACCESS_DENIED, "rds-data:ExecuteStatement"),
    ],
)
async def test_doctor_names_each_trap_and_the_way_out(
    configure: Configure, database_url: str, local: Misbehaving, fault: Fault, words: str
) -> None:
    local.faults.rates = {fault: 1}
    assert words in await diagnosed(configure, database_url)


@pytest.mark.parametrize("operation", ["BeginTransaction", "CommitTransaction", "RollbackTransaction"])
async def test_doctor_misses_no_operation_that_may_be_forbidden(
    configure: Configure, database_url: str, local: Misbehaving, operation: str
) -> None:
    local.limits.transaction_idle_seconds = 0.1
    local.faults.operations = {operation: {Fault.ACCESS_DENIED: 1}}
    assert f"for rds-data:{operation}:" in await diagnosed(configure, database_url)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("WEBHOOKS_CLUSTER_ARN", CLUSTER_ARN.replace("local-data-api", "another"), "letter by letter"),
        ("WEBHOOKS_SECRET_ARN", SECRET_ARN.replace("local-data-api", "another"), "this very cluster"),
        ("WEBHOOKS_DATABASE", "nowhere", "nowhere"),
        ("AWS_ENDPOINT_URL_RDS_DATA", "http://127.0.0.1:1", "cannot be reached"),
    ],
)
async def test_doctor_says_which_name_leads_nowhere(
    configure: Configure,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    words: str,
) -> None:
    configure(database_url)
    monkeypatch.setenv(name, value)
    result = await run("doctor")
    assert result.exit_code == 1
    assert words in result.output


async def test_doctor_says_that_there_are_no_credentials(
    configure: Configure, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "AWS_PROFILE" in await diagnosed(configure, database_url)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("drop table email_preferences", "no table email_preferences"),
        ("alter table email_preferences rename updated_at to changed", "no column updated_at"),
        ("alter table webhook_events drop column reason", '"reason"'),
        ("drop table webhook_tokens", "webhook_tokens"),
    ],
)
async def test_doctor_says_which_table_or_column_is_missing(
    configure: Configure, database_url: str, connection: "asyncpg.Connection", broken: str, words: str
) -> None:
    await connection.execute(broken)
    assert words in await diagnosed(configure, database_url)


@pytest.mark.usefixtures("configured")
async def test_doctor_says_how_long_a_paused_database_took(local: Misbehaving) -> None:
    local.faults.resuming_until = time.monotonic() + 1.5
    result = await run("doctor")
    assert result.exit_code == 0
    assert "was paused and took" in result.output
    assert "0 ACU" in result.output


async def test_a_trial_needs_no_data_api() -> None:
    """Who goes to PostgreSQL directly does not pay for the AWS SDK."""
    code = "import sys, webhooks.app, webhooks.cli; from webhooks.settings import Settings; webhooks.app.create_app(Settings()); sys.exit('aiobotocore' in sys.modules)"
    import subprocess
    import sys

    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False)
    assert done.returncode == 0


async def test_the_command_says_what_points_an_sdk_at_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served = []
    monkeypatch.setattr(local_data_api, "serve", lambda app, **where: served.append((app, where)))
    arns = (
        "--cluster-arn",
        "arn:aws:rds:eu-west-1:1:cluster:mine",
        "--secret-arn",
        "arn:aws:secretsmanager:eu-west-1:1:secret:mine",
    )
    port = free_port()
    result = await run("data-api", "--port", str(port), "--database-url", database_url, *arns)
    assert result.exit_code == 0, result.output
    assert dict(line.removeprefix("export ").split("=", 1) for line in result.output.splitlines()) == {
        "AWS_ENDPOINT_URL_RDS_DATA": f"http://127.0.0.1:{port}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "WEBHOOKS_CLUSTER_ARN": arns[1],
        "WEBHOOKS_SECRET_ARN": arns[3],
        "WEBHOOKS_DATABASE": urlsplit(database_url).path.removeprefix("/"),
    }
    assert [where for _, where in served] == [{"host": "127.0.0.1", "port": port}]


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/app", "postgresql://localhost:port/app"])
async def test_a_database_that_is_none_is_refused_with_what_to_write(url: str) -> None:
    result = await run("data-api", "--database-url", url)
    assert result.exit_code == 2
    assert "is no PostgreSQL address" in result.output


@pytest.mark.parametrize("faults", ['{"latencyy": 1}', '{"rates": {"nonsense": 1}}', "{", '{"rates": {"throttle": 2}}'])
async def test_faults_that_are_none_are_refused_with_what_to_write(faults: str, database_url: str) -> None:
    result = await run("data-api", "--database-url", database_url, "--faults", faults)
    assert '{"latency": 0.15' in str(result.exception)
