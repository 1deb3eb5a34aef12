"""Fields out: every type that the Data API answers, those that it does not, the formats, the options."""

import json
import math
from typing import Any

import pytest

from tests.db.local_data_api.api import NULL, Api, Refused, long, string

EACH_TYPE: list[tuple[str, dict[str, Any]]] = [
    ("true", {"booleanValue": True}),
    ("1::int2", long(1)),
    ("(-2147483648)::int4", long(-2147483648)),
    ("9223372036854775807::int8", long(2**63 - 1)),
    ("0.1::float4", {"doubleValue": 0.1}),
    ("1e300::float8", {"doubleValue": 1e300}),
    ("0.1::float8 + 0.2::float8", {"doubleValue": 0.1 + 0.2}),
    ("'Infinity'::float8", {"doubleValue": math.inf}),
    ("'-Infinity'::float4", {"doubleValue": -math.inf}),
    ("1.50::numeric", string("1.50")),
    ("'NaN'::numeric", string("NaN")),
    ("'ü ☃'::text", string("ü ☃")),
    ("''::text", string("")),
    ("'x'::varchar(3)", string("x")),
    ("'x'::char(3)", string("x  ")),
    ("'x'::name", string("x")),
    ("'6F9619FF-8B86-D011-B42D-00CF4FC964FF'::uuid", string("6f9619ff-8b86-d011-b42d-00cf4fc964ff")),
    ("date '2024-12-25'", string("2024-12-25")),
    ("time '14:30:45'", string("14:30:45")),
    ("time '14:30:45.5'", string("14:30:45.500")),
    ("time '14:30:45.1234'", string("14:30:45.123400")),
    ("time '14:30:45.123456'", string("14:30:45.123456")),
    ("timestamp '2021-11-09 18:06:19'", string("2021-11-09 18:06:19")),
    ("timestamp '2021-11-09 18:06:19.12'", string("2021-11-09 18:06:19.120")),
    ("timestamp '0044-03-15 12:00:00 BC'", string("0044-03-15 12:00:00 BC")),
    ("timestamptz '2021-11-09 18:06:19.000001+09'", string("2021-11-09 09:06:19.000001")),
    ("timestamptz '2021-11-09 18:06:19-05:30'", string("2021-11-09 23:36:19")),
    ("timestamptz '10000-01-01 00:00:00Z'", string("10000-01-01 00:00:00")),
    ("timestamptz '0044-03-15 12:00:00Z BC'", string("0044-03-15 12:00:00 BC")),
    ("""' {"b" : [1, 2.50, "a b\\n" ] , "a":{ } } '::json""", string('{"b":[1,2.50,"a b\\n"],"a":{}}')),
    ("""'{"b": [1, 12345678901234567890], "a": "x: y"}'::jsonb""", string('{"a":"x: y","b":[1,12345678901234567890]}')),
    ("'null'::jsonb", string("null")),
    (r"'\x00ff'::bytea", {"blobValue": b"\0\xff"}),
    ("''::bytea", {"blobValue": b""}),
    ("inet '192.168.0.1/24'", string("192.168.0.1/24")),
    ("cidr '10.0.0.0/8'", string("10.0.0.0/8")),
    ("26::oid", string("26")),
    ("int4range(1, 5)", string("[1,5)")),
    ("numrange(1.0, null)", string("[1.0,)")),
    ("null", NULL),
    ("null::int[]", NULL),
    ("pg_sleep(0)", string("")),
    ("array[true, null]", {"arrayValue": {"booleanValues": [True, None]}}),
    ("array[1, 2]::int2[]", {"arrayValue": {"longValues": [1, 2]}}),
    ("array[9223372036854775807, null]", {"arrayValue": {"longValues": [2**63 - 1, None]}}),
    ("'{}'::int[]", {"arrayValue": {"longValues": []}}),
    ("'{}'::text[]", {"arrayValue": {"stringValues": []}}),
    ("'[0:1]={5,6}'::int[]", {"arrayValue": {"longValues": [5, 6]}}),
    ("array[0.1, 3.14]::float4[]", {"arrayValue": {"doubleValues": [0.1, 3.14]}}),
    ("array[1.5::float8, null]", {"arrayValue": {"doubleValues": [1.5, None]}}),
    ("array[1.50, 2]", {"arrayValue": {"stringValues": ["1.50", "2"]}}),
    ("array['a,b', 'c\"d', 'e\\f', 'NULL', null, '', '{x}', 'y z']", {"arrayValue": {"stringValues": ["a,b", 'c"d', "e\\f", "NULL", None, "", "{x}", "y z"]}}),
    ("array['x']::varchar[]", {"arrayValue": {"stringValues": ["x"]}}),
    ("array['x']::char(2)[]", {"arrayValue": {"stringValues": ["x "]}}),
    ("array['x']::name[]", {"arrayValue": {"stringValues": ["x"]}}),
    ("array[date '2026-01-02']", {"arrayValue": {"stringValues": ["2026-01-02"]}}),
    ("array[time '01:02:03.4']", {"arrayValue": {"stringValues": ["01:02:03.400"]}}),
    ("array[timestamp '2026-01-02 03:04:05']", {"arrayValue": {"stringValues": ["2026-01-02 03:04:05"]}}),
    ("array[timestamptz '2026-01-02 03:04:05+01']", {"arrayValue": {"stringValues": ["2026-01-02 02:04:05"]}}),
    ("array['6F9619FF-8B86-D011-B42D-00CF4FC964FF']::uuid[]", {"arrayValue": {"stringValues": ["6f9619ff-8b86-d011-b42d-00cf4fc964ff"]}}),
    ("""array['{"a": "b, c"}']::json[]""", {"arrayValue": {"stringValues": ['{"a":"b, c"}']}}),
    ("array['[1, 2]']::jsonb[]", {"arrayValue": {"stringValues": ["[1,2]"]}}),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "field"), EACH_TYPE)
