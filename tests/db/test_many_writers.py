"""Eight writers at once, whose events and people overlap: no deadlock, nothing lost, nothing twice."""

import asyncio
import random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from db.store import Receipt, Store
from providers.adapter import Batch, DeadLetter
from providers.events import Event, EventType
from tests import tables
from tests.conftest import Connect
from tests.model import ledger_after, preferences_after
from tests.samples import NOON, decided, event

if TYPE_CHECKING:
    import asyncpg

WRITERS = 8
DIFFERENT = 40_000
SENT = 100_000
PEOPLE = {f"person{n}@example.test": n % 3 > 0 for n in range(1_000)}
CONSENT = [EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED, EventType.COMPLAINED]


def some_event(number: int, chance: random.Random) -> Event:
    person = f"Person{chance.randrange(1_200)}@example.test"
    kind = chance.choice(CONSENT) if chance.random() < 0.2 else EventType.DELIVERED
    topic = chance.choice([None, None, "news"])
    return event(str(number), type=kind, email_address=person, minutes=chance.randrange(30), topic=topic)


def some_batches(events: list[Event], chance: random.Random) -> list[Batch]:
    sent = events + chance.choices(events, k=SENT - len(events))
    chance.shuffle(sent)
    batches = []
    while sent:
        size = chance.choice([1, 10, 100, 700, 1_500])
        batches.append(decided(*sent[-size:]))
        del sent[-size:]
    letters = [DeadLetter("sendgrid", NOON, b"%d" % (n % 50), "unreadable") for n in range(len(batches))]
    return [replace(batch, dead_letters=letters[n : n + 1]) for n, batch in enumerate(batches)]


async def test_counts_add_up_and_the_state_is_the_models(
    connect: Connect, database_url: str, connection: "asyncpg.Connection"
) -> None:
    chance = random.Random(7)
    for opted_in in (True, False):
        await tables.add_people(connection, *(each for each in PEOPLE if PEOPLE[each] is opted_in), opted_in=opted_in)
    events = [some_event(number, chance) for number in range(DIFFERENT)]
    batches = some_batches(events, chance)
    # No patience: a deadlock would not be tried again but end the test.
    stores = [Store(await connect(database_url, patience=0)) for _ in range(WRITERS)]
    todo = iter(batches)
    receipts: list[Receipt] = []

    async def write(store: Store) -> None:
        for batch in todo:
            receipts.append(await store.record(batch))  # noqa: PERF401 - what is left of `todo` is shared

    # Three deliveries under way for each writer, so that statements carry several.
    await asyncio.gather(*(write(store) for store in stores * 3))

    expected = ledger_after([decided(*events)])
    assert sum(each.received for each in receipts) == SENT + len(batches)
    assert sum(each.recorded for each in receipts) == DIFFERENT
    assert sum(each.dead for each in receipts) == len(batches)
    assert all(each.received == each.recorded + each.duplicates + each.dead for each in receipts)
    assert await tables.event_ids(connection) == sorted(each.id for each in events)
    assert await tables.count(connection, "webhook_dead_letters") == 50
    assert await tables.ledger(connection) == expected
    assert await tables.preferences(connection) == preferences_after(PEOPLE, expected)
    for store in stores:
        await store.close()
