"""Serving the app over HTTP with uvicorn, whose connections can be cut."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from db.local_data_api.app import CUT, REGION

# Longer than clients keep an idle connection: else they would now and then send into one that is being closed.
KEEP_ALIVE_SECONDS = 75
# What may a statement that is under way take, when the server is told to stop.
FINISH_SECONDS = 1


class Protocol(HttpToolsProtocol):
    """Lets the app close the connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Head and body are two packets: the second must not wait until the client has acknowledged the first.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"cut": self.transport.abort}}


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The base class would raise the signal again in the end, past those who have to tidy up behind us."""
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(
    app: Starlette, *, host: str = "127.0.0.1", port: int = 8002, when_ready: Callable[[str], None] | None = None
) -> None:
    """Returns when SIGINT or SIGTERM has ended it. `when_ready` is told the URL. Raises OSError: the port is taken."""
    with listening(host, port) as listener:
        if when_ready:
            when_ready(url_of(listener))
        Server(configuration(app)).run([listener])


@asynccontextmanager
async def serving(app: Starlette, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The URL, while it is served by this event loop; on a free port unless one is named."""
    with listening(host, port) as listener:
        server = Server(configuration(app))
        task = asyncio.create_task(server._serve([listener]))  # noqa: SLF001 - serve() would take over the signals
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.001)
        try:
            yield url_of(listener)
        finally:
            server.should_exit = True
            await task


def listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configuration(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
    )


def environment(url: str) -> dict[str, str]:
    """What points any AWS SDK at a local Data API, and gives it credentials to sign with."""
    return {
        "AWS_ENDPOINT_URL_RDS_DATA": url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
