"""Deliveries that come without HTTP: what the queue holds, and what AWS hands over of SES."""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from db.database import DatabaseUnavailable
from db.store import Store
from providers.adapter import Answer, NotVerified, ProofUnavailable, Verified, WebhookRequest
from webhooks.ingest import Delivery, record
from webhooks.queue import unread_of
from webhooks.source import Source
from webhooks.telemetry import log, tell


class NobodysMessage(Exception):
    """No source believes it, or more than one might."""


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    text: str


def messages_in(event: Mapping[str, Any]) -> list[Message]:
    """What Lambda is handed of SES directly: SNS's envelopes, an event bus's event, mail that SES has received."""
    records = event.get("Records")
    if not isinstance(records, list):
        return [Message(str(event.get("id")), json.dumps(event))]
    return [message_in(each) for each in records]


def message_in(record: Mapping[str, Any]) -> Message:
    """As SNS itself would have written it."""
    if "Sns" in record:
        return Message(record["Sns"]["MessageId"], json.dumps(record["Sns"]))
    if "ses" in record:
        return Message("received", json.dumps({"notificationType": "Received", **record["ses"]}))
    return Message("record", json.dumps(record))


async def record_messages(
    messages: Iterable[Message], sources: Mapping[str, Source], store: Store, seconds: float
) -> list[str]:
    """All at once, so that they share statements. The ids of those that must come again, and of those that are not
    settled after so many `seconds`.
    """
    each = list(messages)
    taken = await asyncio.gather(*(is_settled(message, sources, store, seconds) for message in each))
    return [message.id for message, is_done in zip(each, taken, strict=True) if not is_done]


async def is_settled(message: Message, sources: Mapping[str, Source], store: Store, seconds: float) -> bool:
    """Whether a message has had its effect, or can never have one. Whatever else it is, it must come again."""
    began = time.perf_counter()
    source, delivery, error = "", None, None
    is_done = True
    try:
        async with asyncio.timeout(seconds):
            source, delivery = await record_message(message.text, sources, store)
    except NotVerified as failure:
        # A one-time token that has proven another body: the same message again would be refused again.
        error = f"{type(failure).__name__}: {failure}"
    except (DatabaseUnavailable, ProofUnavailable, NobodysMessage, TimeoutError, ValueError) as failure:
        is_done, error = False, f"{type(failure).__name__}: {failure}"
    except Exception as failure:  # noqa: BLE001 - whatever it is, its neighbours must not come again
        log.exception("unexpected", message=message.id)
        is_done, error = False, f"{type(failure).__name__}: {failure}"
    told = {
        "source": source or "?",
        "status": 200 if is_done else 503,
        "bytes": len(message.text),
        "ms": round((time.perf_counter() - began) * 1000, 2),
        "waiting": store.committer.waiting,
    }
    tell(told, delivery, error)
    return is_done


async def record_message(text: str, sources: Mapping[str, Source], store: Store) -> tuple[str, Delivery | None]:
    """Raises NobodysMessage, ProofUnavailable, DatabaseUnavailable, ValueError, and NotVerified for a token that is spent."""
    unread = unread_of(text)
    if unread is None:
        return await record_foreign(unwrapped(text).encode(), sources, store)
    source = sources.get(unread.source)
    if source is None:
        raise NobodysMessage(
            f"there is no source {unread.source} here: is it in WEBHOOKS_SOURCES of this function too?"
        )
    return unread.source, await record(unread, source, store)


def unwrapped(text: str) -> str:
    """Also of a whole event: Lambda leaves it in the queue where the function has failed with it three times."""
    try:
        event = json.loads(text)
    except ValueError:
        return text
    match event:
        case {"Records": [{"Sns": _} | {"ses": _} as record]}:
            return message_in(record).text
        case _:
            return text


async def record_foreign(body: bytes, sources: Mapping[str, Source], store: Store) -> tuple[str, Delivery | None]:
    """What a provider's own service has put where AWS hands it on."""
    source = believer(body, sources)
    verified = Verified(WebhookRequest(source=source.adapter.source, body=body))
    answer = await source.adapter.handshake(verified)
    if isinstance(answer, Answer):
        return verified.source, None
    return verified.source, await record(source.adapter.unpack(verified), source, store)


def believer(body: bytes, sources: Mapping[str, Source]) -> Source:
    believers = [each for each in sources.values() if each.adapter.believes_aws(body)]
    if len(believers) == 1:
        return believers[0]
    names = ", ".join(each.adapter.source for each in believers)
    raise NobodysMessage(
        f"it could be of any of {names}: only SNS's envelope names a topic, so let it come by SNS without raw delivery"
        if believers
        else "it is of no source's topic"
    )
