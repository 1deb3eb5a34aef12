"""Proofs that adapters share. Every key is tried: while one rotates out, two are valid."""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypedDict

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from providers.adapter import NotVerified, Options, WebhookRequest
from providers.events import moment

ECDSA = ec.ECDSA(hashes.SHA256())


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


def basic_credentials(request: WebhookRequest) -> str:
    """`user:password` of HTTP basic authentication."""
    scheme, _, encoded = header(request, "Authorization").partition(" ")
    if scheme.lower() != "basic":
        raise NotVerified("the Authorization header is not Basic")
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:
        raise NotVerified("the Authorization header is not base64 of user:password") from None


def basic_authorization(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def check_secret(secret: str, keys: Iterable[str]) -> None:
    if not any([same(key, secret) for key in keys]):
        raise NotVerified("no key is this secret")


class CredentialOptions(Options):
    """`header`: the name of a header in which the provider sends the key."""

    header: str | None = None


def check_credential(request: WebhookRequest, keys: Iterable[str], options: Options) -> None:
    """For providers that sign nothing: the secret that their user has given them together with our address.

    A key `user:password` comes as HTTP basic authentication, any other as a bearer token or as `?key=…` in the address;
    where the source's option `header` names one, every key comes in that header instead.
    """
    authorization = request.headers.get("authorization", "")
    if isinstance(options, CredentialOptions) and options.header:
        check_secret(header(request, options.header), keys)
    elif "key" in request.query:
        check_secret(request.query["key"], keys)
    elif authorization.lower().startswith("bearer "):
        check_secret(authorization[7:].strip(), keys)
    elif authorization:
        check_secret(basic_credentials(request), keys)
    else:
        raise NotVerified("no credential: neither an Authorization header nor ?key=… in the address")


class Proof(TypedDict, total=False):
    headers: Mapping[str, str]
    query: Mapping[str, str]


def credential(key: str, options: Options) -> Proof:
    """Where a provider would send this key."""
    if isinstance(options, CredentialOptions) and options.header:
        return {"headers": {options.header: key}}
    if ":" in key:
        return {"headers": {"authorization": basic_authorization(key)}}
    return {"query": {"key": key}}


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


def check_ecdsa(signature: str, message: bytes, keys: Iterable[ec.EllipticCurvePublicKey]) -> None:
    """`signature` is base64 of DER."""
    try:
        der = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise NotVerified("the signature is not base64") from None
    for key in keys:
        try:
            key.verify(der, message, ECDSA)
        except InvalidSignature:
            continue
        return
    raise NotVerified("the signature is of no key")


def check_rsa(
    signature: str, message: bytes, keys: Iterable[rsa.RSAPublicKey], algorithm: hashes.HashAlgorithm
) -> None:
    """`signature` is base64 of PKCS#1 v1.5."""
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise NotVerified("the signature is not base64") from None
    for key in keys:
        try:
            key.verify(raw, message, padding.PKCS1v15(), algorithm)
        except InvalidSignature:
            continue
        return
    raise NotVerified("the signature is of no key")
