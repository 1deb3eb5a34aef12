"""HTTP: bytes and headers in, statuses out. `uvicorn webhooks.app:app` serves it."""

import asyncio
import gc
import re
import sys
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from db.committer import Overloaded
from db.database import Database, DatabaseMisconfigured, DatabaseUnavailable
from db.migrate import migrate, pending
from db.store import Receipt, Store
from providers.adapter import Answer, NotVerified, ProofUnavailable, WebhookRequest
from webhooks.database import new_database
from webhooks.faults import SettingsError
from webhooks.fetch import fetch
from webhooks.ingest import Delivery, ingest
from webhooks.queue import Queue, QueueUnavailable
from webhooks.settings import Settings, load_settings
from webhooks.source import Source
from webhooks.telemetry import configure_logging, log, observers, tell

if TYPE_CHECKING:
    from db.embedded import Embedded

READ_SECONDS = 30
RETRY_SECONDS = 5
# All the bodies that are being read or recorded at once; beyond it strangers could fill the memory. They are held as they
# were sent until they are whole, so that who sends little keeps little; and the last part is left to small ones, as
# nearly all deliveries are, so that a few who send much do not keep those out.
MAX_HELD_BYTES = 256 * 1024 * 1024
MAX_HELD_WITH_SMALL_BYTES = 320 * 1024 * 1024
SMALL_BYTES = 256 * 1024
LENGTH = re.compile(r"\d{1,19}", re.ASCII)
# What lies behind a member is copied: so bodies are decompressed in pieces, lest many tiny members cost much time.
PIECE_BYTES = 16 * 1024
DECOMPRESSED = {"gzip": 31, "x-gzip": 31, "deflate": 47}


class Malformed(Exception):
    """A request that is no proper HTTP."""


class TooLarge(Exception):
    """A body beyond WEBHOOKS_MAX_BODY_BYTES."""


class TooSlow(Exception):
    """A body that did not come in time."""


class ShuttingDown(Exception):
    """What is in flight is finished; nothing new begins."""


# 503 stands for the status by which the provider's adapter says "send again".
STATUSES: Mapping[type[Exception], tuple[int, str]] = {
    Malformed: (400, "malformed"),
    NotVerified: (401, "not_verified"),
    TooLarge: (413, "too_large"),
    TooSlow: (503, "too_slow"),
    ShuttingDown: (503, "shutting_down"),
    Overloaded: (503, "overloaded"),
    ProofUnavailable: (503, "proof_unavailable"),
    QueueUnavailable: (503, "queue_unavailable"),
    DatabaseMisconfigured: (503, "database_misconfigured"),
    DatabaseUnavailable: (503, "database_unavailable"),
}
# What the database says of itself is for the log, not for whoever asks.
DETAILS: Mapping[type[Exception], str] = {
    ShuttingDown: "this process is stopping, send again",
    DatabaseMisconfigured: "the database is not as it must be: `webhooks doctor` tells what is missing",
    DatabaseUnavailable: "the database does not answer, send again",
    ProofUnavailable: "what would prove this cannot be had now, send again",
    QueueUnavailable: "the queue does not answer, send again",
}


@runtime_checkable
class Openable(Protocol):
    async def open(self) -> Any: ...


@dataclass(slots=True)
class Service:
    """What the routes share."""

    settings: Settings
    sources: Mapping[str, Source]
    database: Database
    store: Store
    queue: Queue | None = None
    embedded: "Embedded | None" = None
    is_stopping: bool = False
    held_bytes: int = 0

    async def open(self) -> None:
        """Make the clients of what lies elsewhere now, and not at the first delivery."""
        for each in (self.database, self.queue):
            if isinstance(each, Openable):
                await each.open()


