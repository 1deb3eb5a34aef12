"""The wire: a signed POST in, an answer in AWS's shape out; and, where it was asked for, the side door for drills."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableSequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from db.local_data_api import faults as misbehaving
from db.local_data_api.calls import Call
from db.local_data_api.errors import ApiError, Cut, bad_request
from db.local_data_api.faults import Faults
from db.local_data_api.limits import Limits
from db.local_data_api.service import Service, encode
from db.local_data_api.sessions import Sessions
from db.local_data_api.shapes import read_request
from db.local_data_api.side_door import SideDoor
from db.local_data_api.signature import check_signature
from db.local_data_api.transactions import Transactions

REGION = "us-east-1"
CLUSTER_ARN = f"arn:aws:rds:{REGION}:123456789012:cluster:local-data-api"
SECRET_ARN = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:local-data-api-AbCdEf"

PATHS = {
    "/Execute": "ExecuteStatement",
    "/BatchExecute": "BatchExecuteStatement",
    "/BeginTransaction": "BeginTransaction",
    "/CommitTransaction": "CommitTransaction",
    "/RollbackTransaction": "RollbackTransaction",
    "/ExecuteSql": "ExecuteSql",
}
# In the ASGI scope's extensions: how the server lets the app cut a connection.
CUT = "db.local_data_api"
SWEEP_SECONDS = 0.25

logger = logging.getLogger(__name__)


def create_app(  # noqa: PLR0913 - each has a default
    url: str | Callable[[], Awaitable[str]],
    *,
    cluster_arn: str = CLUSTER_ARN,
    secret_arn: str = SECRET_ARN,
    limits: Limits | None = None,
    faults: Faults | None = None,
    calls: MutableSequence[Call] | None = None,
    clock: Callable[[], float] = time.monotonic,
    side_door: bool = False,
) -> Starlette:
    """The app over the PostgreSQL at `url`, which is asked for at each new connection where it may change.

    `limits` and `faults` may be changed while it runs; each call is added to `calls` as it arrives. `side_door` serves
    `/faults` too: GET shows them, PUT orders them, DELETE makes an end of them.
    """

    async def address() -> str:
        return url if isinstance(url, str) else await url()

    limits = limits or Limits()
    faults = faults or Faults()
    sessions = Sessions(address, limits)
    transactions = Transactions(sessions, limits, clock)
    service = Service(sessions, transactions, limits, cluster_arn=cluster_arn, secret_arn=secret_arn)
    wire = Wire(service, limits, faults, clock, calls)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(sweep(sessions, transactions))
        yield
        sweeper.cancel()
        await sessions.close()

    door = SideDoor(faults, clock)
    app = Starlette(
        routes=[
            *(Route(path, wire.endpoint(operation), methods=["POST"]) for path, operation in PATHS.items()),
            *([Route("/faults", door.answer, methods=["GET", "PUT", "DELETE"])] if side_door else []),
        ],
        middleware=[Middleware(OriginForm)],
        exception_handlers={404: no_such_operation, 405: no_such_operation},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def sweep(sessions: Sessions, transactions: Transactions) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await transactions.expire()
            await sessions.close_idle()
        except Exception:
            logger.exception("sweeping failed")


@dataclass(frozen=True)
class Wire:
    service: Service
    limits: Limits
    faults: Faults
    clock: Callable[[], float]
    calls: MutableSequence[Call] | None

    def endpoint(self, operation: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            call = Call(operation)
            if self.calls is not None:
                self.calls.append(call)
            try:
                body, error = await self._answer(request, call), None
            except (Cut, ClientDisconnect):
                return CutConnection()
            except ApiError as refused:
                body, error = encode(refused.body), refused
            except Exception:
                logger.exception("%s failed", operation)
                error = ApiError("InternalFailure", "")
                body = encode(error.body)
            call.status, call.error = (error.status, error.code) if error else (200, None)
            return response(body, call)

        return answer

    async def _answer(self, http: Request, call: Call) -> bytes:
        """Raises ApiError and Cut."""
        latency = self.faults.latency
        body = await read_body(http, self.limits.request_bytes)
        await asyncio.sleep(latency / 2)
        try:
            check_signature(http.headers)
            request = read_request(call.operation, body, self.limits.sql_characters)
            note(call, request)
            return await self._carry_out(request, call)
        finally:
            await asyncio.sleep(latency / 2)

    async def _carry_out(self, request: Mapping[str, object], call: Call) -> bytes:
        if self.faults.resuming_until > self.clock():
            raise misbehaving.resuming()
        fault = self.faults.draw(call.operation)
        call.fault = fault
        if met := misbehaving.before(fault):
            raise met
        try:
            body = await self.service.carry_out(call.operation, request, fault)
        except ApiError as error:
            raise misbehaving.after(fault) or error from None
        if call.operation == "BeginTransaction":
            call.transaction_id = json.loads(body)["transactionId"]
        if lost := misbehaving.after(fault):
            raise lost
        return body


def note(call: Call, request: Mapping[str, object]) -> None:
    for name, member in {"transaction_id": "transactionId", "sql": "sql", "database": "database"}.items():
        setattr(call, name, request.get(member))


async def read_body(http: Request, limit: int) -> bytes:
    """All of it is read even where it is too large: the sender would not listen before."""
    size = len(http.url.path) + sum(len(name) + len(value) + 4 for name, value in http.headers.raw)
    parts = []
    async for part in http.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
    if size > limit:
        raise bad_request(f"The request exceeds the size limit of {limit} bytes, headers included")
    return b"".join(parts)


def response(body: bytes, call: Call | None = None) -> Response:
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    if call and call.error:
        headers["x-amzn-ErrorType"] = call.error
    return Response(body, call.status if call and call.status else 200, headers, media_type="application/json")


async def no_such_operation(request: Request, _: Exception) -> Response:
    error = ApiError("UnknownOperationException", f"There is no {request.method} {request.url.path}")
    return response(encode(error.body), Call("", error=error.code, status=error.status))


class CutConnection(Response):
    """Instead of an answer the connection is closed. No server of ours, no way: then an error takes its place."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        cut = scope.get("extensions", {}).get(CUT)
        if cut is None:
            raise ConnectionAbortedError("cut by a fault, but the server cannot close the connection")
        cut["cut"]()
        await receive()  # until it is closed


@dataclass(frozen=True)
class OriginForm:
    """`POST http://host/Execute` is a valid request line: some servers hand on all of it as the path."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(("http://", "https://")):
            scope = {**scope, "path": urlsplit(scope["path"]).path}
        await self.app(scope, receive, send)
