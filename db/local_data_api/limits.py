"""What the Data API does not go beyond; smaller numbers make the edges easy to test."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(slots=True)
class Limits:
    """To be changed at any time; the next call sees it."""

    request_bytes: int = 4 * MIB
    """Headers and body."""
    response_bytes: int = MIB
    sql_characters: int = 65_536
    statement_seconds: float = 45.0
    transaction_idle_seconds: float = 180.0
    transaction_seconds: float = 24 * 3600.0
    connections: int = 80
    """Sessions with PostgreSQL at a time, those of transactions included; who comes later waits."""
    pooled_seconds: float = 5.0
    """How long a session that nobody uses is kept."""
