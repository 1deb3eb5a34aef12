"""Amazon SNS's envelope over HTTPS, and services that speak like it: what is signed, who may sign, what is to be confirmed."""

import asyncio
import base64
import re
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from providers.adapter import Adapter, Answer, Fetch, NotVerified, Proof, ProofUnavailable, Verified, WebhookRequest
from providers.decoding import Unreadable, decode_leniently, decode_strictly, elements, elements_of, encode
from providers.events import iso
from providers.signing import check_fresh, check_rsa
from providers.unsigned import CredentialOptions, check_credential, credential

# SNS signs the time of publishing and retries for an hour. What it held back longer (throttled, or in trouble) would be
# lost with a 401, and a repeat does no harm.
PAST, FUTURE = timedelta(hours=24), timedelta(minutes=5)

ALGORITHMS: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's default

SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}

# What is published when a topic is attached is no event.
GREETING = b"Successfully validated SNS topic"

MAX_CERTIFICATES = 16
MAX_FETCHES = 8

CheckCertificate = Callable[[x509.Certificate, Fetch, datetime], Awaitable[None]]


class SnsOptions(CredentialOptions):
    """`sha1`: false refuses signatures of version 1, which are SNS's default."""

    sha1: bool = True


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that we listen to. A sender chooses an address to fetch, but only among those that are meant here.

    `own_key`: ours, for trying out, in place of the service's.
    """

    arn: str
    certificate_url: re.Pattern[str]
    check_certificate: CheckCertificate
    service_url: str
    own_key: rsa.RSAPrivateKey | None = None


class SnsAdapter(Adapter):
    """An adapter whose provider publishes to a topic: proven by the service's signature, or by a credential."""

    Options = SnsOptions
    content_type = "text/plain; charset=UTF-8"
    # SNS does not come again after 4xx.
    final_statuses = range(200, 500)

    trial_arn: ClassVar[str]
    """A topic that nobody can have: the one and only for which a private key of ours may stand in for the service's."""

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        self.topics = [self._listened(key) for key in keys if is_arn(key)]
        self.credentials = [key for key in keys if not is_arn(key)]
        self.certificates = Certificates()

    @abstractmethod
    def topic(self, arn: str) -> Topic:
        """Raises ValueError for what is no topic's ARN."""

    def _listened(self, key: str) -> Topic:
        arn, _, pem = key.partition("\n")
        topic = self.topic(arn.strip())
        if bool(pem.strip()) != (topic.arn == self.trial_arn):
            raise ValueError(f"a private key follows the ARN {self.trial_arn}, for trying out, and no other")
        return replace(topic, own_key=private_key(pem)) if pem else topic

    async def verify(self, request: WebhookRequest) -> Verified:
        message = envelope(request.body)
        try:
            check_credential(request, self.credentials, self.options)
        except NotVerified as refusal:
            if message is None:
                raise NotVerified(f"no signed SNS message, so it takes a credential: {refusal}") from None
            await self._check_signed(message, request)
        return Verified(request)

    async def _check_signed(self, message: Mapping[str, Any], request: WebhookRequest) -> Topic:
        # Anybody may have the service sign messages of a topic of theirs: the list of ours comes first.
        topics = [topic for topic in self.topics if topic.arn == message["TopicArn"]]
        if not topics:
            raise NotVerified(f"the TopicArn {message['TopicArn'][:300]!a} is no key of this source")
        if request.headers.get("x-amz-sns-message-type", message["Type"]) != message["Type"]:
            raise NotVerified("the header x-amz-sns-message-type names another type than the message")
        text, algorithm = signed_text(message), self._algorithm(message)
        keys = [await self._public_key(topic, message, request) for topic in topics]
        check_rsa(str(message.get("Signature")), text, keys, algorithm)
        check_fresh(message["Timestamp"], request.received_at, past=PAST, future=FUTURE)
        return topics[0]

    def _algorithm(self, message: Mapping[str, Any]) -> hashes.HashAlgorithm:
        version = str(message.get("SignatureVersion"))
        if version not in ALGORITHMS:
            raise NotVerified("the SignatureVersion is neither 1 nor 2")
        if version == "1" and isinstance(self.options, SnsOptions) and not self.options.sha1:
            raise NotVerified("SignatureVersion 1 is refused here: set the topic's SignatureVersion to 2")
        return ALGORITHMS[version]

    async def _public_key(self, topic: Topic, message: Mapping[str, Any], request: WebhookRequest) -> rsa.RSAPublicKey:
        if topic.own_key:
            return topic.own_key.public_key()
        # Spelt so where a Lambda function has had it first.
        url = message.get("SigningCertURL", message.get("SigningCertUrl"))
        if not isinstance(url, str) or not topic.certificate_url.fullmatch(url):
            raise NotVerified(f"SigningCertURL is no address where certificates for this topic lie: {str(url)[:300]!a}")
        return await self.certificates.key(url, topic.check_certificate, self.fetch, request.received_at)

    async def handshake(self, request: WebhookRequest) -> Answer | None:
        message = envelope(request.body)
        if message is None:
            return None
        match message["Type"]:
            case "SubscriptionConfirmation":
                return await self._confirm(message, request)
            case "UnsubscribeConfirmation":
                # Its address would subscribe again: whoever has unsubscribed meant it.
                return Answer(b'{"subscription": "ended"}')
            case _:
                return None

    async def _confirm(self, message: Mapping[str, Any], request: WebhookRequest) -> Answer:
        try:
            topic = await self._check_signed(message, request)
        except NotVerified as refusal:
            # A credential or `"verify": false` has let it in, which does not say that this topic is ours.
            return Answer(encode({"subscription": "not confirmed", "detail": str(refusal)}))
        check_confirmation(message, topic)
        await self.fetch(message["SubscribeURL"])
        return Answer(b'{"subscription": "confirmed"}')

    def split(self, body: bytes) -> Iterable[bytes]:
        published = (item for each in elements(body) for item in unwrapped(each))
        return [item for item in published if not item.startswith(GREETING)]

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        bare = super().bodies(samples, at)
        return (signed(each, self.topics[0], at) for each in bare) if is_arn(self.keys[0]) else bare

    def prove(self, body: bytes, at: datetime) -> Proof:
        if not is_arn(self.keys[0]):
            return credential(self.keys[0], self.options)
        message = envelope(body) or {}
        return {
            "headers": {
                "x-amz-sns-message-type": message["Type"],
                "x-amz-sns-message-id": message["MessageId"],
                "x-amz-sns-topic-arn": message["TopicArn"],
            }
        }

    @classmethod
    def new_key(cls) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return f"{cls.trial_arn}\n{pem.decode()}"


