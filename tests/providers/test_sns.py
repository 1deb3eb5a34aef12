"""SNS's envelope: what proves it, what does not, and what is fetched on whose word."""

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from providers.adapter import Answer, NotVerified, ProofUnavailable, Verified, WebhookRequest
from providers.decoding import encode
from providers.events import EventType
from providers.ses import SES
from providers.sns import MAX_CERTIFICATES, MAX_FETCHES, certificate_in, signed_text
from tests.providers.certificates import World, certificate, new_key, pem
from tests.providers.payloads import parsed

KEY = new_key()
ISSUER = ("somebody", KEY)

TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
HOST = "https://sns.us-east-1.amazonaws.com"
CERTIFICATE_URL = f"{HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
SUBSCRIBE_URL = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=tok-123"
PUBLISHED = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
COMPLAINT = {
    "eventType": "Complaint",
    "mail": {"messageId": "m-1", "destination": ["ada@example.test"]},
    "complaint": {
        "timestamp": "2023-11-14T22:13:20.000Z",
        "complainedRecipients": [{"emailAddress": "ada@example.test"}],
    },
}

# Known answers: signed by others, with a key of which only this half is known.
KNOWN_KEY = """-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAwKFF/KiuldIDIVC1LI3KvaNv9QnqsKYgY1VHaw7CUXmFNSisq9qVuyBgd/2Bg2E7aEulbI03/tvJv8ioFIFP
37NHJ3TSwGPuvD80jhQB4/SMmQePbtcbNCBz4C25XOXXW12gqOfJUZDmeJ/TZIojx9J9LR6wgJzbXJ8ub2YL2Ho/HdMz8eIzOXRlYrJhHRWjgfjLMxxD5qmMuGYP1HkY
KvQCiUe2PKQaPTPT4mw370p60Zow5NCl1vpklhwVmp/a2mHUNse1rQONVkvB4TfAu2FqZPRyIhxAngP1PzcmfyyZVnt2XRWGgY/pe5SlXLhXLTdQNz+V2Uu9MeJSE5638wIDAQAB
-----END PUBLIC KEY-----
"""
NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "11111111-2222-3333-4444-555555555555",
    "TopicArn": TOPIC,
    "Message": '{"eventType":"Send","mail":{"messageId":"m-1"}}\nline2 \u00e9',
    "Timestamp": "2023-11-14T22:13:20.000Z",
    "SignatureVersion": "2",
    "Signature": "JdOxX2g8AMWCAQfe+3xyAttt/dt0FudB6TlEz9Cqs2yHnTDOi23gY5cLr3fnetyywWaYCjRZnpsgufvKO5iXE3Hup8aujtA/u8685LgXF7RNhgDU/gokQc6g5eV3mm710xwB63dyXVUROiwoM13TPx9TeGkwq9kbKnRJOnIwMUDG18MN0QNBEF/NmdeQfNsWwGL2TUn6lujYBpENneAwMwvQDc61tpFIjnE7gtbJcDrAGM0JKfXHBNowHggtsueP75/6TxpOVTA/U4zLUN5KR56toueLrydaZrVYayfXr6dTWhwhTAuNYKzHKsMAG3nnK+tARHDdGKDUuJfj8nf3xA==",
    "SigningCertURL": CERTIFICATE_URL,
}
CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "11111111-2222-3333-4444-666666666666",
    "TopicArn": TOPIC,
    "Message": "Confirm",
    "Token": "tok-123",
    "SubscribeURL": SUBSCRIBE_URL,
    "Timestamp": "2023-11-14T22:13:20.000Z",
    "SignatureVersion": "1",
    "Signature": "kDMI0qCng7J4UDxwrz5PR7t09EN4Y78jf2XUUgq48ughFf+I7cQAh5IdCjsB0AknnC1dfnLoRvutlx7AcCf/pwByWcMmHnft/rWLl4HwkCamfkqZCPpkYOCWlMba2PppE6ciiQBz8c4F+VVbxPFBH8YsAPXzBzz+UN5YA62mO+riLV/c77KYi2yV4MbextVfsjs0clYAjnhNWlBI2vK2ZWbRu7tML3Z+qX4/XwDjQAZtcVOsvIe9YADTDaU/KdNos5T5Qf1oMyMDUCS/RwFanNw8POe6OmDMEJhAYKs74vnYvFk5tyHvZvSTSHOh/mPD7VAs0x0rLaEub0zEJz/oVg==",
    "SigningCertURL": CERTIFICATE_URL,
}