async def test_each_type_has_its_member(api: Api, expression: str, field: dict[str, Any]) -> None:
    assert await api.field(f"select {expression}") == field


async def test_what_is_no_number_goes_as_a_string_that_sdks_read(api: Api) -> None:
    answer = await api.post("/Execute", {**body_of("select 'NaN'::float8"), "database": api.database})
    assert answer.json()["records"] == [[{"doubleValue": "NaN"}]]


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("interval '1 day'", "INTERVAL"),
        ("timetz '12:00:00+01'", "TIMETZ"),
        ("1::money", "MONEY"),
        ("point(1, 2)", "POINT"),
        ("circle '((0,0),1)'", "CIRCLE"),
        ("macaddr '08:00:2b:01:02:03'", "MACADDR"),
        ("null::xml", "xml"),
        ("'pg_class'::regclass", "regclass"),
        ("'int'::regtype", "regtype"),
        ("""'x'::"char" """, '"CHAR"'),
        ("int8range(1, 2)", "int8range"),
        ("daterange('2026-01-01', null)", "daterange"),
        ("tsrange(null, null)", "tsrange"),
        ("tsvector 'a'", "tsvector"),
        ("row(1, 2)", "record"),
        ("B'01'", "BIT"),
        ("array[interval '1 day']", "INTERVAL[]"),
        ("array[inet '::1']", "inet[]"),
        (r"array['\x00'::bytea]", "bytea[]"),
        ("'1 2'::int2vector", "int2vector"),
    ],
)
async def test_a_type_that_the_data_api_does_not_answer_is_named(api: Api, expression: str, name: str) -> None:
    for sql in (f"select {expression}", f"select {expression} where false"):
        refused = await api.refused(sql)
        assert (refused.code, refused.status) == ("UnsupportedResultException", 400)
        assert refused.message == f"The result contains the unsupported data type {name}."


async def test_bits_are_answered_in_arrays_only(api: Api) -> None:
    assert await api.field("select array[B'01', null]") == {"arrayValue": {"stringValues": ["01", None]}}


async def test_an_array_of_arrays_is_not_answered(api: Api) -> None:
    refused = await api.refused("select array[[1, 2], [3, 4]]")
    assert (refused.code, refused.message) == (
        "UnsupportedResultException",
        "The result contains a multidimensional array.",
    )


@pytest.mark.parametrize(
    "expression",
    [
        "date 'infinity'",
        "timestamp '-infinity'",
        "timestamptz 'infinity'",
        "array[date 'infinity']",
        "'[1e400]'::json",
        "to_jsonb(10::numeric ^ 310)",
    ],
)
async def test_what_the_service_cannot_hold_is_a_failure_without_a_message(api: Api, expression: str) -> None:
    refused = await api.refused(f"select {expression}")
    assert (refused.code, refused.status, refused.message) == ("InternalFailure", 500, "")


