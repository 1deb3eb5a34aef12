"""Loops: one event a request, signed as Standard Webhooks say."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.decoding import Shape, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.standard_signed import StandardAdapter

TYPES = {
    "campaign.email.sent": EventType.SENT,
    "loop.email.sent": EventType.SENT,
    "transactional.email.sent": EventType.SENT,
    "email.delivered": EventType.DELIVERED,
    # Loops tries again.
    "email.softBounced": EventType.DEFERRED,
    "email.hardBounced": EventType.BOUNCED,
    "email.opened": EventType.OPENED,
    "email.clicked": EventType.CLICKED,
    "email.unsubscribed": EventType.UNSUBSCRIBED,
    "email.resubscribed": EventType.RESUBSCRIBED,
    "email.spamReported": EventType.COMPLAINED,
    "contact.unsubscribed": EventType.UNSUBSCRIBED,
    "contact.mailingList.unsubscribed": EventType.UNSUBSCRIBED,
    "contact.mailingList.subscribed": EventType.RESUBSCRIBED,
}

# Done in the recipient's own preference centre. Who joined a mailing list is not told.
BY_RECIPIENT = "email.resubscribed"

ABOUT_THE_MESSAGE = (
    "sourceType",
    "campaignId",
    "campaignName",
    "loopId",
    "loopName",
    "transactionalId",
    "transactionalName",
)


class Payload(Shape):
    """What we read, under Loops' own names; the rest stays in the item's payload."""

    event_name: str = Field(alias="eventName")
    event_time: Any = Field(None, alias="eventTime")


class Loops(StandardAdapter):
    name = "loops"
    key = "the signing secret (Loops › Settings › Webhooks): a prefix such as whsec_, then base64"
    samples = {
        "email.unsubscribed": {"sourceType": "campaign", "campaignId": "sample"},
        "email.resubscribed": {"sourceType": "campaign", "campaignId": "sample"},
        "email.spamReported": {"sourceType": "campaign", "campaignId": "sample"},
        "contact.unsubscribed": {},
        "contact.mailingList.unsubscribed": {"mailingList": {"id": "list-1", "name": "News", "isPublic": True}},
        "contact.mailingList.subscribed": {"mailingList": {"id": "list-1", "name": "News", "isPublic": True}},
        "campaign.email.sent": {"campaignId": "sample", "campaignName": "Sample", "mailingLists": []},
        "loop.email.sent": {"loopId": "sample", "loopName": "Sample", "mailingLists": []},
        "transactional.email.sent": {"transactionalId": "sample", "transactionalName": "Sample"},
        "email.delivered": {"sourceType": "transactional", "transactionalId": "sample"},
        "email.softBounced": {"sourceType": "loop", "loopId": "sample"},
        "email.hardBounced": {"sourceType": "loop", "loopId": "sample"},
        "email.opened": {"sourceType": "campaign", "campaignId": "sample"},
        "email.clicked": {"sourceType": "campaign", "campaignId": "sample"},
    }

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        kind = TYPES.get(payload.event_name, EventType.UNKNOWN)
        email_address = address(inside(item.value, "contactIdentity").get("email"))
        message_id = text(inside(item.value, "email").get("id"))
        mailing_list = text(inside(item.value, "mailingList").get("id"))
        return [
            Event(
                item=item,
                natural_key=(
                    item.delivery_id,
                    payload.event_name,
                    folded(email_address),
                    str(payload.event_time),
                    message_id,
                    mailing_list,
                ),
                type=kind,
                at=moment(payload.event_time),
                email_address=email_address,
                message_id=message_id,
                provider_event_id=item.delivery_id,
                topic=mailing_list,
                by_recipient=kind != EventType.RESUBSCRIBED or payload.event_name == BY_RECIPIENT,
                bounce_class=BounceClass.HARD if kind == EventType.BOUNCED else None,
                metadata={name: item.value[name] for name in ABOUT_THE_MESSAGE if name in item.value},
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        email = {"id": f"sample-{number}", "emailMessageId": "sample", "subject": "Sample"}
        return {
            "eventName": event,
            "eventTime": int(at.timestamp()),
            "webhookSchemaVersion": "1.0.0",
            "contactIdentity": {"id": f"contact-{number}", "email": email_address, "userId": None},
            **({} if event.startswith("contact.") else {"email": email}),
            **self.samples[event],
        }
