"""How the local Data API misbehaves when it is told to: late, paused, throttled, broken, cut off."""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from db.local_data_api.errors import ApiError, Cut


class Fault(StrEnum):
    """What befalls a call. Unless it says so, nothing of the call is carried out."""

    THROTTLE = "throttle"
    INTERNAL_ERROR = "internal_error"  # 500
    UNAVAILABLE = "unavailable"  # 503
    DATABASE_UNAVAILABLE = "database_unavailable"  # 504
    RESUMING = "resuming"  # this once; `Faults.resuming_until` is for a while
    CUT_BEFORE = "cut_before"  # the connection is closed without an answer

    CUT_AFTER = "cut_after"  # the same, when all is carried out and committed
    ERROR_AFTER = "error_after"  # 500, when all is carried out and committed
    OVERSIZE = "oversize"  # carried out, but the answer is said to be too large

    SERIALIZATION = "serialization"  # 40001: the statement, or the commit, fails in PostgreSQL
    DEADLOCK = "deadlock"  # 40P01, likewise
    TIMEOUT = "timeout"  # the statement is cut off as if its 45 seconds were over
    EXPIRED = "expired"  # the call's transaction has ended, rolled back

    # What somebody has to mend: with a rate of 1, what `webhooks doctor` is for.
    ENDPOINT_DISABLED = "endpoint_disabled"
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - a name
    SECRET_INVALID = "secret_invalid"  # noqa: S105
    PASSWORD_REFUSED = "password_refused"  # noqa: S105
    ACCESS_DENIED = "access_denied"


Rates = Mapping[Any, float]  # by Fault, or by its name


@dataclass(slots=True)
class Faults:
    """To be changed at any time; the next call sees it."""

    latency: float = 0.0
    """Seconds on the way, half of them before and half after the work."""
    resuming_until: float = 0.0
    """On the clock of the app, `time.monotonic` unless another was given."""
    rates: Rates = field(default_factory=dict)
    """The share of calls that each fault befalls: {"throttle": 0.05, "cut_after": 0.1}."""
    operations: Mapping[str, Rates] = field(default_factory=dict)
    """Rates of one operation, over those of all: {"CommitTransaction": {"cut_after": 0.5}}."""
    next_calls: deque[Fault | str | None] = field(default_factory=deque)
    """What befalls the next calls, in their order, before any rate counts; None: nothing."""
    chance: random.Random = field(default_factory=random.Random)
    """Give it a seed, and the same calls in the same order meet the same faults."""

    def draw(self, operation: str) -> Fault | None:
        """What befalls this call."""
        if self.next_calls:
            fault = self.next_calls.popleft()
            return Fault(fault) if fault else None
        number = self.chance.random()
        for kind, rate in {**self.rates, **self.operations.get(operation, {})}.items():
            number -= rate
            if number < 0:
                return Fault(kind)
        return None


def resuming() -> ApiError:
    return ApiError(
        "DatabaseResumingException",
        "The Aurora DB instance local-data-api is resuming after being auto-paused."
        " Please wait a few seconds and try again.",
    )


def before(fault: Fault | None) -> Exception | None:
    """What the call meets instead of being carried out."""
    if fault is Fault.CUT_BEFORE:
        return Cut()
    if fault is Fault.RESUMING:
        return resuming()
    return ApiError(*BEFORE[fault]) if fault in BEFORE else None


def after(fault: Fault | None) -> Exception | None:
    """What becomes of the answer, whatever it is."""
    if fault is Fault.CUT_AFTER:
        return Cut()
    return ApiError(*BEFORE[Fault.INTERNAL_ERROR]) if fault is Fault.ERROR_AFTER else None


BEFORE: Mapping[Any, tuple[str, str]] = {
    Fault.THROTTLE: ("ThrottlingException", "Rate exceeded"),
    Fault.INTERNAL_ERROR: ("InternalServerErrorException", "An internal error occurred."),
    Fault.UNAVAILABLE: ("ServiceUnavailableError", "The service is unavailable. Try again later."),
    Fault.DATABASE_UNAVAILABLE: ("DatabaseUnavailableException", "The writer instance isn't available."),
    Fault.ENDPOINT_DISABLED: (
        "HttpEndpointNotEnabledException",
        "HttpEndpoint isn't enabled for cluster local-data-api",
    ),
    Fault.SECRET_UNREADABLE: ("SecretsErrorException", "The secret provided wasn't found or couldn't be decrypted."),
    Fault.SECRET_INVALID: ("InvalidSecretException", "The Secrets Manager secret used with the request isn't valid."),
    Fault.PASSWORD_REFUSED: (
        "DatabaseErrorException",
        'FATAL: password authentication failed for user "local"; SQLState: 28P01',
    ),
    Fault.ACCESS_DENIED: (
        "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/local is not authorized to perform the rds-data action on the resource",
    ),
}
