"""ZeptoMail (Zoho): a form with one field that holds JSON; what is signed is that JSON, and no time."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from providers.adapter import Adapter, Answer, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Unreadable, decode, encode, inside, is_json, text, unquoted
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.signing import check_hmac, check_secret, fields_of, header, hmac_base64
from providers.unsigned import CredentialOptions

SIGNATURE = "producer-signature"
SCHEME = "HmacSHA256"
EVENT = b"event_name"
NO_LETTERS = re.compile("[^a-z]")

# Compared by their letters, without `email` before them: Zoho writes email_open, and open.
TYPES = {
    "delivered": EventType.DELIVERED,
    "softbounce": EventType.BOUNCED,
    "hardbounce": EventType.BOUNCED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "linkclick": EventType.CLICKED,
    "feedbackloop": EventType.COMPLAINED,
    "fblcomplaint": EventType.COMPLAINED,
    "spam": EventType.COMPLAINED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "unsubscribed": EventType.UNSUBSCRIBED,
}

BOUNCES = {"softbounce": BounceClass.SOFT, "hardbounce": BounceClass.HARD}


class ZeptoMail(Adapter):
    name = "zeptomail"
    key = (
        "the webhook's authentication key (a Mail Agent › Webhooks); with the option `header`, the value that you have"
        " given to that header"
    )
    Options = CredentialOptions
    content_type = "application/x-www-form-urlencoded"
    final_statuses = (200,)
    samples = {
        "feedbackloop": {},
        "hardbounce": {"reason": "550 5.1.1 no such user"},
        "softbounce": {"reason": "452 mailbox full"},
        "delivered": {},
        "email_open": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "email_link_click": {
            "ip_address": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
            "clicked_link": "https://example.com/offer",
        },
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        if self._is_trial(request):
            return Verified(request)
        if name := self.own_header:
            check_secret(header(request, name), self.keys)
            return Verified(request)
        fields = fields_of(header(request, SIGNATURE), ";")
        if fields.get("s-algorithm", SCHEME) != SCHEME:
            raise NotVerified(f"the header {SIGNATURE} is not of {SCHEME}")
        check_hmac(unquote(fields.get("s", "")), notification(request.body), self.keys, encoded=hmac_base64)
        return Verified(request)

    async def handshake(self, request: WebhookRequest) -> Answer | None:
        return Answer() if request.method == "POST" and self._is_trial(request) else None

    def _is_trial(self, request: WebhookRequest) -> bool:
        """Zoho tries the address while it is being saved, perhaps before there is a key. It says nothing, and does nothing."""
        is_unproven = (self.own_header or SIGNATURE).lower() not in request.headers
        return is_unproven and EVENT not in request.body

    @property
    def own_header(self) -> str | None:
        return self.options.header if isinstance(self.options, CredentialOptions) else None

    def split(self, body: bytes) -> Iterable[bytes]:
        """A message each: of several in a request, one that cannot be read does not lose the others."""
        raw = notification(body)
        value, _ = decode(raw)
        messages = listed(inside(value).get("event_message"))
        return [encode({**value, "event_message": [each]}) for each in messages] if len(messages) > 1 else [raw]

    def read(self, item: Item) -> Iterable[Event]:
        # Objects, and lists of one such, are mixed up at every level.
        names = [letters(name) for name in listed(inside(item.value).get("event_name"))]
        for message in listed(inside(item.value).get("event_message")) or [{}]:
            for data in listed(inside(message).get("event_data")) or [{}]:
                name = event_name([letters(inside(data).get("object")), *names])
                for details in listed(inside(data).get("details")) or [{}]:
                    yield from events_of(item, name, inside(message), inside(details))

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = {"time": iso(at), **self.samples[event]}
        return {
            "event_name": [event],
            "event_message": [
                {
                    "email_info": {
                        "email_reference": f"sample-{number}",
                        "to": [{"email_address": {"address": email_address, "name": "Sample"}}],
                    },
                    "event_data": [{"object": event, "details": [details]}],
                    "request_id": f"sample-{number}",
                }
            ],
            "webhook_request_id": f"sample-{number}",
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [b"data=" + quote(encode(sample), safe="").encode() for sample in samples]

    def prove(self, body: bytes, at: datetime) -> Proof:
        if name := self.own_header:
            return {"headers": {name: self.keys[0]}}
        signature = quote(hmac_base64(self.keys[0], notification(body)), safe="")
        return {"headers": {SIGNATURE: f"ts={int(at.timestamp() * 1000)};s={signature};s-algorithm={SCHEME}"}}


def notification(body: bytes) -> bytes:
    """The JSON in a body: all of it, or the value of a form's only field, whatever that is called."""
    if is_json(body):
        return body
    _, _, value = body.partition(b"=")
    return unquoted(value)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def letters(name: Any) -> str:
    return NO_LETTERS.sub("", name.lower()).removeprefix("email") if isinstance(name, str) else ""


def event_name(names: Iterable[str]) -> str:
    """Of what an event is called, the first that we know; else the first."""
    found = list(filter(None, names))
    if not found:
        raise Unreadable("no event_name")
    return next((name for name in found if name in TYPES), found[0])


def people(message: Mapping[str, Any], details: Mapping[str, Any]) -> Sequence[str | None]:
    """Whom it is about: of a message's recipients the one that bounced, where that is told."""
    if bounced := address(details.get("bounced_recipient")):
        return [bounced]
    boxes = [
        inside(box).get("address")
        for each in listed(inside(message, "email_info").get("to"))
        for box in listed(inside(each).get("email_address"))
    ]
    return [found for box in boxes if (found := address(box))] or [None]


def events_of(item: Item, name: str, message: Mapping[str, Any], details: Mapping[str, Any]) -> Iterator[Event]:
    info = inside(message, "email_info")
    message_id = text(message.get("request_id"))
    reference = text(info.get("client_reference"))
    url, ip, user_agent = (text(details.get(field)) for field in ("clicked_link", "ip_address", "user_agent"))
    for email_address in people(message, details):
        yield Event(
            item=item,
            natural_key=(
                name,
                text(info.get("email_reference")) or message_id,
                folded(email_address),
                str(details.get("time")),
                url,
                ip,
                user_agent,
            ),
            type=TYPES.get(name, EventType.UNKNOWN),
            at=moment(details.get("time")),
            email_address=email_address,
            message_id=message_id,
            bounce_class=BOUNCES.get(name),
            reason=text(details.get("reason")) or text(details.get("diagnostic_message")),
            url=url,
            ip=ip,
            user_agent=user_agent,
            metadata={"client_reference": reference} if reference else {},
        )
