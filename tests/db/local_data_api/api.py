"""What the tests call the local Data API with: aiobotocore as anybody uses it, and bare HTTP with a made-up signature."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from botocore.exceptions import ClientError

from db.local_data_api import CLUSTER_ARN, SECRET_ARN, Call, Faults, Limits

ARNS = {"resourceArn": CLUSTER_ARN, "secretArn": SECRET_ARN}
STAMP = "20260102T030405Z"
SIGNATURE = {
    "x-amz-date": STAMP,
    "authorization": "AWS4-HMAC-SHA256 Credential=anybody/20260102/eu-west-1/rds-data/aws4_request,"
    f" SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
}
Value = dict[str, Any] | tuple[dict[str, Any], str]


@dataclass
class Clock:
    """Of transactions: it moves when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Refused:
    """An error as a caller sees it."""

    code: str
    status: int
    message: str


@dataclass
class Api:
    url: str
    database: str
    client: Any
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    calls: list[Call] = field(default_factory=list)

    def reset(self) -> None:
        for kept, new in ((self.limits, Limits()), (self.faults, Faults())):
            for name in type(new).__dataclass_fields__:
                setattr(kept, name, getattr(new, name))
        self.calls.clear()

    async def execute(self, sql: str, values: Mapping[str, Value] | None = None, **options: Any) -> dict[str, Any]:
        return await self.operate("execute_statement", sql=sql, parameters=parameters(values), **options)

    async def rows(self, sql: str, values: Mapping[str, Value] | None = None, **options: Any) -> list[Any]:
        """The records, without the names of their members."""
        answer = await self.execute(sql, values, **options)
        return [[bare(field) for field in record] for record in answer["records"]]

    async def field(self, sql: str, values: Mapping[str, Value] | None = None, **options: Any) -> dict[str, Any]:
        """The only field of the only record."""
        [[only]] = (await self.execute(sql, values, **options))["records"]
        found: dict[str, Any] = only
        return found

    async def batch(self, sql: str, *sets: Mapping[str, Value], **options: Any) -> dict[str, Any]:
        return await self.operate(
            "batch_execute_statement", sql=sql, parameterSets=[parameters(each) for each in sets], **options
        )

    async def begin(self, **options: Any) -> str:
        transaction: str = (await self.operate("begin_transaction", **options))["transactionId"]
        return transaction

    async def commit(self, transaction: str) -> str:
        answer = await self.client.commit_transaction(**ARNS, transactionId=transaction)
        return str(answer["transactionStatus"])

    async def roll_back(self, transaction: str) -> str:
        answer = await self.client.rollback_transaction(**ARNS, transactionId=transaction)
        return str(answer["transactionStatus"])

    async def operate(self, method: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await getattr(self.client, method)(**ARNS | {"database": self.database} | options)
        del answer["ResponseMetadata"]
        return answer

    async def refused(self, sql: str, values: Mapping[str, Value] | None = None, **options: Any) -> Refused:
        try:
            answer = await self.execute(sql, values, **options)
        except ClientError as error:
            return refusal(error)
        raise AssertionError(f"not refused: {answer}")

    async def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None, *, method: str = "POST"
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.request(
                method, f"{self.url}{path}", content=content, headers=SIGNATURE if headers is None else headers
            )


def refusal(error: ClientError) -> Refused:
    told = error.response["Error"]
    return Refused(told["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"], told["Message"])


def parameters(values: Mapping[str, Value] | None) -> list[dict[str, Any]]:
    made = []
    for name, value in (values or {}).items():
        field, hint = value if isinstance(value, tuple) else (value, None)
        made.append({"name": name, "value": field, **({"typeHint": hint} if hint else {})})
    return made


def bare(field: dict[str, Any]) -> Any:
    [(kind, value)] = field.items()
    return None if kind == "isNull" else value


def string(value: str) -> dict[str, str]:
    return {"stringValue": value}


def long(value: int) -> dict[str, int]:
    return {"longValue": value}


NULL = {"isNull": True}