def issued(name: str = "sns.amazonaws.com", **more: Any) -> bytes:
    return pem(certificate(KEY.public_key(), name, ISSUER, **more))


def known_certificate() -> bytes:
    key = serialization.load_pem_public_key(KNOWN_KEY.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    return pem(certificate(key, "sns.amazonaws.com", ISSUER))


def listening(*keys: str, world: World | None = None, **options: Any) -> tuple[SES, World]:
    adapter = SES("ses", keys or [TOPIC], options)
    world = world or World({CERTIFICATE_URL: issued(), SUBSCRIBE_URL: b"<ConfirmSubscriptionResponse/>"})
    adapter.fetch = world.fetch
    return adapter, world


def message(kind: str = "Notification", *, by: rsa.RSAPrivateKey = KEY, **fields: Any) -> dict[str, Any]:
    """Signed as SNS would, whatever its fields are."""
    found: dict[str, Any] = {
        "Type": kind,
        "MessageId": "7f3a2c10-5b7e-5d0a-9f63-1c2d3e4f5a6b",
        "TopicArn": TOPIC,
        "Message": encode(COMPLAINT).decode(),
        "Timestamp": "2023-11-14T22:13:20.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
        **({} if kind == "Notification" else {"Token": "tok-123", "SubscribeURL": SUBSCRIBE_URL}),
        **fields,
    }
    algorithm = hashes.SHA1() if found["SignatureVersion"] == "1" else hashes.SHA256()
    found["Signature"] = base64.b64encode(by.sign(signed_text(found), padding.PKCS1v15(), algorithm)).decode()
    return found


def request(body: Any, at: datetime = PUBLISHED + timedelta(seconds=2), **more: Any) -> WebhookRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return WebhookRequest(source="ses", body=raw, received_at=at, **more)


async def handshake(adapter: SES, body: Any) -> Answer | None:
    return await adapter.handshake(await adapter.verify(request(body)))


@pytest.mark.parametrize(
    ("fields", "length", "sha256"),
    [
        (NOTIFICATION, 220, "65fcb6b8176d65257c42052816caf2349f33b312b3d6999ef5548b3c2d8d8f21"),
        (
            NOTIFICATION | {"Subject": "Amazon SES Email Event Notification"},
            264,
            "76bbc7f3c59cc96ed21f60fa8a58fbb3e981942d9f3eb70cff91da70a164b18d",
        ),
        (NOTIFICATION | {"Subject": None}, 220, "65fcb6b8176d65257c42052816caf2349f33b312b3d6999ef5548b3c2d8d8f21"),
        (CONFIRMATION, 343, "0da44db77fb558f5e0ee66b6d9adb470b0417b10b64329a5bcd841ec8dd09a76"),
        (
            CONFIRMATION | {"Type": "UnsubscribeConfirmation"},
            342,
            "552a6f338353d9b62086e2c5b8c018ff4966362b27de639d1659130616c9fc5a",
        ),
    ],
)
def test_the_text_that_is_signed_is_known(fields: dict[str, Any], length: int, sha256: str) -> None:
    text = signed_text(fields)
    assert (len(text), hashlib.sha256(text).hexdigest()) == (length, sha256)


async def test_the_known_signatures_of_both_versions_are_genuine() -> None:
    adapter, world = listening(world=World({CERTIFICATE_URL: known_certificate(), SUBSCRIBE_URL: b""}))
    assert await adapter.verify(request(NOTIFICATION))
    assert await handshake(adapter, CONFIRMATION) == Answer(b'{"subscription": "confirmed"}')
    assert world.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]


async def test_a_known_signature_is_of_no_other_message_and_no_other_version() -> None:
    adapter, _ = listening(world=World({CERTIFICATE_URL: known_certificate()}))
    for changed in ({"Message": "x"}, {"MessageId": "x"}, {"Subject": "x"}, {"SignatureVersion": "1"}):
        with pytest.raises(NotVerified, match="of no key"):
            await adapter.verify(request(NOTIFICATION | changed))


