"""ActiveCampaign: one event a request, as a form whose names have brackets, signed by nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from providers.decoding import Shape, decode_form, inside, nested, shaped, text
from providers.events import BounceClass, Event, EventType, Item, address, folded, moment
from providers.unsigned import UnsignedAdapter

TYPES = {
    "subscribe": EventType.RESUBSCRIBED,
    "unsubscribe": EventType.UNSUBSCRIBED,
    "bounce": EventType.BOUNCED,
    "open": EventType.OPENED,
    "click": EventType.CLICKED,
    "reply": EventType.INBOUND,
}
ABOUT_LISTS = {"subscribe", "unsubscribe"}

# Who did it, where it was not the contact.
OTHERS = {"admin", "api", "system"}
BOUNCES = {"hard": BounceClass.HARD, "soft": BounceClass.SOFT}
# A list that stands for none, or for all.
NO_LIST = {None, "0"}


class Payload(Shape):
    """What we read at the form's top level, under ActiveCampaign's own names; the rest stays in the item's payload."""

    type: str
    date_time: Any = None
    initiated_from: str | None = None
    initiated_by: str | None = None
    user_agent: str | None = Field(None, alias="User-Agent")


class ActiveCampaign(UnsignedAdapter):
    name = "activecampaign"
    key = "a long secret of your own, at the end of the webhook's URL (…/webhooks/activecampaign?key=…)"
    content_type = "application/x-www-form-urlencoded"
    # It never sends again, whatever the answer; 410 moreover switches the webhook off.
    final_statuses = (200, 410)
    leaving_a_topic_leaves_all = True
    samples = {
        "unsubscribe": {"list[][id]": "3", "unsubscribe[reason]": "too many", "campaign[id]": "44"},
        "unsubscribe_from_all": {"type": "unsubscribe", "list": "0"},
        "subscribe": {"list": "3", "form[id]": "1"},
        "bounce": {"bounce[type]": "hard", "bounce[code]": "5.1.1", "bounce[description]": "no such user"},
        "open": {"User-Agent": "Mozilla/5.0", "campaign[id]": "44"},
        "click": {"link[id]": "7", "link[url]": "https://example.com/offer", "campaign[id]": "44"},
    }

    def decode(self, raw: bytes) -> tuple[Any, bytes]:
        return decode_form(raw, lambda fields: nested(fields, told_apart))

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        contact, bounce = inside(item.value, "contact"), inside(item.value, "bounce")
        email_address = address(contact.get("email"))
        url = text(inside(item.value, "link").get("url"))
        return [
            Event(
                item=item,
                natural_key=(
                    payload.type,
                    text(contact.get("id")),
                    folded(email_address),
                    str(payload.date_time),
                    payload.initiated_from,
                    topic,
                    text(inside(item.value, "campaign").get("id")),
                    url,
                    payload.user_agent,
                    text(bounce.get("code")),
                ),
                type=TYPES.get(payload.type, EventType.UNKNOWN),
                at=moment(payload.date_time),
                email_address=email_address,
                topic=topic,
                by_recipient=by_recipient(payload, topic),
                bounce_class=BOUNCES.get((text(bounce.get("type")) or "").lower()),
                reason=text(bounce.get("description")) or text(inside(item.value, "unsubscribe").get("reason")),
                url=url,
                user_agent=payload.user_agent,
            )
            for topic in (lists(item.value) if payload.type in ABOUT_LISTS else [None])
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, str]:
        return {
            "type": event,
            "date_time": at.isoformat(timespec="seconds"),
            "initiated_from": "public",
            "initiated_by": "public",
            "contact[id]": str(number),
            "contact[email]": email_address,
            "contact[tags]": "sample, other",
            **self.samples[event],
        }

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [urlencode(sample).encode() for sample in samples]


def told_apart(names: Sequence[str]) -> Iterator[str]:
    """Of several `list[][id]` each gets a number, a plain `list` beside them no name."""
    with_parts = {name.partition("[")[0] for name in names if "[" in name}
    times: Counter[str] = Counter()
    for name in names:
        if name in with_parts:
            yield f"{name}[]"
        else:
            yield name.replace("[]", f"[{times[name]}]", 1)
            times[name] += 1


def lists(value: Mapping[str, Any]) -> list[str | None]:
    """The lists that somebody joined or left; [None] where none is named: all of them."""
    return list(dict.fromkeys(each for each in ids(value.get("list")) if each not in NO_LIST)) or [None]


def ids(value: Any) -> list[str | None]:
    match value:
        case {"id": each}:
            return [text(each)]
        case dict():
            return [each for inner in value.values() for each in ids(inner)]
        case list():
            return [each for inner in value for each in ids(inner)]
        case _:
            return [text(value)]


def by_recipient(payload: Payload, topic: str | None) -> bool:
    """Joining counts as their own act where a form or link of theirs did it, and only to a list that is named."""
    if payload.type not in ABOUT_LISTS:
        return True
    themselves = payload.initiated_from == "public" and payload.initiated_by not in OTHERS
    return themselves and (topic is not None or payload.type == "unsubscribe")
