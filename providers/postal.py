"""Postal (self-hosted): one event a request, signed by the installation's RSA key."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import Field

from providers.adapter import Adapter, NotVerified, Options, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_rsa

SIGNATURE = "X-Postal-Signature-256"
SIGNATURE_SHA1 = "X-Postal-Signature"

TYPES = {
    "MessageSent": EventType.DELIVERED,
    "MessageDelayed": EventType.DEFERRED,
    "MessageDeliveryFailed": EventType.BOUNCED,
    "MessageBounced": EventType.BOUNCED,
    "MessageLinkClicked": EventType.CLICKED,
    "MessageLoaded": EventType.OPENED,
}

DKIM = re.compile(r"(?:^|[;\s])p=([^;]+)")

# An answer for good, but for those that speak of a mailbox (5.2) or of a policy (5.7) and not of an address.
REFUSED = re.compile(r"5\d\d(?![ -]5\.[27]\.)")


class PostalOptions(Options):
    """`allow_sha1`: for a Postal before 3.2, which makes no other signature."""

    allow_sha1: bool = False


class Payload(Shape):
    """What we read, under Postal's own names; the rest stays in the item's payload."""

    event: str | None = None
    timestamp: Any = None
    uuid: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)


class Postal(Adapter):
    name = "postal"
    key = (
        "the installation's public key: what follows p= in `postal default-dkim-record`, or"
        " /.well-known/jwks.json, or PEM"
    )
    Options = PostalOptions
    final_statuses = range(200, 300)
    samples = {
        "MessageSent": {"status": "Sent", "output": "250 OK", "details": "accepted by mx.example.com"},
        "MessageDelayed": {"status": "SoftFail", "output": "451 4.7.1 try again later"},
        "MessageDeliveryFailed": {"status": "HardFail", "output": "550 5.1.1 no such user"},
        "MessageHeld": {"status": "Held", "details": "Recipient (…) is on the suppression list (reason: too many)"},
        "MessageBounced": {"bounce": {"id": 1, "to": "bounces@psrp.example.com"}},
        "MessageLoaded": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "MessageLinkClicked": {
            "url": "https://example.com/offer",
            "ip_address": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
        },
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.public_keys = [public_key for key in keys for public_key in rsa_public_keys(key)]

    async def verify(self, request: WebhookRequest) -> Verified:
        signature, algorithm = self._signature(request)
        check_rsa(signature, request.body, self.public_keys, algorithm)
        return Verified(request)

    def _signature(self, request: WebhookRequest) -> tuple[str, hashes.HashAlgorithm]:
        if signature := request.headers.get(SIGNATURE.lower()):
            return signature, hashes.SHA256()
        if isinstance(self.options, PostalOptions) and self.options.allow_sha1:
            if signature := request.headers.get(SIGNATURE_SHA1.lower()):
                return signature, hashes.SHA1()  # noqa: S303 - only where its user knows that theirs makes no other
            raise NotVerified(f"no header {SIGNATURE} or {SIGNATURE_SHA1}")
        raise NotVerified(f"no header {SIGNATURE}: a Postal before 3.2 sends none, and needs the option allow_sha1")

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        if payload.event is not None:
            return [read_event(item, payload, payload.payload)]
        if "rcpt_to" in item.value:
            return [read_inbound(item)]
        raise Unreadable("neither an event nor a mail")

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        message = {
            "id": number,
            "token": f"sample-{number}",
            "direction": "outgoing",
            "message_id": f"sample-{number}@example.com",
            "to": email_address,
            "tag": "sample",
        }
        name = "original_message" if event == "MessageBounced" else "message"
        return {
            "event": event,
            "timestamp": at.timestamp(),
            "payload": {name: message, **self.samples[event]},
            "uuid": str(UUID(int=number)),
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        signature = rsa_private_key(self.keys[0]).sign(body, padding.PKCS1v15(), hashes.SHA256())
        return {"headers": {SIGNATURE: base64.b64encode(signature).decode()}}

    @classmethod
    def new_key(cls) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return key.private_bytes(*pem).decode()


def rsa_public_keys(written: str) -> list[rsa.RSAPublicKey]:
    """Written as `rsa_public_key` has it, or as JSON: a JWK, or a set of them."""
    if not written.lstrip().startswith("{"):
        return [rsa_public_key(written)]
    value = json.loads(written)
    keys = value.get("keys") or [value]
    return [key_of_jwk(inside(key)) for key in (keys if isinstance(keys, list) else [keys])]


def rsa_public_key(written: str) -> rsa.RSAPublicKey:
    """A DKIM record or its p=, or PEM. From a private key in PEM, its public one."""
    if record := DKIM.search(written):
        written = record[1]
    key = (
        rsa_private_key(written).public_key()
        if "PRIVATE KEY" in written
        else serialization.load_pem_public_key(written.encode())
        if "-----" in written
        else serialization.load_der_public_key(base64.b64decode("".join(written.split()), validate=True))
    )
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def key_of_jwk(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    try:
        n, e = (int.from_bytes(base64.urlsafe_b64decode(str(jwk[name]) + "==")) for name in "ne")
    except KeyError:
        raise ValueError("not the JWK of an RSA key: it has no n and e") from None
    return rsa.RSAPublicNumbers(e, n).public_key()


def rsa_private_key(written: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(written.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def read_event(item: Item, envelope: Payload, payload: Mapping[str, Any]) -> Event:
    message = inside(payload, "message") or inside(payload, "original_message")
    status, url = text(payload.get("status")), text(payload.get("url"))
    output, details = text(payload.get("output")), text(payload.get("details"))
    ip, user_agent = text(payload.get("ip_address")), text(payload.get("user_agent"))
    message_id = text(message.get("message_id"))
    kind = event_type(envelope.event, message, details)
    email_address = address(message.get("to"))
    # The second is when the event was queued: for opens and clicks there is no other.
    time = payload.get("timestamp") or envelope.timestamp
    return Event(
        item=item,
        natural_key=(
            envelope.event,
            # `id` counts within a mail server only.
            text(message.get("token")) or text(message.get("id")) or envelope.uuid,
            message_id,
            folded(email_address),
            status,
            str(time),
            url,
            ip,
            user_agent,
        ),
        type=kind,
        at=moment(time),
        email_address=email_address,
        message_id=message_id and message_id.strip("<>"),
        provider_event_id=envelope.uuid,
        bounce_class=bounce_class(envelope.event, output) if kind == EventType.BOUNCED else None,
        reason=output or details,
        url=url,
        ip=ip,
        user_agent=user_agent,
        tags=tuple(filter(None, [text(message.get("tag"))])),
    )


def event_type(event: str | None, message: Mapping[str, Any], details: str | None) -> EventType:
    if message.get("direction") == "incoming":
        return EventType.UNKNOWN
    if event == "MessageHeld" and "suppression list" in (details or ""):
        return EventType.DROPPED
    return TYPES.get(event or "", EventType.UNKNOWN)


def bounce_class(event: str | None, output: str | None) -> BounceClass:
    """A message that came back says no more than that; one that was not taken was answered."""
    refused = event == "MessageBounced" or REFUSED.match(output or "")
    return BounceClass.HARD if refused else BounceClass.SOFT


def read_inbound(item: Item) -> Event:
    """A mail that has come in, from an HTTP endpoint: as it is, or taken to pieces."""
    message_id = text(item.value.get("message_id"))
    return Event(
        item=item,
        natural_key=("inbound", text(item.value.get("id")), message_id, folded(address(item.value["rcpt_to"]))),
        type=EventType.INBOUND,
        at=moment(item.value.get("timestamp")),
        email_address=address(item.value.get("mail_from")),
        message_id=message_id and message_id.strip("<>"),
    )