@pytest.mark.parametrize("version", ["1", "2"])
async def test_what_sns_signed_is_read(version: str) -> None:
    adapter, _ = listening()
    verified = await adapter.verify(request(message(SignatureVersion=version, Subject="Amazon SES")))
    assert [event.type for event in adapter.parse(verified).events] == [EventType.COMPLAINED]


async def test_neither_content_type_nor_headers_of_sns_are_needed_but_they_may_not_contradict() -> None:
    adapter, _ = listening()
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "Notification"}
    assert await adapter.verify(request(message(), headers=headers))
    with pytest.raises(NotVerified, match="x-amz-sns-message-type"):
        await adapter.verify(request(message(), headers={"x-amz-sns-message-type": "SubscriptionConfirmation"}))


async def test_a_lambda_functions_spelling_of_the_certificates_address_is_understood() -> None:
    adapter, _ = listening()
    body = message(Subject=None)
    body["SigningCertUrl"] = body.pop("SigningCertURL")
    assert await adapter.verify(request(body))


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"Signature": None}, "not base64|of no key"),
        ({"Signature": "%%%"}, "not base64"),
        ({"Signature": ["a"]}, "not base64"),
        ({"Signature": ""}, "of no key"),
        ({"SignatureVersion": "3"}, "neither 1 nor 2"),
        ({"SignatureVersion": ["2"]}, "neither 1 nor 2"),
        ({"Type": "MadeUp"}, "no message of type"),
        ({"Message": None}, "has no Message"),
        ({"Timestamp": 1700000000}, "has no Timestamp"),
        ({"SigningCertURL": None}, "SigningCertURL"),
        ({"Message": "\ud800"}, "of no key"),
    ],
)
async def test_a_message_that_is_not_whole_is_refused(changed: dict[str, Any], refusal: str) -> None:
    adapter, _ = listening()
    with pytest.raises(NotVerified, match=refusal):
        await adapter.verify(request(message() | changed))


@pytest.mark.parametrize("name", ["TopicArn", "Type", "SigningCertURL", "Signature", "SignatureVersion", "Token"])
async def test_a_refusal_can_be_told_whatever_was_sent(name: str) -> None:
    adapter, _ = listening()
    body = request(message("SubscriptionConfirmation") | {name: "\ud800\0" * 1000})
    with pytest.raises(NotVerified) as refusal:
        await adapter.verify(body)
    assert len(encode(str(refusal.value))) < 2500
    answer = await adapter.handshake(body)
    assert answer is None or json.loads(answer.body)["subscription"] == "not confirmed"


async def test_what_stands_in_for_a_letter_that_cannot_be_stored_is_no_such_letter() -> None:
    adapter, _ = listening()
    body = json.dumps(message(Message="what? \0")).encode()
    assert await adapter.verify(request(body))
    for other in (b"\\ud800", b"\\ufffd"):
        with pytest.raises(NotVerified, match="of no key"):
            await adapter.verify(request(body.replace(b"?", other)))


STRANGE_CERTIFICATES = [
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com.evil.test/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com@evil.test/SimpleNotificationService-0123456789abcdef.pem",
    "https://user@sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com:443/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com.cn/SimpleNotificationService-0123456789abcdef.pem",
    "https://SNS.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "HTTPS://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789ABCDEF.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem?x=1",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem#.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem\n",
    "https://sns.us-east-1.amazonaws.com/../SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com/evil/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com//SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-../x.pem",
    "https://sns.us-east-1.amazonaws.com\\@evil.test/SimpleNotificationService-0123456789abcdef.pem",
    "https://snsxus-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
    "https://s3.amazonaws.com/sns/SimpleNotificationService-0123456789abcdef.pem",
    "file:///SimpleNotificationService-0123456789abcdef.pem",
    "https://169.254.169.254/SimpleNotificationService-0123456789abcdef.pem",
    "",
]


