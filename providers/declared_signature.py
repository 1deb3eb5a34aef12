"""Signatures by declaration: settings say in which header they come, of which bytes, by which algorithm."""

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from providers.adapter import NotVerified, WebhookRequest
from providers.faults import Declaration, HeaderName, fault, refuse
from providers.signing import ECDSA, check_fresh, header, mac
from providers.url_bound import check_urls, in_list

PLACES = ("timestamp", "id", "url", "method", "body")
PLACE = re.compile(r"\{(\w*)\}")
# More signatures in one header are not those of a few keys: somebody wants us to compute.
MAX_SIGNATURES = 16
A_YEAR = 366 * 24 * 3600
# How far ahead a sender's clock may be.
FUTURE = timedelta(minutes=5)

HMACS = {"hmac-sha256": "sha256", "hmac-sha512": "sha512", "hmac-sha1": "sha1"}
ASYMMETRIC: Mapping[str, tuple[type, tuple[Any, ...]]] = {
    "ed25519": (ed25519.Ed25519PublicKey, ()),
    "ecdsa-p256": (ec.EllipticCurvePublicKey, (ECDSA,)),
    "rsa-sha256": (rsa.RSAPublicKey, (padding.PKCS1v15(), hashes.SHA256())),
}


def address_of_ours(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise fault(f"{url!r} is no address: write https://…, as it was entered at the provider")
    return url


class Signature(Declaration):
    """How requests are signed. `field`, `timestamp_field` and `separator` are for a header such as `t=1700000000,v1=5257a8…`."""

    header: HeaderName = Field(description='header = "X-Acme-Signature", the header in which the signature comes')
    algorithm: Literal["hmac-sha256", "hmac-sha512", "hmac-sha1", "ed25519", "ecdsa-p256", "rsa-sha256"] = Field(
        description='algorithm = "hmac-sha256" (or hmac-sha512, hmac-sha1, ed25519, ecdsa-p256, rsa-sha256)'
    )
    encoding: Literal["hex", "base64", "base64url"] = Field(description='encoding = "hex" (or base64, base64url)')
    prefix: str = ""
    field: Annotated[str | None, Field(min_length=1)] = None
    separator: Annotated[str, Field(min_length=1)] = ","
    signed: str = "{body}"
    covers_body: bool = True
    timestamp_header: HeaderName | None = None
    timestamp_field: Annotated[str | None, Field(min_length=1)] = None
    tolerance: Annotated[int, Field(ge=1, le=A_YEAR)] = 300
    url: Annotated[list[Annotated[str, AfterValidator(address_of_ours)]], BeforeValidator(in_list)] = Field([])
    key: Literal["text", "hex", "base64"] = "text"

    @model_validator(mode="after")
    def _fit(self) -> Self:
        refuse([*self._faults_of_signed(), *self._faults_of_time()])
        return self

    def covers(self, place: str) -> bool:
        return f"{{{place}}}" in self.signed

    def _faults_of_signed(self) -> Iterator[tuple[str, str]]:
        if unknown := set(PLACE.findall(self.signed)) - set(PLACES):
            known = ", ".join(f"{{{place}}}" for place in PLACES)
            yield (
                "signed",
                f"{', '.join(f'{{{place}}}' for place in sorted(unknown))} stands for nothing: there are {known}",
            )
        if re.search("[{}]", PLACE.sub("", self.signed)):
            yield "signed", 'has a brace too many: write "{timestamp}.{body}"'
        if self.covers_body and not self.covers("body"):
            yield (
                "signed",
                "without {body} a signature fits any body: add {body} or, if it really is so, covers_body = false",
            )
        if self.covers("body") and not self.covers_body:
            yield "covers_body", "is false, but {body} is in signed: leave out one of the two"
        if self.covers("url") and not self.url:
            yield (
                "url",
                'is missing, but {url} is in signed: write url = "https://…", as it was entered at the provider',
            )
        if self.url and not self.covers("url"):
            yield "url", "is not in signed: write {url} there, or leave this out"
        if self.key != "text" and self.algorithm not in HMACS:
            yield "key", f"is for HMAC only: how a public key for {self.algorithm} is written is seen from itself"

    def _faults_of_time(self) -> Iterator[tuple[str, str]]:
        given = [name for name in ("timestamp_header", "timestamp_field") if getattr(self, name)]
        if len(given) > 1:
            yield "timestamp_field", "is one place too many: leave out this or timestamp_header"
        if given and not self.covers("timestamp"):
            yield (
                given[0],
                'is not signed, so it proves nothing: write signed = "{timestamp}.{body}", or leave this out',
            )
        if self.covers("timestamp") and not given:
            yield (
                "signed",
                'has {timestamp}: say where it comes, timestamp_header = "X-Acme-Timestamp" or timestamp_field = "t"',
            )
        if "tolerance" in self.model_fields_set and not self.covers("timestamp"):
            yield "tolerance", 'needs a time that is signed: write signed = "{timestamp}.{body}", or leave this out'
        if self.timestamp_field and not self.field:
            yield "timestamp_field", 'lies beside the signature in one header: write field = "v1" as well'
        if "separator" in self.model_fields_set and not self.field:
            yield "separator", 'stands between the fields of a header: write field = "v1" as well'


class Key(Protocol):
    def is_of(self, signature: bytes, message: bytes) -> bool:
        """Whether this key has made the signature."""

    def sign(self, message: bytes) -> bytes:
        """Raises ValueError where the key can only verify."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    secret: bytes
    digest: str

    def is_of(self, signature: bytes, message: bytes) -> bool:
        return hmac.compare_digest(self.sign(message), signature)

    def sign(self, message: bytes) -> bytes:
        return mac(self.secret, message, self.digest)


@dataclass(frozen=True, slots=True)
class PublicKey:
    public: Any
    private: Any
    arguments: tuple[Any, ...]

    def is_of(self, signature: bytes, message: bytes) -> bool:
        if isinstance(self.public, ec.EllipticCurvePublicKey) and len(signature) == 64:
            # As WebCrypto writes it: r and s side by side. DER is longer, but for one in millions.
            signature = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        try:
            self.public.verify(signature, message, *self.arguments)
        except InvalidSignature:
            return False
        return True

    def sign(self, message: bytes) -> bytes:
        if self.private is None:
            raise ValueError("a public key")
        signature: bytes = self.private.sign(message, *self.arguments)
        return signature


class SignedProof:
    """What `verify` and `prove` do, for one source's declaration and keys. Raises ValueError for a key that cannot be one."""

    def __init__(self, options: Signature, id_header: str | None, keys: Sequence[str]) -> None:
        self.options = options
        self.id_header = id_header
        self.keys = [key_of(key, options) for key in keys]
        # Literal texts and places in turn.
        self.parts = PLACE.split(options.signed)

    def check(self, request: WebhookRequest) -> None:
        """Raises NotVerified."""
        timestamp, signatures = self._sent(request)

        def check_message(url: str) -> None:
            message = self._message(request, timestamp, url)
            if not any([key.is_of(signature, message) for key in self.keys for signature in signatures]):
                raise NotVerified("the signature is of no key")

        if self.options.url:
            check_urls(self.options.url, check_message)
        else:
            check_message("")
        if timestamp is not None:
            check_fresh(timestamp, request.received_at, past=timedelta(seconds=self.options.tolerance), future=FUTURE)

    def token(self, request: WebhookRequest) -> str | None:
        """What is signed, where that is not the body but a delivery's own id: good for one body."""
        if self.options.covers_body or not self.options.covers("id"):
            return None
        try:
            timestamp, _ = self._sent(request)
            return self._message(request, timestamp, "").hex()
        except NotVerified:
            return None

    def make(self, body: bytes, at: datetime) -> dict[str, str]:
        """The headers that prove a body. Raises ValueError where the first key can only verify."""
        options = self.options
        timestamp = str(int(at.timestamp()))
        headers = {self.id_header: secrets.token_hex(12)} if self.id_header else {}
        if options.timestamp_header:
            headers[options.timestamp_header] = timestamp
        request = WebhookRequest(source="", body=body, headers={name.lower(): each for name, each in headers.items()})
        signature = self.keys[0].sign(self._message(request, timestamp, next(iter(options.url), "")))
        written = options.prefix + ENCODE[options.encoding](signature)
        if options.field:
            fields = {options.timestamp_field: timestamp, options.field: written}
            written = options.separator.join(f"{name}={each}" for name, each in fields.items() if name)
        return {**headers, options.header: written}

    def _sent(self, request: WebhookRequest) -> tuple[str | None, list[bytes]]:
        """The time and the signatures that came in the headers. Raises NotVerified."""
        options = self.options
        fields = self._fields(header(request, options.header))
        begin = f"{options.field}={options.prefix}" if options.field else options.prefix
        texts = [text.removeprefix(begin) for text in fields if text.startswith(begin)][:MAX_SIGNATURES]
        signatures = [raw for text in texts if (raw := signature_in(text, options.encoding))]
        if not signatures:
            raise NotVerified(f"no signature {begin}… in {options.encoding} in the header {options.header}")
        return self._timestamp(request, fields), signatures

    def _fields(self, value: str) -> list[str]:
        parts = value.split(self.options.separator) if self.options.field else [value]
        return [part.strip() for part in parts]

    def _timestamp(self, request: WebhookRequest, fields: Sequence[str]) -> str | None:
        options = self.options
        if options.timestamp_field:
            begin = f"{options.timestamp_field}="
            found = [text.removeprefix(begin) for text in fields if text.startswith(begin)]
            if len(found) != 1:
                raise NotVerified(f"not one {begin}… but {len(found)} in the header {options.header}")
            return found[0]
        return header(request, options.timestamp_header) if options.timestamp_header else None

    def _message(self, request: WebhookRequest, timestamp: str | None, url: str) -> bytes:
        texts = {"timestamp": timestamp or "", "url": url, "method": request.method}
        if self.options.covers("id"):
            texts["id"] = header(request, self.id_header or "")
        values = {**{name: each.encode(errors="replace") for name, each in texts.items()}, "body": request.body}
        return b"".join(values[part] if number % 2 else part.encode() for number, part in enumerate(self.parts))


def padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


DECODE: Mapping[str, Callable[[str], bytes]] = {
    "text": str.encode,
    "hex": binascii.unhexlify,
    "base64": lambda text: base64.b64decode(padded(text), validate=True),
    "base64url": lambda text: base64.b64decode(padded(text), b"-_", validate=True),
}
ENCODE: Mapping[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "base64url": lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("="),
}


def decoded(text: str, encoding: str) -> bytes:
    """Nothing where it cannot be decoded."""
    try:
        return DECODE[encoding](text)
    except ValueError:
        return b""


def signature_in(text: str, encoding: str) -> bytes:
    """As `decoded`, but nothing in a way that nobody writes: bits that base64 ignores, or both cases in hex."""
    raw = decoded(text, encoding)
    written = ENCODE[encoding](raw)
    is_usual = text.rstrip("=") == written.rstrip("=") or (encoding == "hex" and text == written.upper())
    return raw if is_usual else b""


def key_of(text: str, options: Signature) -> Key:
    if options.algorithm in HMACS:
        secret = decoded(text, options.key)
        if not secret:
            raise ValueError(f"not {options.key}")
        return SecretKey(secret, HMACS[options.algorithm])
    kind, arguments = ASYMMETRIC[options.algorithm]
    try:
        public, private = key_pair(text)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(str(error)) from error
    is_other_curve = isinstance(public, ec.EllipticCurvePublicKey) and not isinstance(public.curve, ec.SECP256R1)
    if not isinstance(public, kind) or is_other_curve:
        raise ValueError(f"not a key for {options.algorithm}")
    return PublicKey(public, private, arguments)


def key_pair(text: str) -> tuple[Any, Any]:
    """A public key as PEM, base64 of DER, or base64 or hex of an Ed25519 key's 32 bytes; or a private key as PEM."""
    if "PRIVATE KEY" in text:
        private = serialization.load_pem_private_key(text.encode(), password=None)
        return private.public_key(), private
    if "-----" in text:
        return serialization.load_pem_public_key(text.encode()), None
    text = "".join(text.split())
    raw = DECODE["hex" if re.fullmatch("[0-9a-fA-F]{64}", text) else "base64"](text)
    if len(raw) == 32:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw), None
    return serialization.load_der_public_key(raw), None
