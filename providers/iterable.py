"""Iterable: one event of a system webhook a request, as JSON; signed by nothing: a header proves the sender."""

from collections.abc import Iterable as Iterables
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter

# In lower case: Iterable itself writes emailSubscribe, but emailUnSubscribe.
TYPES = {
    "emailsend": EventType.SENT,
    "emailsendskip": EventType.DROPPED,
    "emailbounce": EventType.BOUNCED,
    "emailopen": EventType.OPENED,
    "emailclick": EventType.CLICKED,
    "emailcomplaint": EventType.COMPLAINED,
    "emailsubscribe": EventType.RESUBSCRIBED,
    "emailunsubscribe": EventType.UNSUBSCRIBED,
}


class Details(Shape):
    """What we read of `dataFields`, under Iterable's own names; the rest stays in the item's payload."""

    email: str | None = None
    created_at: Any = Field(None, alias="createdAt")
    message_id: str | None = Field(None, alias="messageId")
    channels: Any = Field(None, alias="channelIds")
    message_types: Any = Field(None, alias="messageTypeIds")
    lists: Any = Field(None, alias="emailListIds")
    recipient_state: str | None = Field(None, alias="recipientState")
    reason: str | None = None
    unsubscribe_source: str | None = Field(None, alias="unsubSource")
    signup_source: str | None = Field(None, alias="signupSource")
    url: str | None = None
    link_url: str | None = Field(None, alias="linkUrl")
    ip: str | None = None
    user_agent: str | None = Field(None, alias="userAgent")
    is_bot: bool | None = Field(None, alias="isBot")
    labels: list[str] = Field(default_factory=list)


class Payload(Shape):
    event: str = Field(alias="eventName")
    email: str | None = None
    data: dict[str, Any] = Field(default_factory=dict, alias="dataFields")


class Iterable(UnsignedAdapter):
    name = "iterable"
    key = (
        "the value of a header added to the system webhook (Iterable › Integrations › System Webhooks › Add HTTP Header),"
        " which the option `header` names; or user:password, where its Auth Type is Basic"
    )
    final_statuses = range(200, 300)
    samples = {
        "emailUnSubscribe": {"unsubSource": "EmailLink"},
        "leavesChannel": {"eventName": "emailUnSubscribe", "unsubSource": "EmailLink", "channelIds": [27447]},
        "emailSubscribe": {"signupSource": "WebForm", "emailListIds": [1589748]},
        "emailComplaint": {"recipientState": "Complaint"},
        "emailBounce": {"recipientState": "HardBounce"},
        "emailSend": {"contentId": 331201},
        "emailSendSkip": {"reason": "DuplicateMarketingMessage"},
        "emailOpen": {"ip": "192.0.2.1", "userAgent": "Mozilla/5.0"},
        "emailClick": {"ip": "192.0.2.1", "userAgent": "Mozilla/5.0", "url": "https://example.com/offer"},
    }

    def read(self, item: Item) -> Iterables[Event]:
        payload = shaped(Payload, item.value)
        details = shaped(Details, payload.data)
        email_address = address(payload.email) or address(details.email)
        kind = TYPES.get(payload.event.lower(), EventType.UNKNOWN)
        url = details.url or details.link_url
        return [
            Event(
                item=item,
                natural_key=(
                    payload.event,
                    folded(email_address),
                    details.message_id,
                    str(details.created_at),
                    url,
                    details.ip,
                    details.user_agent,
                    topic,
                ),
                type=kind,
                at=moment(details.created_at),
                email_address=email_address,
                message_id=details.message_id,
                topic=topic,
                # Imports and API calls subscribe too, and nothing tells them apart for certain.
                by_recipient=kind != EventType.RESUBSCRIBED,
                bounce_class=bounce_class(details) if kind == EventType.BOUNCED else None,
                reason=details.reason or details.unsubscribe_source or details.signup_source,
                url=url,
                ip=details.ip,
                user_agent=details.user_agent,
                is_machine=details.is_bot,
                tags=tuple(details.labels),
            )
            for topic in topics(details)
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = dict(self.samples[event])
        return {
            "email": email_address,
            "eventName": details.pop("eventName", event),
            "dataFields": {
                "email": email_address,
                "createdAt": f"{at:%Y-%m-%d %H:%M:%S} +00:00",
                "messageId": f"{number:032x}",
                "campaignId": 1,
                "channelIds": [],
                "messageTypeIds": [],
                "emailListIds": [],
                "labels": ["sample"],
                **details,
            },
        }


def topics(details: Details) -> list[str | None]:
    """What somebody left or joined: channels, message types and lists; where none is named, everything."""
    named = {"channel": details.channels, "type": details.message_types, "list": details.lists}
    return [f"{kind}:{each}" for kind, found in named.items() for each in ids(found)] or [None]


def ids(found: Any) -> list[str]:
    return [name for each in (found if isinstance(found, list) else [found]) if (name := text(each))]


def bounce_class(details: Details) -> BounceClass:
    return BounceClass.HARD if details.recipient_state == "HardBounce" else BounceClass.SOFT
