"""What a store promises of one batch, whatever is in it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from db.database import Database, DatabaseMisconfigured, Parameter, Row
from db.store import Receipt, Store
from providers.adapter import Batch, DeadLetter, NotVerified, Token
from providers.events import EventType
from tests import tables
from tests.conftest import Connect
from tests.samples import NOON, batch, decided, event, opt_in, opt_out

if TYPE_CHECKING:
    import asyncpg


async def test_an_event_sent_twice_is_recorded_once(store: Store) -> None:
    thrice = batch(event("a"), event("b"), event("a"))
    assert await store.record(thrice) == Receipt(received=3, recorded=2, duplicates=1)
    assert await store.record(thrice) == Receipt(received=3, duplicates=3)


async def test_an_empty_batch_is_recorded_at_once(store: Store) -> None:
    assert await store.record(Batch()) == Receipt()


async def test_an_event_is_logged_as_it_was_sent(store: Store, connection: "asyncpg.Connection") -> None:
    sent = event(
        "a",
        type=EventType.BOUNCED,
        email_address="Ada@Example.test",
        message_id="m1",
        provider_event_id="e1",
        reason="550 no such user",
        topic="42",
        value={"email": "Ada@Example.test", "z": 1, "nested": [None, {"a": 1.5}]},
    )
    await store.record(batch(sent))
    row = dict(await connection.fetchrow("select * from webhook_events"))
    payload = row.pop("payload")
    assert row == {
        "id": row["id"],
        "source": "sendgrid",
        "provider": "sendgrid",
        "type": "bounced",
        "email_address": "Ada@Example.test",
        "topic": "42",
        "occurred_at": NOON,
        "received_at": NOON + timedelta(days=1),
        "message_id": "m1",
        "provider_event_id": "e1",
        "bounce_class": None,
        "reason": "550 no such user",
        "opted_in": None,
        "original": None,
    }
    assert str(row["id"]) == sent.id
    assert payload == '{"z": 1, "email": "Ada@Example.test", "nested": [null, {"a": 1.5}]}'


async def test_an_opt_out_takes_effect_once_and_says_so(store: Store, connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test")
    out = decided(opt_out())
    assert await store.record(out) == Receipt(received=1, recorded=1, opted_out=1)
    assert await store.record(out) == Receipt(received=1, duplicates=1)
    assert await tables.preferences(connection) == {"ada@example.test": False}


async def test_an_address_is_found_without_regard_to_case_and_space(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "Ada@Example.test", "ADA@example.TEST")
    assert await store.record(decided(opt_out("  aDa@eXample.test "))) == Receipt(received=1, recorded=1, opted_out=2)
    assert await tables.ledger(connection) == {("ada@example.test", ""): (NOON, False)}


async def test_of_several_decisions_in_a_batch_the_newest_holds(store: Store, connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test", "bob@example.test")
    receipt = await store.record(
        decided(
            opt_in("ada@example.test", minutes=2),
            opt_out("ada@example.test", minutes=1),
            opt_out("bob@example.test", minutes=2),
            opt_in("bob@example.test", minutes=2),
        )
    )
    assert receipt == Receipt(received=4, recorded=4, opted_out=1)
    assert await tables.preferences(connection) == {"ada@example.test": True, "bob@example.test": False}


async def test_an_opt_out_of_somebody_unknown_is_remembered(store: Store, connection: "asyncpg.Connection") -> None:
    assert await store.record(decided(opt_out("nobody@example.test"))) == Receipt(received=1, recorded=1)
    assert await tables.ledger(connection) == {("nobody@example.test", ""): (NOON, False)}


async def test_leaving_a_topic_leaves_the_rest_alone(store: Store, connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test")
    assert await store.record(decided(opt_out(topic="news"))) == Receipt(received=1, recorded=1)
    assert await tables.preferences(connection) == {"ada@example.test": True}
    assert await tables.ledger(connection) == {("ada@example.test", "news"): (NOON, False)}


async def test_a_decision_from_the_future_does_not_win_for_ever(store: Store, connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test", opted_in=False)
    await store.record(decided(replace(opt_in(), at=datetime(2099, 1, 1, tzinfo=UTC))))
    await store.record(decided(replace(opt_out(), at=datetime.now(UTC) + timedelta(seconds=5))))
    [(decided_at, opted_in)] = (await tables.ledger(connection)).values()
    assert not opted_in
    assert decided_at <= datetime.now(UTC)
    assert await tables.preferences(connection) == {"ada@example.test": False}


async def test_of_two_equal_decisions_the_ledger_names_the_same_event_in_any_order(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    first, second = opt_out(key="unsubscribe"), opt_out(key="complaint")
    named = []
    for order in ([first, second], [second, first]):
        for each in order:
            await store.record(decided(each))
        named.append(await connection.fetchval("select event_id from email_consents"))
        await tables.empty(connection)
    assert named[0] == named[1]


async def test_a_record_that_the_database_refuses_costs_its_neighbours_nothing(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    """A check constraint of the user's own stands for whatever nobody foresaw."""
    await connection.execute("alter table webhook_events add constraint picky check (reason is distinct from 'poison')")
    await tables.add_people(connection, "ada@example.test")
    events = [event(f"good {number}") for number in range(5)]
    events[2:2] = [replace(opt_out(), reason="poison")]
    events += [event("bad", reason="poison", value={"key": "bad"}), opt_out(key="good")]
    assert await store.record(decided(*events)) == Receipt(received=8, recorded=6, dead=2, opted_out=1)
    assert await tables.count(connection, "webhook_events") == 6
    assert b'{"key":"bad"}' in await tables.dead_bodies(connection)
    assert await store.record(decided(*events)) == Receipt(received=8, duplicates=6, dead=2)
    assert await tables.count(connection, "webhook_dead_letters") == 2


