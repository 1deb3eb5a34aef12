"""The planner must find people by the index: scanning the user's table for each opt-out costs a hundred times as much."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from db.chunks import parameters, records
from db.database import query
from db.postgres import positional
from tests import tables
from tests.samples import decided, opt_out

if TYPE_CHECKING:
    import asyncpg


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("number", [1, 1_000])
@pytest.mark.parametrize("key", ["(user_id)", "(email_address, user_id)"])
async def test_preferences_are_found_by_index(
    connection: "asyncpg.Connection", mode: str, number: int, key: str
) -> None:
    await connection.execute("alter table email_preferences drop constraint email_preferences_pkey")
    await connection.execute(f"alter table email_preferences add primary key {key}")
    people = [f"Person{n}@example.test" for n in range(20_000)]
    await tables.add_people(connection, *people)
    await connection.execute("analyze email_preferences")
    await connection.execute(f"set plan_cache_mode = {mode}")
    sql, names = positional(query("record_events"))
    values = parameters(records(decided(*map(opt_out, people[:number]))))
    explained = await connection.fetchval(f"explain (analyze, format json) {sql}", *(values[name] for name in names))
    scans = [
        node for node in nodes(json.loads(explained)[0]["Plan"]) if node.get("Relation Name") == "email_preferences"
    ]
    assert {node["Node Type"] for node in scans if "Scan" in node["Node Type"]} == {"Index Scan"}
    assert await connection.fetchval("select count(*) from email_preferences where not marketing_opt_in") == number
