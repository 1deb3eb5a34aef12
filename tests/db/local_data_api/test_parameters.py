"""Parameters in: the one type that each value is bound with, hints and their formats, names that match."""

import pytest

from tests.db.local_data_api.api import ARNS, NULL, Api, Value, long, string

EACH_TYPE: list[tuple[Value, str, str]] = [
    (string("x"), "text", "x"),
    (string("größe ☃ 'quoted' :a"), "text", "größe ☃ 'quoted' :a"),
    (string(""), "text", ""),
    (long(1), "bigint", "1"),
    (long(2**63 - 1), "bigint", "9223372036854775807"),
    (long(-(2**63)), "bigint", "-9223372036854775808"),
    ({"doubleValue": 0.1}, "double precision", "0.1"),
    ({"doubleValue": 1e300}, "double precision", "1e+300"),
    ({"booleanValue": True}, "boolean", "true"),
    ({"booleanValue": False}, "boolean", "false"),
    ({"blobValue": b"\0\xff"}, "bytea", r"\x00ff"),
    ({"blobValue": b""}, "bytea", r"\x"),
    ((string("2026-01-31"), "DATE"), "date", "2026-01-31"),
    ((string("12:30:01"), "TIME"), "time without time zone", "12:30:01"),
    ((string("12:30:01.123456"), "TIME"), "time without time zone", "12:30:01.123456"),
    ((string("2026-01-31 12:30:01"), "TIMESTAMP"), "timestamp without time zone", "2026-01-31 12:30:01"),
    ((string("2026-01-31 12:30:01.123"), "TIMESTAMP"), "timestamp without time zone", "2026-01-31 12:30:01.123"),
    ((string("1.50"), "DECIMAL"), "numeric", "1.50"),
    ((string("-123456789012345678901234567890.5"), "DECIMAL"), "numeric", "-123456789012345678901234567890.5"),
    ((string("1E+2"), "DECIMAL"), "numeric", "100"),
    ((string("6F9619FF-8B86-D011-B42D-00CF4FC964FF"), "UUID"), "uuid", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
    ((string('{"b": [1, null], "a": "ü"}'), "JSON"), "jsonb", '{"a": "ü", "b": [1, null]}'),
    ((long(5), "DECIMAL"), "bigint", "5"),
]


@pytest.mark.parametrize(("value", "type_", "text"), EACH_TYPE)
async def test_each_value_has_one_type(api: Api, value: Value, type_: str, text: str) -> None:
    assert await api.rows("select pg_typeof(:v)::text, :v::text", {"v": value}) == [[type_, text]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
async def test_what_is_no_number_comes_as_a_string(api: Api, value: float) -> None:
    assert repr(await api.rows("select :v", {"v": {"doubleValue": value}})) == repr([[value]])


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        ("DATE", "2026-02-30"),
        ("DATE", "2026-1-2"),
        ("DATE", "20260102"),
        ("DATE", "2026-01-02 00:00:00"),
        ("DATE", "infinity"),
        ("DATE", "today"),
        ("TIME", "12:30"),
        ("TIME", "25:00:00"),
        ("TIME", "12:30:01Z"),
        ("TIME", "12:30:01.1234567"),
        ("TIMESTAMP", "2026-01-31"),
        ("TIMESTAMP", "2026-01-31 12:30"),
        ("TIMESTAMP", "2026-02-31 12:30:01"),
        ("TIMESTAMP", "2026-01-31T12:30:01"),
        ("TIMESTAMP", "2026-01-31 12:30:01Z"),
        ("TIMESTAMP", "2026-01-31 12:30:01+00:00"),
        ("TIMESTAMP", "2026-01-31 12:30:01-08"),
        ("DECIMAL", "NaN"),
        ("DECIMAL", "1,5"),
        ("DECIMAL", "0x10"),
        ("DECIMAL", " 1"),
        ("DECIMAL", ""),
        ("UUID", "6f9619ff8b86d011b42d00cf4fc964ff"),
        ("UUID", "{6f9619ff-8b86-d011-b42d-00cf4fc964ff}"),
        ("UUID", "me"),
        ("JSON", "{'a': 1}"),
        ("JSON", ""),
        ("JSON", "NaN"),
    ],
)
async def test_a_value_that_is_not_in_its_hints_format_is_refused(api: Api, hint: str, text: str) -> None:
    refused = await api.refused("select :v", {"v": (string(text), hint)})
    assert (refused.code, refused.status) == ("DatabaseErrorException", 400)
    assert refused.message.startswith("Parse Error for ")


async def test_a_zone_in_a_timestamp_is_refused_in_the_services_words(api: Api) -> None:
    refused = await api.refused("select :v", {"v": (string("2026-01-31T12:30:01Z"), "TIMESTAMP")})
    assert refused.message == "Parse Error for TimeStamp: input contains invalid characters"


