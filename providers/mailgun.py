"""Mailgun: one event a request; its proof lies in the body, beside the event, and does not cover it."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeGuard

import msgspec
from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import (
    Shape,
    Unreadable,
    decode,
    decode_form,
    encode,
    fields_strictly,
    form,
    is_json,
    shaped,
    text,
)
from providers.events import BounceClass, Event, EventType, Item, address, addresses, folded, moment
from providers.signing import check_fresh, check_hmac, hmac_hex

# Mailgun retries for 8 hours and advises not to be strict.
PAST, FUTURE = timedelta(hours=24), timedelta(minutes=5)
PROOF = ("timestamp", "token", "signature")
SIGNATURES = ("signature", "parent-signature")
EVENT = "event-data"

TYPES = {
    "accepted": EventType.ACCEPTED,
    "delivered": EventType.DELIVERED,
    "rejected": EventType.DROPPED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "complained": EventType.COMPLAINED,
    # The former webhooks' own names, sent as forms.
    "bounced": EventType.BOUNCED,
    "dropped": EventType.DROPPED,
}

SUPPRESSED_CODES = {"605", "606", "607", "625"}
SOFT_CODES = {"498", "499", "602"}
SOFT_REASONS = {"old", "espblock", "greylisted", "blacklisted"}


class Signature(NamedTuple):
    timestamp: str
    token: str
    signature: str


class Status(Shape):
    code: str | None = None
    message: str | None = None
    description: str | None = None
    bounce_type: str | None = Field(None, alias="bounce-type")


NO_STATUS = Status.model_validate({})


class Payload(Shape):
    """What we read, under Mailgun's own names; the rest stays in the item's payload."""

    event: str
    id: str | None = None
    timestamp: Any = None
    recipient: str | None = None
    severity: str | None = None
    reason: str | None = None
    url: str | None = None
    ip: str | None = None
    tags: list[str] = Field(default_factory=list)
    account: dict[str, Any] = Field(default_factory=dict)
    domain: dict[str, Any] = Field(default_factory=dict)
    message: dict[str, Any] = Field(default_factory=dict)
    client_info: dict[str, Any] = Field(default_factory=dict, alias="client-info")
    mailing_list: dict[str, Any] = Field(default_factory=dict, alias="mailing-list")
    user_variables: dict[str, Any] = Field(default_factory=dict, alias="user-variables")
    reject: dict[str, Any] = Field(default_factory=dict)
    status: Status = Field(default_factory=lambda: NO_STATUS, alias="delivery-status")

    @property
    def message_headers(self) -> Mapping[str, Any]:
        headers = self.message.get("headers")
        return headers if isinstance(headers, dict) else {}


class Mailgun(Adapter):
    name = "mailgun"
    key = "the HTTP webhook signing key (Mailgun › Sending › Webhooks), not the API key"
    final_statuses = (200, 406)
    samples = {
        "unsubscribed": {},
        "complained": {},
        "delivered": {"delivery-status": {"code": 250, "message": "OK"}},
        "opened": {"ip": "192.0.2.1", "client-info": {"user-agent": "Mozilla/5.0", "bot": ""}},
        "clicked": {
            "ip": "192.0.2.1",
            "url": "https://example.com/offer",
            "client-info": {"user-agent": "Mozilla/5.0", "bot": ""},
        },
        "permanent_fail": {
            "event": "failed",
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 550, "message": "5.1.1 no such user", "bounce-type": "hard"},
        },
        "temporary_fail": {
            "event": "failed",
            "severity": "temporary",
            "reason": "generic",
            "delivery-status": {"code": 451, "message": "4.7.1 try again later", "retry-seconds": 600},
        },
        "accepted": {},
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        proof = self._genuine(proofs_in(value_of(request.body)))
        check_fresh(proof.timestamp, request.received_at, past=PAST, future=FUTURE)
        return Verified(request)

    def token(self, request: Verified) -> str | None:
        try:
            proofs = proofs_in(value_of(request.body))
            # Of several, the one that has proven the request; a stranger may have written the others.
            return (proofs[0] if len(proofs) == 1 else self._genuine(proofs)).token
        except NotVerified:
            return None

    def _genuine(self, proofs: Iterable[Signature]) -> Signature:
        """The one that a key of ours has made. Raises NotVerified."""
        refusal = NotVerified("no signature with timestamp, token and signature in the body")
        for proof in proofs:
            try:
                check_hmac(proof.signature, f"{proof.timestamp}{proof.token}".encode(), self.keys)
            except NotVerified as error:
                refusal = error
            else:
                return proof
        raise refusal

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, told_apart)

    def read(self, item: Item) -> Iterable[Event]:
        if not isinstance(item.value, dict):
            raise Unreadable(f"not an object but {type(item.value).__name__}")
        if EVENT in item.value:
            return read_events(item, shaped(Payload, item.value[EVENT]))
        if "event" in item.value:
            return read_events(item, shaped(Payload, from_form(item.value)))
        if "recipient" in item.value or "sender" in item.value:
            return [read_inbound(item)]
        raise Unreadable("neither event-data nor the fields of a form")

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "id": f"sample-{number}",
            "event": event,
            "timestamp": at.timestamp(),
            "recipient": email_address,
            "account": {"id": "sample"},
            "domain": {"name": "mg.example.com"},
            "tags": ["sample"],
            "user-variables": {},
            "message": {"headers": {"to": email_address, "message-id": f"sample-{number}@mg.example.com"}},
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        timestamp = str(int(at.timestamp()))
        for sample in samples:
            token = secrets.token_hex(25)
            signature = hmac_hex(self.keys[0], f"{timestamp}{token}".encode())
            yield encode(
                {
                    "signature": {"timestamp": timestamp, "token": token, "signature": signature},
                    "event-data": sample,
                }
            )

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {}


def told_apart(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A sender's own variables lie in the same form: they come after Mailgun's fields, but before the proof."""
    found: dict[str, str] = {}
    for name, value in fields:
        if name in PROOF:
            found[name] = value
        else:
            found.setdefault(name, value)
    return found


