"""The whole story of one delivery: verify → (handshake) → parse → decide → record."""

from dataclasses import dataclass, field

from db.store import Receipt, Store
from providers.adapter import Adapter, Answer, Batch, Verified, WebhookRequest
from webhooks.consent import TopicPolicy, decide


@dataclass(frozen=True, slots=True)
class Source:
    """Where deliveries come from: an adapter with its keys, and what the user says of its topics."""

    adapter: Adapter
    topics: TopicPolicy = field(default_factory=TopicPolicy)
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Delivery:
    batch: Batch
    receipt: Receipt


async def ingest(request: WebhookRequest, source: Source, store: Store) -> Delivery | Answer:
    """Raises NotVerified, ProofUnavailable and DatabaseUnavailable; after the last nothing, or a part, has been recorded."""
    verified = await source.adapter.verify(request) if source.verify else Verified(request)
    if answer := await source.adapter.handshake(verified):
        return answer
    batch = decide(source.adapter.parse(verified), source.topics)
    return Delivery(batch, await store.record(batch))
