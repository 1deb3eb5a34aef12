"""The log of calls: what arrived, in its order, and what became of it."""

from dataclasses import dataclass


@dataclass(slots=True)
class Call:
    operation: str
    """ExecuteStatement, BatchExecuteStatement, BeginTransaction, …"""
    transaction_id: str | None = None
    """The one that it names, or has begun."""
    sql: str | None = None
    database: str | None = None
    fault: str | None = None
    """What befell it."""
    error: str | None = None
    """The code of the error that it was answered with."""
    status: int | None = None
    """The HTTP status of the answer; none where there was no answer (yet)."""