@pytest.mark.parametrize("url", STRANGE_CERTIFICATES)
async def test_a_certificate_from_anywhere_else_is_never_asked_for(url: str) -> None:
    adapter, world = listening(world=World({url: issued()}))
    with pytest.raises(NotVerified, match="SigningCertURL"):
        await adapter.verify(request(message(SigningCertURL=url)))
    assert world.asked == []


@pytest.mark.parametrize(
    ("arn", "host"),
    [
        ("arn:aws:sns:ap-southeast-7:123456789012:t", "sns.ap-southeast-7.amazonaws.com"),
        ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:t", "sns.us-gov-west-1.amazonaws.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:t.fifo", "sns.cn-north-1.amazonaws.com.cn"),
        ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:t", "sns.eusc-de-east-1.amazonaws.eu"),
    ],
)
async def test_each_partition_has_its_host(arn: str, host: str) -> None:
    url = f"https://{host}/SimpleNotificationService-0a.pem"
    adapter, world = listening(arn, world=World({url: issued()}))
    assert await adapter.verify(request(message(TopicArn=arn, SigningCertURL=url)))
    assert world.asked == [url]


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sns:us-east-1:210987654321:ses-events",
        "arn:aws:sns:eu-west-1:123456789012:ses-events",
        "arn:aws:sns:us-east-1:123456789012:ses-events-2",
        "arn:aws:sns:us-east-1:123456789012:SES-events",
    ],
)
async def test_a_topic_of_somebody_else_is_refused_though_sns_has_signed(arn: str) -> None:
    adapter, world = listening()
    for kind in ("Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"):
        with pytest.raises(NotVerified, match="no key of this source"):
            await adapter.verify(request(message(kind, TopicArn=arn)))
    assert world.asked == []


async def test_one_of_several_topics_is_enough() -> None:
    adapter, _ = listening("arn:aws:sns:eu-west-1:123456789012:other", TOPIC)
    assert await adapter.verify(request(message()))


@pytest.mark.parametrize("name", ["sns.us-east-1.amazonaws.com", "sns-signing.us-east-1.amazonaws.com"])
@pytest.mark.parametrize("is_subject", [True, False])
async def test_a_certificate_may_have_the_names_of_younger_regions(name: str, *, is_subject: bool) -> None:
    found = issued(name) if is_subject else issued("somebody", others=[name])
    adapter, _ = listening(world=World({CERTIFICATE_URL: found}))
    assert await adapter.verify(request(message()))


@pytest.mark.parametrize(
    ("found", "refusal"),
    [
        (issued("evil.test"), "not issued to SNS"),
        (issued("sns.amazonaws.com.evil.test"), "not issued to SNS"),
        (issued("sns-signing.eu-west-1.amazonaws.com"), "not issued to SNS"),
        (issued("evil.test", others=["*.amazonaws.com", "sns.eu-west-1.amazonaws.com"]), "not issued to SNS"),
        (issued(until=PUBLISHED), "valid from"),
        (issued(since=PUBLISHED + timedelta(minutes=1)), "valid from"),
        (
            pem(certificate(ec.generate_private_key(ec.SECP256R1()).public_key(), "sns.amazonaws.com", ISSUER)),
            "no RSA key",
        ),
        (pem(certificate(new_key().public_key(), "sns.amazonaws.com", ISSUER)), "of no key"),
    ],
    ids=["another", "longer", "another region", "other names", "expired", "not yet", "EC", "another key"],
)
async def test_a_certificate_that_proves_nothing_is_refused(found: bytes, refusal: str) -> None:
    adapter, _ = listening(world=World({CERTIFICATE_URL: found}))
    with pytest.raises(NotVerified, match=refusal):
        await adapter.verify(request(message()))


async def test_a_certificate_is_fetched_once_and_kept_until_it_expires() -> None:
    until = PUBLISHED + timedelta(hours=1)
    adapter, world = listening(world=World({CERTIFICATE_URL: issued(until=until)}))
    for _ in range(3):
        await adapter.verify(request(message()))
    assert world.asked == [CERTIFICATE_URL]
    with pytest.raises(NotVerified, match="valid from"):
        await adapter.verify(request(message(), until + timedelta(seconds=1)))
    world.pages = {CERTIFICATE_URL: issued()}
    await adapter.verify(request(message(), until + timedelta(seconds=1)))
    assert world.asked == [CERTIFICATE_URL] * 3


