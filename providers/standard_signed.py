"""Providers that sign as Standard Webhooks say, Svix's customers among them: id, time and body, several signatures."""

import base64
import binascii
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.faults import Declaration, HeaderName
from providers.signing import check_fresh, hmac_base64, same

# As senders write it: libraries that read a number ("1700000000.9") sign another text than the one that was sent.
TIMESTAMPS = {"seconds": re.compile("[0-9]{1,12}"), "milliseconds": re.compile("[0-9]{13}")}
# A header holds one for each key that the sender has: beyond this, somebody wants us to compute.
MAX_SIGNATURES = 16
ED25519 = "v1a,"

SecretKey = bytes | Ed25519PublicKey


class Scheme(Declaration):
    """How a provider signs; the defaults are the standard.

    `headers`: what stands before -id, -timestamp and -signature, all three of one. `key`: what its text is. `entry`: what
    each signature begins with. `tolerance`: seconds that the time of signing, which is each attempt's own, may be off.
    """

    headers: Annotated[tuple[HeaderName, ...], Field(min_length=1)] = ("webhook", "svix")
    key: Literal["base64", "text"] = "base64"
    digest: Literal["sha256", "sha512"] = "sha256"
    timestamp: Literal["seconds", "milliseconds"] = "seconds"
    entry: str = "v1,"
    tolerance: Annotated[int, Field(ge=1, le=24 * 3600)] = 300


STANDARD = Scheme()


class StandardAdapter(Adapter):
    """An adapter whose provider signs so; `scheme` says where it strays from the standard."""

    final_statuses: ClassVar[Collection[int]] = range(200, 300)

    @property
    def scheme(self) -> Scheme:
        return STANDARD

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.secret_keys = [secret_key(key, self.scheme) for key in keys]

    async def verify(self, request: WebhookRequest) -> Verified:
        scheme = self.scheme
        prefix = prefix_of(request, scheme)
        if prefix is None:
            raise NotVerified(f"no headers {' or '.join(scheme.headers)}-id, -timestamp and -signature")
        identity, timestamp, signatures = (
            request.headers[f"{prefix}-{name}"] for name in ("id", "timestamp", "signature")
        )
        if not TIMESTAMPS[scheme.timestamp].fullmatch(timestamp):
            raise NotVerified(f"{prefix}-timestamp is not a Unix time in {scheme.timestamp}")
        entries = [each for each in signatures.split() if each.startswith((scheme.entry, ED25519))][:MAX_SIGNATURES]
        if not entries:
            raise NotVerified(f"{prefix}-signature has no entry that begins with {scheme.entry} or {ED25519}")
        message = signed(identity, timestamp, request.body)
        if not any([is_signed(entries, message, key, scheme) for key in self.secret_keys]):
            raise NotVerified("the signature is of no key")
        window = timedelta(seconds=scheme.tolerance)
        check_fresh(timestamp, request.received_at, past=window, future=window)
        return Verified(request)

    def delivery_id(self, request: Verified) -> str | None:
        prefix = prefix_of(request, self.scheme)
        return request.headers[f"{prefix}-id"] if prefix else None

    def prove(self, body: bytes, at: datetime) -> Proof:
        prefix = self.scheme.headers[0]
        identity = f"msg_{secrets.token_hex(12)}"
        timestamp = str(int(at.timestamp() * (1000 if self.scheme.timestamp == "milliseconds" else 1)))
        signature = sign(self.keys[0], signed(identity, timestamp, body), self.scheme)
        return {
            "headers": {f"{prefix}-id": identity, f"{prefix}-timestamp": timestamp, f"{prefix}-signature": signature}
        }

    @classmethod
    def new_key(cls) -> str:
        return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


def prefix_of(request: WebhookRequest, scheme: Scheme) -> str | None:
    """The first of which all three headers have come: verify and delivery_id must see the same."""
    for each in scheme.headers:
        prefix = each.lower()
        if all(f"{prefix}-{name}" in request.headers for name in ("id", "timestamp", "signature")):
            return prefix
    return None


def signed(identity: str, timestamp: str, body: bytes) -> bytes:
    return f"{identity}.{timestamp}.".encode(errors="replace") + body


def secret_key(text: str, scheme: Scheme) -> SecretKey:
    """`whsec_…` (or any other prefix, or none) of base64; `whpk_…`, an Ed25519 public key; `whsk_…`, the private one.

    Raises ValueError.
    """
    if scheme.key == "text":
        return text.encode()
    kind, raw = decoded(text)
    match kind:
        case "whpk":
            return Ed25519PublicKey.from_public_bytes(raw)
        case "whsk":
            return private_key(raw).public_key()
        case _ if not raw:
            raise ValueError("there is nothing behind its prefix")
        case _:
            return raw


def decoded(text: str) -> tuple[str, bytes]:
    kind, _, encoded = text.strip().rpartition("_")
    try:
        return kind, base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def private_key(raw: bytes) -> Ed25519PrivateKey:
    """Written as the private key, or with the public one behind it."""
    return Ed25519PrivateKey.from_private_bytes(raw[:32])


def is_signed(entries: Iterable[str], message: bytes, key: SecretKey, scheme: Scheme) -> bool:
    if isinstance(key, bytes):
        expected = scheme.entry + hmac_base64(key, message, scheme.digest)
        return any([same(expected, entry) for entry in entries])
    return any([verifies(key, entry.removeprefix(ED25519), message) for entry in entries if entry.startswith(ED25519)])


def verifies(key: Ed25519PublicKey, signature: str, message: bytes) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
        key.verify(raw, message)
    except (InvalidSignature, ValueError):
        return False
    # Base64 has bits that decoding ignores: nothing but what was signed shall pass.
    return base64.b64encode(raw).decode() == signature


def sign(text: str, message: bytes, scheme: Scheme) -> str:
    """An entry. Raises ValueError for a public key."""
    key = secret_key(text, scheme)
    if isinstance(key, bytes):
        return scheme.entry + hmac_base64(key, message, scheme.digest)
    kind, raw = decoded(text)
    if kind != "whsk":
        raise ValueError("whpk_ is the public half")
    return ED25519 + base64.b64encode(private_key(raw).sign(message)).decode()
