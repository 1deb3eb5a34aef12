"""Unisender Go and UniOne: many events a request; its proof, an MD5 that knows the API key, lies in the body."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from providers.adapter import Adapter, NotVerified, Proof, Verified, WebhookRequest
from providers.decoding import (
    Shape,
    Unreadable,
    array_in_broken,
    decode,
    elements_of,
    elements_of_broken,
    encode,
    in_utf8,
    inside,
    shaped,
    text,
    without,
)
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import same

# A request's limit, as Unisender's own.
BATCH = 100

STATUS = "transactional_email_status"
USERS = "events_by_user"

AUTH = re.compile(rb'"auth"\s*:\s*"([0-9a-f]{32})"')

TYPES = {
    "accepted": EventType.ACCEPTED,
    "sent": EventType.SENT,
    "delivered": EventType.DELIVERED,
    "opened": EventType.OPENED,
    "clicked": EventType.CLICKED,
    "unsubscribed": EventType.UNSUBSCRIBED,
    "subscribed": EventType.RESUBSCRIBED,
    "spam": EventType.COMPLAINED,
    "soft_bounced": EventType.BOUNCED,
    "hard_bounced": EventType.BOUNCED,
}

# What `delivery_status` makes of a bounce, where the webhook was told to send it.
UNTRIED = {"err_unsubscribed", "err_spam_skipped", "err_skip_letter"}
SOFT = {"err_mailbox_full", "err_spam_rejected", "err_blacklisted", "err_too_large"}
WILL_RETRY = "err_will_retry"


class Payload(Shape):
    """What we read of an event, under Unisender's own names; the rest stays in the item's payload."""

    status: str | None = None
    email: str | None = None
    job_id: str | None = None
    event_time: Any = None
    url: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    delivery_info: dict[str, Any] = Field(default_factory=dict)


class UnisenderGo(Adapter):
    name = "unisender_go"
    key = "the API key: of the project, where the webhook belongs to one, else of the account"
    final_statuses = (200,)
    samples = {
        "unsubscribed": {},
        "spam": {},
        "subscribed": {},
        "accepted": {},
        "sent": {},
        "delivered": {},
        "opened": {"delivery_info": {"user_agent": "Mozilla/5.0", "ip": "192.0.2.1"}},
        "clicked": {
            "url": "https://example.com/offer",
            "delivery_info": {"user_agent": "Mozilla/5.0", "ip": "192.0.2.1"},
        },
        "soft_bounced": {
            "delivery_info": {"delivery_status": "err_will_retry", "destination_response": "451 4.7.1 try again later"}
        },
        "hard_bounced": {
            "delivery_info": {"delivery_status": "err_user_unknown", "destination_response": "550 5.1.1 no such user"}
        },
    }

    async def verify(self, request: WebhookRequest) -> Verified:
        auth = auth_in(request.body)
        if not isinstance(auth, str) or len(auth) != 32:
            raise NotVerified("no MD5 called auth in the body")
        before, found, after = request.body.partition(auth.encode())
        if not found or not any([same(md5(before + key.encode() + after), auth) for key in self.keys]):
            raise NotVerified("auth in the body is of no key")
        return Verified(request)

    def split(self, body: bytes) -> Iterable[bytes]:
        if is_single(body):
            return [without(body, "auth")]
        return [event for user in users_in(body) for event in events_of(user)]

    def read(self, item: Item) -> Iterable[Event]:
        name = text(inside(item.value).get("event_name"))
        if name is None:
            raise Unreadable("no event_name")
        # An event that is sent by itself, without a list, has its fields beside its name.
        payload = shaped(Payload, item.value.get("event_data", item.value))
        email_address = address(payload.email)
        info = payload.delivery_info
        status, ip, user_agent = (text(info.get(field)) for field in ("delivery_status", "ip", "user_agent"))
        kind = event_type(name, payload.status, status)
        return [
            Event(
                item=item,
                natural_key=(
                    name,
                    payload.job_id,
                    folded(email_address),
                    payload.status,
                    str(payload.event_time),
                    payload.url,
                    status,
                    ip,
                    user_agent,
                ),
                type=kind,
                at=moment(payload.event_time),
                email_address=email_address,
                message_id=payload.job_id,
                bounce_class=bounce_class(payload.status, status) if kind == EventType.BOUNCED else None,
                reason=text(info.get("destination_response")) or status,
                url=payload.url,
                ip=ip,
                user_agent=user_agent,
                metadata=payload.metadata,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "event_name": STATUS,
            "event_data": {
                "job_id": f"sample-{number}",
                "metadata": {},
                "email": email_address,
                "status": event,
                "event_time": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
                **self.samples[event],
            },
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        for first in range(0, len(samples), BATCH):
            user = {"user_id": 1, "events": samples[first : first + BATCH]}
            body = encode({"auth": self.keys[0], "events_by_user": [user]})
            yield body.replace(self.keys[0].encode(), md5(body).encode(), 1)

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {}


def md5(body: bytes) -> str:
    """The provider's choice, not ours."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def auth_in(body: bytes) -> Any:
    """Also of a body with something broken in it, but of none that was continued.

    Who has seen a signed body can go on with it and with its MD5, not knowing the key; but only behind a padding that
    holds NULs (it ends with the length, of which four bytes are 0 up to 512 MiB), and there are none in a JSON document.
    """
    try:
        return inside(decode(body)[0]).get("auth")
    except Unreadable as error:
        if b"\0" in body or not body.rstrip().endswith(b"}"):
            raise NotVerified(f"no proof to be found in the body: {error}") from None
        found = AUTH.search(body)
        return found and found[1].decode()


def is_single(body: bytes) -> bool:
    try:
        return USERS not in inside(decode(body)[0])
    except Unreadable:
        return False


def users_in(body: bytes) -> Iterable[bytes]:
    try:
        return elements_of(body, USERS)
    except Unreadable:
        # One user, and in their events something broken.
        users = list(elements_of_broken(array_in_broken(in_utf8(body), USERS)))
        if not users:
            raise
        return users


def events_of(user: bytes) -> Iterable[bytes]:
    try:
        return elements_of(user, "events")
    except Unreadable:
        return [user]


def event_type(name: str, status: str | None, delivery_status: str | None) -> EventType:
    """A bounce that will be tried again is a deferral; one that never was tried, a drop."""
    if name != STATUS:
        return EventType.UNKNOWN
    if status == "soft_bounced" and delivery_status == WILL_RETRY:
        return EventType.DEFERRED
    if status == "hard_bounced" and delivery_status in UNTRIED:
        return EventType.DROPPED
    return TYPES.get(status or "", EventType.UNKNOWN)


def bounce_class(status: str | None, delivery_status: str | None) -> BounceClass:
    return BounceClass.SOFT if status == "soft_bounced" or delivery_status in SOFT else BounceClass.HARD
