"""What every adapter answers: who sent a request, what items are in it, what each item means."""

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, NewType, TypedDict, final

from msgspec import Struct
from pydantic import BaseModel, ConfigDict

from providers.decoding import Unreadable, decode, elements, encode
from providers.events import CONSENT_TYPES, Decision, Event, Item, is_address


class NotVerified(Exception):
    """Nothing proves that the provider sent this request."""


class ProofUnavailable(Exception):
    """What would prove the request (a certificate) cannot be had now: the provider must send again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRequest:
    """One delivery as it came in: header names in lower case, the body byte for byte (decompressed).

    Of one that comes by GET the body is what stands behind the question mark, less our user's own `key=…`.
    """

    source: str
    body: bytes
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))


Verified = NewType("Verified", WebhookRequest)
"""A request that `verify` has passed: mypy lets nothing else into `parse`."""


class DeadLetter(Struct, frozen=True):
    """Authentic bytes in which no event could be read: a whole body, or one item of it."""

    source: str
    received_at: datetime
    body: bytes
    error: str
    is_item: bool = False


class Token(Struct, frozen=True):
    """A proof that is good for one body only, as far as anybody can tell who sees it: both as SHA-256."""

    token: str
    body: str


class Batch(Struct, frozen=True):
    """What one delivery says. `token` is its one-time proof, where the provider's scheme has one."""

    events: Sequence[Event] = ()
    dead_letters: Sequence[DeadLetter] = ()
    decisions: Sequence[Decision] = ()
    token: Token | None = None


class Unread(Struct, frozen=True):
    """A delivery split into items, none of which has been read; `dead_letter` instead, where it could not be split.

    `is_whole`: its one item is all of its body.
    """

    source: str
    received_at: datetime
    items: Sequence[bytes] = ()
    is_whole: bool = False
    dead_letter: DeadLetter | None = None
    delivery_id: str | None = None
    token: Token | None = None

    @property
    def size(self) -> int:
        return len(self.items) + bool(self.dead_letter)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider wants to hear before it sends events."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Fetch = Callable[[str], Awaitable[bytes]]
"""GET an https address: the body of a 200, no redirect followed. Raises ProofUnavailable."""


async def fetch_nothing(url: str) -> bytes:
    raise ProofUnavailable(f"nothing to fetch {url} with")


class Proof(TypedDict, total=False):
    """What a provider sends along with a body, so that `verify` passes."""

    headers: Mapping[str, str]
    query: Mapping[str, str]


