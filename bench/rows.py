"""What is written: signed SendGrid deliveries, each event another, one in ten an opt-out of somebody in the table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice

from db.store import Store
from providers.adapter import Adapter, Answer, Batch, Verified, WebhookRequest
from webhooks.consent import TopicPolicy, decide
from webhooks.ingest import Delivery, ingest
from webhooks.source import Source

PEOPLE = 20_000
EVENTS = ["unsubscribe", *["delivered", "processed", "open"] * 3]
HOURS = 3


class Rows:
    """Hands out events that nobody has had before, to people of its own."""

    def __init__(self, adapter: Adapter, people: str) -> None:
        self.adapter = adapter
        self.people = people
        self.handed_out = 0
        self._samples = self._endless()

    def address(self, number: int) -> str:
        return f"{self.people}{number % PEOPLE}@example.com"

    def _endless(self) -> Iterator[object]:
        """A millisecond apart and running forward: an opt-out older than the last would change no preferences."""
        began = datetime.now(UTC) - timedelta(hours=HOURS)
        for number in count():
            self.handed_out += 1
            at = began + timedelta(milliseconds=number)
            # Opt-outs come to numbers that end in 0, and so to steps of 7: each to another until all have been.
            yield self.adapter.sample(EVENTS[number % len(EVENTS)], self.address(number * 7 // 10), at, number)

    @property
    def opted_out(self) -> int:
        """How many people have left, once all of it is written."""
        return min(-(-self.handed_out // len(EVENTS)), PEOPLE)

    def requests(self, number: int, size: int) -> list[WebhookRequest]:
        """`number` deliveries of `size` events, signed now."""
        now = datetime.now(UTC)
        return [request for _ in range(number) for request in self.adapter.sign(list(islice(self._samples, size)), now)]

    async def ingest(self, request: WebhookRequest, store: Store) -> Delivery | Answer:
        """One delivery, as the service takes it."""
        return await ingest(request, Source(self.adapter), store)

    def batches(self, number: int, size: int) -> list[Batch]:
        return [decide(self.adapter.parse(Verified(request)), TopicPolicy()) for request in self.requests(number, size)]
