"""Postal: two signatures by one key, which may be written in many ways, and what an answer says of an address."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.events import BounceClass
from providers.postal import SIGNATURE, SIGNATURE_SHA1, Postal, rsa_public_key
from tests.providers.payloads import parsed

KEY = (
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDDJkOKKDU9fhG09YxO4LQHNfAod7N+coxsLlJ7zwYmFjF/h/uq5eNxYhxbWG2nehoxcAhS2x/wJ4nU3MJz"
    "QskvmCRYBFVmY/HnkPRJE0H4/9mLAGivxfdz7G3ewsqRNQQChGSBUPdiAp5QrbwIjCnFMZgwY62EjoP6bHslGb2O/QIDAQAB"
)
BODY = (
    b'{"event":"MessageBounced","timestamp":1700000000.5,"payload":{"original_message":{"id":7,"to":"ada@example.test"},'
    b'"bounce":{"id":8}},"uuid":"11111111-2222-3333-4444-555555555555"}'
)
SHA256 = (
    "PlMztEe+WpC7suwv3aEmRg1H51gglgi5xjqhncwOYBG/EcaLVa15l4FWCjF8yyyKCbCfQNFqWo95IuIgZu2saarFNzDNLWjh25/20oL2rSHHcbe+Uj956tRQmVxP"
    "gsKQUQDgZn0WzznFH748msZuM9lLAE2xur/KffpGNBEYIHg="
)
SHA1 = (
    "FZ1DaOiKK7ra+5Cukh0+45EgqAQMgwWW0WGspzPdYO7ASMLEeAPut3QcLFDaz0YNVSDbw3REV0J4P8qKMQUqE9oe7VRzIYMK4c3WpeLbz8QnU2idRld/T/oskeos"
    "pO8YT1n7ZuNBDDo66zN2vmuY9KJnjLKJhm0PEQqOQLeJ9Zg="
)


def request(body: bytes = BODY, **signatures: str) -> WebhookRequest:
    names = {"sha256": SIGNATURE, "sha1": SIGNATURE_SHA1}
    return WebhookRequest(
        source="postal", body=body, headers={names[each].lower(): value for each, value in signatures.items()}
    )


def postal(*keys: str, **options: Any) -> Postal:
    return Postal("postal", keys or (KEY,), options)


async def test_the_known_signature_is_genuine() -> None:
    await postal().verify(request(sha256=SHA256))
    await postal().verify(request(sha256=SHA256, sha1="anything"))


async def test_the_older_signature_counts_only_where_its_user_allows_it() -> None:
    with pytest.raises(NotVerified, match="allow_sha1"):
        await postal().verify(request(sha1=SHA1))
    await postal(allow_sha1=True).verify(request(sha1=SHA1))


async def test_the_older_signature_does_not_stand_in_for_a_wrong_newer_one() -> None:
    with pytest.raises(NotVerified, match="of no key"):
        await postal(allow_sha1=True).verify(request(sha256=SHA1, sha1=SHA1))


@pytest.mark.parametrize("body", [BODY + b"\n", json.dumps(json.loads(BODY)).encode(), b""])
async def test_what_is_not_byte_for_byte_what_was_signed_is_refused(body: bytes) -> None:
    for signatures in ({"sha256": SHA256}, {"sha1": SHA1}):
        with pytest.raises(NotVerified, match="of no key"):
            await postal(allow_sha1=True).verify(request(body, **signatures))


def jwk(key: rsa.RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    as_text = {
        name: base64.urlsafe_b64encode(part.to_bytes((part.bit_length() + 7) // 8)) for name, part in parts.items()
    }
    return {
        "kty": "RSA",
        "use": "sig",
        "kid": "1",
        **{name: text.decode().rstrip("=") for name, text in as_text.items()},
    }


OTHER = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()


@pytest.mark.parametrize(
    "key",
    [
        f"v=DKIM1; t=s; h=sha256; p={KEY};",
        f"p={KEY}",
        f"{KEY[:60]}\n {KEY[60:]}\n",
        f"-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n",
        json.dumps(jwk(rsa_public_key(KEY))),
        json.dumps({"keys": [jwk(rsa_public_key(KEY))]}),
        json.dumps({"keys": [jwk(OTHER), jwk(rsa_public_key(KEY))]}),
    ],
    ids=["DKIM record", "its p=", "broken over lines", "PEM", "JWK", "set of one JWK", "set of several"],
)
async def test_the_key_may_be_written_in_many_ways(key: str) -> None:
    await postal(key).verify(request(sha256=SHA256))


CURVE = ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.mark.parametrize(
    "key",
    [
        "an-api-key",
        KEY[:40],
        "{",
        "{}",
        '{"keys": 5}',
        '{"n": [], "e": "AQAB"}',
        CURVE.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
    ],
)
def test_what_cannot_be_a_public_key_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        postal(key)


@pytest.mark.parametrize(
    ("output", "bounce_class"),
    [
        ("550 5.1.1 no such user", BounceClass.HARD),
        ("550-5.1.1 no such user", BounceClass.HARD),
        ("554 rejected", BounceClass.HARD),
        ("550 5.7.1 blocked", BounceClass.SOFT),
        ("552-5.2.2 mailbox full", BounceClass.SOFT),
        ("451 4.7.1 try again later", BounceClass.SOFT),
        ("", BounceClass.SOFT),
        (None, BounceClass.SOFT),
    ],
)
def test_a_failed_delivery_is_a_hard_bounce_where_the_answer_speaks_of_the_address(
    output: str | None, bounce_class: BounceClass
) -> None:
    payload = {"status": "HardFail", "output": output, "message": {"to": "ada@example.test"}}
    [event] = parsed(postal(), encode({"event": "MessageDeliveryFailed", "payload": payload})).events
    assert event.bounce_class == bounce_class


def id_of(*, message: dict[str, Any] | None = None, **other: Any) -> str:
    base = {"token": "a", "id": 1, "message_id": "m-1@example.com", "to": "ada@example.test"}
    payload = {"message": base | (message or {}), "url": "https://a", **other.pop("payload", {})}
    return (
        parsed(postal(), encode({"event": "MessageLinkClicked", "timestamp": 1.5, "payload": payload, **other}))
        .events[0]
        .id
    )


def test_an_event_is_itself_whatever_the_request_is_called() -> None:
    assert id_of() == id_of(uuid="another") == id_of(message={"to": "Ada <ADA@example.test>"})


@pytest.mark.parametrize(
    "other",
    [
        {"event": "MessageLoaded"},
        {"timestamp": 2.5},
        {"message": {"token": "b"}},
        {"message": {"to": "bob@example.test"}},
        {"payload": {"url": "https://b"}},
        {"payload": {"ip_address": "192.0.2.1"}},
    ],
)
def test_what_differs_is_another_event(other: dict[str, Any]) -> None:
    assert id_of(**other) != id_of()


def test_an_event_that_is_about_no_message_has_the_requests_id() -> None:
    bodies = [encode({"event": "SendLimitExceeded", "payload": {"server": {}}, "uuid": uuid}) for uuid in "ab"]
    assert len({parsed(postal(), body).events[0].id for body in bodies}) == 2


def test_a_public_key_cannot_sign() -> None:
    with pytest.raises(ValueError, match=r"."):
        postal().sign([{}], datetime.now(UTC))
