"""Mailchimp Marketing: a form with one change of an audience; a secret in our address is all the proof there is."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from providers.decoding import Shape, decode_form, inside, nested, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter


class Payload(Shape):
    """What we read, under Mailchimp's own names; the rest stays in the item's payload."""

    type: str
    fired_at: Any = None
    data: dict[str, Any] = Field(default_factory=dict)


class Mailchimp(UnsignedAdapter):
    name = "mailchimp"
    key = "a long secret (openssl rand -hex 24) that you put into the webhook's address: …/webhooks/mailchimp?key=…"
    content_type = "application/x-www-form-urlencoded"
    # 410 would switch the webhook off.
    final_statuses = (*range(200, 300), 410)
    leaving_a_topic_leaves_all = True
    samples = {
        "unsubscribe": {"action": "unsub", "reason": "manual", "campaign_id": "cb398d21d2"},
        "abuse": {"type": "unsubscribe", "action": "unsub", "reason": "abuse", "campaign_id": "cb398d21d2"},
        "subscribe": {"ip_opt": "192.0.2.1"},
        "cleaned": {"reason": "hard", "campaign_id": "cb398d21d2"},
    }

    def split(self, body: bytes) -> Iterable[bytes]:
        return [body]

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, nested)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        data = payload.data
        merges = inside(data, "merges")
        list_id = text(data.get("list_id"))
        kind, bounce_class = event_type(payload.type, text(data.get("reason")))
        email_address = address(data.get("email")) or address(data.get("new_email")) or address(merges.get("EMAIL"))
        return [
            Event(
                item=item,
                natural_key=(
                    payload.type,
                    list_id,
                    folded(email_address),
                    folded(text(data.get("old_email"))),
                    str(payload.fired_at),
                    *(text(data.get(name)) for name in ("action", "reason", "status", "campaign_id", "id")),
                ),
                type=kind,
                at=moment(payload.fired_at),
                email_address=email_address,
                message_id=text(data.get("campaign_id")),
                topic=list_id if kind in {EventType.UNSUBSCRIBED, EventType.RESUBSCRIBED} else None,
                # Who joins an audience that is not told has not joined everything.
                by_recipient=kind != EventType.RESUBSCRIBED or list_id is not None,
                bounce_class=bounce_class,
                reason="deleted" if data.get("action") == "delete" else text(data.get("reason")),
                ip=text(data.get("ip_opt")),
                metadata={"old_email": data["old_email"]} if "old_email" in data else merges,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, str]:
        details = {"id": f"sample{number}", "list_id": "a6b5da1054", "email": email_address, **self.samples[event]}
        kind = details.pop("type", event)
        fields = {f"data[{name}]": value for name, value in details.items()}
        return {"type": kind, "fired_at": at.strftime("%Y-%m-%d %H:%M:%S"), **fields}

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [urlencode(sample).encode() for sample in samples]


def event_type(name: str, reason: str | None) -> tuple[EventType, BounceClass | None]:
    match name, reason:
        case "unsubscribe" | "cleaned", "abuse":
            return EventType.COMPLAINED, None
        case "unsubscribe", _:
            # Also where somebody was deleted: in doubt, opted out.
            return EventType.UNSUBSCRIBED, None
        case "cleaned", _:
            return EventType.BOUNCED, BounceClass.HARD
        case "subscribe", _:
            return EventType.RESUBSCRIBED, None
        case _:
            return EventType.UNKNOWN, None
