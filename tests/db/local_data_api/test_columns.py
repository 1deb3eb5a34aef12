"""columnMetadata: names, types, origins, precision."""

from typing import Any

import pytest

from tests.db.local_data_api.api import Api

PLAIN = {
    "arrayBaseColumnType": 0,
    "isAutoIncrement": False,
    "isCaseSensitive": True,
    "isCurrency": False,
    "isSigned": False,
    "nullable": 2,
    "precision": 2**31 - 1,
    "scale": 0,
    "schemaName": "",
    "tableName": "",
}


async def metadata(api: Api, sql: str, **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.execute(sql, includeResultMetadata=True, **options))["columnMetadata"]
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", {"typeName": "bool", "type": -7, "precision": 1, "isCaseSensitive": False}),
        ("1::int2", {"typeName": "int2", "type": 5, "precision": 5, "isSigned": True, "isCaseSensitive": False}),
        ("1", {"typeName": "int4", "type": 4, "precision": 10, "isSigned": True, "isCaseSensitive": False}),
        ("1::int8", {"typeName": "int8", "type": -5, "precision": 19, "isSigned": True, "isCaseSensitive": False}),
        ("1::float4", {"typeName": "float4", "type": 7, "precision": 8, "scale": 8, "isSigned": True, "isCaseSensitive": False}),
        ("1::float8", {"typeName": "float8", "type": 8, "precision": 17, "scale": 17, "isSigned": True, "isCaseSensitive": False}),
        ("1::numeric", {"typeName": "numeric", "type": 2, "precision": 0, "isSigned": True, "isCaseSensitive": False}),
        ("1::numeric(10,4)", {"typeName": "numeric", "type": 2, "precision": 10, "scale": 4, "isSigned": True, "isCaseSensitive": False}),
        ("1000::numeric(3,-2)", {"typeName": "numeric", "type": 2, "precision": 3, "scale": -2, "isSigned": True, "isCaseSensitive": False}),
        ("'x'::text", {"typeName": "text", "type": 12}),
        ("'x'::varchar", {"typeName": "varchar", "type": 12}),
        ("'x'::varchar(20)", {"typeName": "varchar", "type": 12, "precision": 20}),
        ("'x'::char(5)", {"typeName": "bpchar", "type": 1, "precision": 5}),
        ("'x'::name", {"typeName": "name", "type": 12}),
        ("'\\x'::bytea", {"typeName": "bytea", "type": -2}),
        ("current_date", {"typeName": "date", "type": 91, "precision": 13, "isCaseSensitive": False}),
        ("localtime", {"typeName": "time", "type": 92, "precision": 15, "scale": 6, "isCaseSensitive": False}),
        ("localtimestamp", {"typeName": "timestamp", "type": 93, "precision": 29, "scale": 6, "isCaseSensitive": False}),
        ("localtimestamp(3)", {"typeName": "timestamp", "type": 93, "precision": 26, "scale": 3, "isCaseSensitive": False}),
        ("now()", {"typeName": "timestamptz", "type": 93, "precision": 35, "scale": 6, "isCaseSensitive": False}),
        ("gen_random_uuid()", {"typeName": "uuid", "type": 1111}),
        ("'{}'::json", {"typeName": "json", "type": 1111}),
        ("'{}'::jsonb", {"typeName": "jsonb", "type": 1111}),
        ("'::1'::inet", {"typeName": "inet", "type": 1111}),
        ("array[1]", {"typeName": "_int4", "type": 2003, "arrayBaseColumnType": 4}),
        ("array['x']", {"typeName": "_text", "type": 2003, "arrayBaseColumnType": 12}),
    ],
)  # fmt: skip
async def test_types_bear_postgresqls_names_and_jdbcs_numbers(
    api: Api, expression: str, expected: dict[str, Any]
) -> None:
    assert await metadata(api, f"select {expression} as c") == [PLAIN | {"name": "c", "label": "c"} | expected]


async def test_columns_of_tables_say_where_they_come_from(api: Api, transaction: str) -> None:
    await api.execute("create type mood as enum ('sad', 'glad')", transactionId=transaction)
    await api.execute("create sequence shared", transactionId=transaction)
    await api.execute(
        "create table things (id serial primary key, big bigserial, small smallserial,"
        " always int generated always as identity, other int default nextval('shared'), name text, mood mood not null)",
        transactionId=transaction,
    )
    await api.execute("create index on things (other)", transactionId=transaction)
    found = await metadata(api, "select *, id + 1 as next, name as alias from things", transactionId=transaction)
    kept = ("name", "typeName", "type", "tableName", "nullable", "isAutoIncrement")
    assert [tuple(column[key] for key in kept) for column in found] == [
        ("id", "serial", 4, "things", 0, True),
        ("big", "bigserial", -5, "things", 0, True),
        ("small", "smallserial", 5, "things", 0, True),
        ("always", "int4", 4, "things", 0, True),
        ("other", "int4", 4, "things", 1, False),
        ("name", "text", 12, "things", 1, False),
        ("mood", "mood", 12, "things", 0, False),
        ("next", "int4", 4, "", 2, False),
        ("alias", "text", 12, "things", 1, False),
    ]


async def test_metadata_come_without_rows_and_with_equal_names(api: Api) -> None:
    answer = await api.execute("select 1 as a, 'x' as a where false", includeResultMetadata=True)
    assert answer["records"] == []
    assert [column["name"] for column in answer["columnMetadata"]] == ["a", "a"]


async def test_metadata_are_told_of_returned_rows_but_not_of_a_count(api: Api, transaction: str) -> None:
    await api.execute("create table things (n int)", transactionId=transaction)
    [column] = await metadata(api, "insert into things values (1) returning n", transactionId=transaction)
    assert (column["name"], column["tableName"]) == ("n", "things")
    answer = await api.execute("insert into things values (1)", includeResultMetadata=True, transactionId=transaction)
    assert answer == {"generatedFields": [], "numberOfRecordsUpdated": 1}
    assert "columnMetadata" not in await api.execute("select 1")


async def test_metadata_take_no_snapshot_that_the_transaction_would_have_to_have_later(
    api: Api, transaction: str
) -> None:
    await metadata(api, "show transaction_isolation", transactionId=transaction)
    await api.execute("set transaction isolation level serializable", transactionId=transaction)
    assert await api.rows("show transaction_isolation", transactionId=transaction) == [["serializable"]]
