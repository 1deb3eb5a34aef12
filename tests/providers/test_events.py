"""Event ids, addresses and times: what tells events apart, and what a provider's text means."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from providers.adapter import Adapter
from providers.decoding import encode
from providers.events import Event, address, addresses, event_id, is_address, moment
from tests.providers.payloads import parsed

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def sendgrid() -> Adapter:
    adapter = providers.load("sendgrid")
    return adapter("sendgrid", [adapter.new_key()])


def read(adapter: Adapter, item: dict[str, Any]) -> Event:
    [event] = parsed(adapter, encode([item])).events
    return event


# Of the seed's kind: they share time, message and `sg_event_id`.
seeds = st.fixed_dictionaries(
    {
        "email": st.sampled_from(["user1@example.com", "user2@example.com", "user3@example.com"]),
        "timestamp": st.sampled_from([1513299569, 1513299570]),
        "smtp-id": st.just("<14c5d75ce93.dfd.64b469@ismtpd-555>"),
        "event": st.sampled_from(["dropped", "spamreport", "unsubscribe", "open", "click", "bounce"]),
        "sg_event_id": st.just("sg_event_id"),
        "sg_message_id": st.just("sg_message_id"),
    }
)


@given(st.lists(seeds, unique_by=lambda item: (item["email"], item["timestamp"], item["event"]), min_size=2))
def test_different_events_that_share_an_event_id_have_different_ids(
    sendgrid: Adapter, items: list[dict[str, Any]]
) -> None:
    ids = {read(sendgrid, item).id for item in items}
    assert len(ids) == len(items)


@given(seeds, st.one_of(st.none(), st.text()), st.permutations(range(6)))
def test_a_repeat_with_another_event_id_has_the_same_id(
    sendgrid: Adapter, item: dict[str, Any], new: str | None, order: list[int]
) -> None:
    names = [list(item)[n] for n in order]
    again = {name: item[name] for name in names} | {"sg_event_id": new}
    if new is None:
        del again["sg_event_id"]
    assert read(sendgrid, again).id == read(sendgrid, item).id


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants them so
    st.lists(st.one_of(st.text(), st.integers(-(2**63), 2**63), st.none()), max_size=4),
)
def test_an_id_is_a_uuid_of_version_8_that_begins_with_its_time(at: datetime, key: list[Any]) -> None:
    made = uuid.UUID(event_id("sendgrid", tuple(key), at))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=made.int >> 80) == at.replace(
        microsecond=at.microsecond // 1000 * 1000
    )


def test_ids_sort_by_time() -> None:
    ids = [event_id("sendgrid", (n,), NOON + timedelta(milliseconds=n)) for n in range(1000)]
    assert ids == sorted(ids)


def test_neighbouring_parts_of_a_key_are_not_run_together() -> None:
    keys: list[tuple[str | int | None, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        ("abc", None),
        ("abc", ""),
        (1,),
        ("1",),
    ]
    assert len({event_id("sendgrid", key, NOON) for key in keys}) == len(keys)


def test_two_providers_keys_are_never_one() -> None:
    assert event_id("sendgrid", ("a",), NOON) != event_id("mailgun", ("a",), NOON)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("ada@example.test", "ada@example.test"),
        (" Ada@Example.test\r\n", "Ada@Example.test"),
        ("Ada Lovelace <ada@example.test>", "ada@example.test"),
        ('"Lovelace, Ada <x>" <ada@example.test>', "ada@example.test"),
        ("<ada@example.test>", "ada@example.test"),
        ("\ufeffada@example.test\u200b", "ada@example.test"),
        ("", None),
        ("   ", None),
        (None, None),
        (5, None),
        ("x" * 321, None),
    ],
)
def test_an_address_is_found_in_what_providers_write(text: object, bare: str | None) -> None:
    assert address(text) == bare


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Ada <ada@x.test>", ["ada@x.test"]),
        ("ada@x.test, bob@x.test", ["ada@x.test", "bob@x.test"]),
        ("Ada <ada@x.test>,Bob <bob@x.test>;", ["ada@x.test", "bob@x.test"]),
        ("ada@x.test;bob@x.test", ["ada@x.test", "bob@x.test"]),
        ('"Lovelace, Ada" <ada@x.test>, bob@x.test', ["ada@x.test", "bob@x.test"]),
        ("Lovelace, Ada <ada@x.test>", ["ada@x.test"]),
        ('"Eve, <bob@x.test>" <eve@x.test>', ["eve@x.test"]),
        ('"Ada <ada@x.test>, bob@x.test', ["ada@x.test", "bob@x.test"]),
        ("ada@x.test, , REDACTED", ["ada@x.test"]),
        ("REDACTED", []),
        (",", []),
        (None, []),
        (["ada@x.test"], []),
    ],
)
def test_several_addresses_may_lie_in_one_text(text: object, bare: list[str]) -> None:
    assert addresses(text) == bare


def test_a_long_list_is_read_in_time() -> None:
    assert len(addresses("a@x.test," * 100_000)) == 100_000
    assert addresses('",' * 500_000 + '"') == []


@pytest.mark.parametrize("text", ["ada@x.test", "ada+news@x.test", "o'neil@x.test", "é@x.test", '"ada"@x.test', "a@b"])
def test_an_address_names_one_mailbox(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text", [None, "", "ada", "REDACTED", "5", "@x.test", "ada@", "a@x.test,b@x.test", "a@x b@x", "Ada <a@x", "a@x;b@x"]
)
def test_what_names_none_or_several_is_no_address(text: str | None) -> None:
    assert not is_address(text)


@pytest.mark.parametrize("email", ["ada", "REDACTED", 5, "ada@x.test, bob@x.test", "ada lovelace@x.test"])
def test_an_opt_out_of_what_is_no_address_is_a_dead_letter(sendgrid: Adapter, email: Any) -> None:
    items = [{"event": event, "email": email, "timestamp": 1513299569} for event in ("unsubscribe", "open")]
    batch = parsed(sendgrid, encode([*items, items[0] | {"email": "eve@x.test"}]))
    assert [(event.type, event.email_address) for event in batch.events] == [
        ("opened", str(email)),
        ("unsubscribed", "eve@x.test"),
    ]
    assert [letter.error for letter in batch.dead_letters] == ["unsubscribed by what is no e-mail address"]


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1513299569, "2017-12-15T00:59:29+00:00"),
        ("1513299569", "2017-12-15T00:59:29+00:00"),
        (1513299569.25, "2017-12-15T00:59:29.250000+00:00"),
        ("1513299569.25", "2017-12-15T00:59:29.250000+00:00"),
        (1513299569123, "2017-12-15T00:59:29.123000+00:00"),
        ("2017-12-15T00:59:29Z", "2017-12-15T00:59:29+00:00"),
        ("2017-12-15T01:59:29.5+01:00", "2017-12-15T00:59:29.500000+00:00"),
        ("2017-12-15 00:59:29", "2017-12-15T00:59:29+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
    ],
)
def test_a_providers_time_is_understood(value: object, time: str) -> None:
    found = moment(value)
    assert found is not None
    assert found.isoformat() == time


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "soon",
        -1,
        10**11,
        10**18,
        float("inf"),
        float("nan"),
        True,
        [],
        {},
        "9" * 400,
        "1969-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert moment(value) is None
