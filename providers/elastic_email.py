"""Elastic Email: one event a POST, or a GET; HMAC-SHA256 over time, method, address and body, or a secret in the address."""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from providers.adapter import NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, decode_form, shaped
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, fields_of, header, hmac_hex
from providers.unsigned import CredentialOptions, UnsignedAdapter, check_credential, credential
from providers.url_bound import UrlOptions, check_urls, in_list

SIGNATURE = "X-ElasticEmail-Signature"
TIMESTAMP = "X-ElasticEmail-Timestamp"
SIGNING_SECRET = "whsec_"  # noqa: S105 - what one begins with

# Elastic Email advises 5 minutes, for repeats seem to be signed anew: it does not say so for all, and a replay does nothing.
PAST, FUTURE = timedelta(hours=25), timedelta(minutes=5)

TYPES = {
    "sent": EventType.DELIVERED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "abusereport": EventType.COMPLAINED,
}

FAILED = "error"
SOFT = set(
    "spam blacklisted greylisted throttled timeout connectionproblem connectionterminated spfproblem accountproblem"
    " whitelistingproblem codeerror contentfilter".split()
)
# Taken back before they were tried.
CANCELLED = {"manualcancel", "notdeliveredcancelled"}

DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})\s+(\d{1,2}):(\d{2}):(\d{2})(?:\s*([AP])M)?", re.IGNORECASE)


class SignedOptions(CredentialOptions, UrlOptions):
    """`url` only where a key is a signing secret."""

    url: Annotated[list[Annotated[str, Field(pattern="^https?://.")]], BeforeValidator(in_list)] = Field(
        default_factory=list
    )


class Payload(Shape):
    """What we read, under Elastic Email's own names in lower case; the rest stays in the item's payload."""

    status: str
    to: str | None = None
    date: Any = None
    message_id: str | None = Field(None, alias="messageid")
    transaction: str | None = None
    category: str | None = None
    target: str | None = None
    channel: str | None = None
    postback: str | None = None
    ip: str | None = None
    user_agent: str | None = Field(None, alias="useragent")


class ElasticEmail(UnsignedAdapter):
    name = "elastic_email"
    key = (
        "the SigningSecret of a webhook that was created with EnableSigning and DeliveryMethod PostJson: it begins with"
        " whsec_; or a long secret of your own at the end of its URL (…/webhooks/elastic_email?key=…)"
    )
    Options = SignedOptions
    options: SignedOptions
    trial_options = {"url": "http://127.0.0.1:8000/webhooks/elastic_email"}
    delivers_by_get = True
    final_statuses = range(200, 300)
    samples = {
        "Unsubscribed": {},
        "AbuseReport": {},
        "Sent": {},
        "Error": {"category": "NoMailbox"},
        "Opened": {"ip": "192.0.2.1", "useragent": "Mozilla/5.0"},
        "Clicked": {"ip": "192.0.2.1", "useragent": "Mozilla/5.0", "target": "https://example.com/offer"},
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        for url in self.options.url:
            urlsplit(url)  # raises ValueError for what is no address
        self.signing_secrets = [key for key in keys if key.startswith(SIGNING_SECRET)]
        self.credentials = [key for key in keys if not key.startswith(SIGNING_SECRET)]
        if self.signing_secrets and not self.options.url:
            raise ValueError(
                "a signing secret needs the option `url`: the webhook's URL as it was entered, for it is signed"
            )

    async def verify(self, request: WebhookRequest) -> Verified:
        if self.signing_secrets and (SIGNATURE.lower() in request.headers or not self.credentials):
            self._check_signature(request)
        else:
            check_credential(request, self.credentials, self.options)
        return Verified(request)

    def _check_signature(self, request: WebhookRequest) -> None:
        signature = fields_of(header(request, SIGNATURE)).get("v1")
        timestamp = header(request, TIMESTAMP)
        if signature is None:
            raise NotVerified(f"no v1=… in the header {SIGNATURE}")
        check_urls(
            self.options.url,
            lambda url: check_hmac(
                signature, signed_text(timestamp, request.method, url, request.body), self.signing_secrets
            ),
        )
        check_fresh(timestamp, request.received_at, past=PAST, future=FUTURE)

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, dict)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, in_lower_case(item.value))
        kind, bounce_class = event_type(payload)
        email_address = address(payload.to)
        message_id = payload.message_id or payload.transaction
        return [
            Event(
                item=item,
                natural_key=(
                    status_of(payload),
                    message_id,
                    folded(email_address),
                    str(payload.date),
                    payload.category,
                    payload.target,
                    payload.ip,
                    payload.user_agent,
                ),
                type=kind,
                at=moment_of(payload.date),
                email_address=email_address,
                message_id=message_id,
                bounce_class=bounce_class,
                reason=payload.category if status_of(payload) == FAILED else None,
                url=payload.target,
                ip=payload.ip,
                user_agent=payload.user_agent,
                tags=(payload.channel,) if payload.channel else (),
                metadata={"postback": payload.postback} if payload.postback else {},
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "transaction": f"sample-{number}",
            "to": email_address,
            "from": "sender@example.com",
            "date": f"{at:%m/%d/%Y %I:%M:%S %p}",
            "status": event,
            "channel": "sample",
            "account": "account@example.com",
            "category": "Unknown",
            "messageid": f"sample-{number:06}",
            "subject": "Sample",
            **self.samples[event],
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        key = self.keys[0]
        if not key.startswith(SIGNING_SECRET):
            return credential(key, self.options)
        timestamp = str(int(at.timestamp()))
        signature = hmac_hex(key, signed_text(timestamp, "POST", self.options.url[0], body))
        return {"headers": {TIMESTAMP: timestamp, SIGNATURE: f"v1={signature}"}}

    @classmethod
    def new_key(cls) -> str:
        return f"{SIGNING_SECRET}{secrets.token_urlsafe(24)}"


def signed_text(timestamp: str, method: str, url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if method == "GET":
        return f"{timestamp}\nGET\n{target}{'&' if parts.query else '?'}".encode() + body + b"\n"
    return f"{timestamp}\n{method}\n{target}\n".encode() + body


def in_lower_case(value: Any) -> Mapping[str, Any]:
    """Elastic Email has written its fields in both cases: `IP` and `ip`."""
    if not isinstance(value, dict):
        raise Unreadable(f"not an object but {type(value).__name__}")
    return {name.lower(): each for name, each in value.items()}


def status_of(payload: Payload) -> str:
    # The event that is sent while a webhook is being saved has it in lower case.
    return payload.status.lower()


def event_type(payload: Payload) -> tuple[EventType, BounceClass | None]:
    if status_of(payload) != FAILED:
        return TYPES.get(status_of(payload), EventType.UNKNOWN), None
    category = (payload.category or "").lower()
    if category in CANCELLED:
        return EventType.DROPPED, None
    return EventType.BOUNCED, BounceClass.SOFT if category in SOFT else BounceClass.HARD


def moment_of(date: Any) -> datetime | None:
    """As Americans write it, in UTC; between time and AM there may lie a space of any kind."""
    found = DATE.fullmatch(date.strip()) if isinstance(date, str) else None
    if not found:
        return moment(date)
    month, day, year, hour, minute, second = map(int, found.groups()[:6])
    if half := found[7]:
        hour = hour % 12 + 12 * (half in "Pp")
    return moment(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
