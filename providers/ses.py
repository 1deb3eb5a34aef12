"""Amazon SES: through SNS, signed; or bare (raw delivery, EventBridge, a queue), with a credential."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from providers.decoding import Unreadable, inside, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, iso, moment
from providers.sns import SnsAdapter, Topic, aws_topic, envelope

TYPES = {
    "Send": EventType.SENT,
    "Delivery": EventType.DELIVERED,
    "DeliveryDelay": EventType.DEFERRED,
    "Bounce": EventType.BOUNCED,
    "Complaint": EventType.COMPLAINED,
    "Reject": EventType.DROPPED,
    "Open": EventType.OPENED,
    "Click": EventType.CLICKED,
    "Rendering Failure": EventType.FAILED,
    "Received": EventType.INBOUND,
}

# Under which name lies what there is to tell, where it is not the kind's own in lower case.
OBJECTS = {"DeliveryDelay": "deliveryDelay", "Rendering Failure": "failure", "Received": "receipt"}

# Where a kind names the recipients that it is about. The others are about all of the mail's.
RECIPIENTS = {
    "Delivery": "recipients",
    "DeliveryDelay": "delayedRecipients",
    "Bounce": "bouncedRecipients",
    "Complaint": "complainedRecipients",
}

# EventBridge's names, in case the event inside does not tell its own.
EVENTBRIDGE = {
    "Email Sent": "Send",
    "Email Delivered": "Delivery",
    "Email Delivery Delayed": "DeliveryDelay",
    "Email Bounced": "Bounce",
    "Email Complaint Received": "Complaint",
    "Email Rejected": "Reject",
    "Email Opened": "Open",
    "Email Clicked": "Click",
    "Email Rendering Failed": "Rendering Failure",
    "Email Subscribed": "Subscription",
}

# SES has not even tried: the address is on one of its lists. Not all of these have been seen in AWS's own words.
SUPPRESSED = {
    "Suppressed",
    "OnAccountSuppressionList",
    "OnTenantSuppressionList",
    "UnsubscribedRecipient",
    "EmailValidationSuppressed",
}

REASONS = ("smtpResponse", "reason", "errorMessage", "complaintFeedbackType", "delayType", "bounceSubType")

SUBSCRIPTIONS = {True: EventType.RESUBSCRIBED, False: EventType.UNSUBSCRIBED, None: EventType.UNKNOWN}

GREETING = "AmazonSnsSubscriptionSucceeded"


class Message(Struct, frozen=True):
    """What SES tells: of what kind, about which mail, and the details. What is of an odd type counts as missing."""

    kind: str
    mail: Mapping[str, Any]
    details: Mapping[str, Any]

    @property
    def id(self) -> str | None:
        return text(self.mail.get("messageId"))

    @property
    def time(self) -> Any:
        """Its own; for what can decide consent no other will do."""
        own = self.details.get("timestamp")
        return self.mail.get("timestamp") if own is None and self.kind not in {"Complaint", "Subscription"} else own

    @property
    def recipients(self) -> list[str | None]:
        named = self.details.get(RECIPIENTS.get(self.kind, ""))
        return addresses(named) or addresses(self.mail.get("destination")) or [None]


class Preferences(Struct, frozen=True):
    """What a contact wants: by topic, whether opted in. `leaves_all` is None, or `is_partial`, where it cannot be read."""

    leaves_all: bool | None
    topics: Mapping[str, bool]
    defaults: Mapping[str, bool]
    is_partial: bool


class SES(SnsAdapter):
    name = "ses"
    key = (
        "the ARN of the SNS topic that SES publishes to (arn:aws:sns:us-east-1:123456789012:ses-events);"
        " for raw delivery, EventBridge and the like a credential: user:password, or a long secret"
    )
    trial_arn = "arn:aws:sns:us-east-1:000000000000:sample"
    samples = {
        "Subscription": {
            "contactList": "customers",
            "source": "UnsubscribeHeader",
            "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
            "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
        },
        "Resubscription": {
            "contactList": "customers",
            "source": "UnsubscribeHeader",
            "newTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
            "oldTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
        },
        "Complaint": {"complaintFeedbackType": "abuse"},
        "Bounce": {"bounceType": "Permanent", "bounceSubType": "General"},
        "Delivery": {"smtpResponse": "250 OK"},
        "DeliveryDelay": {"delayType": "MailboxFull"},
        "Send": {},
        "Reject": {"reason": "Bad content"},
        "Open": {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0"},
        "Click": {"ipAddress": "192.0.2.1", "userAgent": "Mozilla/5.0", "link": "https://example.com/offer"},
        "Rendering Failure": {"templateName": "welcome", "errorMessage": "Attribute 'name' is missing"},
    }

    def believes_aws(self, body: bytes) -> bool:
        """A bare message, or a notification of a topic that is listed here."""
        message = envelope(body)
        return message is None or any(message["TopicArn"] == topic.arn for topic in self.topics)

    def topic(self, arn: str) -> Topic:
        return aws_topic(arn)

    def read(self, item: Item) -> Iterable[Event]:
        message = message_in(item.value)
        if message.kind == GREETING:
            return []
        if message.kind == "Subscription":
            return list(subscription_events(item, message))
        if message.kind == "Received":
            return [read_event(item, message, address(message.mail.get("source")))]
        return [read_event(item, message, recipient) for recipient in message.recipients]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        kind = {"Resubscription": "Subscription"}.get(event, event)
        recipients = [email_address] if kind == "Delivery" else [{"emailAddress": email_address}]
        details = {RECIPIENTS[kind]: recipients} if kind in RECIPIENTS else {}
        return {
            "eventType": kind,
            "mail": {
                "timestamp": iso(at),
                "messageId": f"sample-{number}",
                "source": "shop@example.com",
                "destination": [email_address],
                "tags": {"ses:configuration-set": ["sample"]},
            },
            object_name(kind): {"timestamp": iso(at), **self.samples[event], **details},
        }


def message_in(value: Any) -> Message:
    """SES's event, also inside of EventBridge's."""
    if not isinstance(value, dict):
        raise Unreadable(f"not an object but {type(value).__name__}")
    event = inside(value, "detail") if "detail-type" in value else value
    outer = text(value.get("detail-type"))
    kind = text(event.get("eventType")) or text(event.get("notificationType")) or EVENTBRIDGE.get(outer or "", outer)
    if kind is None:
        raise Unreadable("neither eventType nor notificationType")
    return Message(kind, inside(event, "mail"), inside(event, object_name(kind)))


def object_name(kind: str) -> str:
    return OBJECTS.get(kind, kind.lower())


def addresses(value: Any) -> list[str | None]:
    """Each once, out of texts or of objects with an `emailAddress`; what is neither is left out."""
    entries = value if isinstance(value, list) else [value]
    found = [address(each.get("emailAddress") if isinstance(each, dict) else each) for each in entries]
    return list(dict.fromkeys(filter(None, found)))


def read_event(item: Item, message: Message, email_address: str | None) -> Event:
    details, message_id, time = message.details, message.id, message.time
    kind = event_type(message)
    feedback_id, link, ip = text(details.get("feedbackId")), text(details.get("link")), text(details.get("ipAddress"))
    # That of a complaint is the mailbox provider's.
    user_agent = text(details.get("userAgent")) if message.kind in {"Open", "Click"} else None
    return Event(
        item=item,
        natural_key=(
            message.kind,
            # What is told through two topics, or through EventBridge as well, is one fact.
            feedback_id or message_id,
            folded(email_address),
            str(time),
            link,
            ip,
            user_agent,
        ),
        type=kind,
        at=moment(time),
        email_address=email_address,
        message_id=message_id,
        provider_event_id=feedback_id,
        bounce_class=bounce_class(details) if kind == EventType.BOUNCED else None,
        reason=reason(message, email_address),
        url=link,
        ip=ip,
        user_agent=user_agent,
        metadata=own_tags(message),
    )


def event_type(message: Message) -> EventType:
    details = message.details
    if message.kind in {"Bounce", "Complaint"} and is_suppressed(details):
        return EventType.DROPPED
    if message.kind == "Complaint" and details.get("complaintFeedbackType") == "not-spam":
        # The recipient takes it out of the spam folder.
        return EventType.UNKNOWN
    return TYPES.get(message.kind, EventType.UNKNOWN)


def is_suppressed(details: Mapping[str, Any]) -> bool:
    return bool(SUPPRESSED & {text(details.get("bounceSubType")), text(details.get("complaintSubType"))})


def bounce_class(details: Mapping[str, Any]) -> BounceClass:
    return BounceClass.HARD if details.get("bounceType") == "Permanent" else BounceClass.SOFT


def reason(message: Message, email_address: str | None) -> str | None:
    named = message.details.get(RECIPIENTS.get(message.kind, ""))
    for each in named if isinstance(named, list) else ():
        diagnosis = inside(each).get("diagnosticCode")
        if diagnosis and address(each.get("emailAddress")) == email_address:
            return text(diagnosis)
    for name in REASONS:
        if found := text(message.details.get(name)):
            return found
    return None


def own_tags(message: Message) -> dict[str, Any]:
    """The sender's; those of SES itself have a prefix."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else value
        for name, value in inside(message.mail, "tags").items()
        if not name.startswith("ses:")
    }


