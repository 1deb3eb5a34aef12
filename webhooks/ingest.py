"""The whole story of one delivery: verify → (handshake) → (queue) → parse → decide → record."""

from dataclasses import dataclass

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
    batch = decide(source.adapter.parse_items(unread), source.topics)
    return Delivery(batch, await store.record(batch))
