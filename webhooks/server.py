"""uvicorn, told how to stop: first say so, then finish what is in flight, then exit with 0. And not to wait for strangers."""

import asyncio
import resource
import sys
import time
from types import FrameType
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import multiprocess

from webhooks.telemetry import log

APP = "webhooks.app:app"
# How long `/readyz` says that we are stopping before the door is closed, and how long what is in flight may take then.
LEAVE_SECONDS = 1
FINISH_SECONDS = 7
# What comes before a body: how long it may take, and how much it may be.
HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 64 * 1024
# Kept free of connections: for the database, for files, for the loop itself.
SPARE_DESCRIPTORS = 64
TELL_SECONDS = 60.0


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.close_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """At the first signal deliveries are refused, a little later the port is closed; at the second at once."""
        if not self.started:
            # Nothing is in flight, and the app may be half imported: it ends when its start has.
            self.should_exit = True
        elif self.close_at is None:
            self.close_at = time.monotonic() + LEAVE_SECONDS
            stop_taking()
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        is_time = self.close_at is not None and time.monotonic() >= self.close_at
        return await super().on_tick(counter) or is_time


def stop_taking() -> None:
    from webhooks.app import app

    app.state.service.is_stopping = True


class Protocol(HttpToolsProtocol):
    """Hangs up on who sends no whole head, in time or within bounds: uvicorn waits for ever and keeps whatever comes."""

    silent: ClassVar[dict["Protocol", asyncio.TimerHandle]] = {}
    """Those whose head is awaited, longest first, and what hangs up on them."""
    told_at: ClassVar[float | None] = None
    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.await_head()
        if len(self.connections) > max_connections():
            self.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.await_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.head_bytes > MAX_HEAD_BYTES:
            self.send_400_response(f"More than {MAX_HEAD_BYTES} bytes that are no body.")
        elif self.cycle is None or self.cycle.response_complete:
            self.await_head()

    # Whenever one part ends, count anew: what came along with it may be the next, and is one packet at most.

    def on_message_begin(self) -> None:
        self.head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self.head_bytes = 0
        self.await_no_head()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.head_bytes = 0
        super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        """A stranger's Upgrade is nothing to warn of."""

    def await_head(self) -> None:
        if self not in self.silent:
            self.silent[self] = self.loop.call_later(HEAD_SECONDS, self.hang_up)

    def await_no_head(self) -> None:
        if timer := self.silent.pop(self, None):
            timer.cancel()

    def hang_up(self) -> None:
        self.await_no_head()
        self.transport.close()

    def make_room(self) -> None:
        """Who has been silent for longest goes, so that whoever speaks is heard."""
        next(iter(self.silent)).hang_up()
        now = time.monotonic()
        if Protocol.told_at is None or now - Protocol.told_at > TELL_SECONDS:
            Protocol.told_at = now
            log.error(
                "TOO MANY CONNECTIONS: the silent ones are closed; raise `ulimit -n`, or put a proxy in front",
                connections=len(self.connections),
            )


def max_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if descriptors == resource.RLIM_INFINITY else max(descriptors - SPARE_DESCRIPTORS, 1)


class Worker(multiprocess.Process):
    """One of several processes; the supervisor would give it uvicorn's own server."""

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = Server(self.config)
        return self._server


def serve(host: str, port: int, workers: int) -> None:
    """Returns when the service has been stopped."""
    config = uvicorn.Config(
        APP,
        host=host,
        port=port,
        workers=workers,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=FINISH_SECONDS,
        server_header=False,
        http=Protocol,
        ws="none",
    )
    if workers == 1:
        Server(config).run()
        return
    multiprocess.Process = Worker  # type: ignore[misc] # the supervisor offers no other way
    multiprocess.Multiprocess(config, [config.bind_socket()]).run()
