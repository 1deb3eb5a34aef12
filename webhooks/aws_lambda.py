"""Entry point on Lambda: HTTP through any front door, the queue, and what AWS hands over of SES."""

import gc

# The start makes a million objects that stay: looking through them for garbage takes a tenth of it.
gc.disable()

import asyncio  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterable  # noqa: E402
from functools import cache  # noqa: E402
from typing import Any  # noqa: E402

# aiohttp, as it is imported, reads all of the system's certificates into a context that nothing here uses (botocore and
# `fetch` bring their own): a tenth of the start.
trusted = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
os.environ |= dict.fromkeys(trusted, os.devnull)
import aiobotocore.session  # noqa: E402, F401

for name, value in trusted.items():
    del os.environ[name]
    os.environ |= {name: value} if value else {}

from mangum import Mangum  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.types import Receive, Scope, Send  # noqa: E402

from db.database import DatabaseUnavailable  # noqa: E402
from db.store import Store  # noqa: E402
from webhooks.app import Service, answer_to, create_app, lifespan  # noqa: E402
from webhooks.aws import seconds_left  # noqa: E402
from webhooks.database import WAKING_SECONDS, new_database  # noqa: E402
from webhooks.settings import load_settings  # noqa: E402
from webhooks.telemetry import for_cloudwatch, log, observers, tell  # noqa: E402
from webhooks.worker import Message, messages_in, record_messages  # noqa: E402

Event = dict[str, Any]


class OutOfTime(DatabaseUnavailable):
    """Lambda would end this invocation before the database answers: the provider must send again."""


class Deadline:
    """Has the provider send again while there is time, whatever is still under way; what is committed all the same does
    no harm.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Lets the loop find out which connections died while we were frozen.
        await asyncio.sleep(0)
        began = time.perf_counter()
        has_begun = False

        async def sending(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            async with asyncio.timeout(seconds_left(scope["aws.context"])):
                await app(scope, receive, sending)
        except TimeoutError:
            if has_begun:
                raise
            await refusal(scope, began)(scope, receive, send)


def refusal(scope: Scope, began: float) -> Response:
    """With the status that this very provider wants; told of as any other answer to a delivery."""
    failure = OutOfTime("the database did not answer in time")
    # The app's router has found the source.
    source = service.sources.get(scope.get("path_params", {}).get("source", ""))
    response = answer_to(failure, source)
    if source is None:
        log.warning("out of time", path=scope["path"])
        return response
    told = {
        "source": source.adapter.source,
        "status": response.status_code,
        "ms": round((time.perf_counter() - began) * 1000, 2),
        "waiting": service.store.committer.waiting,
    }
    tell(told, None, f"OutOfTime: {failure}")
    return response


loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
observers.append(for_cloudwatch)
settings = load_settings()
app = create_app(settings, is_scraped=False)
service: Service = app.state.service
# Entered once and never left: Lambda tells nobody when it ends.
entered = lifespan(app)
loop.run_until_complete(entered.__aenter__())
loop.run_until_complete(service.open())
http = Mangum(Deadline(), lifespan="off")
gc.enable()
gc.freeze()


def handler(event: Event, context: Any) -> Any:
    """What Lambda calls. Raises for what did not come by HTTP and must come again."""
    records = event.get("Records")
    if records and records[0].get("eventSource") == "aws:sqs":
        return record_queued([Message(each["messageId"], each["body"]) for each in records], context)
    if records or event.get("source") == "aws.ses":
        return record_all(messages_in(event), context)
    return http(event, context)


def record_queued(messages: Iterable[Message], context: Any) -> Event:
    """Those that must come again, in the words of SQS."""
    return {"batchItemFailures": [{"itemIdentifier": each} for each in unrecorded(messages, context)]}


def record_all(messages: Iterable[Message], context: Any) -> Event:
    """Of an asynchronous invocation, which Lambda repeats as a whole."""
    if failed := unrecorded(messages, context):
        raise RuntimeError(f"not recorded, to come again: {', '.join(failed)}")
    return {}


def unrecorded(messages: Iterable[Message], context: Any) -> list[str]:
    """The ids of those that must come again, in time to say so. In the loop that all clients belong to."""
    work = record_messages(messages, service.sources, patient_store(), seconds_left(context))
    return loop.run_until_complete(work)


@cache
def patient_store() -> Store:
    """For what does not come by HTTP: it waits here until a paused database is awake. A provider is rather told to come
    again.
    """
    return Store(new_database(settings, None, waking_seconds=WAKING_SECONDS), in_flight=settings.statements)
