"""A light HTTP client: keep-alive connections that post prepared bytes and time each answer."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from providers.adapter import WebhookRequest


@dataclass(slots=True)
class Measured:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    receipt: Counter[str] = field(default_factory=Counter)


def prepared(url: str, request: WebhookRequest) -> bytes:
    """The whole request as it goes over the wire."""
    where = urlsplit(url)
    headers = {"host": where.netloc, "content-length": str(len(request.body)), **request.headers}
    lines = [f"POST {where.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + request.body


class Connection(asyncio.Protocol):
    """One keep-alive connection: an answer at a time."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[bytes] | None = None
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator or self.answered is None:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.received = b""
            self.answered.set_result(head[9:12] + body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered and not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("the service hung up"))

    async def post(self, request: bytes) -> bytes:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined] # asyncio's own base knows no write
        return await self.answered


async def fire(url: str, requests: Sequence[bytes], connections: int) -> Measured:
    """Raises where an answer is not 200: a bench that drops requests measures nothing."""
    where = urlsplit(url)
    host, port = where.hostname or "", where.port or 80
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(Connection, host, port) for _ in range(min(connections, len(requests)))]
    measured = Measured()
    todo = iter(requests)

    async def work(connection: Connection) -> None:
        for request in todo:
            began = time.perf_counter()
            answer = await connection.post(request)
            measured.latencies.append(time.perf_counter() - began)
            if answer[:3] != b"200":
                raise RuntimeError(f"the service answers {answer!r}")
            measured.receipt.update(json.loads(answer[3:]))

    began = time.perf_counter()
    await asyncio.gather(*(work(connection) for _, connection in opened))
    measured.seconds = time.perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return measured