@dataclass(slots=True)
class Held:
    """What one delivery takes of the memory that all share."""

    service: Service
    size: int = 0

    def add(self, size: int) -> None:
        """Raises Overloaded."""
        self.size += size
        self.service.held_bytes += size
        limit = MAX_HELD_WITH_SMALL_BYTES if self.size <= SMALL_BYTES else MAX_HELD_BYTES
        if size > 0 and self.service.held_bytes > limit:
            raise Overloaded("too much is being received at once")


def create_app(settings: Settings, *, is_scraped: bool = True) -> Starlette:
    """`is_scraped`: whether Prometheus comes for what is counted."""
    configure_logging(settings.log_level)
    service = new_service(settings)
    app = Starlette(
        routes=[
            Route("/webhooks/{source}", take, methods=["POST", "GET", "OPTIONS"]),
            # As an address may be pasted.
            Route("/webhooks/{source}/", take, methods=["POST", "GET", "OPTIONS"]),
            Route("/healthz", alive),
            Route("/readyz", ready),
        ],
        exception_handlers={HTTPException: refuse},
        lifespan=lifespan,
    )
    # Nobody is sent to where a stranger's Host header points.
    app.router.redirect_slashes = False
    app.state.service = service
    if is_scraped:
        add_metrics(app)
    return app


def add_metrics(app: Starlette) -> None:
    from webhooks.prometheus import CONTENT_TYPE, metrics, observe

    async def expose(_: Request) -> Response:
        return Response(metrics(), headers={"Content-Type": CONTENT_TYPE})

    app.add_route("/metrics", expose, methods=["GET"])
    if observe not in observers:
        observers.append(observe)


def new_service(settings: Settings) -> Service:
    sources = sources_of(settings)
    if not sources:
        raise SettingsError(
            [
                'WEBHOOKS_SOURCES: no source, so nothing could come in: set it to {"sendgrid": {"keys": ["MFkw…"]}} or the like'
            ]
        )
    for name, source in sources.items():
        source.adapter.fetch = fetch
        if source.missing:
            log.error("KEYS MISSING: what they would prove is told to come again", source=name, faults=source.missing)
        if not source.is_verified:
            log.warning(
                "NOT VERIFIED: anybody can opt anybody out or in through this source", source=name, verify=False
            )
    embedded = new_embedded(settings) if settings.is_embedded else None
    database = new_database(settings, embedded)
    store = Store(database, in_flight=settings.statements)
    queue = Queue(settings.queue_url) if settings.queue_url else None
    return Service(settings, sources, database, store, queue, embedded)


def sources_of(settings: Settings) -> Mapping[str, Source]:
    if not settings.is_trial:
        return settings.sources
    from webhooks.trial import trial_sources

    return trial_sources(settings.data_dir)


def new_embedded(settings: Settings) -> "Embedded":
    from db.embedded import Embedded

    return Embedded(settings.data_dir / "postgres")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    # What has been imported stays: looking through it for garbage, again and again, costs 5 % of a delivery.
    gc.freeze()
    if service.embedded:
        await migrate(service.database, preferences_index=service.settings.preferences_index)
    log.info("started", sources=sorted(service.sources))
    try:
        yield
    finally:
        service.is_stopping = True
        await service.store.close()
        if service.queue:
            await service.queue.close()
        if service.embedded:
            await asyncio.to_thread(service.embedded.stop)
        log.info("stopped")


async def take(request: Request) -> Response:
    if request.method == "POST" or (request.method == "GET" and event_in_address(request)):
        return await receive(request)
    return await look(request)


def event_in_address(request: Request) -> bytes:
    """What stands behind the question mark, as it was sent, less our user's own key; empty where nothing would be read."""
    source = request.app.state.service.sources.get(request.path_params["source"])
    if source is None or not source.adapter.delivers_by_get:
        return b""
    parts: list[bytes] = request.scope["query_string"].split(b"&")
    return b"&".join(part for part in parts if part and not part.startswith(b"key="))