@pytest.mark.parametrize(
    ("sql", "values", "state"),
    [
        ("select 1 where 1 = :v", {"v": string("1")}, "42883"),
        ("insert into things (at) values (:v)", {"v": string("2026-01-01 00:00:00")}, "42804"),
        ("insert into things (data) values (:v)", {"v": string("{}")}, "42804"),
        ("insert into things (id) values (:v)", {"v": string("6f9619ff-8b86-d011-b42d-00cf4fc964ff")}, "42804"),
        ("insert into things (mood) values (:v)", {"v": string("glad")}, "42804"),
        ("select repeat('a', :v)", {"v": long(2)}, "42883"),
        ("insert into things (small) values (:v)", {"v": long(70_000)}, "22003"),
        ("insert into things (name) values (:v)", {"v": string("a\0b")}, "22021"),
        ("insert into things (data) values (:v)", {"v": (string('"\\u0000"'), "JSON")}, "22P05"),
        ("select :v is null", {"v": NULL}, "42P18"),
    ],
)
async def test_what_production_refuses_is_refused(
    api: Api, transaction: str, sql: str, values: dict[str, Value], state: str
) -> None:
    await make_things(api, transaction)
    refused = await api.refused(sql, values, transactionId=transaction)
    assert refused.message.endswith(f"SQLState: {state}")


async def test_casts_hints_and_assignments_go_through(api: Api, transaction: str) -> None:
    await make_things(api, transaction)
    answer = await api.execute(
        "insert into things values (:id, :at::timestamptz, :data::jsonb, :mood::mood, :small, :exact, :name)"
        " returning id, at, data, mood, small, exact, name",
        {
            "id": (string("6f9619ff-8b86-d011-b42d-00cf4fc964ff"), "UUID"),
            "at": string("2026-01-01 02:00:00+02"),
            "data": string("[1]"),
            "mood": string("glad"),
            "small": long(7),
            "exact": {"doubleValue": 1.5},
            "name": string("n"),
        },
        transactionId=transaction,
    )
    assert answer["records"] == [
        [
            string("6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
            string("2026-01-01 00:00:00"),
            string("[1]"),
            string("glad"),
            long(7),
            string("1.5"),
            string("n"),
        ]
    ]


async def test_a_null_goes_into_any_column_whatever_its_hint(api: Api, transaction: str) -> None:
    await make_things(api, transaction)
    columns = ["id", "at", "data", "mood", "small", "exact", "name"]
    values: dict[str, Value] = dict.fromkeys(columns, NULL) | {"id": (NULL, "UUID"), "at": (NULL, "TIMESTAMP")}
    names = ", ".join(f":{name}" for name in columns)
    await api.execute(f"insert into things values ({names})", values, transactionId=transaction)
    assert await api.rows("select * from things", transactionId=transaction) == [[None] * 7]


@pytest.mark.parametrize(
    ("sql", "parameters", "code"),
    [
        ("select :a, :b", [{"name": "a", "value": {"longValue": 1}}], "BadRequestException"),
        ("select 1", [{"name": "a", "value": {"longValue": 1}}], "BadRequestException"),
        ("select :a", [{"name": "a", "value": {"longValue": 1}}] * 2, "BadRequestException"),
        ("select :a", [{"name": "a", "value": {}}], "BadRequestException"),
        ("select :a", [{"name": "a"}], "BadRequestException"),
        ("select :a", [{"value": {"longValue": 1}}], "BadRequestException"),
        ("select :a", [None], "BadRequestException"),
        ("select :a", [{"name": "a", "value": {"isNull": False}}], "BadRequestException"),
        ("select :a", [{"name": "a", "value": {"arrayValue": {"longValues": [1, None]}}}], "ValidationException"),
        ("select :a", [{"name": "a", "value": {"arrayValue": {"arrayValues": [{"stringValues": ["x"]}]}}}], "ValidationException"),
    ],
)  # fmt: skip
async def test_parameters_that_do_not_fit_are_refused(api: Api, sql: str, parameters: list[object], code: str) -> None:
    answer = await api.post("/Execute", {**ARNS, "sql": sql, "parameters": parameters})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, code)


async def test_lists_travel_as_texts(api: Api) -> None:
    sql = "select n from generate_series(1, 9) n where n = any(:ids::bigint[]) or n::text = any(string_to_array(:csv, ','))"
    assert await api.rows(sql, {"ids": string("{1,2}"), "csv": string("5,6")}) == [[1], [2], [5], [6]]
    rows = "select a, b from jsonb_to_recordset(:rows::jsonb) as r(a int, b text)"
    assert await api.rows(rows, {"rows": string('[{"a": 1, "b": "x"}, {"a": 2}]')}) == [[1, "x"], [2, None]]


async def make_things(api: Api, transaction: str) -> None:
    await api.execute("create type mood as enum ('sad', 'glad')", transactionId=transaction)
    await api.execute(
        "create table things (id uuid, at timestamptz, data jsonb, mood mood, small smallint, exact numeric, name text)",
        transactionId=transaction,
    )
