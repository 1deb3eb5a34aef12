"""Calls as such: one aiobotocore client for an event loop, a bounded number of calls at a time, JSON bodies."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from db.data_api.errors import Failure, translated
from db.database import DatabaseUnavailable

CONNECT_SECONDS = 5.0
# The Data API cuts a statement after 45 s and says so: that answer is waited for.
ANSWER_SECONDS = 50.0
# Where nothing acknowledges what we send for so long, nobody is there any more (a process that was frozen, say).
UNACKNOWLEDGED_SECONDS = 5.0
# After such a pause, connections may have been closed behind our back.
IDLE_SECONDS = 1.0
# What aiohttp would rather be given as a file.
LARGE_BYTES = 1024 * 1024

# What botocore wants to see of a request before it lets it pass. The body is ours.
OPERATIONS = {
    "ExecuteStatement": ("execute_statement", {"sql": ""}),
    "BatchExecuteStatement": ("batch_execute_statement", {"sql": ""}),
    "BeginTransaction": ("begin_transaction", {}),
    "CommitTransaction": ("commit_transaction", {"transactionId": ""}),
    "RollbackTransaction": ("rollback_transaction", {"transactionId": ""}),
}

decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Bodies:
    """Of the call that is under way in this task."""

    sent: bytes
    received: bytes = b""


bodies: ContextVar[Bodies] = ContextVar("bodies")


@dataclass(slots=True)
class Connected:
    """What belongs to one event loop."""

    loop: asyncio.AbstractEventLoop
    slots: asyncio.Semaphore
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    client: Any = None
    used_at: float = 0.0


class Wire:
    """`concurrency` calls at a time, and as many pooled connections; who comes later waits."""

    def __init__(  # noqa: PLR0913 - all that a client is made of
        self,
        cluster_arn: str,
        secret_arn: str,
        *,
        concurrency: int,
        region: str | None,
        endpoint_url: str | None,
        session: AioSession | None,
    ) -> None:
        self.arns = {"resourceArn": cluster_arn, "secretArn": secret_arn}
        self._concurrency = concurrency
        self._region = region or region_of(cluster_arn)
        self._endpoint_url = endpoint_url
        self._session = session or get_session()
        self._connected: Connected | None = None

    async def call(self, operation: str, body: bytes) -> dict[str, Any]:
        """The answer to a request of which `body` is all. Raises DatabaseUnavailable and BadData."""
        connected = self._here()
        async with connected.slots:
            client = connected.client or await self._open(connected)
            await self._wake(connected)
            name, required = OPERATIONS[operation]
            exchanged = Bodies(body)
            # No other call of this task is under way, and its subtasks inherit ours.
            token = bodies.set(exchanged)
            try:
                await getattr(client, name)(**self.arns, **required)
            except Exception as error:
                raise failure(error) from error
            finally:
                bodies.reset(token)
                connected.used_at = time.time()
        try:
            return decode(exchanged.received or b"{}")
        except msgspec.DecodeError as error:
            raise DatabaseUnavailable(f"the Data API's answer is none of its own: {error}") from error

    def _here(self) -> Connected:
        """A client lives and dies with its event loop: in another (a test's, a new `asyncio.run`), another is made."""
        loop = asyncio.get_running_loop()
        if self._connected is None or self._connected.loop is not loop:
            self._connected = Connected(loop, asyncio.Semaphore(self._concurrency))
        return self._connected

    async def open(self) -> None:
        """Make the client now, and not at the first call."""
        connected = self._here()
        if connected.client is None:
            await self._open(connected)

    async def _open(self, connected: Connected) -> Any:
        async with connected.opening:
            if connected.client is None:
                try:
                    connected.client = await connected.stack.enter_async_context(self._new_client())
                except Exception as error:
                    raise failure(error) from error
                for event, handler in HANDLERS.items():
                    connected.client.meta.events.register_first(event, handler)
            return connected.client

    def _new_client(self) -> Any:
        config = AioConfig(
            # Ours are better: within the caller's deadline, and only what is safe to repeat.
            retries={"total_max_attempts": 1},
            max_pool_connections=self._concurrency,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            connector_args={"socket_factory": new_socket},
        )
        return self._session.create_client(
            "rds-data", region_name=self._region, endpoint_url=self._endpoint_url, config=config
        )

    async def _wake(self, connected: Connected) -> None:
        """After a pause let the loop see first which connections were closed meanwhile.

        Of the wall clock's time: a frozen process's own may stand still.
        """
        if time.time() - connected.used_at > IDLE_SECONDS:
            for _ in range(2):
                await asyncio.sleep(0)

    async def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected and connected.loop is asyncio.get_running_loop():
            await connected.stack.aclose()


def region_of(arn: str) -> str | None:
    """A cluster answers in its own region only, which its ARN names; nothing leaves it to the SDK's settings."""
    parts = arn.split(":")
    return parts[3] or None if len(parts) > 3 else None


def failure(error: Exception) -> Exception:
    ours: Failure | None = translated(error)
    return ours or error


def send_ours(request: Any, **_: Any) -> None:
    """Before it is signed. Our body is encoded once, its size is known, and its letters beyond ASCII stay as they are:
    botocore would write each in six bytes or twelve, of which four million are all that a request may have.
    """
    body = bodies.get().sent
    # A large one is written bit by bit, so that others have their turn.
    request.data = body if len(body) < LARGE_BYTES else BytesIO(body)


def keep_theirs(response_dict: dict[str, Any], **_: Any) -> None:
    """Before it is parsed: botocore would take apart each field of each row. Errors it may read."""
    if response_dict["status_code"] < 300:
        bodies.get().received, response_dict["body"] = response_dict["body"], b"{}"


# So no body passes through botocore, which would write it into its debug log.
HANDLERS: Mapping[str, Callable[..., None]] = {
    "request-created.rds-data": send_ours,
    "before-parse.rds-data": keep_theirs,
}


def new_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED_SECONDS * 1000))
    return made
