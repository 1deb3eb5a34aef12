"""uvicorn, told how to stop: first say so, then finish what is in flight, then exit with 0."""

import time
from types import FrameType

import uvicorn
from uvicorn.supervisors import multiprocess

APP = "webhooks.app:app"
# How long `/readyz` says that we are stopping before the door is closed, and how long what is in flight may take then.
LEAVE_SECONDS = 1
FINISH_SECONDS = 7


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
    )
    if workers == 1:
        Server(config).run()
        return
    multiprocess.Process = Worker  # type: ignore[misc] # the supervisor offers no other way
    multiprocess.Multiprocess(config, [config.bind_socket()]).run()
