"""Scaleway: SNS's envelope, signed by a certificate that must lead to Scaleway's root."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from providers.adapter import Answer, NotVerified, ProofUnavailable, WebhookRequest
from providers.events import EventType
from providers.scaleway import ROOT, Scaleway
from providers.sns import signed_text
from tests.providers.certificates import World, certificate, new_key, pem
from tests.providers.payloads import parsed

TOPIC = "arn:scw:sns:fr-par:project-8c8bfa06-9d5f-4a3e-a6a5-1a4a4f2f0b7e:mail"
BUCKET = "https://messaging.s3.fr-par.scw.cloud/fr-par/sns"
CERTIFICATE_URL = f"{BUCKET}/sns_certificate_46a1b2c3.crt"
CHAIN_URL = f"{BUCKET}/sns-trust-chain.pem"
SUBSCRIBE_URL = f"https://sns.mnq.fr-par.scaleway.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=tok"
PUBLISHED = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

KEY, MIDDLE_KEY, ROOT_KEY, STRANGE_KEY = (new_key() for _ in range(4))
AS_ROOT, AS_MIDDLE, AS_STRANGER = ("MnQ Root", ROOT_KEY), ("MnQ", MIDDLE_KEY), ("MnQ Root", STRANGE_KEY)
TOP = certificate(ROOT_KEY.public_key(), "MnQ Root", AS_ROOT, is_authority=True)
MIDDLE = certificate(MIDDLE_KEY.public_key(), "MnQ", AS_ROOT, is_authority=True)
LEAF = certificate(KEY.public_key(), "sns", AS_MIDDLE)


class ScalewayOfOurs(Scaleway):
    root = TOP.fingerprint(hashes.SHA256()).hex()


def listening(leaf: bytes = pem(LEAF), chain: bytes = pem(TOP, MIDDLE), **pages: bytes) -> tuple[Scaleway, World]:
    adapter = ScalewayOfOurs("scaleway", [TOPIC])
    world = World({CERTIFICATE_URL: leaf, CHAIN_URL: chain, **pages})
    adapter.fetch = world.fetch
    return adapter, world


def message(kind: str = "Notification", *, by: rsa.RSAPrivateKey = KEY, **fields: Any) -> dict[str, Any]:
    found = {
        "Type": kind,
        "MessageId": "7f3a2c10-5b7e-5d0a-9f63-1c2d3e4f5a6b",
        "TopicArn": TOPIC,
        "Message": json.dumps({"id": "e-1", "type": "email_delivered", "email_to": "ada@example.test"}),
        "Timestamp": "2023-11-14T22:13:20Z",
        "SignatureVersion": "1",
        "SigningCertURL": CERTIFICATE_URL,
        **({} if kind == "Notification" else {"Token": "tok", "SubscribeURL": SUBSCRIBE_URL}),
        **fields,
    }
    signature = by.sign(signed_text(found), padding.PKCS1v15(), hashes.SHA1())
    return {**found, "Signature": base64.b64encode(signature).decode()}


def request(body: Any, at: datetime = PUBLISHED + timedelta(seconds=2), **query: str) -> WebhookRequest:
    return WebhookRequest(source="scaleway", body=json.dumps(body).encode(), received_at=at, query=query)


async def test_a_message_whose_certificate_leads_to_the_root_is_genuine() -> None:
    adapter, world = listening()
    for _ in range(2):
        verified = await adapter.verify(request(message()))
    assert [event.type for event in adapter.parse(verified).events] == [EventType.DELIVERED]
    assert world.asked == [CERTIFICATE_URL, CHAIN_URL]


async def test_the_root_may_sign_by_itself() -> None:
    adapter, _ = listening(pem(certificate(KEY.public_key(), "sns", AS_ROOT)), pem(TOP))
    assert await adapter.verify(request(message()))


@pytest.mark.parametrize(
    ("leaf", "chain"),
    [
        (certificate(KEY.public_key(), "MnQ", ("MnQ", KEY)), [TOP, MIDDLE]),
        (certificate(KEY.public_key(), "sns", AS_STRANGER), [TOP, MIDDLE]),
        (
            certificate(KEY.public_key(), "sns", AS_STRANGER),
            [certificate(STRANGE_KEY.public_key(), "MnQ Root", AS_STRANGER, is_authority=True), TOP, MIDDLE],
        ),
        (LEAF, [TOP]),
        (LEAF, [MIDDLE]),
        (LEAF, [TOP, certificate(MIDDLE_KEY.public_key(), "MnQ", AS_ROOT)]),
        (
            LEAF,
            [TOP, certificate(MIDDLE_KEY.public_key(), "MnQ", AS_ROOT, until=PUBLISHED, is_authority=True)],
        ),
    ],
    ids=[
        "signed by itself",
        "a stranger of the root's name",
        "a stranger in the chain",
        "the middle is missing",
        "the root is missing",
        "the middle is no authority",
        "the middle has expired",
    ],
)
async def test_a_certificate_that_does_not_lead_to_the_root_is_refused(leaf: Any, chain: list[Any]) -> None:
    adapter, _ = listening(pem(leaf), pem(*chain))
    with pytest.raises(NotVerified, match="root certificate"):
        await adapter.verify(request(message()))


async def test_scaleways_root_is_not_ours() -> None:
    assert Scaleway.root == ROOT
    adapter, world = Scaleway("scaleway", [TOPIC]), World({CERTIFICATE_URL: pem(LEAF), CHAIN_URL: pem(TOP, MIDDLE)})
    adapter.fetch = world.fetch
    with pytest.raises(NotVerified, match="root certificate"):
        await adapter.verify(request(message()))


async def test_a_chain_that_cannot_be_had_is_our_trouble() -> None:
    adapter, world = listening(chain=b"<html>busy</html>")
    with pytest.raises(ProofUnavailable, match="holds no certificates"):
        await adapter.verify(request(message()))
    world.pages = {CERTIFICATE_URL: pem(LEAF)}
    with pytest.raises(ProofUnavailable, match="404"):
        await adapter.verify(request(message()))


@pytest.mark.parametrize(
    "url",
    [
        "https://attacker.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud.evil.test/fr-par/sns/sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud@evil.test/fr-par/sns/sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud:443/fr-par/sns/sns_certificate_1.crt",
        "http://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud/nl-ams/sns/sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/../sns_certificate_1.crt",
        "https://messaging.s3.fr-par.scw.cloud/fr-par/sns/sns_certificate_1.crt?x=1",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
    ],
)
async def test_a_certificate_from_anywhere_else_is_never_asked_for(url: str) -> None:
    adapter, world = listening(**{url: pem(LEAF)})
    with pytest.raises(NotVerified, match="SigningCertURL"):
        await adapter.verify(request(message(SigningCertURL=url)))
    assert world.asked == []


async def test_a_topic_of_somebody_else_is_refused() -> None:
    adapter, world = listening()
    with pytest.raises(NotVerified, match="no key of this source"):
        await adapter.verify(request(message(TopicArn="arn:scw:sns:fr-par:project-x:mail")))
    assert world.asked == []


async def test_a_subscription_to_our_topic_is_confirmed_at_scaleway_and_nowhere_else() -> None:
    adapter, world = listening(**{SUBSCRIBE_URL: b""})
    body = message("SubscriptionConfirmation")
    assert await adapter.handshake(await adapter.verify(request(body))) == Answer(b'{"subscription": "confirmed"}')
    assert world.asked[-1] == SUBSCRIBE_URL
    for host in ("sns.us-east-1.amazonaws.com", "sns.mnq.nl-ams.scaleway.com", "evil.test"):
        url = SUBSCRIBE_URL.replace("sns.mnq.fr-par.scaleway.com", host)
        verified = await adapter.verify(request(message("SubscriptionConfirmation", SubscribeURL=url)))
        with pytest.raises(NotVerified, match="SubscribeURL"):
            await adapter.handshake(verified)
    assert world.asked[-1] == SUBSCRIBE_URL


async def test_a_credential_in_the_address_does_instead_of_the_signature_but_confirms_nothing() -> None:
    adapter, world = Scaleway("scaleway", ["a-long-secret"]), World({})
    adapter.fetch = world.fetch
    assert await adapter.verify(request(message(by=STRANGE_KEY), key="a-long-secret"))
    answer = await adapter.handshake(
        await adapter.verify(request(message("SubscriptionConfirmation"), key="a-long-secret"))
    )
    assert answer is not None
    assert json.loads(answer.body)["subscription"] == "not confirmed"
    with pytest.raises(NotVerified):
        await adapter.verify(request(message(), key="another"))
    assert world.asked == []


@pytest.mark.parametrize(
    "key",
    ["arn:aws:sns:us-east-1:123456789012:mail", "arn:scw:sqs:fr-par:project-x:mail", f"{TOPIC}:sub", f"{TOPIC}\nx"],
)
def test_what_cannot_be_a_topic_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Scaleway("scaleway", [key])


EVENT = {
    "id": "e-1",
    "type": "email_dropped",
    "email_id": "m-1",
    "email_to": "ada@example.test",
    "created_at": "2023-11-14T22:13:20Z",
}


def test_a_repeat_has_the_same_id_and_another_event_another() -> None:
    others: list[dict[str, Any]] = [
        {"id": "e-2"},
        {"type": "email_deferred"},
        {"email_to": "bob@example.test"},
        {"created_at": "2023-11-14T22:13:21Z"},
    ]
    same: list[dict[str, Any]] = [{}, {"email_to": "ADA@example.test"}, {"email_try_count": 2}]

    def ids(changes: list[dict[str, Any]]) -> set[str]:
        return {parsed(listening()[0], json.dumps(EVENT | change).encode()).events[0].id for change in changes}

    assert len(ids(same)) == 1
    assert len(ids([{}, *others])) == 5