def subscription_events(item: Item, message: Message) -> Iterator[Event]:
    """One for everything where that has changed; one for each topic that has."""
    old, new = preferences(message.details, "old"), preferences(message.details, "new")
    contact_list = text(message.details.get("contactList"))
    message_id, time, recipients = message.id, message.time, message.recipients
    # Where several got the mail nobody tells who it was; where nobody knows the old ones, the new ones are a snapshot.
    is_certain = len(recipients) == 1 and old.leaves_all is not None
    for name, opted_in in changes(old, new):
        topic = f"{contact_list}/{name}" if contact_list and name else name
        for email_address in recipients:
            yield Event(
                item=item,
                natural_key=(message.kind, message_id, folded(email_address), str(time), topic, opted_in),
                type=SUBSCRIPTIONS[opted_in],
                at=moment(time),
                email_address=email_address,
                message_id=message_id,
                topic=topic,
                by_recipient=is_certain or not opted_in,
                reason=text(message.details.get("source")),
                metadata=own_tags(message),
            )


def changes(old: Preferences, new: Preferences) -> Iterable[tuple[str | None, bool | None]]:
    """Topic (None is everything) → whether opted in. Whoever leaves or joins everything has not joined what they left."""
    left: list[tuple[str | None, bool | None]] = [(topic, False) for topic, is_in in new.topics.items() if not is_in]
    if new.leaves_all is not False or new.is_partial:
        # In doubt opted out: somebody has changed their preferences, and how cannot be read, or not all of it.
        return [(None, False), *left]
    before = {**old.defaults, **old.topics}
    changed = [(topic, is_in) for topic, is_in in new.topics.items() if before.get(topic) is not is_in]
    if old.leaves_all:
        return [(None, True), *dict.fromkeys([*changed, *left])]
    return changed or [(None, None)]


def preferences(details: Mapping[str, Any], age: str) -> Preferences:
    found = details.get(f"{age}TopicPreferences")
    # Seen as an object and as a list of one.
    found = inside(found[0] if isinstance(found, list) and found else found)
    topics = statuses(found.get("topicSubscriptionStatus"))
    defaults = statuses(found.get("topicDefaultSubscriptionStatus"))
    return Preferences(
        leaves_all={"true": True, "false": False}.get(str(found.get("unsubscribeAll")).lower()),
        topics={name: opted_in for name, opted_in in topics if name},
        defaults={name: opted_in for name, opted_in in defaults if name},
        is_partial=not all(name for name, _ in topics),
    )


def statuses(value: Any) -> list[tuple[str | None, bool]]:
    """The name of each topic, None where it cannot be read, and whether opted in."""
    entries = value if isinstance(value, list) else [value]
    return [(text(each.get("topicName")), each.get("subscriptionStatus") == "OptIn") for each in map(inside, entries)]
