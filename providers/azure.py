"""Azure Communication Services through Event Grid: signed by nothing; handshakes before the first event."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from providers.adapter import Answer, WebhookRequest
from providers.decoding import Shape, Unreadable, decode, encode, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.signing import check_secret
from providers.unsigned import CredentialOptions, UnsignedAdapter

VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
PREFIX = "Microsoft.Communication.Email"
DELIVERY = f"{PREFIX}DeliveryReportReceived"
ENGAGEMENT = f"{PREFIX}EngagementTrackingReportReceived"

# By event type and, in lower case, status or engagement.
TYPES: Mapping[tuple[str, str], tuple[EventType, BounceClass | None]] = {
    (DELIVERY, "delivered"): (EventType.DELIVERED, None),
    (DELIVERY, "bounced"): (EventType.BOUNCED, BounceClass.HARD),
    (DELIVERY, "suppressed"): (EventType.DROPPED, None),
    # What a filter thought of a message, not what a person did.
    (DELIVERY, "filteredspam"): (EventType.BOUNCED, BounceClass.SOFT),
    (DELIVERY, "quarantined"): (EventType.BOUNCED, BounceClass.SOFT),
    (DELIVERY, "failed"): (EventType.BOUNCED, BounceClass.SOFT),
    (ENGAGEMENT, "view"): (EventType.OPENED, None),
    (ENGAGEMENT, "click"): (EventType.CLICKED, None),
}
NO_SUCH_ADDRESS = re.compile(r"\b5\.1\.\d")


class AzureOptions(CredentialOptions):
    """`origin`: who may ask, in the handshake of the CloudEvents schema, to send events here."""

    origin: str = "eventgrid.azure.net"


class Payload(Shape):
    """What we read, in either schema; the rest stays in the item's payload."""

    id: str | None = None
    event_type: str | None = Field(None, alias="eventType")
    event_time: Any = Field(None, alias="eventTime")
    type: str | None = None
    time: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class Azure(UnsignedAdapter):
    name = "azure"
    key = (
        "a long secret (openssl rand -hex 24) that you put into the subscription's address: …/webhooks/azure?key=…,"
        " or into the delivery header that the option `header` names"
    )
    Options = AzureOptions
    options: AzureOptions
    # These are thrown away, or dead-lettered at Azure where that is set up.
    final_statuses = (*range(200, 205), 400, 401, 403, 413)
    samples = {
        "Delivered": {"eventType": DELIVERY},
        "Bounced": {"eventType": DELIVERY, "statusMessage": "550 5.1.1 no such user"},
        "Suppressed": {"eventType": DELIVERY},
        "FilteredSpam": {"eventType": DELIVERY, "statusMessage": "554 5.7.1 looks like spam"},
        "Quarantined": {"eventType": DELIVERY},
        "Failed": {"eventType": DELIVERY, "statusMessage": "451 4.4.2 timed out"},
        "view": {"eventType": ENGAGEMENT},
        "click": {"eventType": ENGAGEMENT, "engagementContext": "https://example.com/offer"},
    }

    async def handshake(self, request: WebhookRequest) -> Answer | None:
        if request.method == "OPTIONS":
            return self._invitation(request)
        code = validation_code(request.body)
        return Answer(encode({"validationResponse": code})) if code else None

    def _invitation(self, request: WebhookRequest) -> Answer | None:
        """That events may be sent here: nothing is known of who asks, and nothing is given but that."""
        if request.headers.get("webhook-request-origin") != self.options.origin:
            return None
        if "key" in request.query and not self.options.header:
            # Better refused now than with every event, none of which is sent again.
            check_secret(request.query["key"], self.keys)
        return Answer(
            headers={
                "WebHook-Allowed-Origin": self.options.origin,
                "WebHook-Allowed-Rate": "*",
                "Allow": "POST",
            }
        )

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        name = payload.event_type or payload.type
        if name is None:
            raise Unreadable("neither eventType nor type")
        data = in_lower_case(payload.data)
        status = text(data.get("status")) or text(data.get("engagementtype")) or text(data.get("engagement")) or ""
        details = data.get("deliverystatusdetails")
        reason = text(in_lower_case(details).get("statusmessage")) or text(details)
        kind, bounce_class = TYPES.get((name, status.lower()), (EventType.UNKNOWN, None))
        if (name, status.lower()) == (DELIVERY, "failed") and NO_SUCH_ADDRESS.search(reason or ""):
            bounce_class = BounceClass.HARD
        email_address = address(data.get("recipient"))
        message_id, context, user_agent = (
            text(data.get(field)) for field in ("messageid", "engagementcontext", "useragent")
        )
        time = data.get("deliveryattempttimestamp") or data.get("useractiontimestamp")
        event_time = payload.event_time or payload.time
        return [
            Event(
                item=item,
                natural_key=(
                    name,
                    payload.id,
                    message_id,
                    folded(email_address),
                    status,
                    str(time or event_time),
                    context,
                    user_agent,
                ),
                type=kind,
                at=moment(time) or moment(event_time),
                email_address=email_address,
                message_id=message_id,
                provider_event_id=payload.id,
                bounce_class=bounce_class,
                reason=reason,
                url=context if kind == EventType.CLICKED else None,
                user_agent=user_agent,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        details = self.samples[event]
        message_id = f"{number:08x}-0000-4000-8000-000000000000"
        time = at.isoformat().replace("+00:00", "Z")
        delivered = {
            "status": event,
            "deliveryAttemptTimeStamp": time,
            "deliveryStatusDetails": {"statusMessage": details.get("statusMessage", "")},
        }
        engaged = {
            "engagementType": event,
            "userActionTimeStamp": time,
            "engagementContext": details.get("engagementContext", ""),
            "userAgent": "Mozilla/5.0",
        }
        return {
            "id": f"{number:08x}-0000-4000-8000-000000000001",
            "topic": "/subscriptions/s/resourceGroups/g/providers/microsoft.communication/communicationservices/sample",
            "subject": f"sender/no-reply@example.com/message/{message_id}",
            "data": {
                "sender": "no-reply@example.com",
                "recipient": email_address,
                "messageId": message_id,
                **(delivered if details["eventType"] == DELIVERY else engaged),
            },
            "eventType": details["eventType"],
            "dataVersion": "1.0",
            "metadataVersion": "1",
            "eventTime": time,
        }

    def bodies(self, samples: Iterable[Any], at: datetime) -> Iterable[bytes]:
        return [encode([sample]) for sample in samples]


def in_lower_case(value: Any) -> dict[str, Any]:
    """By the names in lower case: the documentation's samples and the SDK's models spell them differently."""
    return {name.lower(): each for name, each in inside(value).items()}


def validation_code(body: bytes) -> str | None:
    """What Event Grid wants to hear again before it sends events to a new address."""
    if VALIDATION.encode() not in body:
        return None
    try:
        events, _ = decode(body)
    except Unreadable:
        return None
    event = events[0] if isinstance(events, list) and len(events) == 1 else None
    is_validation = inside(event).get("eventType") == VALIDATION
    return text(inside(event, "data").get("validationCode")) if is_validation else None
