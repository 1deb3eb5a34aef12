"""Providers' own verifiers, from PyPI, and ours: each verifies what the other side signs, and refuses a changed body."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import lettermint.webhook
import mailgun.security
import mailtrap.webhooks
import pytest
import resend
import standardwebhooks
import svix
from cm_email_webhook_verification.signer import generate_signature
from cm_email_webhook_verification.validator import WebhookValidator
from cryptography.hazmat.primitives import serialization
from hubspot.utils.signature import Signature
from sendgrid.helpers.eventwebhook import EventWebhook

import providers
from providers.adapter import Adapter, NotVerified, WebhookRequest
from providers.signing import ecdsa_public_key
from tests.providers import payloads

Verifier = Callable[[WebhookRequest, str], object]


def by_sendgrid(request: WebhookRequest, key: str) -> object:
    der = ecdsa_public_key(key).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    prefix = "x-twilio-email-event-webhook"
    signature, timestamp = (request.headers[f"{prefix}-{name}"] for name in ("signature", "timestamp"))
    return EventWebhook(base64.b64encode(der).decode()).verify_signature(request.body.decode(), signature, timestamp)


def by_mailgun(request: WebhookRequest, key: str) -> object:
    proof = json.loads(request.body)["signature"]
    return mailgun.security.SecurityGuard.verify_webhook(key, proof["token"], proof["timestamp"], proof["signature"])


def by_svix(request: WebhookRequest, key: str) -> object:
    svix.Webhook(key).verify(request.body, dict(request.headers))
    return True


def by_standard_webhooks(request: WebhookRequest, key: str) -> object:
    return standardwebhooks.Webhook(key).verify(request.body, dict(request.headers))


def by_resend(request: WebhookRequest, key: str) -> object:
    identity, timestamp, signature = (request.headers[f"svix-{name}"] for name in ("id", "timestamp", "signature"))
    return resend.Webhooks.verify(
        {
            "payload": request.body.decode(),
            "headers": {"id": identity, "timestamp": timestamp, "signature": signature},
            "webhook_secret": key,
        }
    )


def by_mailtrap(request: WebhookRequest, key: str) -> object:
    return mailtrap.webhooks.verify_signature(request.body, request.headers["mailtrap-signature"], key)


def by_lettermint(request: WebhookRequest, key: str) -> object:
    return lettermint.webhook.Webhook(key).verify(request.body, dict(request.headers))


def by_hubspot(request: WebhookRequest, key: str) -> object:
    return Signature.is_valid(
        request.headers["x-hubspot-signature-v3"],
        key,
        request.body.decode(),
        payloads.new_adapter("hubspot").trial_options["url"],
        signature_version="v3",
        timestamp=request.headers["x-hubspot-request-timestamp"],
    )


# Mailgun's proof covers no body: nobody's verifier sees that one was changed.
VERIFIERS: Mapping[str, list[Verifier]] = {
    "sendgrid": [by_sendgrid],
    "mailgun": [by_mailgun],
    "resend": [by_resend, by_svix],
    "standard_webhooks": [by_standard_webhooks, by_svix],
    "loops": [by_standard_webhooks],
    "mailtrap": [by_mailtrap],
    "lettermint": [by_lettermint],
    "hubspot": [by_hubspot],
}
PAIRS = [
    pytest.param(name, each, id=f"{name} {each.__name__}") for name, several in VERIFIERS.items() for each in several
]


def signed(adapter: Adapter) -> list[WebhookRequest]:
    now = datetime.now(UTC)
    samples = [adapter.sample(event, "ada@example.test", now, n) for n, event in enumerate(adapter.samples)]
    return adapter.sign(samples, now)


@pytest.mark.parametrize(("name", "verifier"), PAIRS)
def test_theirs_accepts_what_our_signer_makes(name: str, verifier: Verifier) -> None:
    adapter = payloads.new_adapter(name)
    for request in signed(adapter):
        assert verifier(request, adapter.keys[0])


@pytest.mark.parametrize(("name", "verifier"), [pair for pair in PAIRS if pair.values[0] != "mailgun"])
async def test_both_refuse_a_changed_body(name: str, verifier: Verifier) -> None:
    adapter = payloads.new_adapter(name)
    for request in signed(adapter):
        changed = replace(request, body=request.body.replace(b"ada@", b"bda@"))
        with pytest.raises(NotVerified):
            await adapter.verify(changed)
        assert is_refused(verifier, changed, adapter.keys[0])


def is_refused(verifier: Verifier, request: WebhookRequest, key: str) -> bool:
    try:
        return not verifier(request, key)
    except Exception:  # noqa: BLE001 - each has errors of its own
        return True


@pytest.mark.parametrize("name", ["resend", "standard_webhooks", "loops"])
async def test_ours_accepts_what_svix_signs(name: str) -> None:
    adapter = payloads.new_adapter(name)
    now = datetime.now(UTC)
    for prefix in ("svix", "webhook"):
        headers = {
            f"{prefix}-id": "msg_1",
            f"{prefix}-timestamp": str(int(now.timestamp())),
            f"{prefix}-signature": svix.Webhook(adapter.keys[0]).sign("msg_1", now, '{"é": 1}'),
        }
        request = WebhookRequest(source=name, headers=headers, body='{"é": 1}'.encode(), received_at=now)
        assert await adapter.verify(request) is request


async def test_ours_and_cm_coms_agree() -> None:
    kind = providers.load("standard_webhooks")
    scheme = {"headers": ["svix"], "key": "text", "digest": "sha512", "timestamp": "milliseconds", "entry": ""}
    adapter = kind("cm", ["cm-secret-0001"], {"signature": scheme})
    theirs = WebhookValidator("cm-secret-0001")
    for request in signed(adapter):
        assert theirs.verify(request.body.decode(), dict(request.headers))
    now = datetime.now(UTC)
    timestamp = str(int(now.timestamp() * 1000))
    headers = {
        "svix-id": "msg_1",
        "svix-timestamp": timestamp,
        "svix-signature": generate_signature("cm-secret-0001", f'msg_1.{timestamp}.{{"a": 1}}'),
    }
    request = WebhookRequest(source="cm", headers=headers, body=b'{"a": 1}', received_at=now)
    assert await adapter.verify(request) is request


async def test_ours_accepts_what_hubspot_signs() -> None:
    adapter = payloads.new_adapter("hubspot")
    now = datetime.now(UTC)
    timestamp = str(int(now.timestamp() * 1000))
    signature = Signature.get_signature(
        adapter.keys[0], '[{"é": 1}]', "v3", adapter.trial_options["url"], "POST", timestamp
    )
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": timestamp}
    request = WebhookRequest(source="hubspot", headers=headers, body='[{"é": 1}]'.encode(), received_at=now)
    assert await adapter.verify(request) is request
