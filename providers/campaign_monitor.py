"""Campaign Monitor: up to 1,000 events of one list a request, as JSON, signed by nothing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from pydantic import Field

from providers.decoding import Shape, elements_of, encode, fields_strictly, inside, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import CredentialOptions, UnsignedAdapter

TYPES = {
    "Subscribe": EventType.RESUBSCRIBED,
    "Deactivate": EventType.UNSUBSCRIBED,
    "Update": EventType.UNKNOWN,
}

# As long as the list may be mailed, or has yet to be joined, the event's type says what happened; else the state does.
PRESENT = {None, "", "Active", "Unconfirmed"}
STATES: Mapping[str | None, tuple[EventType, BounceClass | None]] = {
    "Unsubscribed": (EventType.UNSUBSCRIBED, None),
    "Deleted": (EventType.UNSUBSCRIBED, None),
    "Bounced": (EventType.BOUNCED, BounceClass.HARD),
}

WITHOUT_OFFSET = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?")


class ClientOptions(CredentialOptions):
    """`timezone`: the client's in Campaign Monitor (such as `Australia/Sydney`): dates are sent without one."""

    timezone: ZoneInfo | None = None


class Payload(Shape):
    """What we read of an event, under Campaign Monitor's own names; the rest stays in the item's payload."""

    type: str = Field(alias="Type")
    state: str | None = Field(None, alias="State")
    email_address: str | None = Field(None, alias="EmailAddress")
    old_email_address: str | None = Field(None, alias="OldEmailAddress")
    date: Any = Field(None, alias="Date")
    signup_ip: str | None = Field(None, alias="SignupIPAddress")


class CampaignMonitor(UnsignedAdapter):
    name = "campaign_monitor"
    key = "a long secret of your own, at the end of the webhook's Url (…/webhooks/campaign_monitor?key=…)"
    Options = ClientOptions
    options: ClientOptions
    final_statuses = range(200, 300)
    leaving_a_topic_leaves_all = True
    trial_options = {"timezone": "UTC"}
    samples = {
        "Unsubscribed": {"Type": "Deactivate", "State": "Unsubscribed"},
        "Bounced": {"Type": "Deactivate", "State": "Bounced"},
        "Deleted": {"Type": "Deactivate", "State": "Deleted"},
        "Subscribe": {"Type": "Subscribe", "SignupIPAddress": "192.0.2.1"},
    }

    def split(self, body: bytes) -> Iterable[bytes]:
        """Each event with the list it is of, which only the request names."""
        list_id = list_of(body)
        return [b'{"ListID":%b,"Event":%b}' % (list_id, event) for event in elements_of(body, "Events")]

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value.get("Event"))
        email_address = address(payload.email_address)
        list_id = text(item.value.get("ListID")) or text(inside(item.value, "Event").get("ListID"))
        kind, bounce_class = event_type(payload)
        return [
            Event(
                item=item,
                natural_key=(
                    list_id,
                    payload.type,
                    payload.state,
                    folded(email_address),
                    folded(payload.old_email_address),
                    str(payload.date),
                ),
                type=kind,
                at=self._moment(payload.date, kind),
                email_address=email_address,
                topic=list_id,
                # Imports, the API and your own staff subscribe and delete people too.
                by_recipient=kind != EventType.RESUBSCRIBED and payload.state != "Deleted",
                bounce_class=bounce_class,
                reason=payload.state,
                ip=payload.signup_ip if payload.signup_ip != "TypeManual" else None,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {
            "CustomFields": [{"Key": "[sample]", "Value": str(number)}],
            "Date": f"{at.astimezone(self.options.timezone or at.tzinfo):%Y-%m-%d %H:%M:%S}",
            "EmailAddress": email_address,
            "Name": "Sample",
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode({"Events": samples, "ListID": "96c0bbdaa54760c8d9e62a2b7ffa2e13"})]

    def _moment(self, date: object, kind: EventType) -> datetime | None:
        """Hours too early, an opt-out would be put before what it revokes: where no timezone is known it has no time."""
        at = moment(date)
        if not at or not isinstance(date, str) or not WITHOUT_OFFSET.fullmatch(date.strip()):
            return at
        if self.options.timezone:
            return moment(at.replace(tzinfo=self.options.timezone).isoformat())
        return None if kind == EventType.UNSUBSCRIBED else at


def list_of(body: bytes) -> bytes:
    """The list's id, as JSON; null in a body that is broken, so that its readable events still count."""
    try:
        return bytes(fields_strictly(body).get("ListID", b"null"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b"null"


def event_type(payload: Payload) -> tuple[EventType, BounceClass | None]:
    """In doubt opted out: a state that is new to us is still no member's."""
    if payload.state in PRESENT or payload.type not in TYPES:
        return TYPES.get(payload.type, EventType.UNKNOWN), None
    return STATES.get(payload.state, (EventType.UNSUBSCRIBED, None))
