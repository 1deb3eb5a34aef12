"""What comes before a body, over raw sockets: uvicorn with our own limits, and an app that only says how much it was sent."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from webhooks import server
from webhooks.server import MAX_HEAD_BYTES, Protocol

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

ONE = b"GET / HTTP/1.1\r\nHost: service\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: service\r\n"


async def app(_: Any, receive: Any, send: Any) -> None:
    size, message = 0, {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        size += len(message.get("body", b""))
    said = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    monkeypatch.setattr(server, "HEAD_SECONDS", 0.2)
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_keep_alive=1)
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()
    opened: list[Streams] = []

    async def connect() -> Streams:
        opened.append(await asyncio.open_connection(host, port))
        return opened[-1]

    yield connect
    for _, writer in opened:
        writer.close()
    listening.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """What comes until the service hangs up, or has answered once."""
    async with asyncio.timeout(5):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionResetError:
            return b""
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        return head.split(b"\r\n")[0] + b" " + await reader.readexactly(length)


@pytest.mark.parametrize("before", [b"", ONE], ids=["at once", "after another"])
@pytest.mark.parametrize(
    ("begun", "more"),
    [(b"", b""), (b"POST / HTTP/1.1\r\nX: ", b""), (b"POST / HTTP/1.1\r\nX: ", b"x"), (b"", b"\r\n")],
    ids=["nothing", "half", "bit by bit", "blank lines"],
)
async def test_who_sends_no_whole_head_is_hung_up_on(
    connect: Connect, before: bytes, begun: bytes, more: bytes
) -> None:
    reader, writer = await connect()
    writer.write(before)
    if before:
        assert (await answer(reader)).endswith(b"200 OK 0")
    writer.write(begun)
    rest = asyncio.create_task(reader.read())
    async with asyncio.timeout(2):
        while not rest.done():
            writer.write(more)
            await asyncio.sleep(0.05)
    with suppress(ConnectionResetError):
        assert await rest == b""
    assert not Protocol.silent


async def test_a_slow_body_is_waited_for(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(BODY + b"Content-Length: 8\r\n\r\n")
    for _ in range(8):
        writer.write(b"x")
        await asyncio.sleep(0.05)
    assert (await answer(reader)).endswith(b"200 OK 8")


@pytest.mark.parametrize(
    "begun",
    [b"GET /", BODY, BODY + b"X: ", BODY + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "],
    ids=["address", "name", "value", "trailer"],
)
async def test_a_head_without_end_is_refused(connect: Connect, begun: bytes) -> None:
    reader, writer = await connect()
    writer.write(begun)
    for _ in range(64):
        writer.write(b"x" * 16 * 1024)
    assert b"400 Bad Request" in await answer(reader)


async def test_what_is_large_but_a_body_is_taken(connect: Connect) -> None:
    reader, writer = await connect()
    size = 20 * MAX_HEAD_BYTES
    writer.write(BODY + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
    assert (await answer(reader)).endswith(b"200 OK %d" % size)
    chunk = b"%x\r\n%s\r\n" % (MAX_HEAD_BYTES * 2, b"x" * MAX_HEAD_BYTES * 2)
    writer.write(BODY + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 10 + b"0\r\n\r\n")
    assert (await answer(reader)).endswith(b"200 OK %d" % size)


async def test_a_strangers_upgrade_is_nothing_to_warn_of(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await connect()
    writer.write(ONE[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (await answer(reader)).endswith(b"200 OK 0")
    assert not [each for each in caplog.records if each.levelname == "WARNING"]


async def test_when_there_are_too_many_the_silent_make_room(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(server, "log", SimpleNamespace(error=lambda event, **_: told.append(event)))
    monkeypatch.setattr(server, "HEAD_SECONDS", 60)
    monkeypatch.setattr(Protocol, "told_at", None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (server.SPARE_DESCRIPTORS + 3, -1))
    silent = [await connect() for _ in range(3)]
    for number in range(2):
        reader, writer = await connect()
        writer.write(ONE)
        assert (await answer(reader)).endswith(b"200 OK 0")
        assert await answer(silent[number][0]) == b""
    assert not silent[2][0].at_eof()
    assert [each.partition(":")[0] for each in told] == ["TOO MANY CONNECTIONS"]