async def test_poison_of_one_request_is_not_its_neighbours(store: Store, connection: "asyncpg.Connection") -> None:
    await connection.execute("alter table webhook_events add constraint picky check (reason is distinct from 'poison')")
    batches = [batch(event(str(n), reason="poison" if n % 7 == 0 else None)) for n in range(50)]
    receipts = await asyncio.gather(*map(store.record, batches))
    assert receipts == [Receipt(1, dead=1) if n % 7 == 0 else Receipt(1, recorded=1) for n in range(50)]


async def make_picky(connection: "asyncpg.Connection", sqlstate: str) -> None:
    await connection.execute(
        f"""
        create function picky() returns trigger language plpgsql as
        'begin if new.email_address like ''eve%'' then raise exception ''not her'' using errcode = ''{sqlstate}''; end if; return new; end';
        create trigger picky before update on email_preferences for each row execute function picky();
        """
    )


PEOPLE = {"ada@example.test": False, "eve@example.test": True, "bob@example.test": False}


@pytest.mark.parametrize("sqlstate", ["P0001", "45000", "VIP01", "38001", "39000", "70001"])
async def test_a_trigger_of_the_users_that_refuses_one_person_costs_the_others_nothing(
    store: Store, connection: "asyncpg.Connection", sqlstate: str
) -> None:
    await make_picky(connection, sqlstate)
    await tables.add_people(connection, *PEOPLE)
    receipt = await store.record(decided(*map(opt_out, PEOPLE)))
    assert receipt == Receipt(received=3, recorded=2, dead=1, opted_out=2)
    assert await tables.preferences(connection) == PEOPLE


@pytest.mark.parametrize("sqlstate", ["0A000", "42501", "55000", "20000"])
async def test_where_the_trigger_speaks_as_postgresql_does_its_person_comes_again_and_the_others_are_recorded(
    store: Store, connection: "asyncpg.Connection", sqlstate: str
) -> None:
    await make_picky(connection, sqlstate)
    await tables.add_people(connection, *PEOPLE)
    with pytest.raises(DatabaseMisconfigured, match="not her"):
        await store.record(decided(*map(opt_out, PEOPLE)))
    assert await tables.preferences(connection) == PEOPLE
    await connection.execute("drop trigger picky on email_preferences")
    receipt = await store.record(decided(*map(opt_out, PEOPLE)))
    assert receipt == Receipt(received=3, recorded=1, duplicates=2, opted_out=1)


