"""Scaleway Transactional Email: one event a message of Topics and Events, whose envelope and signature are SNS's."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from providers.adapter import Fetch, NotVerified, ProofUnavailable
from providers.decoding import Shape, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.sns import SnsAdapter, Topic

# "Scaleway MnQ Root", valid until June 2032: SHA-256 of the certificate to which every signing certificate leads.
ROOT = "c5a0145efb57916c07f9af3e3f311215062c0562c2d56d7ff3c57da9fb52e4d5"

ARN = re.compile(r"arn:scw:sns:([a-z]{2}-[a-z]{3}):[A-Za-z0-9-]+:[A-Za-z0-9_-]+(?:\.fifo)?")

TYPES: dict[str, tuple[EventType, BounceClass | None]] = {
    "email_queued": (EventType.ACCEPTED, None),
    "email_delivered": (EventType.DELIVERED, None),
    "email_deferred": (EventType.DEFERRED, None),
    "email_dropped": (EventType.BOUNCED, BounceClass.HARD),
    "email_mailbox_not_found": (EventType.BOUNCED, BounceClass.HARD),
    # A filter's verdict when the mail was handed over, not a recipient's complaint.
    "email_spam": (EventType.BOUNCED, BounceClass.SOFT),
    "email_blocklisted": (EventType.DROPPED, None),
}


class Payload(Shape):
    """What we read, under Scaleway's own names; the rest stays in the item's payload."""

    type: str
    id: str | None = None
    created_at: Any = None
    email_id: str | None = None
    email_to: str | None = None
    email_response_message: str | None = None
    email_error: str | None = None
    blocklist_reason: str | None = None


class Scaleway(SnsAdapter):
    name = "scaleway"
    key = (
        "the ARN of the topic that the webhook publishes to (arn:scw:sns:fr-par:project-…:name);"
        " or a credential that the subscription's address has: user:password, or a long secret"
    )
    trial_arn = "arn:scw:sns:fr-par:project-00000000-0000-0000-0000-000000000000:sample"
    samples = {
        "email_delivered": {"email_response_code": 250, "email_response_message": "OK"},
        "email_queued": {},
        "email_deferred": {"email_try_count": 1, "email_response_code": 451, "email_response_message": "try again"},
        "email_dropped": {"email_response_code": 554, "email_response_message": "refused"},
        "email_mailbox_not_found": {"email_response_code": 550, "email_response_message": "no such user"},
        "email_spam": {"email_response_code": 554, "email_response_message": "looks like spam"},
        "email_blocklisted": {"blocklist_type": "mailbox_not_found", "blocklist_reason": "no such user"},
    }

    root = ROOT

    def topic(self, arn: str) -> Topic:
        match = ARN.fullmatch(arn)
        if not match:
            raise ValueError("it is not like arn:scw:sns:fr-par:project-…:name")
        region = match[1]
        where = rf"https://messaging\.s3\.(?:fr-par|{region})\.scw\.cloud/{region}/sns/[A-Za-z0-9_:-]+\.(?:crt|pem)"
        chain = f"https://messaging.s3.fr-par.scw.cloud/{region}/sns/sns-trust-chain.pem"

        async def check(certificate: x509.Certificate, fetch: Fetch, at: datetime) -> None:
            if not leads_to(self.root, certificate, authorities_in(await fetch(chain), chain), at):
                raise NotVerified("the signing certificate does not lead to Scaleway's root certificate")

        return Topic(arn, re.compile(where), check, f"https://sns.mnq.{region}.scaleway.com/")

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind, bounce_class = TYPES.get(payload.type, (EventType.UNKNOWN, None))
        email_address = address(payload.email_to)
        return [
            Event(
                item=item,
                natural_key=(
                    payload.id,
                    payload.type,
                    payload.email_id,
                    folded(email_address),
                    str(payload.created_at),
                ),
                type=kind,
                at=moment(payload.created_at),
                email_address=email_address,
                message_id=payload.email_id,
                provider_event_id=payload.id,
                bounce_class=bounce_class,
                reason=payload.email_response_message or payload.email_error or payload.blocklist_reason,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "id": f"sample-{number}",
            "type": event,
            "domain_name": "example.com",
            "created_at": iso(at),
            "email_id": f"sample-mail-{number}",
            "email_from": "shop@example.com",
            "email_to": email_address,
            "email_headers": [{"key": "Message-Id", "value": f"<sample-{number}@example.com>"}],
            **self.samples[event],
        }


def authorities_in(raw: bytes, url: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(raw)
    except ValueError as error:
        raise ProofUnavailable(f"{url} holds no certificates: {error}") from error


def leads_to(root: str, certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime) -> bool:
    """Whether each is issued by the next, from this certificate to the one whose SHA-256 is `root`."""
    for _ in authorities:
        issuer = next((each for each in authorities if is_issued_by(certificate, each, at)), None)
        if issuer is None:
            return False
        if issuer.fingerprint(hashes.SHA256()).hex() == root:
            return True
        certificate = issuer
    return False


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate, at: datetime) -> bool:
    if not authority.not_valid_before_utc <= at <= authority.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(authority)
        return authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        return False
