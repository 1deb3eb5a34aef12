"""What people ask of what was recorded, however large that is."""

from typing import TYPE_CHECKING

from db.database import Database
from db.reports import PAGE, PART_BYTES, PART_LETTERS, dead_letters, latest_events
from db.store import Store
from providers.adapter import Batch, DeadLetter
from tests.samples import NOON, batch, event

if TYPE_CHECKING:
    from db.database import Row


def keys(rows: "list[Row]") -> list[str]:
    return [row["payload"]["key"] for row in rows]


async def test_the_latest_events_come_first_and_no_more_than_were_asked_for(store: Store, database: Database) -> None:
    number = 2 * PAGE + 50
    await store.record(batch(*(event(str(n), minutes=n) for n in range(number))))
    newest = [str(n) for n in reversed(range(number))]
    assert keys(list(await latest_events(database, limit=10_000))) == newest
    assert keys(list(await latest_events(database, limit=PAGE + 1))) == newest[: PAGE + 1]
    assert await latest_events(database, limit=10, event_type="bounced") == []


async def test_payloads_larger_than_an_answer_are_shown_whole(store: Store, database: Database) -> None:
    values = [{"key": str(n), "text": '"\\é😀' * (PART_LETTERS // 2 * n)} for n in range(4)]
    await store.record(batch(*(event(str(n), minutes=n, value=value) for n, value in enumerate(values))))
    assert [row["payload"] for row in await latest_events(database, limit=10)] == values[::-1]


async def test_dead_letters_larger_than_an_answer_are_read_whole(store: Store, database: Database) -> None:
    bodies = {bytes([n]) * size for n, size in enumerate([1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES, 7])}
    letters = [DeadLetter("sendgrid", NOON, body, "unreadable" * 200) for body in bodies]
    await store.record(Batch(dead_letters=letters))
    assert {row["body"] async for row in dead_letters(database)} == bodies


async def test_many_dead_letters_come_in_several_answers(store: Store, database: Database) -> None:
    letters = [DeadLetter("sendgrid", NOON, b"%d" % n, "e" * 2_000) for n in range(2 * PAGE + 1)]
    await store.record(Batch(dead_letters=letters))
    found = [row["body"] async for row in dead_letters(database)]
    assert sorted(found) == sorted(letter.body for letter in letters)