async def test_types_of_the_database_itself(api: Api, transaction: str) -> None:
    await api.execute("create type mood as enum ('sad', 'glad')", transactionId=transaction)
    await api.execute("create domain short as varchar(3) check (value <> '')", transactionId=transaction)
    await api.execute("create type pair as (a int, b int)", transactionId=transaction)
    assert await api.rows("select 'glad'::mood, 'x'::short", transactionId=transaction) == [["glad", "x"]]
    unsupported = {"row(1, 2)::pair": "pair", "array['sad'::mood]": "mood[]", "array['x'::short]": "short[]"}
    for expression, name in unsupported.items():
        refused = await api.refused(f"select {expression}", transactionId=transaction)
        assert refused.message == f"The result contains the unsupported data type {name}."


async def test_instants_are_in_utc_whatever_the_zone_of_the_session(api: Api, transaction: str) -> None:
    await api.execute("set local time zone 'Asia/Kathmandu'", transactionId=transaction)
    sql = "select timestamptz '2026-01-02 03:04:05.25Z', timestamptz '1880-01-01 00:00:00Z', date '2026-01-02'"
    assert await api.rows(sql, transactionId=transaction) == [
        ["2026-01-02 03:04:05.250", "1880-01-01 00:00:00", "2026-01-02"]
    ]


@pytest.mark.parametrize(
    ("setting", "expression", "field"),
    [
        ("bytea_output to escape", r"'\x00ff41'::bytea", {"blobValue": b"\0\xffA"}),
        ("extra_float_digits to 0", "0.5::float8", {"doubleValue": 0.5}),
        ("intervalstyle to iso_8601", "time '01:02:03'", string("01:02:03")),
        ("datestyle to 'ISO, DMY'", "date '2026-01-02'", string("2026-01-02")),
    ],
)
async def test_other_settings_of_the_session_do_no_harm(
    api: Api, transaction: str, setting: str, expression: str, field: dict[str, Any]
) -> None:
    await api.execute(f"set local {setting}", transactionId=transaction)
    assert await api.field(f"select {expression}", transactionId=transaction) == field


@pytest.mark.parametrize(
    ("expression", "option", "field"),
    [
        ("1.50", {"decimalReturnType": "STRING"}, string("1.50")),
        ("1.50", {"decimalReturnType": "DOUBLE_OR_LONG"}, {"doubleValue": 1.5}),
        ("-7::numeric", {"decimalReturnType": "DOUBLE_OR_LONG"}, long(-7)),
        ("7.0", {"decimalReturnType": "DOUBLE_OR_LONG"}, {"doubleValue": 7.0}),
        ("-9223372036854775808::numeric", {"decimalReturnType": "DOUBLE_OR_LONG"}, long(-(2**63))),
        ("'-Infinity'::numeric", {"decimalReturnType": "DOUBLE_OR_LONG"}, {"doubleValue": -math.inf}),
        ("10::numeric ^ 30", {"decimalReturnType": "DOUBLE_OR_LONG"}, {"doubleValue": 1e30}),
        ("1::int8", {"longReturnType": "LONG"}, long(1)),
        ("1::int2", {"longReturnType": "STRING"}, string("1")),
        ("9007199254740993", {"longReturnType": "STRING"}, string("9007199254740993")),
        ("1.5::float8", {"decimalReturnType": "STRING", "longReturnType": "STRING"}, {"doubleValue": 1.5}),
    ],
)
async def test_options_say_how_numbers_come(
    api: Api, expression: str, option: dict[str, str], field: dict[str, Any]
) -> None:
    assert await api.field(f"select {expression}", resultSetOptions=option) == field


