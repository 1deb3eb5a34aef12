"""An async client of the RDS Data API, and the second implementation of `Database`.

async with DataApi(cluster_arn, secret_arn, "app") as api:
    people = await api.select("select id, born from people where born < :day", {"day": date(2000, 1, 1)})
    async with api.transaction() as transaction:
        await transaction.execute("update people set seen = :at where id = :id", {"at": now, "id": people[0]["id"]})
"""

from db.data_api.client import DataApi
from db.data_api.errors import (
    DatabaseResuming,
    NotBegun,
    OutcomeUnknown,
    StatementTimedOut,
    Throttled,
    TransactionGone,
)
from db.data_api.transaction import Transaction
from db.data_api.values import Array, Json, Rows

__all__ = [
    "Array",
    "DataApi",
    "DatabaseResuming",
    "Json",
    "NotBegun",
    "OutcomeUnknown",
    "Rows",
    "StatementTimedOut",
    "Throttled",
    "Transaction",
    "TransactionGone",
]
