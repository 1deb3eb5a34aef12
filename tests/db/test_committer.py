"""Group commit: who waits for whom, how much may wait, and who hears of a failure."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence

import pytest

from db.chunks import MAX_BYTES, MAX_ROWS, Records, records
from db.committer import TURN, Committer, Outcome, Overloaded
from db.database import DatabaseMisconfigured, DatabaseUnavailable, Parameter, Row, TooMuch, by_sqlstate
from providers.adapter import Batch
from tests.samples import batch, event


class Gate:
    """A database that carries out a statement when it is told to. What SQL does is tested on the real one."""

    def __init__(self) -> None:
        self.statements: list[list[str]] = []
        self.doors: list[asyncio.Future[None]] = []

    async def execute(self, _: str, parameters: Mapping[str, Parameter] | None = None) -> Sequence[Row]:
        rows = json.loads(str((parameters or {})["events"]))
        ids = [row["id"] for row in rows]
        self.statements.append([row["payload"]["key"] for row in rows])
        door: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.doors.append(door)
        await door
        return [{"recorded": ",".join(dict.fromkeys(ids)), "opted_out": None, "opted_in": None, "proofs": None}]

    async def close(self) -> None: ...

    async def open(self, number: int, error: Exception | None = None) -> None:
        if error:
            self.doors[number].set_exception(error)
        else:
            self.doors[number].set_result(None)
        await turns()


async def turns() -> None:
    """As many as it takes to take in the largest delivery here, and some."""
    for _ in range(3 * MAX_ROWS // TURN + 10):
        await asyncio.sleep(0)


def of(*keys: str, size: int = 0) -> Records:
    return records(batch(*(event(key, value={"key": key, "filler": "x" * size}) for key in keys)))


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def submit(committer: Committer, *keys: str, size: int = 0) -> asyncio.Task[Outcome]:
    task = asyncio.create_task(committer.submit(of(*keys, size=size)))
    await turns()
    return task


async def test_what_arrives_while_statements_are_in_flight_shares_the_next(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    first = await submit(committer, "a")
    others = [await submit(committer, key) for key in "bcd"]
    assert gate.statements == [["a"]]
    await gate.open(0)
    assert first.done()
    assert [sorted(keys) for keys in gate.statements] == [["a"], ["b", "c", "d"]]
    await gate.open(1)
    assert [await other for other in others] == [Outcome(recorded=1)] * 3


async def test_requests_of_one_turn_share_a_statement(gate: Gate) -> None:
    committer = Committer(gate)
    tasks = [asyncio.create_task(committer.submit(of(key))) for key in "abc"]
    await turns()
    assert [sorted(keys) for keys in gate.statements] == [["a", "b", "c"]]
    await gate.open(0)
    await asyncio.gather(*tasks)


async def test_no_more_statements_are_in_flight_than_may(gate: Gate) -> None:
    committer = Committer(gate, in_flight=2)
    tasks = [await submit(committer, key) for key in "abc"]
    assert gate.statements == [["a"], ["b"]]
    await gate.open(0)
    await gate.open(1)
    await gate.open(2)
    await asyncio.gather(*tasks)


async def test_a_statement_carries_no_more_rows_and_bytes_than_fit(gate: Gate) -> None:
    committer = Committer(gate, in_flight=9)
    many = await submit(committer, *map(str, range(MAX_ROWS + 1)))
    heavy = await submit(committer, "a", "b", size=MAX_BYTES // 2)
    huge = await submit(committer, "c", size=MAX_BYTES * 2)
    assert [len(keys) for keys in gate.statements] == [MAX_ROWS, 1, 1, 1, 1]
    for number in range(5):
        await gate.open(number)
    assert await many == Outcome(recorded=MAX_ROWS + 1)
    await asyncio.gather(heavy, huge)


async def test_one_event_of_two_requests_is_new_to_one_of_them(gate: Gate) -> None:
    committer = Committer(gate)
    tasks = [asyncio.create_task(committer.submit(of("a"))) for _ in range(2)]
    await turns()
    await gate.open(0)
    outcomes = await asyncio.gather(*tasks)
    assert sorted((each.recorded, each.duplicates) for each in outcomes) == [(0, 1), (1, 0)]


async def test_what_may_not_wait_is_refused_at_once_and_nothing_of_it_taken(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1, max_records=3)
    first = await submit(committer, "a")
    second = await submit(committer, "b", "c")
    with pytest.raises(Overloaded):
        await committer.submit(of("d", "e"))
    assert committer.waiting == 2
    third = await submit(committer, "d")
    await gate.open(0)
    await gate.open(1)
    assert [await first, await second, await third] == [Outcome(recorded=n) for n in (1, 2, 1)]


async def test_bytes_that_wait_are_bounded_too(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1, max_bytes=100_000)
    tasks = [await submit(committer, "a"), await submit(committer, "b", size=60_000)]
    with pytest.raises(Overloaded):
        await committer.submit(of("c", size=60_000))
    await gate.open(0)
    await gate.open(1)
    await asyncio.gather(*tasks)


async def test_a_failure_reaches_all_who_waited_for_it_and_nobody_else(gate: Gate) -> None:
    committer = Committer(gate, in_flight=2)
    failing = await submit(committer, "a", "b")
    other = await submit(committer, "c")
    await gate.open(0, DatabaseUnavailable("gone"))
    with pytest.raises(DatabaseUnavailable, match="gone"):
        await failing
    await gate.open(1)
    assert await other == Outcome(recorded=1)


async def test_the_rest_of_a_request_that_has_failed_is_not_written(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    failing = await submit(committer, *map(str, range(MAX_ROWS * 3)))
    await gate.open(0, DatabaseUnavailable("gone"))
    with pytest.raises(DatabaseUnavailable):
        await failing
    after = await submit(committer, "z")
    assert gate.statements[1:] == [["z"]]
    await gate.open(1)
    assert await after == Outcome(recorded=1)


async def test_a_request_whose_caller_has_left_is_written_all_the_same(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    first = await submit(committer, "a")
    second = await submit(committer, "b")
    first.cancel()
    await turns()
    await gate.open(0)
    await gate.open(1)
    assert await second == Outcome(recorded=1)


async def test_what_is_too_much_for_one_call_goes_in_halves(gate: Gate) -> None:
    committer = Committer(gate)
    task = await submit(committer, "a", "b", "c", "d")
    await gate.open(0, TooMuch("cut off after 45 s"))
    await gate.open(1)
    await gate.open(2)
    assert [len(keys) for keys in gate.statements] == [4, 2, 2]
    assert await task == Outcome(recorded=4)


async def test_a_search_that_takes_too_long_is_given_up(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.committer.SEARCH_SECONDS", 0.0)
    task = await submit(Committer(gate), "a", "b", "c", "d")
    await gate.open(0, refusal("55P03"))
    await asyncio.sleep(0.01)
    await gate.open(1, refusal("55P03"))
    with pytest.raises(TooMuch):
        await task
    assert len(gate.statements) == 2


async def test_one_record_that_is_too_much_is_no_dead_letter_but_comes_again(gate: Gate) -> None:
    committer = Committer(gate)
    task = await submit(committer, "a")
    await gate.open(0, TooMuch("cut off after 45 s"))
    with pytest.raises(DatabaseUnavailable):
        await task
    assert len(gate.statements) == 1


def refusal(sqlstate: str) -> Exception:
    return by_sqlstate(sqlstate, "no")


async def test_the_neighbours_of_a_record_that_postgresql_will_not_take_are_recorded_and_its_request_fails(
    gate: Gate,
) -> None:
    committer = Committer(gate)
    tasks = [asyncio.create_task(committer.submit(of(*keys))) for keys in ("a", "bcd", "e")]
    await turns()
    [chunk] = gate.statements
    await gate.open(0, refusal("42501"))
    await gate.open(1)  # of no records: the database is as it must be
    number = 2
    while number < len(gate.doors):
        await gate.open(number, refusal("42501") if "c" in gate.statements[number] else None)
        number += 1
    assert [len(keys) for keys in gate.statements[:4]] == [len(chunk), 0, 2, 3]
    with pytest.raises(DatabaseMisconfigured):
        await tasks[1]
    assert [await tasks[0], await tasks[2]] == [Outcome(recorded=1)] * 2
    recorded = {key for keys in gate.statements[2:] if "c" not in keys for key in keys}
    assert recorded == set("abde")


async def test_of_a_large_delivery_the_later_records_are_written_although_one_was_not_taken(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    task = await submit(committer, *map(str, range(2 * MAX_ROWS)))
    culprit = gate.statements[0][0]
    written: set[str] = set()
    number = 0
    while number < len(gate.doors):
        keys = gate.statements[number]
        await gate.open(number, refusal("0A000") if culprit in keys else None)
        written |= set() if culprit in keys else set(keys)
        number += 1
    assert len(written) == 2 * MAX_ROWS - 1
    with pytest.raises(DatabaseMisconfigured):
        await task


async def test_what_is_wrong_with_the_database_itself_costs_two_statements(gate: Gate) -> None:
    task = await submit(Committer(gate), *map(str, range(MAX_ROWS)))
    await gate.open(0, refusal("42P01"))
    await gate.open(1, refusal("42P01"))
    assert [len(keys) for keys in gate.statements] == [MAX_ROWS, 0]
    with pytest.raises(DatabaseMisconfigured):
        await task


@pytest.mark.parametrize("sqlstate", ["08006", "25006", "40001", "53300", "57P01"])
async def test_trouble_that_is_of_no_record_costs_one_statement(gate: Gate, sqlstate: str) -> None:
    task = await submit(Committer(gate), "a", "b")
    await gate.open(0, refusal(sqlstate))
    with pytest.raises(DatabaseUnavailable):
        await task
    assert len(gate.statements) == 1


async def test_the_first_of_a_large_delivery_are_under_way_while_the_later_are_being_encoded(gate: Gate) -> None:
    committer = Committer(gate, in_flight=9)
    task = asyncio.create_task(committer.submit(of(*map(str, range(3 * MAX_ROWS)))))
    while not gate.statements:
        await asyncio.sleep(0)
    assert committer.waiting < 2 * MAX_ROWS - len(gate.statements[0])
    await turns()
    while len(gate.statements) < 3:
        await asyncio.sleep(0)
    assert [len(keys) for keys in gate.statements] == [MAX_ROWS] * 3
    for number in range(3):
        await gate.open(number)
    assert await task == Outcome(recorded=3 * MAX_ROWS)


async def test_a_large_delivery_is_read_while_its_first_records_are_under_way_and_others_have_their_turn(
    gate: Gate,
) -> None:
    committer = Committer(gate, in_flight=9)
    under_way: list[int] = []
    turns_of_others = 0

    def batches() -> Iterator[Batch]:
        for number in range(2 * MAX_ROWS // TURN):
            under_way.append(len(gate.statements))
            yield batch(*(event(f"{number} {n}") for n in range(TURN)))

    task = asyncio.create_task(committer.submit(Records(batches(), 2 * MAX_ROWS, 0)))
    while not task.done() and len(gate.statements) < 2:
        turns_of_others += 1
        await asyncio.sleep(0)
    assert (under_way[0], under_way[-1]) == (0, 1)
    assert turns_of_others >= MAX_ROWS // TURN
    await gate.open(0)
    await gate.open(1)
    assert await task == Outcome(recorded=2 * MAX_ROWS)


async def test_of_a_request_that_has_failed_no_more_is_read(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    read = 0

    def batches() -> Iterator[Batch]:
        nonlocal read
        for number in range(4 * MAX_ROWS // TURN):
            read += TURN
            yield batch(*(event(f"{number} {n}") for n in range(TURN)))

    task = asyncio.create_task(committer.submit(Records(batches(), 4 * MAX_ROWS, 0)))
    while not gate.statements:
        await asyncio.sleep(0)
    await gate.open(0, DatabaseUnavailable("gone"))
    with pytest.raises(DatabaseUnavailable):
        await task
    assert read < 4 * MAX_ROWS


async def test_of_nothing_nothing_is_written(gate: Gate) -> None:
    assert await Committer(gate).submit(of()) == Outcome()
    assert gate.statements == []


async def test_draining_waits_for_all_that_was_taken(gate: Gate) -> None:
    committer = Committer(gate, in_flight=1)
    tasks = [await submit(committer, "a"), await submit(committer, "b")]
    draining = asyncio.create_task(committer.drain())
    await gate.open(0)
    assert not draining.done()
    await gate.open(1)
    await draining
    await asyncio.gather(*tasks)
