"""Mode queue: what is proven goes to SQS, and the worker records it; what cannot be recorded never costs its neighbours."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

import providers
from db.local_data_api import Faults, create_app, serving
from providers.adapter import Adapter, WebhookRequest
from tests import tables
from tests.aws_lambda import events
from tests.aws_lambda.conftest import NewFunction, client, invoke

if TYPE_CHECKING:
    import asyncpg

UPKEEP = "webhooks.upkeep_lambda.handler"
QUEUED = {"recorded": 0, "duplicates": 0, "dead": 0, "opted_out": 0, "opted_in": 0}


class Sqs:
    """A queue of its own at the made-up AWS."""

    def __init__(self, aws: str, **attributes: str) -> None:
        self.client = client("sqs", aws)
        name = f"queue-{datetime.now(UTC).timestamp()}".replace(".", "-")
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.settings = {"WEBHOOKS_QUEUE_URL": self.url, "AWS_ENDPOINT_URL_SQS": aws}

    def take(self) -> list[str]:
        """All that lies in it."""
        bodies: list[str] = []
        while messages := self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [each["Body"] for each in messages]
        return bodies


@pytest.fixture
def sqs(aws: str) -> Sqs:
    return Sqs(aws)


def signed(adapter: Adapter, *samples: Any) -> WebhookRequest:
    [request] = adapter.sign(samples, datetime.now(UTC))
    return request


def sample(adapter: Adapter, name: str, number: int, email: str = "ada@example.test", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = adapter.sample(name, email, datetime.now(UTC), number)
    return made | fields


async def test_a_delivery_is_queued_and_then_recorded_once(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "ada@example.test")
    front, worker = new_function(**sqs.settings), new_function()
    request = signed(
        adapter, sample(adapter, "unsubscribe", 1), sample(adapter, "open", 2), sample(adapter, "click", 3)
    )
    for _ in range(2):
        result = (await invoke(front, events.http_api_2(request))).result
        assert events.answer(result) == (200, {"received": 3, "queued": 3, **QUEUED})
    assert await tables.count(connection, "webhook_events") == 0
    bodies = sqs.take()
    assert len(bodies) == 2
    assert (await invoke(worker, events.sqs(*bodies))).result == {"batchItemFailures": []}
    assert (await invoke(worker, events.sqs(*bodies))).result == {"batchItemFailures": []}
    assert await tables.count(connection, "webhook_events") == 3
    assert await tables.preferences(connection) == {"ada@example.test": False}


async def test_what_is_not_proven_is_not_queued(new_function: NewFunction, adapter: Adapter, sqs: Sqs) -> None:
    front = new_function(**sqs.settings)
    unproven = WebhookRequest(source="sendgrid", body=signed(adapter, sample(adapter, "open", 1)).body)
    assert events.answer((await invoke(front, events.http_api_2(unproven))).result)[0] == 401
    assert sqs.take() == []


async def test_a_body_larger_than_a_message_is_cut_between_its_events_only(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs, connection: "asyncpg.Connection"
) -> None:
    front, worker = new_function(**sqs.settings), new_function()
    large = [sample(adapter, "delivered", n, response="é" * 20_000) for n in range(100)]
    # One that fits no message is recorded at once.
    large.append(sample(adapter, "unsubscribe", 100, reason="x" * 1_100_000))
    result = (await invoke(front, events.http_api_2(signed(adapter, *large)))).result
    receipt = events.answer(result)[1]
    assert (receipt["received"], receipt["queued"], receipt["recorded"]) == (101, 100, 1)
    bodies = sqs.take()
    assert 10 < len(bodies) < 20
    assert max(len(body.encode()) for body in bodies) <= 1_000_000
    assert (await invoke(worker, events.sqs(*bodies))).result == {"batchItemFailures": []}
    assert await tables.count(connection, "webhook_events") == 101


async def test_a_queue_that_takes_less_gets_smaller_messages(
    new_function: NewFunction, adapter: Adapter, aws: str, connection: "asyncpg.Connection"
) -> None:
    sqs = Sqs(aws, MaximumMessageSize="262144")
    front, worker = new_function(**sqs.settings), new_function()
    large = [sample(adapter, "delivered", n, response="x" * 20_000) for n in range(30)]
    # One that fits no message of this queue is recorded at once.
    large.append(sample(adapter, "unsubscribe", 30, reason="x" * 300_000))
    for samples, queued, recorded in ((large, 30, 1), (large[-1:], 0, 0), (large[:20], 20, 0)):
        result = (await invoke(front, events.http_api_2(signed(adapter, *samples)))).result
        status, receipt = events.answer(result)
        assert (status, receipt["queued"], receipt["recorded"]) == (200, queued, recorded)
    bodies = sqs.take()
    assert len(bodies) == 3 + 2
    assert (await invoke(worker, events.sqs(*bodies))).result == {"batchItemFailures": []}
    assert await tables.count(connection, "webhook_events") == 31


async def test_poison_ends_as_a_dead_letter_and_only_what_may_pass_comes_again(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs, connection: "asyncpg.Connection"
) -> None:
    front, worker = new_function(**sqs.settings), new_function()
    odd: list[Any] = [None, 7, [[]], {"event": "unsubscribe"}, sample(adapter, "unsubscribe", 1, reason="a\0b\ud800")]
    body = b"[" + b",".join(json.dumps(each).encode() for each in odd) + b"]"
    for content in (body, b"\xff\xfe not json", b""):
        request = WebhookRequest(
            source="sendgrid", body=content, headers=adapter.prove(content, datetime.now(UTC))["headers"]
        )
        lower = WebhookRequest(
            source="sendgrid", body=content, headers={name.lower(): each for name, each in request.headers.items()}
        )
        assert events.answer((await invoke(front, events.http_api_2(lower, is_base64=True))).result)[0] == 200
    good = signed(adapter, sample(adapter, "spamreport", 2))
    await invoke(front, events.http_api_2(good))
    bodies = sqs.take()
    strange = [
        json.dumps({**json.loads(bodies[0]), "source": "gone"}),
        "no message of anybody's",
        json.dumps({"format": "email-webhooks/1"}),
    ]
    result = (await invoke(worker, events.sqs(*strange, *bodies))).result
    assert [each["itemIdentifier"] for each in result["batchItemFailures"]] == ["message-0", "message-1", "message-2"]
    assert await tables.count(connection, "webhook_events") == 2
    assert await tables.count(connection, "webhook_dead_letters") == 6


async def test_a_one_time_token_binds_one_body_in_the_queue_too(
    new_function: NewFunction, sqs: Sqs, connection: "asyncpg.Connection"
) -> None:
    kind = providers.load("mailgun")
    mailgun = kind("mailgun", [kind.new_key()])
    sources = {"WEBHOOKS_SOURCES": json.dumps({"mailgun": {"keys": list(mailgun.keys)}})}
    front, worker = new_function(**sqs.settings, **sources), new_function(**sources)
    genuine = signed(mailgun, sample(mailgun, "unsubscribed", 1))
    forged = WebhookRequest(source="mailgun", headers=genuine.headers, body=genuine.body.replace(b"ada@", b"bob@"))
    for request in (genuine, forged):
        assert events.answer((await invoke(front, events.http_api_2(request))).result)[1]["queued"] == 1
    # One after the other: which comes first is the token's.
    bodies = sorted(sqs.take(), key=lambda body: "bob@" in body)
    for body in bodies:
        assert (await invoke(worker, events.sqs(body))).result == {"batchItemFailures": []}
    assert await tables.count(connection, "webhook_events") == 1
    assert ("ada@example.test", "") in await tables.ledger(connection)


async def test_where_the_queue_is_away_the_provider_sends_again(
    new_function: NewFunction, adapter: Adapter, connection: "asyncpg.Connection"
) -> None:
    front = new_function(WEBHOOKS_QUEUE_URL="http://127.0.0.1:1/queue", AWS_ENDPOINT_URL_SQS="http://127.0.0.1:1")
    answer = events.answer((await invoke(front, events.http_api_2(signed(adapter, sample(adapter, "open", 1))))).result)
    assert (answer[0], answer[1]["error"]) == (503, "queue_unavailable")
    assert await tables.count(connection, "webhook_events") == 0


async def test_where_the_database_is_away_every_message_comes_again(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs
) -> None:
    front, worker = new_function(**sqs.settings), new_function(AWS_ENDPOINT_URL_RDS_DATA="http://127.0.0.1:1")
    for number in range(2):
        await invoke(front, events.http_api_2(signed(adapter, sample(adapter, "open", number))))
    result = (await invoke(worker, events.sqs(*sqs.take()))).result
    assert [each["itemIdentifier"] for each in result["batchItemFailures"]] == ["message-0", "message-1"]


async def test_what_is_not_recorded_when_the_time_is_up_comes_again_and_its_neighbours_do_not(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs, connection: "asyncpg.Connection"
) -> None:
    front, worker = new_function(**sqs.settings), new_function()
    # As many as one statement carries: what takes long is another's.
    for samples in (
        [sample(adapter, "open", number) for number in range(1000)],
        [sample(adapter, "unsubscribe", 1000, email="slow@example.test")],
    ):
        await invoke(front, events.http_api_2(signed(adapter, *samples)))
    bodies = sorted(sqs.take(), key=lambda body: "slow@" in body)
    await tables.add_people(connection, "slow@example.test")
    await connection.execute(
        "create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(4); return new; end'"
    )
    await connection.execute(
        "create trigger slow before update on email_preferences for each row execute function slow()"
    )
    result = (await invoke(worker, events.sqs(*bodies), milliseconds=3_000)).result
    assert result == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    [late] = [each for each in worker.lines() if each["event"] == "delivery" and each["status"] == 503]
    assert late["error"].startswith("TimeoutError")
    await connection.execute("drop trigger slow on email_preferences")  # once what is under way has ended
    assert (await invoke(worker, events.sqs(*bodies))).result == {"batchItemFailures": []}
    assert await tables.count(connection, "webhook_events") == 1001


async def test_a_database_that_wakes_is_waited_for_but_not_by_a_provider(
    new_function: NewFunction, adapter: Adapter, sqs: Sqs, database_url: str
) -> None:
    faults = Faults()
    server, _, name = database_url.rpartition("/")
    request = events.http_api_2(signed(adapter, sample(adapter, "open", 1)))
    async with serving(create_app(f"{server}/postgres", faults=faults)) as url:
        at = {"AWS_ENDPOINT_URL_RDS_DATA": url, "WEBHOOKS_DATABASE": name}
        direct, worker, upkeep = new_function(**at), new_function(**at), new_function(UPKEEP, **at)
        await invoke(new_function(**sqs.settings), request)
        for function in (direct, worker, upkeep):
            await asyncio.to_thread(function.wait_until_ready)
        faults.resuming_until = time.monotonic() + 7
        answered, recorded, done = await asyncio.gather(
            invoke(direct, request), invoke(worker, events.sqs(*sqs.take())), invoke(upkeep, {})
        )
    assert events.answer(answered.result)[0] == 503
    assert recorded.result == {"batchItemFailures": []}
    assert done.result == {"opted_out": 0, "tokens": 0}


async def test_what_lambda_leaves_in_the_queue_after_its_last_try_is_read_by_the_worker(
    new_function: NewFunction, connection: "asyncpg.Connection"
) -> None:
    kind = providers.load("ses")
    ses = kind("ses", [kind.new_key()])
    worker = new_function(WEBHOOKS_SOURCES=json.dumps({"ses": {"keys": list(ses.keys)}}))
    envelope = json.loads(signed(ses, sample(ses, "Complaint", 1)).body)
    bounce = {"detail-type": "Email Bounced", "detail": sample(ses, "Bounce", 2)}
    bus = {"source": "aws.ses", "id": "1", **bounce}
    rule = events.ses_rule({"messageId": "3", "source": "ada@example.test"}, {"timestamp": "2023-11-14T22:13:20Z"})
    strange = events.sns({**envelope, "TopicArn": "arn:aws:sns:eu-west-1:000000000000:other"})
    left = [json.dumps(each) for each in (events.sns(envelope), bus, rule, strange)]
    assert (await invoke(worker, events.sqs(*left))).result == {"batchItemFailures": [{"itemIdentifier": "message-3"}]}
    found = await connection.fetch("select type from webhook_events")
    assert {each["type"] for each in found} == {"complained", "bounced", "inbound"}


async def test_of_two_sources_a_bare_message_could_be_of_either(
    new_function: NewFunction, connection: "asyncpg.Connection"
) -> None:
    kind = providers.load("ses")
    ses = kind("ses", [kind.new_key()])
    keys = {"ses": list(ses.keys), "other": ["arn:aws:sns:eu-west-1:123456789012:other"]}
    sources = {name: {"provider": "ses", "keys": each} for name, each in keys.items()}
    worker = new_function(WEBHOOKS_SOURCES=json.dumps(sources))
    bare = json.dumps(sample(ses, "Bounce", 1))
    by_sns = signed(ses, sample(ses, "Bounce", 1)).body.decode()
    result = (await invoke(worker, events.sqs(bare, by_sns))).result
    assert result == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    [told] = [each["error"] for each in worker.lines() if each.get("status") == 503]
    assert "let it come by SNS without raw delivery" in told
    assert await tables.count(connection, "webhook_events") == 1