async def test_a_certificate_that_cannot_be_had_is_our_trouble_and_asked_for_again() -> None:
    adapter, world = listening(world=World({}))
    for pages in ({}, {CERTIFICATE_URL: b""}, {CERTIFICATE_URL: b"<html>busy</html>"}):
        world.pages = pages
        with pytest.raises(ProofUnavailable):
            await adapter.verify(request(message()))
    world.pages = {CERTIFICATE_URL: issued()}
    await adapter.verify(request(message()))
    assert len(world.asked) == 4


async def test_requests_that_come_together_fetch_a_certificate_once_even_if_the_first_hangs_up() -> None:
    adapter, world = listening()
    may_answer = asyncio.Event()

    async def slowly(url: str) -> bytes:
        await may_answer.wait()
        return await world.fetch(url)

    adapter.fetch = slowly
    tasks = [asyncio.create_task(adapter.verify(request(message()))) for _ in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    may_answer.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert len(found[1:]) == 4
    assert not any(isinstance(each, BaseException) for each in found[1:])
    assert world.asked == [CERTIFICATE_URL]


async def test_strangers_cannot_have_more_than_a_few_certificates_fetched_at_once() -> None:
    adapter, _ = listening()
    may_answer = asyncio.Event()
    asked: list[str] = []

    async def slowly(url: str) -> bytes:
        asked.append(url)
        await may_answer.wait()
        raise ProofUnavailable("404")

    adapter.fetch = slowly
    bodies = [message(SigningCertURL=f"{HOST}/SimpleNotificationService-{number:x}.pem") for number in range(50)]
    tasks = [asyncio.create_task(adapter.verify(request(body))) for body in bodies]
    await asyncio.sleep(0.01)
    may_answer.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(each) for each in found} == {ProofUnavailable}
    assert len(asked) == MAX_FETCHES


async def test_no_more_than_a_few_certificates_are_kept() -> None:
    urls = [f"{HOST}/SimpleNotificationService-{number:x}.pem" for number in range(MAX_CERTIFICATES + 4)]
    adapter, world = listening(world=World(dict.fromkeys(urls, issued())))
    for url in urls + urls[-MAX_CERTIFICATES:]:
        await adapter.verify(request(message(SigningCertURL=url)))
    assert world.asked == urls


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(hours=25), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_message_has_its_time(age: timedelta, refusal: str) -> None:
    adapter, _ = listening()
    with pytest.raises(NotVerified, match=refusal):
        await adapter.verify(request(message(), PUBLISHED + age))


async def test_a_retry_of_the_last_hour_is_taken_and_so_is_what_was_held_back_for_longer() -> None:
    adapter, _ = listening()
    for age in (timedelta(hours=1, minutes=5), timedelta(hours=23)):
        await adapter.verify(request(message(), PUBLISHED + age))


async def test_version_1_can_be_refused() -> None:
    adapter, _ = listening(sha1=False)
    assert await adapter.verify(request(message(SignatureVersion="2")))
    with pytest.raises(NotVerified, match="SignatureVersion 1"):
        await adapter.verify(request(message(SignatureVersion="1")))


async def test_a_subscription_to_our_topic_is_confirmed() -> None:
    adapter, world = listening()
    assert await handshake(adapter, message("SubscriptionConfirmation")) == Answer(b'{"subscription": "confirmed"}')
    assert world.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]


async def test_a_confirmation_that_fails_is_our_trouble() -> None:
    adapter, _ = listening(world=World({CERTIFICATE_URL: issued()}))
    with pytest.raises(ProofUnavailable, match="404"):
        await handshake(adapter, message("SubscriptionConfirmation"))


CONFIRM = "Action=ConfirmSubscription"
ARN = f"TopicArn={TOPIC}"
TOKEN = "Token=tok-123"