def is_arn(key: str) -> bool:
    return key.lower().startswith("arn:")


def private_key(pem: str) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the key that follows the topic's ARN is no RSA key")
    return key


def value_of(raw: bytes) -> Any:
    """None for what is no JSON. NUL and the like stay: they are signed."""
    try:
        return decode_strictly(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return decode_leniently(raw)
        except Unreadable:
            return None


def envelope(body: bytes) -> dict[str, Any] | None:
    """The body as a message of SNS's; None where it is something else."""
    message: dict[str, Any] | None = value_of(body)
    match message:
        case {"TopicArn": str(), "Type": str()}:
            return message
        case _:
            return None


def may_be_wrapped(raw: bytes) -> bool:
    """Of what is surely none (no name of a wrapping, escaped or of wide characters) nothing need be read to see that."""
    return b'"TopicArn"' in raw or b'"Records"' in raw or b"\\u" in raw or b"\x00" in raw


def unwrapped(raw: bytes) -> Iterator[bytes]:
    """What was published, out of the envelope, and out of a queue's or a Lambda function's records around that."""
    if not may_be_wrapped(raw):
        yield raw
        return
    match value_of(raw):
        # This comes first: the signature covers nothing that may lie beside `Message`.
        case {"TopicArn": str(), "Type": str(), "Message": str(message)}:
            yield from unwrapped(in_bytes(message))
        case {"TopicArn": str(), "Type": str()}:
            yield raw
        case {"Records": list()}:
            yield from carried(raw)
        case None if b'"Records"' in raw:  # broken: perhaps one of them only
            yield from carried(raw)
        case _:
            yield raw


def carried(raw: bytes) -> Iterator[bytes]:
    """Each record by itself: one that is broken must not cost the others."""
    try:
        records = list(elements_of(raw, "Records"))
    except Unreadable:
        records = [raw]
    for record in records:
        match value_of(record):
            case {"body": str(message)} | {"Sns": {"Message": str(message)}}:
                yield from unwrapped(in_bytes(message))
            case _:
                yield record


def in_bytes(message: str) -> bytes:
    return message.encode(errors="surrogatepass")


def signed_text(message: Mapping[str, Any]) -> bytes:
    names = SIGNED.get(message["Type"])
    if names is None:
        raise NotVerified(f"SNS knows no message of type {message['Type'][:40]!a}")
    parts = []
    for name in names:
        value = message.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            raise NotVerified(f"the SNS message has no {name}")
        parts.append(f"{name}\n{value}\n")
    return in_bytes("".join(parts))


def signed(message: bytes, topic: Topic, at: datetime) -> bytes:
    """As SNS would send it, by our own key. Raises ValueError where there is none."""
    if topic.own_key is None:
        raise ValueError(f"only the service itself can sign for {topic.arn}")
    fields = {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": topic.arn,
        "Message": message.decode(),
        "Timestamp": iso(at),
        "SignatureVersion": "2",
    }
    signature = topic.own_key.sign(signed_text(fields), padding.PKCS1v15(), hashes.SHA256())
    return encode({**fields, "Signature": base64.b64encode(signature).decode()})


def check_confirmation(message: Mapping[str, Any], topic: Topic) -> None:
    """That its SubscribeURL confirms this subscription, at this topic's service, and does nothing else."""
    address, _, query = message["SubscribeURL"].partition("?")
    expected = [("Action", "ConfirmSubscription"), ("Token", message["Token"]), ("TopicArn", topic.arn)]
    if address != topic.service_url or sorted(parse_qsl(query, keep_blank_values=True)) != expected:
        raise NotVerified("the SubscribeURL does anything but confirm this subscription: it has not been visited")


class Signer(NamedTuple):
    key: rsa.RSAPublicKey
    since: datetime
    until: datetime


class Certificates:
    """Who signs, by the address of their certificate. A new one comes under a new address: this one stays until it expires."""

    def __init__(self) -> None:
        self._known: dict[str, Signer] = {}
        self._under_way: dict[str, asyncio.Task[Signer]] = {}

    async def key(self, url: str, check: CheckCertificate, fetch: Fetch, at: datetime) -> rsa.RSAPublicKey:
        """Raises NotVerified and ProofUnavailable; what does so is not kept."""
        signer = self._known.get(url)
        if signer is None or not signer.since <= at <= signer.until:
            signer = await self._fetched_once(url, check, fetch, at)
        return signer.key

    async def _fetched_once(self, url: str, check: CheckCertificate, fetch: Fetch, at: datetime) -> Signer:
        if url not in self._under_way:
            if len(self._under_way) >= MAX_FETCHES:
                raise ProofUnavailable("too many certificates are being fetched at once")
            self._under_way[url] = asyncio.create_task(self._fetch(url, check, fetch, at))
            self._under_way[url].add_done_callback(lambda task: self._end(url, task))
        # Whoever hangs up does not end it for those who wait for the same.
        return await asyncio.shield(self._under_way[url])

    def _end(self, url: str, task: asyncio.Task[Signer]) -> None:
        del self._under_way[url]
        if not task.cancelled():
            task.exception()  # has been looked at, even if nobody waits any more

    async def _fetch(self, url: str, check: CheckCertificate, fetch: Fetch, at: datetime) -> Signer:
        certificate = certificate_in(await fetch(url), url)
        signer = signer_of(certificate, at)
        await check(certificate, fetch, at)
        self._known.pop(url, None)
        self._known[url] = signer
        if len(self._known) > MAX_CERTIFICATES:
            del self._known[next(iter(self._known))]
        return signer


def certificate_in(raw: bytes, url: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(raw) if b"-----BEGIN" in raw else x509.load_der_x509_certificate(raw)
    except ValueError as error:
        raise ProofUnavailable(f"{url} is no certificate: {error}") from error


def signer_of(certificate: x509.Certificate, at: datetime) -> Signer:
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not since <= at <= until:
        raise NotVerified(f"the signing certificate is valid from {since} until {until} only")
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise NotVerified("the signing certificate has no RSA key")
    return Signer(key, since, until)


# Stricter than AWS's own pattern, which the address of a bucket called "sns" passes as well.
ARN = re.compile(r"arn:(aws[a-z-]*):sns:([a-z]+(?:-[a-z]+)+-\d):\d{12}:[A-Za-z0-9_-]+(?:\.fifo)?")
DOMAINS = {
    "aws": "amazonaws.com",
    "aws-us-gov": "amazonaws.com",
    "aws-cn": "amazonaws.com.cn",
    "aws-eusc": "amazonaws.eu",
}


def aws_topic(arn: str) -> Topic:
    match = ARN.fullmatch(arn)
    if not match or match[1] not in DOMAINS:
        raise ValueError("it is not like arn:aws:sns:us-east-1:123456789012:name")
    region, domain = match[2], DOMAINS[match[1]]
    service_url = f"https://sns.{region}.{domain}/"
    certificate_url = re.compile(rf"{re.escape(service_url)}SimpleNotificationService-[0-9a-f]{{1,64}}\.pem")

    async def check(certificate: x509.Certificate, _: Fetch, __: datetime) -> None:
        if not names_in(certificate) & names_of_sns(region, domain):
            raise NotVerified("the signing certificate was not issued to SNS")

    return Topic(arn, certificate_url, check, service_url)


def names_of_sns(region: str, domain: str) -> set[str]:
    """To whom AWS issues these certificates: younger regions, China and GovCloud have names of their own."""
    names = {
        "sns.amazonaws.com",
        f"sns.{region}.{domain}",
        f"sns-signing.{region}.{domain}",
        f"sns-{region}.{domain}",
    }
    return names | {"sns-us-gov-west-1.amazonaws.com"} if region.startswith("us-gov-") else names


def names_in(certificate: x509.Certificate) -> set[str]:
    names = {str(each.value) for each in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return names
    return names.union(others.get_values_for_type(x509.DNSName))
