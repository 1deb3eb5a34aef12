"""Elastic Email: a signature over method, address and body, its known answer, and the secret that comes before it."""

import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from providers.adapter import NotVerified, WebhookRequest
from providers.decoding import encode
from providers.elastic_email import SIGNATURE, TIMESTAMP, ElasticEmail
from providers.events import BounceClass, Event, EventType
from tests.providers.payloads import parsed

KEY = "whsec_elastic-test-0001"
URL = "https://example.com/webhooks/elastic_email?key=first-secret"
KNOWN = WebhookRequest(
    source="elastic_email",
    body=b'{"status":"Unsubscribed","to":"ada@example.test","date":"11/14/2023 10:13:20 PM","messageid":"m-1"}',
    headers={
        TIMESTAMP.lower(): "1700000000",
        SIGNATURE.lower(): "v1=f004b5a2bc455256f11d7b060313f63075ee75e8746e3578e21d30856963e049",
    },
    query={"key": "first-secret"},
    received_at=datetime.fromtimestamp(1700000002, UTC),
)


def elastic(*keys: str, url: Any = URL) -> ElasticEmail:
    return ElasticEmail("elastic_email", keys or (KEY,), {"url": url})


def with_header(name: str, value: str) -> WebhookRequest:
    return replace(KNOWN, headers={**KNOWN.headers, name.lower(): value})


async def test_the_known_signature_is_genuine() -> None:
    assert await elastic().verify(KNOWN) is KNOWN
    assert await elastic(url=["https://elsewhere.example.com/webhooks/elastic_email", URL]).verify(KNOWN) is KNOWN


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, body=KNOWN.body.replace(b"ada", b"bob")),
        replace(KNOWN, body=KNOWN.body + b"\n"),
        replace(KNOWN, method="PUT"),
        with_header(TIMESTAMP, "1700000001"),
        with_header(SIGNATURE, KNOWN.headers[SIGNATURE.lower()].removeprefix("v1=")),
        with_header(SIGNATURE, "v1="),
        with_header(SIGNATURE, ""),
    ],
)
async def test_what_was_not_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await elastic().verify(request_)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        (
            "https://example.com/webhooks/elastic_email",
            "/webhooks/elastic_email?status=Unsubscribed&to=ada%40example.test",
        ),
        ("https://example.com/in?a=b", "/in?a=b&status=Unsubscribed&to=ada%40example.test"),
    ],
)
async def test_a_get_is_signed_with_all_of_its_address_and_no_body(url: str, target: str) -> None:
    signature = hmac.new(KEY.encode(), f"1700000000\nGET\n{target}\n".encode(), "sha256").hexdigest()
    query = target.partition("?")[2].removeprefix("a=b&").encode()
    request = replace(with_header(SIGNATURE, f"v1={signature}"), method="GET", body=query)
    verified = await elastic(url=url).verify(request)
    [event] = elastic(url=url).parse(verified).events
    assert (event.type, event.email_address) == (EventType.UNSUBSCRIBED, "ada@example.test")
    with pytest.raises(NotVerified):
        await elastic(url=url).verify(replace(request, body=query + b"x"))


async def test_an_address_that_was_not_signed_is_named_without_its_secret() -> None:
    other = "https://example.com/hooks?key=first-secret"
    with pytest.raises(NotVerified, match=r"https://example\.com/hooks\?…:") as refusal:
        await elastic(url=other).verify(KNOWN)
    assert "first-secret" not in str(refusal.value)


@pytest.mark.parametrize(("age", "refusal"), [(timedelta(hours=26), "stale"), (-timedelta(minutes=6), "future")])
async def test_a_genuine_signature_has_its_time(age: timedelta, refusal: str) -> None:
    with pytest.raises(NotVerified, match=refusal):
        await elastic().verify(replace(KNOWN, received_at=datetime.fromtimestamp(1700000000, UTC) + age))


async def test_before_the_signing_secret_is_known_the_secret_in_the_address_will_do() -> None:
    unsigned = replace(KNOWN, headers={})
    assert await ElasticEmail("elastic_email", ["first-secret"]).verify(KNOWN)
    assert await elastic(KEY, "first-secret").verify(unsigned)
    with pytest.raises(NotVerified, match=f"no header {SIGNATURE}"):
        await elastic().verify(unsigned)


async def test_a_signing_secret_is_no_secret_for_an_address() -> None:
    request = replace(KNOWN, headers={}, query={"key": KEY})
    for keys in ([KEY], [KEY, "first-secret"]):
        with pytest.raises(NotVerified):
            await elastic(*keys).verify(request)


async def test_a_wrong_signature_is_not_saved_by_the_secret_in_the_address() -> None:
    with pytest.raises(NotVerified):
        await elastic("whsec_another", "first-secret").verify(KNOWN)


@pytest.mark.parametrize("options", [{}, {"url": []}, {"url": "example.com"}, {"url": "https://[example.com"}])
def test_a_signing_secret_without_a_right_address_is_refused_at_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        ElasticEmail("elastic_email", [KEY], options)


def read(**fields: Any) -> Event:
    event = {"status": "Opened", "to": "ada@example.test", "date": "11/14/2023 10:13:20 PM", "messageid": "m-1"}
    [found] = parsed(elastic(), encode(event | fields)).events
    return found


@pytest.mark.parametrize(
    "date",
    [
        "11/14/2023 10:13:20 PM",
        "11/14/2023 10:13:20\u202fPM",
        "11/14/2023 22:13:20",
        "2023-11-14T22:13:20",
        "2023-11-14T22:13:20Z",
        1700000000,
    ],
)
def test_a_date_is_read_in_whatever_style(date: Any) -> None:
    assert read(date=date).at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


@pytest.mark.parametrize("date", [None, "", "soon", "14/11/2023", "14/11/2023 22:13:20", "1/1/1 01:01:01 AM", []])
def test_a_date_that_is_none_costs_nothing_but_the_time(date: Any) -> None:
    event = read(status="Unsubscribed", date=date)
    assert (event.type, event.email_address, event.at) == (EventType.UNSUBSCRIBED, "ada@example.test", None)


@pytest.mark.parametrize(
    ("category", "kind", "bounce_class"),
    [
        ("NoMailbox", EventType.BOUNCED, BounceClass.HARD),
        ("nomailbox", EventType.BOUNCED, BounceClass.HARD),
        ("GreyListed", EventType.BOUNCED, BounceClass.SOFT),
        ("Spam", EventType.BOUNCED, BounceClass.SOFT),
        ("Unknown", EventType.BOUNCED, BounceClass.HARD),
        (None, EventType.BOUNCED, BounceClass.HARD),
        ("ManualCancel", EventType.DROPPED, None),
    ],
)
def test_an_error_is_what_its_category_says(category: Any, kind: EventType, bounce_class: BounceClass | None) -> None:
    event = read(status="Error", category=category)
    assert (event.type, event.bounce_class) == (kind, bounce_class)


def test_what_differs_has_an_id_of_its_own_and_a_repeat_has_none() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"status": "Clicked"},
        {"to": "bob@example.test"},
        {"messageid": "m-2"},
        {"date": "11/14/2023 10:13:21 PM"},
        {"target": "https://example.com/a"},
        {"ip": "192.0.2.9"},
    ]
    assert len({read(**other).id for other in others}) == len(others)
    assert read(to="ADA@example.test", subject="another", status="opened").id == read().id