@pytest.mark.parametrize(
    "url",
    [
        f"http://sns.us-east-1.amazonaws.com/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://sns.eu-west-1.amazonaws.com/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://sns.us-east-1.amazonaws.com.evil.test/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://sns.us-east-1.amazonaws.com@evil.test/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://sns.us-east-1.amazonaws.com:443/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://SNS.US-EAST-1.amazonaws.com/?{CONFIRM}&{ARN}&{TOKEN}",
        f"https://evil.test/?https://sns.us-east-1.amazonaws.com/?{CONFIRM}&{ARN}&{TOKEN}",
        f"{HOST}?{CONFIRM}&{ARN}&{TOKEN}",
        f"{HOST}/../?{CONFIRM}&{ARN}&{TOKEN}",
        f"{HOST}//?{CONFIRM}&{ARN}&{TOKEN}",
        f"{HOST}/?Action=DeleteTopic&{ARN}&{TOKEN}",
        f"{HOST}/?Action=confirmsubscription&{ARN}&{TOKEN}",
        f"{HOST}/?{CONFIRM}&Action=DeleteTopic&{ARN}&{TOKEN}",
        f"{HOST}/?Action=DeleteTopic&{CONFIRM}&{ARN}&{TOKEN}",
        f"{HOST}/?{CONFIRM}&{ARN}&{ARN}&{TOKEN}",
        f"{HOST}/?{CONFIRM}&{ARN}&{TOKEN}&{TOKEN}",
        f"{HOST}/?{CONFIRM}&{ARN}&Token=another",
        f"{HOST}/?{CONFIRM}&{ARN}",
        f"{HOST}/?{CONFIRM}&TopicArn=arn:aws:sns:us-east-1:210987654321:theirs&{TOKEN}",
        f"{HOST}/?{CONFIRM}&{ARN}&{TOKEN}&Endpoint=https://evil.test",
        f"{HOST}/?{CONFIRM}&{ARN}&{TOKEN}#x",
        f"{HOST}/?{CONFIRM}&{ARN}&{TOKEN}\r\nHost: evil.test",
        "",
    ],
)
async def test_an_address_that_does_anything_else_is_not_visited_though_sns_has_signed_it(url: str) -> None:
    adapter, world = listening(world=World({CERTIFICATE_URL: issued(), url: b""}))
    with pytest.raises(NotVerified, match="SubscribeURL"):
        await handshake(adapter, message("SubscriptionConfirmation", SubscribeURL=url))
    assert world.asked == [CERTIFICATE_URL]


async def test_the_end_of_a_subscription_is_not_undone() -> None:
    adapter, world = listening()
    assert await handshake(adapter, message("UnsubscribeConfirmation")) == Answer(b'{"subscription": "ended"}')
    assert world.asked == [CERTIFICATE_URL]


@pytest.mark.parametrize("keys", [[], ["a-long-secret"], ["arn:aws:sns:us-east-1:123456789012:another"]])
async def test_where_nothing_is_verified_a_topic_that_is_not_ours_is_not_confirmed(keys: list[str]) -> None:
    adapter, world = SES("ses", keys), World({})
    adapter.fetch = world.fetch
    answer = await adapter.handshake(Verified(request(message("SubscriptionConfirmation"))))
    assert answer is not None
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "subscription": "not confirmed",
        "detail": f"the TopicArn '{TOPIC}' is no key of this source",
    }
    assert world.asked == []


async def test_where_nothing_is_verified_a_forged_confirmation_of_our_own_topic_is_not_followed() -> None:
    adapter, world = listening()
    answer = await adapter.handshake(Verified(request(message("SubscriptionConfirmation", by=new_key()))))
    assert answer is not None
    assert json.loads(answer.body)["subscription"] == "not confirmed"
    assert world.asked == [CERTIFICATE_URL]


async def test_a_look_from_outside_asks_nothing() -> None:
    adapter, world = listening()
    assert await adapter.handshake(request(b"", method="GET")) is None
    assert world.asked == []


BARE = encode(COMPLAINT)


