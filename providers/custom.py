"""A provider that we do not know: how it proves itself, and where its events say what, is said in settings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.declared_events import Events
from providers.declared_signature import Signature, SignedProof
from providers.decoding import decode_form, nested
from providers.events import Event, Item
from providers.faults import Declaration, HeaderName, refuse
from providers.unsigned import CredentialOptions, basic_authorization, check_credential


class CustomOptions(Declaration):
    """`id_header`: what the provider calls a delivery, the same whenever it is sent again."""

    signature: Signature | None = None
    credential: Literal["basic", "bearer", "query", "header"] | None = None
    header: HeaderName | None = None
    id_header: HeaderName | None = None
    events: Events = Field(description="[sources.NAME.events] with type, types and address")

    @model_validator(mode="after")
    def _fit(self) -> Self:
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[tuple[str, str]]:
        if not self.signature and not self.credential:
            yield "signature", "is missing: write [sources.NAME.signature] or, where nothing is signed, credential"
        if self.signature and self.credential:
            yield "credential", "is one proof too many: leave out this or signature"
        if self.credential == "header" and not self.header:
            yield "header", 'is missing: write header = "X-Acme-Token", the header in which the secret comes'
        if self.header and self.credential != "header":
            yield "header", 'is for credential = "header" only; a signature has its own: signature.header'
        is_id_signed = self.signature is not None and self.signature.covers("id")
        if is_id_signed and not self.id_header:
            yield "id_header", 'is missing, but {id} is in signature.signed: write id_header = "X-Acme-Delivery"'
        if self.id_header and self.signature and not is_id_signed:
            yield "id_header", "is not signed, so anybody could change it: write events.id, where the body has an id"
        if self.events.decide_consent and not self.events.are_told_apart and not self.id_header:
            yield (
                "events.time",
                (
                    "is missing, and so are id and id_header: who opts out, in, and out again sends the first opt-out twice,"
                    ' and the second would count for nothing. Write time = "event.created_at", or id = "event.id", or'
                    ' beside events id_header = "X-Acme-Delivery"'
                ),
            )


class Custom(Adapter):
    name = "custom"
    key = "the secret or public key that `signature` is made with or, without one, the secret of `credential`"
    final_statuses = range(200, 300)
    leaving_a_topic_leaves_all = True
    Options = CustomOptions
    options: CustomOptions
    trial_options = {
        "signature": {
            "header": "X-Acme-Signature",
            "algorithm": "hmac-sha256",
            "encoding": "hex",
            "prefix": "sha256=",
            "signed": "{timestamp}.{body}",
            "timestamp_header": "X-Acme-Timestamp",
        },
        "events": {
            "items": "events",
            "type": "event.name",
            "types": {
                "unsub": "unsubscribed",
                "resub": "resubscribed by recipient",
                "spam": "complained",
                "delivery": "delivered",
                "bounce": "bounced hard",
                "open": "opened",
                "click": "clicked",
            },
            "address": "recipient.email",
            "time": "event.created_at",
            "id": "event.id",
            "message_id": "message.id",
        },
    }
    samples = {}

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        signature, self.events = self.options.signature, self.options.events
        self.signed = SignedProof(signature, self.options.id_header, keys) if signature else None
        self.samples = self.events.samples  # type: ignore[misc] # settings name them
        if self.options.credential == "basic" and not all(":" in key for key in keys):
            raise ValueError('without a colon: for credential = "basic" write user:password')

    async def verify(self, request: WebhookRequest) -> Verified:
        if self.signed:
            self.signed.check(request)
        else:
            check_credential(request, self.keys, CredentialOptions(header=self.options.header))
        return Verified(request)

    def token(self, request: Verified) -> str | None:
        return self.signed.token(request) if self.signed else None

    def delivery_id(self, request: Verified) -> str | None:
        return request.headers.get(self.options.id_header.lower()) if self.options.id_header else None

    def split(self, body: bytes) -> Iterable[bytes]:
        return self.events.split(body)

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, nested)

    def read(self, item: Item) -> Iterable[Event]:
        return self.events.read(item)

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> Any:
        return self.events.sample(event, email_address, at, number)

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return self.events.bodies(samples)

    def prove(self, body: bytes, at: datetime) -> Proof:
        if self.signed:
            return {"headers": self.signed.make(body, at)}
        key, header = self.keys[0], self.options.header
        match self.options.credential:
            case "query":
                return {"query": {"key": key}}
            case "basic":
                return {"headers": {"authorization": basic_authorization(key)}}
            case "bearer":
                return {"headers": {"authorization": f"Bearer {key}"}}
            case _:
                return {"headers": {header or "": key}}
