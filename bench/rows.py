"""What is written: signed SendGrid deliveries, each event another, one in ten an opt-out of somebody in the table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from providers.adapter import Adapter, Batch, Verified, WebhookRequest
from webhooks.consent import TopicPolicy, decide

PEOPLE = 20_000
EVENTS = ["unsubscribe", *["delivered", "processed", "open"] * 3]


def address(number: int) -> str:
    return f"person{number % PEOPLE}@example.com"


def samples(adapter: Adapter, first: int) -> Iterator[object]:
    """Without end, of the last hours; another `first` makes other events."""
    now = datetime.now(UTC)
    number = first
    while True:
        at = now - timedelta(milliseconds=number % 10_000_000)
        yield adapter.sample(EVENTS[number % len(EVENTS)], address(number * 7), at, number)
        number += 1


class Rows:
    """Hands out events that nobody has had before."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._samples = samples(adapter, int(datetime.now(UTC).timestamp()) * 1000)

    def requests(self, number: int, size: int) -> list[WebhookRequest]:
        """`number` deliveries of `size` events, signed now."""
        now = datetime.now(UTC)
        return [request for _ in range(number) for request in self.adapter.sign(list(islice(self._samples, size)), now)]

    def batches(self, number: int, size: int) -> list[Batch]:
        return [decide(self.adapter.parse(Verified(request)), TopicPolicy()) for request in self.requests(number, size)]
