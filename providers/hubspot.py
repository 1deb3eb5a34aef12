"""HubSpot: changes of contacts, by number, or whole contacts from a workflow; an HMAC over our address, body and time."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import Shape, Unreadable, inside, shaped, text
from providers.events import Event, EventType, Item, address, folded, moment
from providers.signing import check_fresh, check_hmac, header, hmac_base64
from providers.url_bound import UrlOptions, check_urls

SIGNATURE = "X-HubSpot-Signature-v3"
TIMESTAMP = "X-HubSpot-Request-Timestamp"
OLDER_SIGNATURE = "X-HubSpot-Signature"
OLDER_VERSION = "X-HubSpot-Signature-Version"

# What HubSpot asks for. Each of its attempts is signed anew.
PAST = FUTURE = timedelta(minutes=5)

# What is decoded in an address before it is signed; the rest stays as it is.
DECODED = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)

OPT_OUT = re.compile(r"hs_email_optout(?:_(\d+))?")
NO = {"", "false", "0", "no"}
CONTACT = "0-1"


class HubSpotOptions(UrlOptions):
    """`older_signatures`: which of the former, weaker ones count where a request has no v3."""

    older_signatures: list[Literal["v1", "v2"]] = Field(default_factory=list)


class Change(Shape):
    """What we read of a change, under HubSpot's own names; the rest stays in the item's payload."""

    subscription_type: str = Field(alias="subscriptionType")
    event_id: str | None = Field(None, alias="eventId")
    portal_id: str | None = Field(None, alias="portalId")
    object_id: str | None = Field(None, alias="objectId")
    object_type_id: str | None = Field(None, alias="objectTypeId")
    property_name: str | None = Field(None, alias="propertyName")
    property_value: Any = Field(None, alias="propertyValue")
    occurred_at: Any = Field(None, alias="occurredAt")


class HubSpot(Adapter):
    name = "hubspot"
    key = "the client secret of the app (HubSpot › developer account › Apps › Auth), no access token"
    Options = HubSpotOptions
    options: HubSpotOptions
    trial_options = {"url": "http://127.0.0.1:8000/webhooks/hubspot"}
    final_statuses = range(200, 400)
    samples = {"hs_email_optout": {}, "hs_email_optout_42": {}}

    def __init__(self, source: str, keys: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, keys, options)
        if any(key.startswith("pat-") for key in keys):
            raise ValueError("an access token signs nothing")
        self.urls = [*dict.fromkeys(form for url in self.options.url for form in forms(url))]

    async def verify(self, request: WebhookRequest) -> Verified:
        if SIGNATURE.lower() in request.headers or not self.options.older_signatures:
            self._check(request)
        else:
            self._check_older(request)
        return Verified(request)

    def _check(self, request: WebhookRequest) -> None:
        signature, timestamp = header(request, SIGNATURE), header(request, TIMESTAMP)
        signed = request.body + timestamp.encode()
        check_urls(
            self.urls,
            lambda url: check_hmac(
                signature, f"{request.method}{url}".encode() + signed, self.keys, encoded=hmac_base64
            ),
        )
        check_fresh(timestamp, request.received_at, past=PAST, future=FUTURE)

    def _check_older(self, request: WebhookRequest) -> None:
        signature, version = header(request, OLDER_SIGNATURE), header(request, OLDER_VERSION)
        if version not in self.options.older_signatures:
            raise NotVerified(f"no header {SIGNATURE}, and the option `older_signatures` does not name {version[:8]!r}")
        if version == "v1":
            check_hmac(signature, request.body, self.keys, encoded=salted_hash)
        else:
            check_urls(
                self.urls,
                lambda url: check_hmac(
                    signature, f"{request.method}{url}".encode() + request.body, self.keys, encoded=salted_hash
                ),
            )

    def read(self, item: Item) -> Iterable[Event]:
        if "properties" in inside(item.value):
            return read_contact(item)
        return [read_change(item, shaped(Change, item.value))]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        version = {"value": "true", "timestamp": int(at.timestamp() * 1000), "source-type": "EMAIL"}
        return {
            "vid": number,
            "portal-id": 62515,
            "properties": {"email": {"value": email_address}, event: {"value": "true", "versions": [version]}},
        }

    def prove(self, body: bytes, at: datetime) -> Proof:
        timestamp = str(int(at.timestamp() * 1000))
        signed = f"POST{self.urls[0]}".encode() + body + timestamp.encode()
        return {"headers": {SIGNATURE: hmac_base64(self.keys[0], signed), TIMESTAMP: timestamp}}


def forms(url: str) -> Iterator[str]:
    """HubSpot decodes some characters of an address, and says nothing of the others."""
    yield DECODED.sub(lambda found: unquote(found[0]), url)
    yield url
    yield unquote(url)


def salted_hash(key: str | bytes, message: bytes, digest: str) -> str:
    salt = key.encode() if isinstance(key, str) else key
    return hashlib.new(digest, salt + message).hexdigest()


def read_change(item: Item, change: Change) -> Event:
    """It has no address: an opt-out is for a dead letter, to be looked up; all else is kept as it is."""
    value = text(change.property_value) or ""
    if is_contact(change) and OPT_OUT.fullmatch(change.property_name or "") and value.lower() not in NO:
        raise Unreadable(
            f"{change.property_name} is {value[:20]} for contact {change.object_id} of account {change.portal_id},"
            " whose address HubSpot does not tell: look it up"
        )
    return Event(
        item=item,
        natural_key=(
            change.portal_id,
            change.subscription_type,
            change.object_type_id,
            change.object_id,
            change.property_name,
            value,
            str(change.occurred_at),
            change.event_id,
        ),
        type=EventType.UNKNOWN,
        at=moment(change.occurred_at),
        email_address=address(value) if is_contact(change) and change.property_name == "email" else None,
        provider_event_id=change.event_id,
        metadata={"portalId": change.portal_id, "objectId": change.object_id},
    )


def is_contact(change: Change) -> bool:
    return change.subscription_type == "contact.propertyChange" or (
        change.subscription_type == "object.propertyChange" and change.object_type_id in {None, CONTACT}
    )


def read_contact(item: Item) -> list[Event]:
    """A workflow's contact: what it has opted out of, and since when. That it has not opted out is no consent."""
    contact = item.value
    properties = inside(contact, "properties")
    number, account = text(contact.get("vid")), text(contact.get("portal-id"))
    email_address = address(current(properties.get("email")))
    modified_at = moment(current(properties.get("lastmodifieddate")))

    def event(kind: EventType, at: datetime | None, name: str | None = None, topic: str | None = None) -> Event:
        return Event(
            item=item,
            natural_key=(account, "contact", number, folded(email_address), name, str(at)),
            type=kind,
            at=at,
            email_address=email_address,
            topic=topic,
            metadata={"portalId": account, "objectId": number} if number else {},
        )

    opt_outs = [
        event(EventType.UNSUBSCRIBED, changed_at(each) or modified_at, name, found[1])
        for name, each in properties.items()
        if (found := OPT_OUT.fullmatch(name)) and (current(each) or "").lower() not in NO
    ]
    return opt_outs or [event(EventType.UNKNOWN, modified_at)]


def current(value: Any) -> str | None:
    """A property is a text, or an object of its value and all that it has ever been."""
    return text(value.get("value") if isinstance(value, dict) else value)


def changed_at(value: Any) -> datetime | None:
    versions = value.get("versions") if isinstance(value, dict) else None
    times = (inside(each).get("timestamp") for each in versions) if isinstance(versions, list) else ()
    return max(filter(None, map(moment, times)), default=None)