async def test_raw_delivery_is_refused_unless_a_credential_proves_it() -> None:
    adapter, _ = listening()
    raw = request(BARE, headers={"x-amz-sns-rawdelivery": "true", "x-amz-sns-topic-arn": TOPIC})
    with pytest.raises(NotVerified, match="takes a credential"):
        await adapter.verify(raw)
    adapter, _ = listening(TOPIC, "a-long-secret", "hook:pass:word")
    proofs: list[dict[str, Any]] = [
        {"query": {"key": "a-long-secret"}},
        {"headers": {"authorization": "Bearer a-long-secret"}},
        {"headers": {"authorization": f"Basic {base64.b64encode(b'hook:pass:word').decode()}"}},
    ]
    for proof in proofs:
        assert await adapter.verify(request(BARE, **proof))
    proofs = [{}, {"query": {"key": "another"}}, {"query": {"key": TOPIC}}, {"headers": {"authorization": "x"}}]
    for proof in proofs:
        with pytest.raises(NotVerified, match="takes a credential"):
            await adapter.verify(request(BARE, **proof))


async def test_a_credential_may_come_in_a_header_of_its_own() -> None:
    adapter, _ = listening("a-long-secret", header="X-Webhook-Secret")
    assert await adapter.verify(request(BARE, headers={"x-webhook-secret": "a-long-secret"}))
    with pytest.raises(NotVerified, match="no header X-Webhook-Secret"):
        await adapter.verify(request(BARE, query={"key": "a-long-secret"}))


async def test_a_signature_does_without_the_credential_and_a_credential_without_the_signature() -> None:
    adapter, _ = listening(TOPIC, "a-long-secret")
    stale = PUBLISHED + timedelta(days=10)
    assert await adapter.verify(request(message()))
    assert await adapter.verify(request(message(), stale, query={"key": "a-long-secret"}))
    with pytest.raises(NotVerified, match="stale"):
        await adapter.verify(request(message(), stale))


FORGED = [{"body": BARE.decode()}]


@pytest.mark.parametrize(
    "beside",
    [
        {"Records": FORGED},
        {"detail-type": "Email Complaint Received", "detail": COMPLAINT},
        COMPLAINT,
        {"message": BARE.decode(), "Sns": {"Message": BARE.decode()}},
    ],
)
async def test_what_lies_unsigned_beside_a_genuine_message_is_not_read(beside: dict[str, Any]) -> None:
    adapter, _ = listening()
    send = {"eventType": "Send", "mail": {"messageId": "m-1", "destination": ["bob@example.test"]}}
    verified = await adapter.verify(request({**beside, **message(Message=json.dumps(send)), **beside}))
    assert [event.type for event in adapter.parse(verified).events] == [EventType.SENT]


async def test_of_a_message_that_is_written_twice_the_one_that_is_proven_is_read() -> None:
    adapter, _ = listening()
    genuine = json.dumps(message(Message=json.dumps({"eventType": "Send", "mail": {"messageId": "m-1"}})))
    forged = json.dumps(BARE.decode())
    first = genuine.replace("{", f'{{"Message": {forged}, ', 1).encode()
    verified = await adapter.verify(request(first))
    assert [event.type for event in adapter.parse(verified).events] == [EventType.SENT]
    with pytest.raises(NotVerified):
        await adapter.verify(request(genuine.encode()[:-1] + f', "Message": {forged}}}'.encode()))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
async def test_in_another_encoding_it_is_the_same_message(encoding: str) -> None:
    adapter, _ = listening()
    verified = await adapter.verify(request(json.dumps(message()).encode(encoding)))
    assert [event.email_address for event in adapter.parse(verified).events] == ["ada@example.test"]


def test_one_broken_record_costs_no_other_whatever_carries_them() -> None:
    adapter, _ = listening()
    good = {"body": BARE.decode()}
    odd: list[Any] = [
        None,
        5,
        [],
        {},
        {"body": 5},
        {"body": "{"},
        {"Sns": None},
        {"Sns": {"Message": 5}},
        {"Records": [good]},
    ]
    batch = parsed(adapter, encode({"Records": [good, *odd, good]}))
    assert (len(batch.events), len(batch.dead_letters)) == (2, len(odd))
    broken = b'{"Records": [' + encode(good) + b', {"body": }, ' + encode(good) + b"]}"
    batch = parsed(adapter, broken)
    assert (len(batch.events), [each.body for each in batch.dead_letters]) == (2, [b'{"body": }'])
    batch = parsed(adapter, b'[{"Records": }, ' + encode(good) + b"]")
    assert (len(batch.events), len(batch.dead_letters)) == (0, 2)


