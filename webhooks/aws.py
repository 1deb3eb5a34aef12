"""What we use of AWS besides the database: a client of any of its services, made once an event loop; a function's time."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

CONCURRENCY = 16
ATTEMPTS = 4
# Before Lambda kills a function it must have answered, or said what is not done.
MARGIN_SECONDS = 1.0


class Client:
    """Region, credentials and endpoint are the AWS SDK's own settings."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None

    async def open(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await self._stack.enter_async_context(new_client(self._service))
            return self._client

    async def close(self) -> None:
        self._client = None
        await self._stack.aclose()


def new_client(service: str) -> Any:
    import aiobotocore.session
    from aiobotocore.config import AioConfig

    config = AioConfig(
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=CONCURRENCY,
        connect_timeout=2,
        read_timeout=5,
    )
    return aiobotocore.session.get_session().create_client(service, config=config)


def seconds_left(context: Any) -> float:
    """Until a function on Lambda has to end."""
    left: float = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    return max(left, 0.1)
