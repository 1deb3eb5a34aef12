"""Mailchimp Transactional (Mandrill): a form with many events; HMAC-SHA1 over our address and the form's fields."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, elements, encode, inside, shaped, text, unquoted
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_hmac, header, hmac_base64
from providers.url_bound import UrlOptions, check_urls

SIGNATURE = "X-Mandrill-Signature"
EVENTS = b"mandrill_events"
# Sent while a webhook is being saved and nobody has its key yet: signed with one that everybody knows.
TEST = [(EVENTS, b"[]")]
TEST_KEY = "test-webhook"

TYPES: Mapping[str, tuple[EventType, BounceClass | None]] = {
    "send": (EventType.SENT, None),
    "delivered": (EventType.DELIVERED, None),
    "deferral": (EventType.DEFERRED, None),
    "hard_bounce": (EventType.BOUNCED, BounceClass.HARD),
    "soft_bounce": (EventType.BOUNCED, BounceClass.SOFT),
    "open": (EventType.OPENED, None),
    "click": (EventType.CLICKED, None),
    "spam": (EventType.COMPLAINED, None),
    "unsub": (EventType.UNSUBSCRIBED, None),
    "reject": (EventType.DROPPED, None),
    "inbound": (EventType.INBOUND, None),
}

# Changes of the denylist, formerly called blacklist, by the reason that is the person's own act.
DENYLISTS = {"denylist", "blacklist"}
DENIED = {"unsub": EventType.UNSUBSCRIBED, "spam": EventType.COMPLAINED}


class Payload(Shape):
    """What we read, under Mandrill's own names; the rest stays in the item's payload."""

    event: str | None = None
    type: str | None = None
    action: str | None = None
    id: str | None = Field(None, alias="_id")
    ts: Any = None
    url: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    msg: dict[str, Any] = Field(default_factory=dict)
    reject: dict[str, Any] = Field(default_factory=dict)
    entry: dict[str, Any] = Field(default_factory=dict)


class Mandrill(Adapter):
    name = "mandrill"
    key = "the key of a webhook (Mandrill › Settings › Webhooks)"
    Options = UrlOptions
    options: UrlOptions
    trial_options = {"url": "http://127.0.0.1:8000/webhooks/mandrill"}
    content_type = "application/x-www-form-urlencoded"
    final_statuses = (200,)
    samples = {
        "unsub": {},
        "spam": {},
        "send": {},
        "delivered": {},
        "deferral": {"msg": {"diag": "451 4.7.1 try again later"}},
        "hard_bounce": {"msg": {"diag": "smtp;550 5.1.1 no such user", "bounce_description": "bad_mailbox"}},
        "soft_bounce": {"msg": {"diag": "smtp;552 5.2.2 mailbox full", "bounce_description": "mailbox_full"}},
        "reject": {"msg": {"reject": {"reason": "hard-bounce"}}},
        "open": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "click": {"ip": "192.0.2.1", "user_agent": "Mozilla/5.0", "url": "https://example.com/offer"},
    }

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if TEST_KEY in keys:
            raise ValueError(f"everybody knows {TEST_KEY}: Mandrill signs with it before a webhook has a key")

    async def verify(self, request: WebhookRequest) -> Verified:
        fields = fields_of(request.body)
        if fields != TEST:
            signature = header(request, SIGNATURE)
            check_urls(
                self.options.url,
                lambda url: check_hmac(
                    signature, signed_text(url, fields), self.keys, digest="sha1", encoded=hmac_base64
                ),
            )
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        events = dict(fields_of(body)).get(EVENTS)
        if events is None:
            raise Unreadable(f"a form without {EVENTS.decode()}")
        return elements(events)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind, bounce_class = event_type(payload)
        msg = payload.msg
        person = msg or payload.reject or payload.entry
        email_address = address(person.get("from_email" if kind == EventType.INBOUND else "email"))
        message_id = payload.id or text(msg.get("_id")) or text(inside(msg, "headers").get("Message-Id"))
        tags = msg.get("tags")
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event or f"{payload.type} {payload.action}",
                    message_id,
                    folded(email_address),
                    str(payload.ts),
                    payload.url,
                    payload.ip,
                    payload.user_agent,
                ),
                type=kind,
                at=moment(payload.ts),
                email_address=email_address,
                message_id=message_id and message_id.strip("<>"),
                bounce_class=bounce_class,
                reason=reason(person),
                url=payload.url,
                ip=payload.ip,
                user_agent=payload.user_agent,
                tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
                metadata=inside(msg, "metadata"),
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = self.samples[event]
        identity = f"{number:032x}"
        msg = {"_id": identity, "ts": int(at.timestamp()) - 10, "email": email_address, "tags": ["sample"]}
        return {
            "event": event,
            "_id": identity,
            "ts": int(at.timestamp()),
            **details,
            "msg": {**msg, "metadata": {}, **details.get("msg", {})},
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        # As PHP writes it: slashes escaped, which nobody may undo before the signature is checked.
        return [urlencode({EVENTS: encode(samples).replace(b"/", b"\\/")}).encode()]

    def prove(self, body: bytes, at: datetime) -> Proof:
        signed = signed_text(self.options.url[0], fields_of(body))
        return {"headers": {SIGNATURE: hmac_base64(self.keys[0], signed, "sha1")}}


def fields_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """A form's fields, byte for byte as they were before they were encoded."""
    parts = (part.partition(b"=") for part in body.split(b"&") if part)
    return [(unquoted(name), unquoted(value)) for name, _, value in parts]


def signed_text(url: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return url.encode() + b"".join(name + value for name, value in sorted(fields))


def event_type(payload: Payload) -> tuple[EventType, BounceClass | None]:
    if payload.event is not None:
        return TYPES.get(payload.event, (EventType.UNKNOWN, None))
    if payload.type is None:
        raise Unreadable("neither event nor type")
    if payload.type in DENYLISTS and payload.action in {"add", "change"}:
        return DENIED.get(reason(payload.reject or payload.entry) or "", EventType.UNKNOWN), None
    return EventType.UNKNOWN, None


def reason(person: Mapping[str, Any]) -> str | None:
    """What the receiving server said of a message, or why somebody is on a list."""
    found = (
        person.get("diag"),
        person.get("bounce_description"),
        person.get("reason"),
        inside(person, "reject").get("reason"),
    )
    return next(filter(None, map(text, found)), None)