async def receive(request: Request) -> Response:
    """POST /webhooks/{source}: one delivery."""
    began = time.perf_counter()
    service: Service = request.app.state.service
    source = found(service, request)
    name = source.adapter.source
    delivery, error = None, None
    body: bytes | None = None
    held = Held(service)
    try:
        if service.is_stopping:
            raise ShuttingDown
        body = await read_body(request, service, held) if request.method == "POST" else event_in_address(request)
        outcome = await ingest(webhook_request(request, name, body), source, service.store, service.queue)
        if isinstance(outcome, Answer):
            response = spoken(outcome)
        else:
            delivery = outcome
            response = to_json(200, receipt_of(delivery))
    except ClientDisconnect:
        # Nobody hears this answer, and nothing was begun: the provider sends again.
        error = "the sender hung up before its body had come"
        response = Response(status_code=400)
    except asyncio.CancelledError:
        if not service.is_stopping:
            raise
        # Its time to finish is up: the server has given up waiting, the sender need not.
        error = "ShuttingDown: it could not be finished in time"
        response = answer_to(ShuttingDown(), source)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the provider must send again
        error = f"{type(failure).__name__}: {failure}"
        response = answer_to(failure, source)
    finally:
        held.add(-held.size)
    if body is None:
        # The rest of it is not read.
        response.headers["Connection"] = "close"
    told = {
        "source": name,
        "status": response.status_code,
        "bytes": len(body or b""),
        "ms": round((time.perf_counter() - began) * 1000, 2),
        "waiting": service.store.committer.waiting,
    }
    tell(told, delivery, error)
    return response


def receipt_of(delivery: Delivery) -> Receipt | dict[str, int]:
    receipt, queued = delivery.receipt, delivery.queued
    if queued is None:
        return receipt
    return {**asdict(receipt), "received": receipt.received + queued, "queued": queued}


async def look(request: Request) -> Response:
    """GET, HEAD and OPTIONS /webhooks/{source}: providers look whether somebody lives here before they send."""
    adapter = found(request.app.state.service, request).adapter
    try:
        answer = await adapter.handshake(webhook_request(request, adapter.source, b""))
    except NotVerified as failure:
        return answer_to(failure)
    if answer:
        return spoken(answer)
    if request.method == "OPTIONS":
        raise HTTPException(405, headers={"Allow": "GET, HEAD, POST"})
    return to_json(200, {"source": adapter.source, "provider": adapter.name})


def spoken(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {"Content-Type": "application/json", **answer.headers})


async def alive(_: Request) -> Response:
    return to_json(200, {"status": "alive"})


async def ready(request: Request) -> Response:
    """Whether deliveries would be taken: the database answers, its schema is current, nobody asked us to stop."""
    service: Service = request.app.state.service
    try:
        if service.is_stopping:
            raise ShuttingDown
        missing = await pending(service.database)
    except (ShuttingDown, DatabaseUnavailable) as failure:
        log.warning("not ready", error=f"{type(failure).__name__}: {failure}")
        return answer_to(failure)
    if missing:
        detail = f"the database has not seen {', '.join(missing)}: run `webhooks migrate`"
        return to_json(503, {"error": "not_migrated", "detail": detail}, {"Retry-After": str(RETRY_SECONDS)})
    return to_json(200, {"status": "ready"})


async def refuse(_: Request, error: Exception) -> Response:
    """What routing itself refuses, in our own form."""
    if not isinstance(error, HTTPException):
        raise error
    name = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    return to_json(error.status_code, {"error": name, "detail": error.detail}, error.headers)


def found(service: Service, request: Request) -> Source:
    try:
        return service.sources[request.path_params["source"]]
    except KeyError:
        raise HTTPException(404, "there is no such source") from None