class Options(BaseModel):
    """What a source may set beside its keys. Names that an adapter does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Adapter(ABC):
    """One provider's dialect.

    A subclass names itself and says, as data, what else differs; `keys` and `options` come from the source's settings.
    Its constructor raises ValueError for a key that cannot be one, naming what a right one looks like. The service
    gives it `fetch`, all the I/O there is: only a signature whose certificate lies at an address needs it.
    """

    name: ClassVar[str]
    """As in the registry and in `WEBHOOKS_SOURCES`."""

    key: ClassVar[str]
    """What a key of this provider is and where its user finds it, for error messages."""

    Options: ClassVar[type[Options]] = Options

    trial_options: ClassVar[Mapping[str, Any]] = {}
    """Options to try it out with, where it needs some."""

    content_type: ClassVar[str] = "application/json"

    delivers_by_get: ClassVar[bool] = False
    """Whether an event may also lie in the address of a GET."""

    unavailable_status: ClassVar[int] = 503
    """The answer that makes the provider send again when the trouble is ours."""

    final_statuses: ClassVar[Collection[int]]
    """The answers after which the provider does not send again."""

    leaving_a_topic_leaves_all: ClassVar[bool] = False
    """Whether lists or streams are all that the provider's unsubscribes know."""

    samples: ClassVar[Mapping[str, Mapping[str, Any]]]
    """What the provider calls its events → what their payloads have beside the fields that all have."""

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        if not all(key.strip() for key in keys):
            raise ValueError("an empty key would let in everybody who sends nothing")
        self.source = source
        self.keys = keys
        self.options = self.Options.model_validate(options or {})
        self.fetch: Fetch = fetch_nothing

    @abstractmethod
    async def verify(self, request: WebhookRequest) -> Verified:
        """Raises NotVerified, saying which step failed and nothing of the secret."""

    def split(self, body: bytes) -> Iterable[bytes]:
        """A body into items, still raw: the elements of a JSON array, or all of it. Raises Unreadable."""
        return elements(body)

    @abstractmethod
    def read(self, item: Item) -> Iterable[Event]:
        """The events in one item; pure: no clock, no network. Raises Unreadable: what was yielded before still counts."""

    @abstractmethod
    def sample(self, event: str, email_address: str, at: datetime, number: int) -> Any:
        """What the provider would send for one of `samples`; another `number` is another event."""

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        """Samples as the provider puts them into requests: each as a JSON object."""
        return map(encode, samples)

    @abstractmethod
    def prove(self, body: bytes, at: datetime) -> Proof:
        """What `verify` asks for, made from the first key. Raises ValueError where that can only verify."""

    @final
    def sign(self, samples: Sequence[Any], at: datetime) -> list[WebhookRequest]:
        """The requests in which the provider would deliver these, with genuine proofs; header names in lower case."""
        return [self._request(body, at, self.prove(body, at)) for body in self.bodies(samples, at)]

    @classmethod
    def new_key(cls) -> str:
        """A key good for `verify` and `sign`, for trying out."""
        return secrets.token_urlsafe(24)

    def _request(self, body: bytes, at: datetime, proof: Proof) -> WebhookRequest:
        headers = {"content-type": self.content_type, **proof.get("headers", {})}
        return WebhookRequest(
            source=self.source,
            headers={name.lower(): value for name, value in headers.items()},
            query=proof.get("query", {}),
            body=body,
            received_at=at,
        )

    async def handshake(self, request: WebhookRequest) -> Answer | None:
        """What the provider asks before it sends events: asked of a verified POST, and of an unproven GET, HEAD or OPTIONS.

        None where nothing is asked: a POST goes on to `parse`.
        """
        return None

    def believes_aws(self, body: bytes) -> bool:
        """Whether what AWS hands over without HTTP (a queue, a topic, an event bus) is of this source.

        Who may put something there the user's own policies say, and no signature has to say it again.
        """
        return False

    def delivery_id(self, request: Verified) -> str | None:
        """What the provider's headers call this delivery, the same whenever it is sent again: `Item.delivery_id`."""
        return None

    def token(self, request: Verified) -> str | None:
        """The part of the proof that the provider makes anew for each body, where the proof does not cover the body."""
        return None

    @final
    def parse(self, request: Verified) -> Batch:
        """Never raises and loses nothing: what cannot be read is a dead letter."""
        return self.parse_items(self.unpack(request))

    @final
    def unpack(self, request: Verified) -> Unread:
        """The first half of `parse`: what a queue takes."""
        items: list[bytes] = []
        dead_letter = None
        try:
            items = list(self.split(request.body))
        except Unreadable as error:
            dead_letter = DeadLetter(request.source, request.received_at, request.body, str(error))
        return Unread(
            request.source,
            request.received_at,
            items,
            is_whole=items == [request.body],
            dead_letter=dead_letter,
            delivery_id=self.delivery_id(request),
            token=self._token(request),
        )

    @final
    def parse_items(self, unread: Unread) -> Batch:
        """The second half of `parse`."""
        events: list[Event] = []
        dead_letters = [unread.dead_letter] if unread.dead_letter else []
        for raw in unread.items:
            found, error = self.parse_item(unread.source, unread.received_at, raw, unread.delivery_id)
            events += found
            if error:
                is_item = not unread.is_whole
                dead_letters.append(DeadLetter(unread.source, unread.received_at, raw, error, is_item))
        return Batch(events, dead_letters, token=unread.token)

    @final
    def parse_item(
        self, source: str, received_at: datetime, raw: bytes, delivery_id: str | None = None
    ) -> tuple[Sequence[Event], str]:
        """The events in an item; and what is wrong with it, where not all of it could be read.

        Never raises, also where the adapter stumbles over what its author did not foresee.
        """
        events: list[Event] = []
        faults: list[str] = []
        try:
            value, payload = self.decode(raw)
            for event in self.read(Item(source, self.name, received_at, value, payload, raw, delivery_id)):
                if event.type in CONSENT_TYPES and not is_address(event.email_address):
                    faults.append(fault_in(event))
                else:
                    events.append(event)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            faults.append(
                str(error) if isinstance(error, Unreadable) and str(error) else f"{type(error).__name__}: {error}"
            )
        return events, "; ".join(faults)

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        """An item's value, and JSON text of it that can be stored."""
        return decode(raw)

    def _token(self, request: Verified) -> Token | None:
        token = self.token(request)
        if token is None:
            return None
        name = hashlib.sha256(f"{request.source}:{token}".encode()).hexdigest()
        return Token(name, hashlib.sha256(request.body).hexdigest())


def fault_in(event: Event) -> str:
    """What makes its word on consent nobody's. Not the address itself: the reason is logged."""
    if event.email_address is None:
        return f"{event.type} without an e-mail address"
    return f"{event.type} by what is no e-mail address"
