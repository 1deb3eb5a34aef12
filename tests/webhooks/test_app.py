"""The HTTP contract, to the letter."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from db.database import DatabaseUnavailable
from providers.adapter import Adapter, ProofUnavailable, Verified, WebhookRequest
from tests import tables
from tests.webhooks.conftest import Client, Served, sample, signed, signed_body
from webhooks.app import MAX_HELD_BYTES

if TYPE_CHECKING:
    import asyncpg


async def test_a_delivery_is_committed_and_answered_with_a_receipt(
    client: Client, sendgrid: Adapter, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "ada@example.test", "bob@example.test")
    events = [
        sample(sendgrid, "unsubscribe"),
        sample(sendgrid, "delivered"),
        sample(sendgrid, "spamreport", "bob@example.test"),
    ]
    request = signed(sendgrid, *events)
    answer = await client.post(request)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '{"received":3,"recorded":3,"duplicates":0,"dead":0,"opted_out":2,"opted_in":0}'
    assert await tables.preferences(connection) == {"ada@example.test": False, "bob@example.test": False}
    again = await client.post(request)
    assert again.json() == {"received": 3, "recorded": 0, "duplicates": 3, "dead": 0, "opted_out": 0, "opted_in": 0}


async def test_a_topic_that_stands_for_everything_opts_in_again(
    served: Served, sendgrid: Adapter, database_url: str, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "ada@example.test", opted_in=False)
    sources = {"sendgrid": {"keys": sendgrid.keys, "topics": {"42": "global"}}}
    async with served(sources, database_url=database_url) as client:
        answer = await client.post(signed(sendgrid, sample(sendgrid, "group_resubscribe")))
    assert answer.json() == {"received": 1, "recorded": 1, "duplicates": 0, "dead": 0, "opted_out": 0, "opted_in": 1}


@pytest.mark.parametrize("change", [{"body": b"[]"}, {"headers": {}}], ids=["another body", "no signature"])
async def test_what_is_not_proven_is_refused(
    client: Client, sendgrid: Adapter, connection: "asyncpg.Connection", change: dict[str, Any]
) -> None:
    request = replace(signed(sendgrid, sample(sendgrid, "unsubscribe")), **change)
    answer = await client.post(request)
    assert answer.status_code == 401
    assert answer.json()["error"] == "not_verified"
    assert answer.json()["detail"]
    assert await tables.count(connection, "webhook_events") == 0


async def test_an_address_that_was_pasted_with_a_slash_behind_it_is_the_same(client: Client, sendgrid: Adapter) -> None:
    request = signed(sendgrid, sample(sendgrid, "unsubscribe"))
    answer = await client.http.post("/webhooks/sendgrid/", content=request.body, headers=dict(request.headers))
    assert answer.json()["recorded"] == 1
    assert (await client.get("/webhooks/sendgrid/")).status_code == 200


async def test_a_signature_header_that_is_sent_twice_proves_nothing(client: Client, sendgrid: Adapter) -> None:
    request = signed(sendgrid, sample(sendgrid, "unsubscribe"))
    headers = [*request.headers.items(), *request.headers.items()]
    answer = await client.http.post("/webhooks/sendgrid", content=request.body, headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("POST", "/webhooks/nobody", 404, "not_found"),
        ("GET", "/webhooks/nobody", 404, "not_found"),
        ("GET", "/webhooks/", 404, "not_found"),
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/healthz/", 404, "not_found"),
        ("POST", "/webhooks/nobody/", 404, "not_found"),
        ("POST", "/webhooks/sendgrid//", 404, "not_found"),
        ("PUT", "/webhooks/sendgrid", 405, "method_not_allowed"),
        ("DELETE", "/webhooks/sendgrid", 405, "method_not_allowed"),
        ("OPTIONS", "/webhooks/sendgrid", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_said_in_our_own_form(
    client: Client, method: str, path: str, status: int, error: str
) -> None:
    answer = await client.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["detail"]
    assert ("allow" in answer.headers) == (status == 405)


async def test_providers_may_look_whether_somebody_is_there(client: Client) -> None:
    assert (await client.get("/webhooks/sendgrid")).status_code == 200
    head = await client.http.head("/webhooks/sendgrid")
    assert (head.status_code, head.content) == (200, b"")


async def test_an_event_in_the_address_of_a_get_is_recorded_and_a_mere_look_is_none(
    served: Served, database_url: str, connection: "asyncpg.Connection"
) -> None:
    sources = {"elastic_email": {"keys": ["a-long-secret"]}, "postmark": {"keys": ["user:password"]}}
    event = "key=a-long-secret&status=Unsubscribed&to=ada%40example.test&date=11%2F14%2F2023+10%3A13%3A20+PM"
    async with served(sources, database_url=database_url) as client:
        looks = [await client.get(f"/webhooks/elastic_email{query}") for query in ("", "?", "?key=wrong")]
        stranger = await client.get(f"/webhooks/elastic_email?{event.replace('a-long', 'another')}")
        taken, again = [await client.get(f"/webhooks/elastic_email?{event}") for _ in range(2)]
        head = await client.http.head(f"/webhooks/elastic_email?{event}")
        another_provider = await client.get(f"/webhooks/postmark?{event}")
    assert [look.status_code for look in looks] == [200, 200, 200]
    assert stranger.status_code == 401
    assert (taken.json()["recorded"], again.json()["duplicates"]) == (1, 1)
    assert (head.status_code, another_provider.json()) == (200, {"source": "postmark", "provider": "postmark"})
    payload = await connection.fetchval(
        "select payload::text || coalesce(encode(original, 'escape'), '') from webhook_events"
    )
    assert "a-long-secret" not in payload


async def test_a_refusal_asks_for_credentials_as_http_has_it(client: Client) -> None:
    refused = await client.http.post("/webhooks/sendgrid", content=b"[]")
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="webhooks"'


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    served: Served, sendgrid: Adapter, database_url: str
) -> None:
    async with served({"sendgrid": {"keys": sendgrid.keys}}, database_url=database_url, max_body_bytes=2_000) as client:
        small = await client.post(signed(sendgrid, sample(sendgrid, "delivered")))
        large = await client.post(signed(sendgrid, *[sample(sendgrid, "delivered")] * 20))
    assert small.status_code == 200
    assert (large.status_code, large.json()["error"]) == (413, "too_large")


@pytest.mark.parametrize("length", ["10, 10", "", "-1", "1_0", "9" * 5000])
async def test_a_length_that_is_none_is_said_in_our_own_form(client: Client, sendgrid: Adapter, length: str) -> None:
    request = signed(sendgrid, sample(sendgrid, "delivered"))
    answer = await client.post(request, headers={**request.headers, "content-length": length})
    assert (answer.status_code, answer.json()["error"]) == (400, "malformed")


POISON = [
    b'{"email": "ada@example.test", "event": "unsubscribe", "timestamp": 1700000000, "reason": "a\\u0000b"}',
    b'{"email": "bob@example.test", "event": "unsubscribe", "timestamp": 1700000000, "reason": "\\ud800"}',
    b'{"email": "cyd@example.test", "event": "spamreport", "timestamp": 253402300800}',
    b'{"email": "dan@example.test", "event": "unsubscribe", "timestamp": 1700000000, "reason": "'
    + b"x" * 2_000_000
    + b'"}',
    b"null",
    b"5",
    b"[[1], [2]]",
    b'{"email": "eve@example.test", "event": "unsubscribe", "timestamp": 1700000000, "deep": '
    + b"[" * 300
    + b"]" * 300
    + b"}",
    b'{"event": tru}',
    b'{"email": "fay@example.test", "event": "unsubscribe", "timestamp": "10000-01-01T00:00:00Z"}',
]


async def test_one_bad_record_never_costs_its_neighbours(
    client: Client, sendgrid: Adapter, connection: "asyncpg.Connection"
) -> None:
    people = [
        f"{name}@example.test"
        for name in ("ada", "bob", "cyd", "dan", "eve", "fay", "good0", "good1", "good2", "good3", "good4")
    ]
    await tables.add_people(connection, *people)
    good = [json.dumps(sample(sendgrid, "unsubscribe", f"good{n}@example.test", n)).encode() for n in range(5)]
    items = [each for pair in zip(POISON, good * 2, strict=True) for each in pair][: len(POISON) + 5 + 5]
    request = signed_body(sendgrid, b"[" + b",\r\n".join(items) + b"]")
    receipt = (await client.post(request)).json()
    assert receipt == {"received": 20, "recorded": 11, "duplicates": 5, "dead": 4, "opted_out": 11, "opted_in": 0}
    assert set(await tables.dead_bodies(connection)) == {b"null", b"5", b"[[1], [2]]", b'{"event": tru}'}
    originals = await connection.fetch(
        "select coalesce(original, convert_to(payload #>> '{}', 'UTF8')) as kept from webhook_events where original is not null"
    )
    assert {POISON[0], POISON[1]} <= {bytes(row["kept"]) for row in originals}
    assert await tables.preferences(connection) == dict.fromkeys(people, False)
    again = (await client.post(request)).json()
    assert again == {"received": 20, "recorded": 0, "duplicates": 16, "dead": 4, "opted_out": 0, "opted_in": 0}


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b'"text"', b"{}", b"\xff\xfe\xfa", b"[" * 100_000, "[é".encode("utf-16")],
    ids=["empty", "no JSON", "a text", "an object", "no UTF-8", "nested", "UTF-16 cut off"],
)
async def test_an_authentic_body_that_cannot_be_read_is_kept(
    client: Client, sendgrid: Adapter, connection: "asyncpg.Connection", body: bytes
) -> None:
    answer = await client.post(signed_body(sendgrid, body))
    assert answer.status_code == 200
    assert answer.json() == {"received": 1, "recorded": 0, "duplicates": 0, "dead": 1, "opted_out": 0, "opted_in": 0}
    assert await tables.dead_bodies(connection) == [body]


async def test_an_opt_out_in_the_wrong_charset_is_understood(
    client: Client, sendgrid: Adapter, connection: "asyncpg.Connection"
) -> None:
    await tables.add_people(connection, "ada@example.test", "bob@example.test")
    text = '[{"email": "%s@example.test", "event": "unsubscribe", "timestamp": 1700000000, "reason": "genügt"}]'
    for name, charset in (("ada", "utf-16"), ("bob", "latin-1")):
        answer = await client.post(signed_body(sendgrid, (text % name).encode(charset)))
        assert answer.json()["opted_out"] == 1


async def test_an_unverified_source_takes_anything(served: Served, database_url: str) -> None:
    async with served({"sendgrid": {"verify": False}}, database_url=database_url) as client:
        answer = await client.http.post("/webhooks/sendgrid", json=[{"event": "open", "email": "a@b", "timestamp": 1}])
    assert answer.json()["recorded"] == 1


async def test_a_database_that_is_away_is_trouble_of_ours(
    served: Served, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "postgresql://nobody@127.0.0.1:1/none"
    async with served({"sendgrid": {"keys": sendgrid.keys}}, database_url=nobody) as client:
        client.app.state.service.database._patience = 0.1
        request = signed(sendgrid, sample(sendgrid, "unsubscribe"))
        answer = await client.post(request)
        assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        monkeypatch.setattr(type(sendgrid), "unavailable_status", 429)
        answer = await client.post(request)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


async def test_what_nobody_foresaw_makes_the_provider_send_again(
    client: Client, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_: Any) -> None:
        raise KeyError("secret inside")

    monkeypatch.setattr(client.app.state.service.store, "record_all", stumble, raising=False)
    answer = await client.post(signed(sendgrid, sample(sendgrid, "unsubscribe")))
    assert (answer.status_code, answer.json()["error"]) == (503, "internal")
    assert "secret" not in answer.text


async def test_a_certificate_that_cannot_be_had_makes_the_provider_send_again(
    client: Client, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(_: Adapter, request: WebhookRequest) -> Verified:
        raise ProofUnavailable(f"no certificate for {request.source}")

    monkeypatch.setattr(type(sendgrid), "verify", verify)
    answer = await client.post(signed(sendgrid, sample(sendgrid, "unsubscribe")))
    assert (answer.status_code, answer.json()["error"]) == (503, "proof_unavailable")


async def test_a_database_that_has_seen_no_migration_says_what_to_run(
    served: Served, sendgrid: Adapter, empty_database_url: str
) -> None:
    async with served({"sendgrid": {"keys": sendgrid.keys}}, database_url=empty_database_url) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["error"]) == (503, "not_migrated")
        assert "webhooks migrate" in ready.json()["detail"]
        answer = await client.post(signed(sendgrid, sample(sendgrid, "unsubscribe")))
        assert (answer.status_code, answer.json()["error"]) == (503, "database_misconfigured")


async def test_a_service_that_can_take_deliveries_says_so(client: Client) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_a_stopping_service_takes_nothing_new(client: Client, sendgrid: Adapter) -> None:
    client.app.state.service.is_stopping = True
    answer = await client.post(signed(sendgrid, sample(sendgrid, "unsubscribe")))
    assert (answer.status_code, answer.json()["error"]) == (503, "shutting_down")
    assert (await client.get("/readyz")).json()["error"] == "shutting_down"
    assert (await client.get("/healthz")).status_code == 200


@pytest.fixture
async def hanging(client: Client, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch) -> asyncio.Task[Any]:
    """A delivery that is with a database which never answers."""
    begun = asyncio.Event()

    async def hang(*_: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    monkeypatch.setattr(client.app.state.service.store, "record_all", hang, raising=False)
    delivery = asyncio.create_task(client.post(signed(sendgrid, sample(sendgrid, "unsubscribe"))))
    await begun.wait()
    return delivery


async def test_what_cannot_be_finished_before_the_service_stops_is_sent_again(
    client: Client, sendgrid: Adapter, hanging: asyncio.Task[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sendgrid), "unavailable_status", 429)
    client.app.state.service.is_stopping = True
    hanging.cancel()
    answer = await hanging
    assert (answer.status_code, answer.json()["error"]) == (429, "shutting_down")
    assert answer.headers["retry-after"]


async def test_whoever_ends_a_delivery_while_nothing_stops_has_its_way(hanging: asyncio.Task[Any]) -> None:
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_a_body_that_is_still_coming_when_the_service_stops_is_sent_again(
    client: Client, sendgrid: Adapter
) -> None:
    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"["
            client.app.state.service.is_stopping = True
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        answer = await client.post(signed(sendgrid, sample(sendgrid, "open")), content=without_end())
    assert (answer.status_code, answer.json()["error"]) == (503, "shutting_down")


async def test_a_body_that_does_not_come_in_time_is_sent_again(
    client: Client, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"["
        await asyncio.sleep(60)

    monkeypatch.setattr("webhooks.app.READ_SECONDS", 0.05)
    for status in (503, 429):
        monkeypatch.setattr(type(sendgrid), "unavailable_status", status)
        answer = await client.post(signed(sendgrid, sample(sendgrid, "open")), content=slowly())
        assert (answer.status_code, answer.json()["error"]) == (status, "too_slow")
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("5", "close")


async def test_beyond_what_may_wait_deliveries_are_refused_at_once(client: Client, sendgrid: Adapter) -> None:
    committer = client.app.state.service.store.committer
    committer._max_records = 10
    requests = [
        signed(sendgrid, *[sample(sendgrid, "delivered", number=n * 10 + m) for m in range(8)]) for n in range(8)
    ]
    answers = await asyncio.gather(*map(client.post, requests))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["error"] == "overloaded"
    assert refused.headers["retry-after"]
    retried = [await client.post(request) for request in requests]
    assert {answer.status_code for answer in retried} == {200}


async def test_who_sends_little_keeps_little_however_far_it_would_expand(client: Client, sendgrid: Adapter) -> None:
    service = client.app.state.service
    sent, held = gzip.compress(b" " * 1_000_000), []

    async def slowly() -> AsyncIterator[bytes]:
        yield sent[:-4]
        held.append(service.held_bytes)
        yield sent[-4:]

    request = signed(sendgrid, sample(sendgrid, "open"))
    answer = await client.post(request, content=slowly(), headers={**request.headers, "content-encoding": "gzip"})
    assert answer.status_code == 401
    assert (held, service.held_bytes) == ([len(sent) - 4], 0)


async def test_a_few_who_send_much_do_not_keep_out_a_small_delivery(client: Client, sendgrid: Adapter) -> None:
    service = client.app.state.service
    service.held_bytes = MAX_HELD_BYTES
    small = await client.post(signed(sendgrid, sample(sendgrid, "delivered")))
    request = signed(sendgrid, *[sample(sendgrid, "delivered")] * 2_000)
    large = await client.post(request)
    compressed = await client.post(
        request, content=gzip.compress(request.body), headers={**request.headers, "content-encoding": "gzip"}
    )
    assert small.status_code == 200
    for answer in (large, compressed):
        assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
    assert service.held_bytes == MAX_HELD_BYTES
    service.held_bytes = 0
    assert (await client.post(request)).status_code == 200


async def test_metrics_tell_what_happened(client: Client, sendgrid: Adapter) -> None:
    def number(text: str, name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    name = 'webhooks_events_total{source="sendgrid",type="unsubscribed"}'
    before = number((await client.get("/metrics")).text, name)
    await client.post(signed(sendgrid, sample(sendgrid, "unsubscribe")))
    after = await client.get("/metrics")
    assert after.headers["content-type"].startswith("text/plain")
    assert number(after.text, name) == before + 1


async def test_a_request_that_fails_half_way_is_recorded_whole_by_its_retry(
    client: Client, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch, connection: "asyncpg.Connection"
) -> None:
    """2,500 events are three statements; the second fails once."""
    database = client.app.state.service.database
    real, calls = database.execute, 0

    async def execute(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DatabaseUnavailable("for a moment")
        return await real(*arguments)

    request = signed(sendgrid, *[sample(sendgrid, "delivered", number=n) for n in range(2_500)])
    monkeypatch.setattr(database, "execute", execute)
    assert (await client.post(request)).status_code == 503
    receipt = (await client.post(request)).json()
    assert receipt["recorded"] + receipt["duplicates"] == 2_500
    assert await tables.count(connection, "webhook_events") == 2_500