def answer_to(failure: Exception, source: Source | None = None) -> Response:
    for kind in type(failure).__mro__:
        if kind in STATUSES:
            status, name = STATUSES[kind]
            break
    else:
        log.error("unexpected", exc_info=failure)
        status, name = 503, "internal"
    headers = {}
    if status == 503:
        headers["Retry-After"] = str(RETRY_SECONDS)
        status = source.adapter.unavailable_status if source else status
    if status == 401:
        # Some senders (SNS) show their user and password only when they are asked for them.
        headers["WWW-Authenticate"] = 'Basic realm="webhooks"'
    return to_json(status, {"error": name, "detail": detail(failure)}, headers)


def detail(failure: Exception) -> str:
    if isinstance(failure, Overloaded):
        return str(failure)
    for kind, text in DETAILS.items():
        if isinstance(failure, kind):
            return text
    if not isinstance(failure, tuple(STATUSES)):
        return "something unforeseen: the log tells what; send again"
    # It may quote what came in, and so what no JSON can hold.
    return str(failure).encode(errors="backslashreplace").decode()


def to_json(status: int, value: Receipt | dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def webhook_request(request: Request, source: str, body: bytes) -> WebhookRequest:
    return WebhookRequest(
        source=source,
        method=request.method,
        body=body,
        headers=headers_of(request),
        query=dict(request.query_params) if request.scope["query_string"] else {},
        received_at=datetime.now(UTC),
    )


def headers_of(request: Request) -> dict[str, str]:
    """One that is sent twice is joined, as HTTP says: no proof is ever taken from the first or the last of two."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def read_body(request: Request, service: Service, held: Held) -> bytes:
    """The whole body, decompressed. Raises Malformed; TooLarge as soon as it is known to be, without reading the rest."""
    limit = service.settings.max_body_bytes
    length = request.headers.get("content-length", "0")
    if not LENGTH.fullmatch(length):
        raise Malformed(f"Content-Length: {length[:40]!r} is no length")
    if int(length) > limit:
        raise TooLarge(f"more than {limit} bytes")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", *DECOMPRESSED}:
        raise NotVerified(f"a body in the encoding {encoding[:40]!r} cannot be read: send it plain or gzip")
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                parts.append(part)
                held.add(len(part))
                if held.size > limit:
                    raise TooLarge(f"more than {limit} bytes")
                if service.is_stopping:
                    raise ShuttingDown
    except TimeoutError as failure:
        raise TooSlow(f"the body did not come within {READ_SECONDS} s") from failure
    body = b"".join(parts)
    return await decompressed(body, encoding, limit, held) if encoding in DECOMPRESSED else body


async def decompressed(body: bytes, encoding: str, limit: int, held: Held) -> bytes:
    """None of its parts can a compression bomb make longer than `limit` and a byte."""
    parts: list[bytes] = []
    size = 0
    decompressor = zlib.decompressobj(wbits=DECOMPRESSED[encoding])
    try:
        for start in range(0, len(body), PIECE_BYTES):
            if start:
                # A large one leaves others their turn.
                await asyncio.sleep(0)
            rest = body[start : start + PIECE_BYTES]
            while rest:
                if decompressor.eof:
                    # Another member begins, or the zeros with which tools fill their blocks.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    decompressor = zlib.decompressobj(wbits=DECOMPRESSED[encoding])
                parts.append(decompressor.decompress(rest, limit + 1 - size))
                size += len(parts[-1])
                if size > limit:
                    raise TooLarge(f"more than {limit} bytes, decompressed")
                held.add(len(parts[-1]))
                rest = decompressor.unused_data
    except zlib.error as error:
        raise NotVerified(f"the body is not {encoding}, as its Content-Encoding says") from error
    if not decompressor.eof:
        raise NotVerified(f"the {encoding} body ends too early")
    held.add(-len(body))
    return b"".join(parts)


def __getattr__(name: str) -> Any:
    """`webhooks.app.app`, made when a server asks for it: importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    try:
        app = create_app(load_settings())
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for whoever started the server
        sys.exit(2)
    globals()["app"] = app
    return app
