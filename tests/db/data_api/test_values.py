"""Python's values there and back: what is sent, what is refused before it is sent, and what comes out of PostgreSQL."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.data_api import Array, DataApi, Json
from db.data_api.values import Rows, decode, encode
from db.database import BadData, DatabaseMisconfigured
from db.postgres import Postgres

ID = UUID("0198f0a0-0000-8000-8000-000000000001")
CET = timezone(timedelta(hours=1))


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "parameter"),
    [
        (None, {"value": {"isNull": True}}),
        (True, {"value": {"booleanValue": True}}),
        (7, {"value": {"longValue": 7}}),
        (Size.LARGE, {"value": {"longValue": 3}}),
        (-(2**63), {"value": {"longValue": -(2**63)}}),
        (2**63, {"value": {"stringValue": str(2**63)}, "typeHint": "DECIMAL"}),
        (1.5, {"value": {"doubleValue": 1.5}}),
        (Decimal("1.50"), {"value": {"stringValue": "1.50"}, "typeHint": "DECIMAL"}),
        (Decimal("1E+3"), {"value": {"stringValue": "1000"}, "typeHint": "DECIMAL"}),
        ("it's :é", {"value": {"stringValue": "it's :é"}}),
        (Colour.RED, {"value": {"stringValue": "red"}}),
        (b"\0\xff", {"value": {"blobValue": "AP8="}}),
        (date(2026, 1, 2), {"value": {"stringValue": "2026-01-02"}, "typeHint": "DATE"}),
        (time(3, 4, 5), {"value": {"stringValue": "03:04:05"}, "typeHint": "TIME"}),
        (time(3, 4, 5, 120_000), {"value": {"stringValue": "03:04:05.120"}, "typeHint": "TIME"}),
        (datetime(2026, 1, 2, 3), {"value": {"stringValue": "2026-01-02 03:00:00"}, "typeHint": "TIMESTAMP"}),  # noqa: DTZ001
        (ID, {"value": {"stringValue": str(ID)}, "typeHint": "UUID"}),
        ({"a": [1, None]}, {"value": {"stringValue": '{"a":[1,null]}'}, "typeHint": "JSON"}),
        ([1, "b"], {"value": {"stringValue": '[1,"b"]'}, "typeHint": "JSON"}),
        (Json("text"), {"value": {"stringValue": '"text"'}, "typeHint": "JSON"}),
    ],
)
def test_a_value_is_sent_with_the_hint_that_binds_it_right(value: Any, parameter: dict[str, Any]) -> None:
    encoded = encode("x", value)
    assert encoded.parameter("x") == {"name": "x", **parameter}
    assert encoded.cast == ""


@pytest.mark.parametrize(
    ("value", "text", "cast"),
    [
        (datetime(2026, 1, 2, 3, tzinfo=CET), "2026-01-02 03:00:00+01:00", "timestamptz"),
        # The hints know milliseconds only.
        (datetime(2026, 1, 2, 3, 4, 5, 123_456), "2026-01-02 03:04:05.123456", "timestamp"),  # noqa: DTZ001
        (time(3, 4, 5, 123_456), "03:04:05.123456", "time"),
        (timedelta(days=-1, seconds=2), "-1 days 2 seconds 0 microseconds", "interval"),
        (Array([1, None], "int8"), '{"1",NULL}', "int8[]"),
        (Array([["a\\", 'b"'], ["", "NULL"]], "text"), r'{{"a\\","b\""},{"","NULL"}}', "text[]"),
    ],
)
def test_what_no_hint_says_exactly_is_cast_in_the_statement(value: Any, text: str, cast: str) -> None:
    encoded = encode("x", value)
    assert (encoded.parameter("x"), encoded.cast) == ({"name": "x", "value": {"stringValue": text}}, cast)


@pytest.mark.parametrize(
    "value",
    [
        "a\0secret",
        "\ud800secret",
        {"secret": "\0"},
        {"\ud800": "secret"},
        {"secret": float("nan")},
        {"secret": object()},
        Json("\0secret"),
        Array(["secret\0"], "text"),
        Array(["secret"], "text[]; drop table secret"),
        Array([object()], "text"),
        float("nan"),
        float("-inf"),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1E+1000000"),
        time(1, 2, tzinfo=UTC),
        object(),
        (1, 2),
        {1, 2},
    ],
    ids=repr,
)
def test_what_the_database_could_not_take_is_refused_by_the_parameters_name_alone(value: Any) -> None:
    with pytest.raises(BadData, match=":name") as refused:
        encode("name", value)
    assert "secret" not in str(refused.value)


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert encode("x", ["\\u0000"]).value == {"stringValue": '["\\\\u0000"]'}


def answer(type_name: str, *fields: Mapping[str, Any]) -> dict[str, Any]:
    column = {"name": "c", "label": "c", "typeName": type_name}
    return {"columnMetadata": [column], "records": [[field] for field in fields]}


@pytest.mark.parametrize(
    ("type_name", "field", "value"),
    [
        ("numeric", {"stringValue": "1.50"}, Decimal("1.50")),
        ("float8", {"stringValue": "-Infinity"}, float("-inf")),
        ("timestamptz", {"stringValue": "2026-01-02 03:04:05.123"}, datetime(2026, 1, 2, 3, 4, 5, 123_000, UTC)),
        ("timestamptz", {"stringValue": "2026-01-02 03:04:05+01:00"}, datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("jsonb", {"stringValue": '{"a":1.5}'}, {"a": 1.5}),
        ("_uuid", {"arrayValue": {"stringValues": [str(ID), None]}}, [ID, None]),
        ("_int4", {"arrayValue": {"arrayValues": [{"longValues": [1]}, {"longValues": [2]}]}}, [[1], [2]]),
        ("_int4", {"isNull": True}, None),
        ("int4", {"isNull": None, "longValue": 7}, 7),
        ("bytea", {"blobValue": "AP8="}, b"\0\xff"),
        ("inet", {"stringValue": "10.0.0.0/8"}, "10.0.0.0/8"),
        ("some_enum", {"stringValue": "red"}, "red"),
    ],
)
def test_a_field_is_read_by_its_columns_type(type_name: str, field: dict[str, Any], value: Any) -> None:
    assert decode(answer(type_name, field)) == [{"c": value}]


def test_a_statement_without_rows_says_how_many_it_changed() -> None:
    rows = decode({"numberOfRecordsUpdated": 3, "generatedFields": []})
    assert (rows, rows.updated) == (Rows(), 3)


def test_a_value_that_pythons_type_cannot_hold_names_its_column() -> None:
    with pytest.raises(DatabaseMisconfigured, match=r"column c .*::text"):
        decode(answer("date", {"stringValue": "0044-03-15 BC"}))


# Text that PostgreSQL and JSON can hold.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
moments = partial(st.datetimes, datetime(2, 1, 1), datetime(9998, 12, 31))  # noqa: DTZ001 - naive and aware ones
# Fixed: by a zone's own rules Python calls some moments unequal to themselves.
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Larger ones jsonb writes out without a point: they come back as the int of the digits that were sent.
json_floats = st.floats(-1e15, 1e15)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | json_floats | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
SCALARS: Mapping[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": st.floats(allow_nan=False, allow_infinity=False),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False),
    "text": texts,
    "bytea": st.binary(),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": moments(),
    "timestamptz": moments(timezones=offsets),
    "uuid": st.uuids(),
    "jsonb": st.lists(json_values, max_size=3) | st.dictionaries(texts, json_values, max_size=3),
}
# What the Data API hands out arrays of.
ELEMENTS = sorted(SCALARS.keys() - {"bytea", "timestamptz", "jsonb"})


def storable(value: Any) -> bool:
    """PostgreSQL's numeric goes to 16,383 digits after the point."""
    return not isinstance(value, Decimal) or -1_000 < int(value.as_tuple().exponent) < 1_000