async def test_with_a_table_that_is_missing_no_record_is_tried_by_itself(
    database: Database, connection: "asyncpg.Connection", monkeypatch: pytest.MonkeyPatch
) -> None:
    await connection.execute("drop table email_preferences")
    tried: list[str] = []
    execute = database.execute

    async def noted(sql: str, parameters: Mapping[str, Parameter]) -> Sequence[Row]:
        tried.append(sql)
        return await execute(sql, parameters)

    monkeypatch.setattr(database, "execute", noted)
    with pytest.raises(DatabaseMisconfigured, match="webhooks migrate"):
        await Store(database).record(batch(*(event(str(n)) for n in range(100))))
    assert len(tried) == 2


async def test_a_dead_letter_is_kept_byte_for_byte_and_once(store: Store, connection: "asyncpg.Connection") -> None:
    body = bytes(range(256)) * 3
    letter = DeadLetter("sendgrid", NOON, body, "no JSON: \0 \ud800")
    assert await store.record(Batch(dead_letters=[letter])) == Receipt(received=1, dead=1)
    assert await store.record(Batch(dead_letters=[letter])) == Receipt(received=1, dead=1)
    [row] = await connection.fetch("select source, error, body, is_item, replayed_at from webhook_dead_letters")
    assert dict(row) == {
        "source": "sendgrid",
        "error": "no JSON: \\0 \\ud800",
        "body": body,
        "is_item": False,
        "replayed_at": None,
    }


async def test_what_is_too_long_for_a_key_is_recorded_and_stays_distinct(
    store: Store, connection: "asyncpg.Connection"
) -> None:
    topics = [f"{'x' * 10_000}{n}" for n in range(3)]
    await store.record(decided(*(opt_out(topic=topic) for topic in topics), event("id", message_id="é" * 100_000)))
    stored = tables.column(await connection.fetch("select topic from email_consents"), "topic")
    assert len(set(stored)) == 3
    assert await tables.count(connection, "webhook_events") == 4


async def test_a_large_batch_is_written_in_several_statements(store: Store, connection: "asyncpg.Connection") -> None:
    many = [event(str(n)) for n in range(2_500)]
    assert await store.record(batch(*many)) == Receipt(received=2_500, recorded=2_500)
    large = [event(f"large {n}", value={"key": n, "filler": "x" * 700_000}) for n in range(10)]
    assert await store.record(batch(*large)) == Receipt(received=10, recorded=10)
    assert await tables.count(connection, "webhook_events") == 2_510


def proven(body: str, *keys: str) -> Batch:
    return Batch([event(key) for key in keys], token=Token("token", body))


async def test_a_one_time_token_proves_one_body_as_often_as_it_comes(store: Store) -> None:
    assert await store.record(proven("body", "a", "b")) == Receipt(received=2, recorded=2)
    assert await store.record(proven("body", "a", "b")) == Receipt(received=2, duplicates=2)


async def test_a_one_time_token_proves_no_other_body(store: Store, connection: "asyncpg.Connection") -> None:
    await store.record(proven("body", "a"))
    with pytest.raises(NotVerified, match="replayed"):
        await store.record(proven("other", "b"))
    with pytest.raises(NotVerified):
        await store.record(Batch(dead_letters=[DeadLetter("s", NOON, b"x", "?")], token=Token("token", "third")))
    assert await tables.count(connection, "webhook_events") == 1
    assert await tables.count(connection, "webhook_dead_letters") == 0


async def test_of_two_bodies_that_race_with_one_token_one_is_recorded(
    store: Store, connect: Connect, database_url: str, connection: "asyncpg.Connection"
) -> None:
    other = Store(await connect(database_url))
    for round_ in range(20):
        token = Token(f"token {round_}", "")
        bodies = [Batch([event(f"{round_} {body}")], token=replace(token, body=body)) for body in "abcd"]
        stores = [store, other, store, other]
        outcomes = await asyncio.gather(
            *(each.record(body) for each, body in zip(stores, bodies, strict=True)), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NotVerified"] * 3 + ["Receipt"]
    assert await tables.count(connection, "webhook_events") == 20
    await other.close()