def test_messages_lie_in_envelopes_in_records_as_deep_as_queues_and_topics_put_them() -> None:
    adapter, _ = listening()
    body: Any = COMPLAINT
    for _ in range(3):
        body = {
            "Records": [{"body": json.dumps({"Type": "Notification", "TopicArn": TOPIC, "Message": json.dumps(body)})}]
        }
    assert [event.type for event in parsed(adapter, encode(body)).events] == [EventType.COMPLAINED]


@pytest.mark.parametrize(
    "body",
    [
        b'{"Records":' * 50_000,
        b'{"Records":[' * 50_000,
        b'{"Records":[{"Records":[' * 400 + b"]}" * 800,
        b'{"Records": "x"}',
        b'"Records"',
        b'{"TopicArn": "a", "Type": "b", "Records": [{"body": "{}"}]}',
        b'{"TopicArn": "a", "Type": "b", "Message": ""}',
        b'{"TopicArn": "a", "Type": "b", "Message": "\\ud800"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_hostile_carrier_is_a_dead_letter(body: bytes) -> None:
    adapter, _ = listening()
    batch = parsed(adapter, body)
    assert not batch.events
    assert batch.dead_letters


@pytest.mark.parametrize(
    "key",
    [
        "",
        "arn:aws:ses:us-east-1:123456789012:identity/example.com",
        "arn:aws:sns:us-east-1:12345:name",
        "arn:aws:sns:us-east-1:123456789012:name:0d1e2f3a-4b5c-6d7e-8f90-a1b2c3d4e5f6",
        "arn:aws:sns:us-east-1.evil.test/:123456789012:name",
        "arn:aws:sns::123456789012:name",
        "arn:aws-iso:sns:us-iso-east-1:123456789012:name",
        "arn:scw:sns:fr-par:project-x:name",
        "ARN:aws:sns:us-east-1:123456789012:name",
    ],
)
def test_what_cannot_be_a_topic_is_refused_at_start(key: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SES("ses", [key])


def test_a_key_for_trying_out_is_never_mistaken_for_a_topics() -> None:
    arn, _, private = SES.new_key().partition("\n")
    assert arn == "arn:aws:sns:us-east-1:000000000000:sample"
    for key in (arn, f"{TOPIC}\n{private}", f"arn:aws:sns:eu-west-1:000000000000:sample\n{private}", f"{arn}\nx"):
        with pytest.raises(ValueError, match=r"."):
            SES("ses", [key])


async def test_a_key_for_trying_out_proves_nothing_of_a_topic_of_ours() -> None:
    trial = SES.new_key()
    adapter, world = listening(TOPIC, trial)
    own = serialization.load_pem_private_key(trial.partition("\n")[2].encode(), None)
    assert isinstance(own, rsa.RSAPrivateKey)
    assert await adapter.verify(request(message(TopicArn=SES.trial_arn, by=own)))
    assert world.asked == []
    with pytest.raises(NotVerified, match="of no key"):
        await adapter.verify(request(message(by=own)))
    with pytest.raises(NotVerified, match="of no key"):
        await adapter.verify(request(message(TopicArn=SES.trial_arn)))


def test_nobody_but_sns_can_sign_for_a_topic() -> None:
    with pytest.raises(ValueError, match="only the service itself"):
        SES("ses", [TOPIC]).sign([COMPLAINT], PUBLISHED)


async def test_with_a_credential_the_sample_sender_delivers_raw() -> None:
    adapter, _ = listening("hook:a-long-secret", TOPIC)
    [sent] = adapter.sign([COMPLAINT], PUBLISHED)
    assert sent.body == BARE
    assert await adapter.verify(sent)
    with pytest.raises(NotVerified):
        await adapter.verify(replace(sent, headers={}))


def test_a_certificate_in_the_other_form_is_one_as_well() -> None:
    found = issued()
    der = x509.load_pem_x509_certificate(found).public_bytes(serialization.Encoding.DER)
    assert certificate_in(der, "") == certificate_in(found, "")