values = st.one_of(*(st.tuples(st.just(name), strategy.filter(storable)) for name, strategy in SCALARS.items()))
arrays = st.sampled_from(ELEMENTS).flatmap(
    lambda name: st.tuples(st.just(name), st.lists(st.none() | SCALARS[name].filter(storable), max_size=5))
)
once = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@once
@given(typed=values)
async def test_a_value_comes_back_as_it_went(typed: tuple[str, Any], api: DataApi) -> None:
    name, value = typed
    [row] = await api.select("select :v as v, pg_typeof(:v)::text as type", {"v": value})
    expected = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"} | {
        "bool": "boolean", "int8": "bigint", "float8": "double precision", "time": "time without time zone"
    }  # fmt: skip
    assert row == {"v": value, "type": expected.get(name, name)}
    assert type(row["v"]) is type(value)


@once
@given(typed=arrays)
async def test_an_array_comes_back_as_a_list(typed: tuple[str, list[Any]], api: DataApi) -> None:
    name, elements = typed
    assert await api.select("select :v as v", {"v": Array(elements, name)}) == [{"v": elements}]


@settings(once, max_examples=50)
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | s.filter(storable) for name, s in SCALARS.items()}), max_size=8
    )
)
async def test_a_batch_goes_into_columns_of_every_type_without_a_cast(rows: list[dict[str, Any]], api: DataApi) -> None:
    await api.execute(
        f"create table if not exists every ({', '.join(f'{name}_ {name}' for name in SCALARS)}, n serial)"
    )
    await api.execute("truncate every")
    await api.batch_execute(
        f"insert into every ({', '.join(f'{name}_' for name in SCALARS)}) values ({', '.join(f':{name}' for name in SCALARS)})",
        rows,
    )
    stored = await api.select("select * from every order by n")
    assert [{name: row[f"{name}_"] for name in SCALARS} for row in stored] == rows


async def test_both_ways_to_the_database_give_the_same_rows(api: DataApi, database_url: str) -> None:
    """The same statement, the same Python values: whoever wrote it on one meets no surprise on the other."""
    sql = """
        select true as b, 7::int2 as i2, 7 as i4, 2^40::int8 as i8, 1.5::float4 as f4, 1.5::float8 as f8,
               1.50 as n, 'x' as t, 'x'::name as nm, decode('00ff', 'hex') as bytes, date '2026-01-02' as d,
               time '03:04:05.5' as ti, timestamp '2026-01-02 03:04:05' as ts,
               timestamptz '2026-01-02 03:04:05+01' as tz, cast(:id as uuid) as id,
               '{"a": [1, null]}'::jsonb as doc, '"x"'::json as js, array[1, null] as ints, array['a'] as texts,
               array[1.5] as numbers, null::int as nothing, 7::oid as oid
    """
    direct = Postgres.at(database_url)
    [ours] = await api.select(sql, {"id": str(ID)})
    [theirs] = await direct.execute(sql, {"id": str(ID)})
    await direct.close()
    assert ours == dict(theirs)
    assert json.dumps(ours["doc"]) == '{"a": [1, null]}'
