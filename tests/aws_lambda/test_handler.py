"""What the function answers to each kind of event, in what time, and what it does when things go wrong."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest

import providers
from db.local_data_api import Faults, create_app, serving
from providers.adapter import Adapter, WebhookRequest
from tests import tables
from tests.aws_lambda import events
from tests.aws_lambda.conftest import NewFunction, invoke
from tests.aws_lambda.runtime import Runtime
from webhooks.telemetry import is_refusal

if TYPE_CHECKING:
    import asyncpg

RECEIVED = Path(__file__).parent.parent / "providers" / "ses" / "received.json"
GREETING = {"received": 1, "recorded": 1, "duplicates": 0, "dead": 0, "opted_out": 0, "opted_in": 0}


def signed(adapter: Adapter, *names: str, email: str = "ada@example.test") -> WebhookRequest:
    now = datetime.now(UTC)
    samples = [adapter.sample(name, email, now, number) for number, name in enumerate(names or ("unsubscribe",))]
    [request] = adapter.sign(samples, now)
    return request


async def test_a_delivery_through_every_front_door_is_recorded_once(
    new_function: NewFunction, adapter: Adapter, connection: "asyncpg.Connection"
) -> None:
    function = new_function()
    await tables.add_people(connection, *(f"{form.__name__}@example.test" for form in events.HTTP_FORMS))
    for form in events.HTTP_FORMS:
        request = signed(adapter, "unsubscribe", "open", email=f"{form.__name__}@example.test")
        answers = [
            events.answer((await invoke(function, form(request, is_base64=is_base64))).result)
            for is_base64 in (False, True)
        ]
        assert answers == [
            (200, {"received": 2, "recorded": 2, "duplicates": 0, "dead": 0, "opted_out": 1, "opted_in": 0}),
            (200, {"received": 2, "recorded": 0, "duplicates": 2, "dead": 0, "opted_out": 0, "opted_in": 0}),
        ], form.__name__
    assert set((await tables.preferences(connection)).values()) == {False}


@pytest.mark.parametrize("form", events.HTTP_FORMS, ids=lambda form: form.__name__)
async def test_what_is_not_proven_is_refused(
    form: Callable[..., events.Event], adapter: Adapter, functions: Runtime
) -> None:
    request = signed(adapter)
    unproven = WebhookRequest(source="sendgrid", body=request.body)
    assert events.answer((await invoke(functions, form(unproven))).result)[0] == 401
    nobody = WebhookRequest(source="nobody", body=b"{}")
    assert events.answer((await invoke(functions, form(nobody))).result)[0] == 404
    look = WebhookRequest(source="sendgrid", method="GET", body=b"")
    assert events.answer((await invoke(functions, form(look))).result)[0] == 200


@pytest.fixture
async def functions(new_function: NewFunction) -> Runtime:
    return new_function()


class Proxy:
    """Between the function and the Data API: counts connections, and can close those that are idle."""

    def __init__(self) -> None:
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()

    def close_all(self) -> None:
        for writer in self.open:
            writer.close()


@asynccontextmanager
async def proxied(target: str) -> AsyncIterator[tuple[str, Proxy]]:
    host, _, port = target.removeprefix("http://").partition(":")
    proxy = Proxy()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.connections += 1
        proxy.open.add(writer)
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)
        proxy.open.discard(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy
    finally:
        server.close()
        proxy.close_all()


async def test_warm_invocations_share_one_client_also_after_a_freeze(
    new_function: NewFunction, adapter: Adapter, data_api: str
) -> None:
    async with proxied(data_api) as (url, proxy):
        function = new_function(AWS_ENDPOINT_URL_RDS_DATA=url)

        async def recorded(email: str) -> int:
            result = (await invoke(function, events.http_api_2(signed(adapter, email=email)))).result
            number: int = events.answer(result)[1]["recorded"]
            return number

        assert [await recorded(f"{n}@example.test") for n in range(5)] == [1] * 5
        assert proxy.connections == 1
        function.process.send_signal(signal.SIGSTOP)
        proxy.close_all()
        await asyncio.sleep(0.2)
        function.process.send_signal(signal.SIGCONT)
        assert await recorded("after-the-freeze@example.test") == 1
        assert proxy.connections == 2


@pytest.mark.parametrize(("provider", "status"), [("sendgrid", 503), ("brevo", 429)])
async def test_before_lambda_ends_it_the_provider_is_told_to_send_again(
    new_function: NewFunction, provider: str, status: int, database_url: str, connection: "asyncpg.Connection"
) -> None:
    faults = Faults()
    kind = providers.load(provider)
    adapter = kind(provider, [kind.new_key()])
    sources = json.dumps({provider: {"keys": list(adapter.keys)}})
    server, _, name = database_url.rpartition("/")
    async with serving(create_app(f"{server}/postgres", faults=faults)) as url:
        function = new_function(AWS_ENDPOINT_URL_RDS_DATA=url, WEBHOOKS_DATABASE=name, WEBHOOKS_SOURCES=sources)
        request = signed(adapter, next(iter(adapter.samples)))
        faults.latency = 3.0
        late = (await invoke(function, events.http_api_2(request), milliseconds=2_000)).result
        faults.latency = 0.0
        again = (await invoke(function, events.http_api_2(request))).result
    assert events.answer(late) == (status, {"error": "database_unavailable", "detail": ANY})
    assert late["headers"]["retry-after"]
    assert events.answer(again)[0] == 200
    assert await tables.count(connection, "webhook_events") == 1
    told = [(each["source"], each["status"]) for each in function.lines() if each["event"] == "delivery"]
    assert told == [(provider, status), (provider, 200)]


async def test_what_no_source_believes_fails_the_invocation_and_not_the_function(
    new_function: NewFunction, adapter: Adapter
) -> None:
    function = new_function()
    failed = await invoke(function, {"source": "aws.ses", "detail-type": "Email Bounced", "id": "1", "detail": {}})
    assert "to come again" in failed.error["errorMessage"]
    assert events.answer((await invoke(function, events.http_api_2(signed(adapter)))).result)[0] == 200


async def test_when_it_is_told_to_stop_it_stops_and_what_was_answered_is_there(
    new_function: NewFunction, adapter: Adapter, connection: "asyncpg.Connection"
) -> None:
    function = new_function()
    assert events.answer((await invoke(function, events.http_api_2(signed(adapter)))).result) == (200, GREETING)
    function.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(function.process.wait, 5)
    assert await tables.count(connection, "webhook_events") == 1


async def test_each_delivery_is_a_line_that_cloudwatch_counts_by(new_function: NewFunction, adapter: Adapter) -> None:
    function = new_function()
    await invoke(function, events.http_api_2(signed(adapter)))
    [line] = [each for each in function.lines() if each["event"] == "delivery"]
    [metric] = line["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], metric["Dimensions"]) == ("EmailWebhooks", [[], ["source"]])
    counted = {each["Name"]: line[each["Name"]] for each in metric["Metrics"]}
    assert counted == GREETING | {"refused": 0, "ms": line["ms"]}


@pytest.mark.parametrize(("provider", "status"), [("sendgrid", 503), ("brevo", 429)])
async def test_what_is_refused_for_trouble_of_ours_is_counted_whatever_the_status(
    new_function: NewFunction, provider: str, status: int
) -> None:
    kind = providers.load(provider)
    adapter = kind(provider, [kind.new_key()])
    sources = json.dumps({provider: {"keys": list(adapter.keys)}})
    away = {"AWS_ENDPOINT_URL_RDS_DATA": "http://127.0.0.1:1", "AWS_EMF_NAMESPACE": "EmailWebhooks/prod"}
    function = new_function(WEBHOOKS_SOURCES=sources, **away)
    await invoke(function, events.http_api_2(signed(adapter, next(iter(adapter.samples)))), milliseconds=3_000)
    await invoke(function, events.http_api_2(WebhookRequest(source=provider, body=b"forged")))
    lines = [each for each in function.lines() if each["event"] == "delivery"]
    assert [(each["status"], each["refused"]) for each in lines] == [(status, 1), (401, 0)]
    assert {"Name": "refused", "Unit": "Count"} in lines[0]["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    assert lines[0]["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "EmailWebhooks/prod"


@pytest.mark.parametrize("provider", sorted(providers.ADAPTERS))
def test_each_providers_word_for_send_again_counts_as_refused(provider: str) -> None:
    assert is_refusal(providers.load(provider).unavailable_status)


async def ses(new_function: NewFunction) -> tuple[Adapter, Runtime]:
    kind = providers.load("ses")
    adapter = kind("ses", [kind.new_key()])
    return adapter, new_function(WEBHOOKS_SOURCES=json.dumps({"ses": {"keys": list(adapter.keys)}}))


async def test_ses_comes_by_a_topic_a_queue_and_an_event_bus_and_each_event_counts_once(
    new_function: NewFunction, connection: "asyncpg.Connection"
) -> None:
    adapter, function = await ses(new_function)
    now = datetime.now(UTC)
    sample = adapter.sample("Complaint", "ada@example.test", now, 1)
    [request] = adapter.sign([sample], now)
    envelope = json.loads(request.body)
    bus = {"source": "aws.ses", "detail-type": "Email Complaint Received", "id": "1", "detail": sample}
    assert (await invoke(function, events.sns(envelope))).result == {}
    queued = events.sqs(request.body.decode(), json.dumps(sample), json.dumps({**envelope, "TopicArn": "arn:other"}))
    assert (await invoke(function, queued)).result == {"batchItemFailures": [{"itemIdentifier": "message-2"}]}
    assert (await invoke(function, bus)).result == {}
    assert await tables.count(connection, "webhook_events") == 1
    assert await tables.ledger(connection) != {}


async def test_mail_that_ses_receives_is_the_same_event_by_a_rule_and_by_a_topic(
    new_function: NewFunction, connection: "asyncpg.Connection"
) -> None:
    adapter, function = await ses(new_function)
    told = json.loads(RECEIVED.read_text())
    [request] = adapter.sign([told], datetime.now(UTC))
    for event in (events.ses_rule(told["mail"], told["receipt"]), events.sns(json.loads(request.body))):
        assert (await invoke(function, event)).result == {}
    found = await connection.fetch("select type, email_address from webhook_events")
    assert [tuple(each) for each in found] == [("inbound", "ada@example.test")]
    assert await tables.count(connection, "webhook_dead_letters") == 0