def value_of(body: bytes) -> dict[str, Any]:
    """The body's fields as they lie outermost; of a name that comes several times the last. Raises NotVerified."""
    if not is_json(body):
        return dict(form(body))
    try:
        value = outermost(body)
    except Unreadable as error:
        raise NotVerified(f"no signature to be found in the body: {error}") from None
    if not isinstance(value, dict):
        raise NotVerified("no signature in the body: it is not an object")
    return value


def outermost(body: bytes) -> Any:
    """As `decode`; of today's shape the proofs only, and not the event beside them."""
    try:
        fields = fields_strictly(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = {}
    if EVENT not in fields:
        return decode(body)[0]
    return {EVENT: None} | {name: decode(bytes(fields[name]))[0] for name in SIGNATURES if name in fields}


def proofs_in(body: Mapping[str, Any]) -> list[Signature]:
    """The account's own and, for a subaccount, its parent's; a form has one, at its top level."""
    found = [body.get(name) for name in SIGNATURES] if EVENT in body else [body]
    return [
        Signature(str(each["timestamp"]), str(each["token"]), str(each["signature"]))
        for each in found
        if is_proof(each)
    ]


def is_proof(value: object) -> TypeGuard[dict[str, str | int]]:
    return isinstance(value, dict) and all(isinstance(value.get(name), (str, int)) for name in PROOF)


def from_form(fields: Mapping[str, str]) -> dict[str, Any]:
    """A former webhook's flat form in today's shape."""
    return {
        **fields,
        "id": None,
        "message": {"headers": {"message-id": fields.get("message-id") or fields.get("Message-Id")}},
        "domain": {"name": fields.get("domain")},
        "client-info": {"user-agent": fields.get("user-agent")},
        "mailing-list": {"address": fields["mailing-list"]} if "mailing-list" in fields else {},
        "tags": [fields[name] for name in ("tag", "X-Mailgun-Tag") if name in fields],
        "delivery-status": {
            "code": fields.get("code"),
            "message": fields.get("error") or fields.get("notification"),
            "description": fields.get("description"),
        },
    }


def read_events(item: Item, payload: Payload) -> Sequence[Event]:
    """One; but for a rejection, which may name nobody: then it is about each whom the message was to."""
    if payload.recipient or payload.event != "rejected":
        return [read_event(item, payload, address(payload.recipient))]
    several: Sequence[str | None] = addresses(payload.message_headers.get("to"))
    return [read_event(item, payload, each) for each in several or [None]]


def read_event(item: Item, payload: Payload, email_address: str | None) -> Event:
    kind = event_type(payload)
    return Event(
        item=item,
        natural_key=(
            text(payload.account.get("id") or payload.domain.get("name")),
            payload.id,
            str(payload.timestamp),
            folded(email_address),
            payload.event,
            # Without an id (a form) two events may share all of these.
            *(() if payload.id else (text(payload.message_headers.get("message-id")), payload.url)),
        ),
        type=kind,
        at=moment(payload.timestamp),
        email_address=email_address,
        message_id=message_id(payload),
        provider_event_id=payload.id,
        topic=text(payload.mailing_list.get("address")) if kind == EventType.UNSUBSCRIBED else None,
        bounce_class=bounce_class(payload) if kind == EventType.BOUNCED else None,
        reason=reason(payload),
        url=payload.url,
        ip=payload.ip,
        user_agent=text(payload.client_info.get("user-agent")),
        is_machine=bool(payload.client_info["bot"]) if "bot" in payload.client_info else None,
        tags=tuple(payload.tags),
        metadata=payload.user_variables,
    )


def read_inbound(item: Item) -> Event:
    """A route's `forward()` or `store(notify=)`: a mail that has come in, as a form."""
    fields = item.value
    message = text(fields.get("Message-Id"))
    return Event(
        item=item,
        natural_key=(message, text(fields.get("token")) if message is None else None, text(fields.get("recipient"))),
        type=EventType.INBOUND,
        at=moment(fields.get("timestamp")),
        email_address=address(fields.get("sender") or fields.get("from")),
        message_id=message and message.strip("<>"),
    )


def event_type(payload: Payload) -> EventType:
    """A failure that Mailgun will try again is a deferral; one that it never tried, a drop."""
    if payload.event == "failed":
        if payload.severity == "temporary":
            return EventType.DEFERRED
        return EventType.DROPPED if is_suppressed(payload) else EventType.BOUNCED
    return TYPES.get(payload.event, EventType.UNKNOWN)


def is_suppressed(payload: Payload) -> bool:
    return (payload.reason or "").startswith("suppress-") or payload.status.code in SUPPRESSED_CODES


def bounce_class(payload: Payload) -> BounceClass:
    code = payload.status.code or ""
    soft = (
        payload.status.bounce_type == "soft"
        or code.startswith("4")
        or code in SOFT_CODES
        or payload.reason in SOFT_REASONS
    )
    return BounceClass.SOFT if soft else BounceClass.HARD


def reason(payload: Payload) -> str | None:
    rejected = payload.reject.get("description") or payload.reject.get("reason")
    return payload.status.message or payload.status.description or text(rejected) or payload.reason


def message_id(payload: Payload) -> str | None:
    found = text(payload.message_headers.get("message-id"))
    return found and found.strip("<>")
