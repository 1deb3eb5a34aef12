"""Where deliveries come from: an adapter with its keys, which may change where they lie, and what the user says of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from providers.adapter import Adapter, NotVerified, ProofUnavailable, Verified, WebhookRequest
from webhooks.consent import TopicPolicy
from webhooks.faults import SettingsError

# How often keys are read anew, however much comes that they do not prove.
RENEWAL_SECONDS = 60.0


@dataclass(slots=True)
class Source:
    """`read_again` makes the adapter anew with the keys as they are now; None where they can only change by a restart.

    It raises SettingsError. `missing`: why some of its keys could not be had at the start; what they would prove is to
    come again.
    """

    adapter: Adapter
    topics: TopicPolicy = field(default_factory=TopicPolicy)
    is_verified: bool = True
    read_again: Callable[[], Awaitable[Adapter]] | None = None
    missing: Sequence[str] = ()
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _read_at: float | None = None
    _failure: SettingsError | None = None

    async def verify(self, request: WebhookRequest) -> Verified:
        """Raises NotVerified, and ProofUnavailable where it may be that the keys have changed and cannot be had."""
        if not self.is_verified:
            return Verified(request)
        adapter = self.adapter
        try:
            if not adapter.keys:
                raise NotVerified("none of the keys could be had")
            return await adapter.verify(request)
        except NotVerified:
            await self._renew(adapter)
            if self.adapter is adapter:
                raise
        return await self.adapter.verify(request)

    async def _renew(self, failed: Adapter) -> None:
        """Put another adapter in the place of the one that failed, if its keys have changed."""
        if self.read_again is None:
            return
        async with self._renewing:
            if self.adapter is failed and self._is_time():
                self._read_at, self._failure = time.monotonic(), None
                try:
                    renewed = await self.read_again()
                except SettingsError as failure:
                    self._failure = failure
                else:
                    renewed.fetch = failed.fetch
                    self.adapter = renewed if list(renewed.keys) != list(failed.keys) else failed
            if self._failure:
                raise ProofUnavailable(f"the keys may have changed: {self._failure}")

    def _is_time(self) -> bool:
        return self._read_at is None or time.monotonic() - self._read_at >= RENEWAL_SECONDS
