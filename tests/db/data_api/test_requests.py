"""Requests no larger than the Data API takes, counted as they are sent."""

import json
from typing import Any

import pytest

from db.chunks import MAX_BYTES, Record, parameters, records
from db.data_api import Array
from db.data_api.requests import REQUEST_BYTES, SETS, batches, fits, in_pieces, one
from db.database import BadData, DatabaseMisconfigured, TooMuch, query
from tests.samples import batch, event

TARGET = {"resourceArn": "arn", "secretArn": "arn"}
# Each of its bytes is two when it is sent: JSON within JSON.
HEAVY = '"' * 1_000_000


def sets_of(body: bytes) -> list[list[Any]]:
    sets: list[list[Any]] = json.loads(body)["parameterSets"]
    return sets


def test_a_batch_is_cut_by_its_bytes_as_they_are_sent() -> None:
    bodies = list(batches("insert into t values (:a, :b)", [{"a": n, "b": HEAVY} for n in range(5)], TARGET))
    assert all(map(fits, bodies))
    assert [len(sets_of(body)) for body in bodies] == [2, 2, 1]
    assert [each[0]["value"]["longValue"] for body in bodies for each in sets_of(body)] == [0, 1, 2, 3, 4]


def test_letters_beyond_ascii_are_sent_as_they_are() -> None:
    assert fits(one("select :a", {"a": "я" * 2_000_000}, TARGET))


def test_a_batch_of_small_sets_is_cut_by_their_number() -> None:
    bodies = batches("select :a", [{"a": n} for n in range(2 * SETS + 1)], TARGET)
    assert [len(sets_of(body)) for body in bodies] == [SETS, SETS, 1]


def test_an_empty_batch_is_no_request() -> None:
    assert list(batches("select 1", [], TARGET)) == []
    assert [sets_of(body) for body in batches("select 1", [{}], TARGET)] == [[[]]]


def test_a_set_that_fits_no_request_is_refused() -> None:
    with pytest.raises(TooMuch):
        list(batches("select :a", [{"a": "x" * REQUEST_BYTES}], TARGET))


def test_sets_of_one_batch_are_bound_alike() -> None:
    from datetime import datetime

    moments = [datetime(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), None]  # noqa: DTZ001
    sets = [{"at": moment} for moment in moments]
    [body] = batches("insert into t values (:at)", sets, TARGET)
    assert json.loads(body)["sql"] == "insert into t values (cast(:at as timestamp))"
    assert [each[0]["value"] for each in sets_of(body)] == [
        {"stringValue": "2026-01-02 00:00:00"},
        {"stringValue": "2026-01-02 03:04:05.000006"},
        {"isNull": True},
    ]


def test_values_that_the_statement_does_not_name_are_not_sent() -> None:
    assert [each["name"] for each in json.loads(one("select :b", {"a": 1, "b": 2}, TARGET))["parameters"]] == ["b"]


def test_a_value_that_is_missing_is_named_and_a_slice_explained() -> None:
    with pytest.raises(DatabaseMisconfigured, match=":b"):
        one("select :b", {"a": 1}, TARGET)
    with pytest.raises(DatabaseMisconfigured, match="slice"):
        one("select (array[1, 2])[1:2]", {}, TARGET)


def test_what_fits_no_request_goes_ahead_in_pieces() -> None:
    values = {
        "short": 1,
        "text": "é" * 3_000_000,
        "doc": [HEAVY] * 3,
        "blob": bytes(4_000_000),
        "many": Array([1], "int8"),
    }
    sql = "select :short, :text, :doc, :blob, :many"
    pieces, body = in_pieces(sql, values, TARGET)
    assert all(map(fits, [*pieces, body]))
    assert json.loads(body)["sql"] == (
        "select :short, cast(current_setting('data_api.long_2') as text), cast(current_setting('data_api.long_0') as jsonb),"
        " decode(current_setting('data_api.long_1'), 'base64'), cast(:many as int8[])"
    )


def test_a_bad_value_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(BadData, match=":b"):
        list(batches("select :b", [{"b": "good"}, {"b": "bad\0"}], TARGET))


def test_the_fullest_chunk_of_a_delivery_fits_one_request() -> None:
    """The worst there is: every byte of every payload is escaped when it is sent."""
    worst = event("x", value={"key": '\\"' * (MAX_BYTES // 80)})
    found: list[Record] = []
    while sum(record.size for record in found) + len(worst.item.raw) < MAX_BYTES:
        found += records(batch(event(str(len(found)), value=worst.item.value)))
    assert fits(one(query("record_events"), parameters(found), TARGET))
    assert sum(record.size for record in found) > MAX_BYTES * 0.9
