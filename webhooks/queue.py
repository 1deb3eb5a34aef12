"""Deliveries between verification and recording: into an SQS queue, and out of it again."""

import asyncio
import json
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Any, cast

from msgspec.structs import replace

from db.packing import packed
from providers.adapter import DeadLetter, Token, Unread
from webhooks.aws import CONCURRENCY, Client

# SQS takes 1 MiB a message, its attributes included, and never less than 1 KiB: what a queue's own MaximumMessageSize is
# between them, its refusals tell. Halves of this fit below the powers of two that people set.
MESSAGE_BYTES = 1_000_000
SMALLEST_LIMIT = 1024
# There is no code of its own for it; but of a message that is nothing but a text, what else could be wrong?
TOO_LONG = "InvalidParameterValue"

# What tells our messages from others that come into the same queue (SNS's notifications).
FORMAT = "email-webhooks/1"


class QueueUnavailable(Exception):
    """The queue did not take a delivery, or not all of it: the provider must send again."""


class Queue:
    """`url` says where; region, credentials and endpoint are the AWS SDK's own settings."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._sqs = Client("sqs")
        self._message_bytes = MESSAGE_BYTES

    async def put(self, unread: Unread) -> Unread:
        """Returns when the queue has all of a delivery, but for what it cannot carry, which is returned.

        Raises QueueUnavailable; part of it may lie in the queue then. What is put twice is recorded once.
        """
        texts, too_large = messages(unread, self._message_bytes)
        slots = asyncio.Semaphore(CONCURRENCY)

        async def send(text: str) -> None:
            async with slots:
                client = await self._sqs.open()
                await client.send_message(QueueUrl=self.url, MessageBody=text)

        sent = await asyncio.gather(*map(send, texts), return_exceptions=True)
        if refused := [text for text, answer in zip(texts, sent, strict=True) if is_too_long(text, answer)]:
            self._stay_below(min(map(len, refused)))
            return await self.put(unread)
        for failure in sent:
            if isinstance(failure, Exception):
                raise QueueUnavailable(f"{type(failure).__name__}: {failure}") from failure
            if isinstance(failure, BaseException):
                raise failure
        return too_large

    def _stay_below(self, size: int) -> None:
        """For as long as this process lives."""
        while self._message_bytes >= size:
            self._message_bytes //= 2

    async def open(self) -> None:
        """Make the SDK's client now, and not at the first delivery."""
        await self._sqs.open()

    async def close(self) -> None:
        await self._sqs.close()


def is_too_long(text: str, answer: object) -> bool:
    error = getattr(answer, "response", {}).get("Error", {})
    return error.get("Code") == TOO_LONG and len(text) > SMALLEST_LIMIT


def messages(unread: Unread, limit: int) -> tuple[list[str], Unread]:
    """A delivery as texts of at most `limit` bytes, cut between its items only; and what is too large for any text."""
    head = {
        "format": FORMAT,
        "source": unread.source,
        "received_at": unread.received_at.isoformat(),
        "is_whole": unread.is_whole,
        "delivery_id": unread.delivery_id,
        "token": [unread.token.token, unread.token.body] if unread.token else None,
    }
    room = limit - len(json.dumps(head)) - len(', "items": []')
    texts, too_large = [], []
    for items in packed(map(to_json, unread.items), room, between=2):
        if len(items) == 1 and len(items[0]) > room:
            too_large.append(from_json(json.loads(items[0])))
        else:
            texts.append(json.dumps(head)[:-1] + f', "items": [{", ".join(items)}]}}')
    letter = unread.dead_letter
    if letter:
        text = json.dumps({**head, "unreadable": to_value(letter.body), "error": letter.error})
        if len(text) <= limit:
            texts.append(text)
            letter = None
    return texts, replace(unread, items=too_large, dead_letter=letter)


def unread_of(text: str) -> Unread | None:
    """What one of our messages carries; None for somebody else's. Raises ValueError for one that is broken."""
    try:
        message = json.loads(text)
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("format") != FORMAT:
        return None
    try:
        source, received_at = message["source"], datetime.fromisoformat(message["received_at"])
        letter = None
        if "unreadable" in message:
            letter = DeadLetter(source, received_at, from_json(message["unreadable"]), message["error"])
        token = Token(*message["token"]) if message["token"] else None
        items = [from_json(item) for item in message.get("items", ())]
        return Unread(source, received_at, items, message["is_whole"], letter, message["delivery_id"], token)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a message of ours with a field missing or wrong: {error!r}") from error


def to_json(item: bytes) -> str:
    """In ASCII: SQS refuses some of the characters that JSON may hold."""
    return json.dumps(to_value(item))


def to_value(item: bytes) -> str | dict[str, str]:
    """The item's text, to be read in the queue's console; what is no text in base64."""
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(item).decode()}


def from_json(value: Any) -> bytes:
    return b64decode(value["base64"]) if isinstance(value, dict) else cast("str", value).encode()
