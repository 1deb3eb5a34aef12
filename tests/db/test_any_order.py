"""Any order, repetition, splitting and concurrency of the same events ends in the same state: the model's."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from db.store import Receipt, Store
from providers.events import Event, EventType
from tests import tables
from tests.conftest import Connect
from tests.model import ledger_after, preferences_after
from tests.samples import decided, event
from webhooks.consent import TopicPolicy

if TYPE_CHECKING:
    import asyncpg

PEOPLE = {"Ada@example.test": True, "ADA@example.test": False, "bob@example.test": True, "eve@example.test": False}
POLICY = TopicPolicy({"all": "global"}, leaving_leaves_all=False)

consent_events = st.builds(
    event,
    st.sampled_from("abc"),
    type=st.sampled_from([EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED, EventType.COMPLAINED, EventType.DELIVERED]),
    email_address=st.sampled_from(["ada@example.test", " ADA@Example.test", "bob@example.test"]),
    minutes=st.integers(0, 2),
    topic=st.sampled_from([None, None, "news", "all"]),
    by_recipient=st.booleans(),
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Event], list[list[list[Event]]]]:
    """Events, and two or three rounds of deliveries that go out at once: each event in one at least, some in more."""
    events = [
        replace(each, natural_key=(n,))
        for n, each in enumerate(draw(st.lists(consent_events, min_size=1, max_size=20)))
    ]
    sent = draw(st.permutations(events + draw(st.lists(st.sampled_from(events), max_size=10))))
    rounds: list[list[list[Event]]] = [[[]]]
    for each in sent:
        match draw(st.integers(0, 7)):
            case 0:
                rounds.append([[each]])
            case 1:
                rounds[-1].append([each])
            case _:
                rounds[-1][-1].append(each)
    return events, rounds


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=plans())
async def test_the_same_events_end_in_the_same_state(
    plan: tuple[list[Event], list[list[list[Event]]]],
    store: Store,
    connect: Connect,
    database_url: str,
    connection: "asyncpg.Connection",
) -> None:
    await tables.empty(connection)
    for address, opted_in in PEOPLE.items():
        await tables.add_people(connection, address, opted_in=opted_in)
    events, rounds = plan
    second = Store(await connect(database_url))
    receipts: list[Receipt] = []
    for deliveries in rounds:
        receipts += await at_once([store, second], deliveries)
    await second.close()

    expected = ledger_after([decided(*events, policy=POLICY)])
    assert await tables.ledger(connection) == expected
    assert await tables.preferences(connection) == preferences_after(PEOPLE, expected)
    assert await tables.event_ids(connection) == sorted(each.id for each in events)
    assert sum(receipt.recorded for receipt in receipts) == len(events)
    assert all(receipt.received == receipt.recorded + receipt.duplicates for receipt in receipts)


async def at_once(stores: Sequence[Store], deliveries: Sequence[Sequence[Event]]) -> list[Receipt]:
    batches = [decided(*events, policy=POLICY) for events in deliveries]
    return await asyncio.gather(*(stores[n % len(stores)].record(each) for n, each in enumerate(batches)))