@pytest.mark.parametrize("format_", ["NONE", "JSON"])
@pytest.mark.parametrize("expression", ["1e400::numeric", "-1e400::numeric", "10::numeric ^ 5000"])
async def test_a_numeric_beyond_all_doubles_is_refused_where_it_is_to_be_one(
    api: Api, expression: str, format_: str
) -> None:
    options = {"decimalReturnType": "DOUBLE_OR_LONG"}
    refused = await api.refused(f"select {expression}", resultSetOptions=options, formatRecordsAs=format_)
    assert refused == Refused(
        "UnsupportedResultException", 400, "The result contains a numeric that no double can hold."
    )
    assert len((await api.field(f"select {expression}"))["stringValue"]) > 400


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("select n from generate_series(1, 2) n", {"records": [[long(1)], [long(2)]], "numberOfRecordsUpdated": 0}),
        ("select n from t where false", {"records": [], "numberOfRecordsUpdated": 0}),
        ("select from t", {"records": [[], []], "numberOfRecordsUpdated": 0}),
        ("values (1)", {"records": [[long(1)]], "numberOfRecordsUpdated": 0}),
        ("show standard_conforming_strings", {"records": [[string("on")]], "numberOfRecordsUpdated": 0}),
        ("insert into t values (3), (4)", {"generatedFields": [], "numberOfRecordsUpdated": 2}),
        ("insert into t values (3) returning n", {"records": [[long(3)]], "numberOfRecordsUpdated": 0}),
        ("with w as (select 9 as n) insert into t select n from w", {"generatedFields": [], "numberOfRecordsUpdated": 1}),
        ("insert into t values (1) on conflict do nothing", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
        ("update t set n = n + 10", {"generatedFields": [], "numberOfRecordsUpdated": 2}),
        ("delete from t where n = 1", {"generatedFields": [], "numberOfRecordsUpdated": 1}),
        ("delete from t returning n", {"records": [[long(1)], [long(2)]], "numberOfRecordsUpdated": 0}),
        ("merge into t using (values (1)) v(n) on t.n = v.n when matched then delete", {"generatedFields": [], "numberOfRecordsUpdated": 1}),
        ("create table u as select * from t", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
        ("create index on t (n)", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
        ("set statement_timeout = 0", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
        ("do 'begin end'", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
        ("truncate t", {"generatedFields": [], "numberOfRecordsUpdated": 0}),
    ],
)  # fmt: skip
async def test_what_is_answered_to_each_kind_of_statement(
    api: Api, transaction: str, sql: str, answer: dict[str, Any]
) -> None:
    await api.execute("create table t (n int primary key)", transactionId=transaction)
    await api.execute("insert into t values (1), (2)", transactionId=transaction)
    assert await api.execute(sql, transactionId=transaction) == answer


async def test_explain_answers_rows(api: Api) -> None:
    assert "Result" in (await api.rows("explain select 1"))[0][0]


async def test_records_as_one_json_text(api: Api) -> None:
    answer = await api.execute(
        """select 1 as a, 1.50 as b, true as c, null as d, 'ü' as e, '\\x00'::bytea as f, array[1, null] as g,
                  '{"x": 1}'::jsonb as h, 0.5::float8 as i, date '2026-01-02' as j, 9007199254740993 as k, 2 as a
             from generate_series(1, 2)""",
        formatRecordsAs="JSON",
        includeResultMetadata=True,
    )
    text = answer.pop("formattedRecords")
    assert answer == {"numberOfRecordsUpdated": 0}
    row = {
        "a": 2,
        "b": "1.50",
        "c": True,
        "d": None,
        "e": "ü",
        "f": "AA==",
        "g": [1, None],
        "h": '{"x":1}',
        "i": 0.5,
        "j": "2026-01-02",
        "k": 9007199254740993,
    }
    assert json.loads(text) == [row, row]
    assert text.startswith('[{"a":2,"b":"1.50",')


async def test_records_as_json_heed_the_options(api: Api) -> None:
    options = {"decimalReturnType": "DOUBLE_OR_LONG", "longReturnType": "STRING"}
    sql = "select 1.5 as a, 2::numeric as b, 3 as c"
    answer = await api.execute(sql, formatRecordsAs="JSON", resultSetOptions=options)
    assert json.loads(answer["formattedRecords"]) == [{"a": 1.5, "b": 2, "c": "3"}]


async def test_no_rows_are_an_empty_json_list_and_a_command_has_none(api: Api) -> None:
    answer = await api.execute("select 1 where false", formatRecordsAs="JSON")
    assert answer == {"formattedRecords": "[]", "numberOfRecordsUpdated": 0}
    answer = await api.execute("do 'begin end'", formatRecordsAs="JSON", includeResultMetadata=True)
    assert answer == {"generatedFields": [], "numberOfRecordsUpdated": 0}
    assert "records" in await api.execute("select 1", formatRecordsAs="NONE")


def body_of(sql: str) -> dict[str, Any]:
    from tests.db.local_data_api.api import ARNS

    return {**ARNS, "sql": sql}
