"""Bodies into values: nothing authentic is lost to a strict reader, and nothing unstorable gets through."""

import json
import math
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.decoding import MAX_DEPTH, Unreadable, decode, elements, elements_of_broken, form, storable, text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(json_values), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_an_array_are_found_byte_for_byte(
    values: list[Any], indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert [json.loads(each.decode("utf-8", "surrogatepass")) for each in elements(body)] == values
    assert [json.loads(each.decode("utf-8", "surrogatepass")) for each in elements_of_broken(body.strip())] == values


@given(
    st.lists(json_values, min_size=1),
    st.sampled_from([b"tru", b'{"a": nope}', b"'", b"1.2.3", b"[1 2]", b"\xff"]),
    st.integers(0),
)
def test_a_broken_element_costs_its_neighbours_nothing(values: list[Any], broken: bytes, place: int) -> None:
    parts = [json.dumps(value).encode() for value in values]
    at = place % (len(parts) + 1)
    parts.insert(at, broken)
    assert list(elements(b"[" + b", ".join(parts) + b"]")) == parts


def test_an_array_that_is_cut_off_still_tells_what_it_has() -> None:
    assert list(elements(b'[{"a": 1}, {"b": 2}, {"c": "un')) == [b'{"a": 1}', b'{"b": 2}', b'{"c": "un']


def test_what_is_no_array_is_one_element() -> None:
    assert [list(elements(body)) for body in (b'{"a": 1}', b"", b"null", b"rubbish")] == [
        [b'{"a": 1}'],
        [b""],
        [b"null"],
        [b"rubbish"],
    ]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'{"a": "x\u0000y"}', {"a": "x\ufffdy"}),
        (rb'{"a": "\ud800"}', {"a": "\ufffd"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": NaN, "b": -Infinity, "c": 1e999}', {"a": "NaN", "b": "-Infinity", "c": "inf"}),
        (b'{"\\u0000": 1}', {"\ufffd": 1}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": 1, "b": -' + b"9" * 5_000 + b"}", {"a": 1, "b": "-" + "9" * 5_000}),
    ],
)
def test_what_cannot_be_stored_is_replaced(raw: bytes, value: Any) -> None:
    found, payload = decode(raw)
    assert found == value
    assert json.loads(payload) == value


@given(json_values)
def test_what_can_be_stored_is_kept_byte_for_byte(value: Any) -> None:
    raw = json.dumps(value).encode()
    found, payload = decode(raw)
    if payload is raw:
        assert found == value or isinstance(value, float)
    else:
        assert "\\u0000" in raw.decode() or "\\ud" in raw.decode() or abs(max(numbers(value), default=0)) >= 2**63


def numbers(value: Any) -> list[float]:
    match value:
        case list():
            return [number for each in value for number in numbers(each)]
        case dict():
            return numbers(list(value.values()))
        case int() | float():
            return [abs(value)]
        case _:
            return []


@pytest.mark.parametrize("raw", [b"", b"{", b"tru", b'{"a": }', b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe\x00"])
def test_what_is_broken_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(raw)


def test_nesting_has_a_bound_where_it_is_walked() -> None:
    with pytest.raises(Unreadable, match="deep"):
        decode(b"[" * (MAX_DEPTH + 2) + rb'"\u0000"' + b"]" * (MAX_DEPTH + 2))


def test_a_form_is_read_in_its_order_urlencoded_and_multipart() -> None:
    fields = [("a", "1"), ("b", "é &="), ("a", "2"), ("empty", "")]
    urlencoded = b"a=1&b=%C3%A9+%26%3D&a=2&empty="
    multipart = "".join(
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    multipart += '--xyz\r\nContent-Disposition: form-data; name="f"; filename="f.txt"\r\n\r\nfile\r\n--xyz--\r\n'
    assert form(urlencoded) == fields
    assert form(multipart.encode()) == fields


def test_a_form_holds_nothing_unstorable() -> None:
    assert form(b"a%00=%00&b=%ff") == [("a\ufffd", "\ufffd"), ("b", "\ufffd")]


PIECES = [
    b"a",
    b"=",
    b"&",
    b"+",
    b"%",
    b"%zz",
    b"%41",
    b"%00",
    b"%01",
    b"\x01",
    b"\xc3\xa9",
    b"%C3%A9",
    b"%e2%82",
    b"\xff",
    b"%ED%A0%80",
    b"\r\n",
    b"=\n",
    b"%0A",
    b" ",
    b"%26",
    b"%3D",
    b"%25",
    b"%5B",
]


@given(body=st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_a_form_is_read_as_the_standard_library_reads_it(body: bytes) -> None:
    fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    assert form(body) == [(storable(name), storable(value)) for name, value in fields]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", "a"),
        ("", None),
        (7, "7"),
        (7.0, "7"),
        (1e3, "1000"),
        (7.5, None),
        (math.inf, None),
        (None, None),
        ([7], None),
    ],
)
def test_a_text_may_have_been_sent_as_a_whole_number(value: object, found: str | None) -> None:
    assert text(value) == found
