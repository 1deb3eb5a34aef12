"""Whoever signs as Standard Webhooks say, Svix's customers among them; what their events mean is said in settings."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

from providers.declared_events import Events, Meaning, Paths, meanings_of, paths_of
from providers.events import Event, EventType, Item
from providers.faults import Declaration
from providers.standard_signed import STANDARD, Scheme, StandardAdapter

# Where such payloads usually have it: under `data`, or at the top of a squashed one.
ADDRESSES = [
    "data.email",
    "data.email_address",
    "data.recipient",
    "data.to",
    "data.to.email",
    "data.contact.email",
    "data.subscriber.email",
    "email",
    "email_address",
    "recipient",
    "to",
]


class UsualEvents(Events):
    """Where things lie unless settings say otherwise; without `types`, our own words behind `email.` are understood."""

    type: Paths = paths_of("type")
    types: Annotated[dict[str, Meaning], BeforeValidator(meanings_of)] = meanings_of(
        {f"email.{each}": each.value for each in EventType}
    )
    address: Paths = paths_of(ADDRESSES)
    time: Paths = paths_of(["timestamp", "created_at"])
    message_id: Paths = paths_of(["data.email_id", "data.message_id"])


class StandardOptions(Declaration):
    signature: Scheme = STANDARD
    events: UsualEvents = UsualEvents()


class StandardWebhooks(StandardAdapter):
    name = "standard_webhooks"
    key = (
        "the endpoint's signing secret: whsec_ and base64, or the public key whpk_…; with"
        ' "signature": {"key": "text"} any text'
    )
    # 410 asks the sender to switch the webhook off.
    final_statuses = (*range(200, 300), 410)
    # In doubt, for whoever it is.
    leaving_a_topic_leaves_all = True
    Options = StandardOptions
    options: StandardOptions
    samples = UsualEvents().samples

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.events = self.options.events
        self.samples = self.events.samples  # type: ignore[misc] # settings name them

    @property
    def scheme(self) -> Scheme:
        return self.options.signature

    def split(self, body: bytes) -> Iterable[bytes]:
        return self.events.split(body)

    def read(self, item: Item) -> Iterable[Event]:
        return self.events.read(item)

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> Any:
        return self.events.sample(event, email_address, at, number)

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return self.events.bodies(samples)
