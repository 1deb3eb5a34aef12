"""The whole story of one delivery: verify → (handshake) → (queue) → parse → decide → record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from db.chunks import ROW_BYTES, Records
from db.committer import TURN
from db.store import Receipt, Store
from providers.adapter import Answer, Batch, Unread, WebhookRequest
from webhooks.consent import decide
from webhooks.queue import Queue
from webhooks.source import Source


@dataclass(frozen=True, slots=True)
class Delivery:
    """`queued`: how many items the queue has taken; None where there is no queue."""

    batch: Batch
    receipt: Receipt
    queued: int | None = None


async def ingest(
    request: WebhookRequest, source: Source, store: Store, queue: Queue | None = None
) -> Delivery | Answer:
    """Raises NotVerified, ProofUnavailable, QueueUnavailable and DatabaseUnavailable; after the last two nothing, or a
    part, has been recorded.
    """
    verified = await source.verify(request)
    if answer := await source.adapter.handshake(verified):
        return answer
    unread = source.adapter.unpack(verified)
    if queue is None:
        return await record(unread, source, store)
    left = await queue.put(unread)
    recorded = await record(left, source, store)
    return Delivery(recorded.batch, recorded.receipt, unread.size - left.size)


async def record(unread: Unread, source: Source, store: Store) -> Delivery:
    """Raises NotVerified, where a one-time token has proven another body before, and DatabaseUnavailable."""
    read: list[Batch] = []

    def batches() -> Iterator[Batch]:
        for part in parts(unread):
            read.append(decide(source.adapter.parse_items(part), source.topics))
            yield read[-1]

    size = unread.size * ROW_BYTES + sum(map(len, unread.items))
    receipt = await store.record_all(Records(batches(), unread.size, size))
    return Delivery(joined(read), receipt)


def parts(unread: Unread) -> Iterator[Unread]:
    """A large delivery in pieces, so that it is read bit by bit."""
    if len(unread.items) <= TURN:
        yield unread
        return
    for start in range(0, len(unread.items), TURN):
        letter = None if start else unread.dead_letter
        yield replace(unread, items=unread.items[start : start + TURN], dead_letter=letter)


def joined(batches: Sequence[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return Batch(
        events=[event for batch in batches for event in batch.events],
        dead_letters=[letter for batch in batches for letter in batch.dead_letters],
        decisions=[decision for batch in batches for decision in batch.decisions],
        token=batches[0].token,
    )
