"""SparkPost (Bird): batches of events, signed by nothing."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, Unreadable, encode, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter

TYPES = {
    "injection": EventType.ACCEPTED,
    "delivery": EventType.DELIVERED,
    "delay": EventType.DEFERRED,
    "bounce": EventType.BOUNCED,
    "out_of_band": EventType.BOUNCED,
    "policy_rejection": EventType.DROPPED,
    "generation_rejection": EventType.DROPPED,
    "generation_failure": EventType.FAILED,
    "open": EventType.OPENED,
    "initial_open": EventType.OPENED,
    "amp_open": EventType.OPENED,
    "amp_initial_open": EventType.OPENED,
    "click": EventType.CLICKED,
    "amp_click": EventType.CLICKED,
    "spam_complaint": EventType.COMPLAINED,
    "list_unsubscribe": EventType.UNSUBSCRIBED,
    "link_unsubscribe": EventType.UNSUBSCRIBED,
}

# What comes back as a bounce and is none: SparkPost's own refusal, an auto-reply, a person's answer.
NOT_BOUNCED = {
    "25": EventType.DROPPED,
    "60": EventType.UNKNOWN,
    "80": EventType.UNKNOWN,
    "90": EventType.UNSUBSCRIBED,
    "100": EventType.UNKNOWN,
}
HARD = {"10", "30"}

# Where the ip address is a person's; elsewhere it is the receiving host's.
ENGAGEMENTS = {EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED}


class Payload(Shape):
    """What we read, under SparkPost's own names; the rest stays in the item's payload."""

    type: str
    event_id: str | None = None
    message_id: str | None = None
    transmission_id: str | None = None
    timestamp: Any = None
    raw_rcpt_to: str | None = None
    rcpt_to: str | None = None
    bounce_class: str | None = None
    raw_reason: str | None = None
    reason: str | None = None
    target_link_url: str | None = None
    user_agent: str | None = None
    user_agent_parsed: dict[str, Any] = Field(default_factory=dict)
    ip_address: str | None = None
    campaign_id: str | None = None
    rcpt_tags: list[str] = Field(default_factory=list)
    rcpt_meta: dict[str, Any] = Field(default_factory=dict)


class SparkPost(UnsignedAdapter):
    name = "sparkpost"
    key = (
        "user:password of the webhook's basic authentication; or, with the option `header`, the value of a custom header"
        " or of X-MessageSystems-Webhook-Token"
    )
    final_statuses = (200,)
    samples = {
        "list_unsubscribe": {},
        "link_unsubscribe": {"target_link_url": "https://example.com/u"},
        "spam_complaint": {"fbtype": "abuse"},
        "injection": {},
        "delivery": {},
        "delay": {"bounce_class": "22", "raw_reason": "452 mailbox full"},
        "bounce": {"bounce_class": "10", "raw_reason": "550 5.1.1 no such user", "error_code": "550"},
        "open": {"ip_address": "192.0.2.1", "user_agent": "Mozilla/5.0"},
        "click": {
            "ip_address": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
            "target_link_url": "https://example.com/offer",
        },
        "generation_failure": {"raw_reason": "substitution failed"},
        "policy_rejection": {"raw_reason": "550 5.7.1 recipient suppressed"},
    }

    def read(self, item: Item) -> Iterable[Event]:
        """By its own type: the class, the one name in `msys`, has been seen to be wrong. The ping has none."""
        classes = inside(item.value).get("msys")
        found = {name: each for name, each in inside(classes).items() if isinstance(each, dict)}
        if not found and classes != {}:
            raise Unreadable("no event in msys")
        for name, fields in found.items():
            yield read_inbound(item, fields) if name == "relay_message" else read_event(item, shaped(Payload, fields))

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = {
            "type": event,
            "event_id": f"{int(at.timestamp())}{number:05}",
            "message_id": f"{number:020x}",
            "transmission_id": f"{number:020}",
            "timestamp": str(int(at.timestamp())),
            "raw_rcpt_to": email_address,
            "rcpt_to": email_address,
            "rcpt_meta": {},
            "rcpt_tags": ["sample"],
            **self.samples[event],
        }
        return {"msys": {"unsubscribe_event" if event.endswith("unsubscribe") else "message_event": details}}

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode(samples)]


def read_event(item: Item, payload: Payload) -> Event:
    kind = event_type(payload)
    email_address = address(payload.raw_rcpt_to or payload.rcpt_to)
    return Event(
        item=item,
        natural_key=(
            payload.type,
            # By itself it should do, but SparkPost's own samples share one.
            payload.event_id,
            payload.message_id,
            folded(email_address),
            str(payload.timestamp),
            payload.target_link_url,
        ),
        type=kind,
        at=moment(payload.timestamp),
        email_address=email_address,
        # The send API returns the transmission's; SparkPost forgets it after 60 days.
        message_id=payload.transmission_id or payload.message_id,
        provider_event_id=payload.event_id,
        bounce_class=bounce_class(payload) if kind == EventType.BOUNCED else None,
        reason=payload.raw_reason or payload.reason,
        url=payload.target_link_url,
        ip=payload.ip_address if TYPES.get(payload.type) in ENGAGEMENTS else None,
        user_agent=payload.user_agent,
        is_machine=is_machine(payload),
        tags=tuple(filter(None, (payload.campaign_id, *payload.rcpt_tags))),
        metadata=payload.rcpt_meta,
    )


def read_inbound(item: Item, mail: Mapping[str, Any]) -> Event:
    """A mail that has come in, from a relay webhook: it has neither an id nor a time but what its sender wrote."""
    message_id = header_of(inside(mail, "content").get("headers"), "message-id")
    return Event(
        item=item,
        natural_key=("relay_message", item.payload.decode()),
        type=EventType.INBOUND,
        at=None,
        email_address=address(mail.get("msg_from")),
        message_id=message_id and message_id.strip("<>"),
    )


def header_of(headers: Any, wanted: str) -> str | None:
    """Of a list of objects with one name each."""
    found = [each for each in headers if isinstance(each, dict)] if isinstance(headers, list) else []
    return next((text(value) for each in found for name, value in each.items() if name.lower() == wanted), None)


def event_type(payload: Payload) -> EventType:
    kind = TYPES.get(payload.type, EventType.UNKNOWN)
    # A delay has a bounce class as well.
    return NOT_BOUNCED.get(payload.bounce_class or "", kind) if kind == EventType.BOUNCED else kind


def bounce_class(payload: Payload) -> BounceClass:
    return BounceClass.HARD if payload.bounce_class in HARD else BounceClass.SOFT


def is_machine(payload: Payload) -> bool | None:
    """A mail client has fetched the images before anybody could look."""
    prefetched = payload.user_agent_parsed.get("is_prefetched")
    return prefetched if isinstance(prefetched, bool) else None
