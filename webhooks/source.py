"""Where deliveries come from: an adapter with its keys, which may change where they lie, and what the user says of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from providers.adapter import Adapter, NotVerified, ProofUnavailable, Verified, WebhookRequest
from webhooks.consent import TopicPolicy
from webhooks.faults import SettingsError

# How often AWS is asked for keys anew, however much comes that they do not prove. That is how long a stranger's rubbish,
# which has had them read a moment ago, can keep us from a new one.
RENEWAL_SECONDS = 60.0

Stamp = tuple[int, ...] | None


@dataclass(slots=True)
class Source:
    """`read_again` makes the adapter anew with the keys as they are now; None where they can only change by a restart.

    It raises SettingsError. `files`: those of its keys that lie in files, as they were when they were read; `in_aws`:
    whether others lie there. `missing`: why some of its keys could not be had at the start; what they would prove is to
    come again.
    """

    adapter: Adapter
    topics: TopicPolicy = field(default_factory=TopicPolicy)
    is_verified: bool = True
    read_again: Callable[[], Awaitable[Adapter]] | None = None
    files: Mapping[Path, Stamp] = field(default_factory=dict)
    in_aws: bool = False
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
            files = {path: stamp(path) for path in self.files}
            if self.adapter is failed and (files != self.files or self._is_time()):
                self.files, self._read_at, self._failure = files, time.monotonic(), None
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
        """Whether to read what nobody can see change: keys in AWS, and any that could not be had."""
        if not self.in_aws and self._failure is None:
            return False
        return self._read_at is None or time.monotonic() - self._read_at >= RENEWAL_SECONDS


def stamp(path: Path) -> Stamp:
    """Another whenever the file has been written or replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
