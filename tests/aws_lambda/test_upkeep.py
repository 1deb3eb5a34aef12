"""The daily upkeep's own function: it needs no source, and no step of it keeps another from being done."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from db.local_data_api import Faults, create_app, serving
from providers.adapter import Adapter
from tests import tables
from tests.aws_lambda import events
from tests.aws_lambda.conftest import NewFunction, invoke
from tests.aws_lambda.runtime import Runtime

if TYPE_CHECKING:
    import asyncpg

HANDLER = "webhooks.upkeep_lambda.handler"


async def record(function: Runtime, adapter: Adapter, at: datetime) -> None:
    """An opt-out of so long ago."""
    now = datetime.now(UTC)
    [request] = adapter.sign([adapter.sample("unsubscribe", "ada@example.test", at, 1)], now)
    assert events.answer((await invoke(function, events.http_api_2(request))).result)[0] == 200


async def test_it_opts_out_a_row_that_came_later(
    new_function: NewFunction, adapter: Adapter, environment: dict[str, str], connection: "asyncpg.Connection"
) -> None:
    await record(new_function(), adapter, datetime.now(UTC))
    await tables.add_people(connection, "ada@example.test")
    del environment["WEBHOOKS_SOURCES"]
    done = (await invoke(new_function(HANDLER), {"payloads_after": 90})).result
    assert done == {"opted_out": 1, "tokens": 0, "payloads": 0}
    assert await tables.preferences(connection) == {"ada@example.test": False}


@pytest.mark.parametrize(("days", "forgotten"), [("0", None), (0, None), ("", None), ("200", 0), ("90", 1), (90, 1)])
async def test_payloads_are_forgotten_after_so_many_days_and_with_none_never(
    new_function: NewFunction, adapter: Adapter, days: Any, forgotten: int | None
) -> None:
    await record(new_function(), adapter, datetime.now(UTC) - timedelta(days=100))
    done = (await invoke(new_function(HANDLER), {"payloads_after": days})).result
    assert done.get("payloads") == forgotten


async def test_a_step_that_fails_is_told_when_the_others_are_done(
    new_function: NewFunction, connection: "asyncpg.Connection"
) -> None:
    await connection.execute("alter table email_consents rename to elsewhere")
    function = new_function(HANDLER)
    failed = await invoke(function, {"payloads_after": 90})
    assert failed.error["errorMessage"].startswith("not all of the upkeep is done: opted_out: DatabaseMisconfigured")
    [line] = [each for each in function.lines() if each.get("event") == "upkeep"]
    assert (line["tokens"], line["payloads"]) == (0, 0)


async def test_a_row_that_is_refused_is_named(
    new_function: NewFunction, adapter: Adapter, connection: "asyncpg.Connection"
) -> None:
    await record(new_function(), adapter, datetime.now(UTC))
    await connection.execute("alter table email_preferences add constraint picky check (marketing_opt_in)")
    await tables.add_people(connection, "ada@example.test")
    failed = await invoke(new_function(HANDLER), {})
    assert "opted_out: BadData: opted out 0; email_preferences refuses the opt-out of ada@example.test: " in str(
        failed.error
    )


async def test_what_lambda_would_end_is_told_in_time(new_function: NewFunction, database_url: str) -> None:
    server, _, name = database_url.rpartition("/")
    async with serving(create_app(f"{server}/postgres", faults=Faults(latency=3.0))) as url:
        function = new_function(HANDLER, AWS_ENDPOINT_URL_RDS_DATA=url, WEBHOOKS_DATABASE=name)
        failed = await invoke(function, {"payloads_after": 90}, milliseconds=2_000)
    assert "opted_out: TimeoutError" in failed.error["errorMessage"]
