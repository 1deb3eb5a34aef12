"""Proofs that adapters share. Every key is tried: while one rotates out, two are valid."""

import base64
import hmac
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from providers.adapter import NotVerified, WebhookRequest
from providers.events import moment

ECDSA = ec.ECDSA(hashes.SHA256())

Key = TypeVar("Key", bound=ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey)


def header(request: WebhookRequest, name: str) -> str:
    try:
        return request.headers[name.lower()]
    except KeyError:
        raise NotVerified(f"no header {name}") from None


def same(one: str, other: str) -> bool:
    """Compares secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def mac(key: str | bytes, message: bytes, digest: str = "sha256") -> bytes:
    return hmac.new(key.encode() if isinstance(key, str) else key, message, digest).digest()


def hmac_hex(key: str | bytes, message: bytes, digest: str = "sha256") -> str:
    return mac(key, message, digest).hex()


def hmac_base64(key: str | bytes, message: bytes, digest: str = "sha256") -> str:
    return base64.b64encode(mac(key, message, digest)).decode()


def check_hmac(
    signature: str,
    message: bytes,
    keys: Iterable[str | bytes],
    *,
    digest: str = "sha256",
    encoded: Callable[[str | bytes, bytes, str], str] = hmac_hex,
) -> None:
    """`encoded` is how the provider writes it: `hmac_hex` (in lower case) or `hmac_base64`."""
    if not any([same(encoded(key, message, digest), signature) for key in keys]):
        raise NotVerified("the signature is of no key")


def check_fresh(timestamp: object, received_at: datetime, *, past: timedelta, future: timedelta) -> None:
    """`timestamp` is the moment of signing; Unix seconds."""
    signed_at = moment(timestamp)
    if signed_at is None:
        raise NotVerified("the signature's timestamp is not a Unix time")
    age = received_at - signed_at
    if age > past:
        raise NotVerified(
            f"stale: signed {age.total_seconds():.0f} s ago, at most {past.total_seconds():.0f} s are accepted"
        )
    if -age > future:
        raise NotVerified(f"signed {-age.total_seconds():.0f} s in the future: is this machine's clock right?")


def check_secret(secret: str, keys: Iterable[str]) -> None:
    if not any([same(key, secret) for key in keys]):
        raise NotVerified("no key is this secret")


def ecdsa_public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A P-256 public key: base64 of DER, or PEM. From a private key in PEM, the public one that belongs to it."""
    key = (
        ecdsa_private_key(text).public_key()
        if "PRIVATE KEY" in text
        else serialization.load_pem_public_key(text.encode())
        if "-----" in text
        else serialization.load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    )
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key of the curve P-256")
    return key


def ecdsa_private_key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic-curve key")
    return key


def new_ecdsa_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def base64_bytes(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except ValueError:
        raise NotVerified("the signature is not base64") from None


def check_ecdsa(signature: str, message: bytes, keys: Iterable[ec.EllipticCurvePublicKey]) -> None:
    """`signature` is base64 of DER."""
    der = base64_bytes(signature)
    check_any(lambda key: key.verify(der, message, ECDSA), keys)


def check_rsa(
    signature: str, message: bytes, keys: Iterable[rsa.RSAPublicKey], algorithm: hashes.HashAlgorithm
) -> None:
    """`signature` is base64 of PKCS#1 v1.5."""
    raw = base64_bytes(signature)
    check_any(lambda key: key.verify(raw, message, padding.PKCS1v15(), algorithm), keys)


def check_ed25519(signature: str, message: bytes, keys: Iterable[ed25519.Ed25519PublicKey]) -> None:
    """`signature` is base64."""
    raw = base64_bytes(signature)
    check_any(lambda key: key.verify(raw, message), keys)


def check_any(verify: Callable[[Key], None], keys: Iterable[Key]) -> None:
    for key in keys:
        try:
            verify(key)
        except InvalidSignature:
            continue
        return
    raise NotVerified("the signature is of no key")


def check_stamped(
    signature: str, request: WebhookRequest, keys: Iterable[str], *, past: timedelta, future: timedelta
) -> str:
    """`t=<Unix time>,v1=<hex>` over time, dot and body; one `v1` a secret while the provider's rotate. Returns the time."""
    parts = [part.strip().partition("=") for part in signature.split(",")]
    timestamps = [text for name, _, text in parts if name == "t"]
    signatures = [text for name, _, text in parts if name == "v1"]
    if len(timestamps) != 1 or not signatures:
        raise NotVerified("the signature is not of the form t=…,v1=…")
    [timestamp] = timestamps
    expected = [hmac_hex(key, timestamp.encode() + b"." + request.body) for key in keys]
    if not any([same(one, other) for one in expected for other in signatures]):
        raise NotVerified("the signature is of no key")
    check_fresh(timestamp, request.received_at, past=past, future=future)
    return timestamp


def stamp(key: str, body: bytes, timestamp: str) -> str:
    """What `check_stamped` asks for."""
    return f"t={timestamp},v1={hmac_hex(key, timestamp.encode() + b'.' + body)}"


def fields_of(value: str, separator: str = ",") -> dict[str, str]:
    """A header such as `t=1700000000,v1=5257a8…`, by name; of equal names the last counts."""
    parts = (part.partition("=") for part in value.split(separator))
    return {name.strip(): text.strip() for name, _, text in parts}
