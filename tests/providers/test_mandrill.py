"""Mandrill: a signature over our own address, which settings must tell; a test that nobody has the key of."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from providers.adapter import NotVerified, WebhookRequest
from providers.events import Event, EventType
from providers.mandrill import Mandrill, fields_of
from providers.signing import hmac_base64
from tests.providers.payloads import parsed

KEY = "mandrill-test-key-0001"
URL = "https://hooks.example.test/mandrill/in?t=abc"
KNOWN = WebhookRequest(
    source="mandrill",
    headers={"x-mandrill-signature": "3sbi0STJmYmZTT6xVXOtoUuNcE4="},
    body=b"mandrill_events=%5B%7B%22event%22%3A%22open%22%2C%22_id%22%3A%22abc123%22%2C%22ts%22%3A1700000000%2C%22msg%22"
    b"%3A%7B%22_id%22%3A%22abc123%22%2C%22email%22%3A%22ada%40example.test%22%2C%22ts%22%3A1699999990%2C%22state%22%3A"
    b"%22sent%22%2C%22tags%22%3A%5B%22t1%22%5D%2C%22metadata%22%3A%7B%22uid%22%3A%227%22%7D%2C%22url%22%3A%22http%3A%5C"
    b"%2F%5C%2Fx.test%5C%2Fa%22%7D%2C%22ip%22%3A%22192.0.2.9%22%2C%22user_agent%22%3A%22UA%5C%2F1.0%22%2C"
    b"%22user_agent_parsed%22%3Anull%2C%22location%22%3Anull%7D%5D",
)


def mandrill(url: str | list[str] = URL, *keys: str) -> Mandrill:
    return Mandrill("mandrill", keys or (KEY,), {"url": url})


async def test_the_known_signature_is_genuine() -> None:
    batch = mandrill().parse(await mandrill().verify(KNOWN))
    assert [(event.type, event.email_address) for event in batch.events] == [(EventType.OPENED, "ada@example.test")]


@pytest.mark.parametrize("body", [b"a_extra=1&mandrill_events=%5B%5D", b"mandrill_events=%5B%5D&a_extra=1"])
async def test_fields_are_signed_in_the_order_of_their_names(body: bytes) -> None:
    request = replace(KNOWN, body=body, headers={"x-mandrill-signature": "YyWab/SbgbY3Q2UuybI2/DwQGSo="})
    assert await mandrill().verify(request) is request


@pytest.mark.parametrize("url", [[URL, "https://new.example.test/"], ["https://new.example.test/", URL]])
async def test_any_of_several_addresses_and_keys_may_be_the_one(url: list[str]) -> None:
    assert await mandrill(url, "another", KEY).verify(KNOWN)


async def test_a_password_in_the_address_is_signed() -> None:
    url = "https://user:pässword@hooks.example.test/"
    body = b"mandrill_events=%5B1%5D"
    signature = hmac_base64(KEY, f"{url}mandrill_events[1]".encode(), "sha1")
    request = replace(KNOWN, body=body, headers={"x-mandrill-signature": signature})
    assert await mandrill(url).verify(request)
    with pytest.raises(NotVerified):
        await mandrill(url.replace("user:pässword@", "")).verify(request)


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("https", "http"),
        URL + "/",
        URL.removesuffix("?t=abc"),
        URL.replace("example.test", "example.test:443"),
    ],
)
async def test_an_address_that_is_not_as_entered_is_refused(url: str) -> None:
    with pytest.raises(NotVerified, match=r"the signature is of no key for the address http.*`url`"):
        await mandrill(url).verify(KNOWN)


async def test_a_refusal_names_the_addresses_tried_but_no_secret() -> None:
    url = ["https://user:s3cret@hooks.example.test:8443/in?token=s3cret&b", "https://other.example.test/"]
    with pytest.raises(NotVerified) as refusal:
        await mandrill(url).verify(KNOWN)
    assert "https://…@hooks.example.test:8443/in?… or https://other.example.test/" in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "request_",
    [
        replace(KNOWN, headers={}),
        replace(KNOWN, headers={"x-mandrill-signature": ""}),
        replace(KNOWN, headers={"x-mandrill-signature": KNOWN.headers["x-mandrill-signature"].lower()}),
        replace(KNOWN, body=KNOWN.body.replace(b"%5C%2F", b"%2F")),
        replace(KNOWN, body=KNOWN.body + b"&a=1"),
        replace(KNOWN, body=b"mandrill_events=%5B%5D&a=1"),
    ],
    ids=["no header", "empty", "lower case", "slashes not escaped", "a field more", "not quite the test"],
)
async def test_what_is_not_what_was_signed_is_refused(request_: WebhookRequest) -> None:
    with pytest.raises(NotVerified):
        await mandrill().verify(request_)


@pytest.mark.parametrize("headers", [{}, {"x-mandrill-signature": "lcSVbcCWZ5x8zdLZvlYF+Tud7dQ="}])
@pytest.mark.parametrize("body", [b"mandrill_events=%5B%5D", b"mandrill_events=[]"])
async def test_the_test_on_saving_is_taken_whatever_its_signature_and_has_no_effect(
    headers: dict[str, str], body: bytes
) -> None:
    batch = mandrill().parse(await mandrill().verify(replace(KNOWN, body=body, headers=headers)))
    assert (batch.events, batch.dead_letters) == ([], [])


def test_the_key_that_everybody_knows_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="everybody knows"):
        mandrill(URL, KEY, "test-webhook")


@pytest.mark.parametrize("options", [{}, {"url": ""}, {"url": []}, {"url": "hooks.example.test"}, {"url": 5}])
def test_without_an_address_it_does_not_start(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="url"):
        Mandrill("mandrill", [KEY], options)


def test_a_form_is_read_byte_for_byte() -> None:
    text = {"a b": "ä=&+%/\\\r\n\t~", "c": ""}
    assert fields_of(urlencode(text).encode()) == [(name.encode(), text[name].encode()) for name in text]
    assert fields_of(b"a=%FF%00=b&&c") == [(b"a", b"\xff\x00=b"), (b"c", b"")]


CLICK = {
    "event": "click",
    "_id": "m1",
    "ts": 1700000000,
    "url": "https://a",
    "ip": "192.0.2.9",
    "msg": {"email": "ada@example.test"},
}


def read(item: dict[str, Any]) -> Event:
    [event] = parsed(mandrill(), urlencode({"mandrill_events": json.dumps([item])}).encode()).events
    return event


@pytest.mark.parametrize(
    "other",
    [
        {"event": "open"},
        {"_id": "m2"},
        {"ts": 1700000001},
        {"url": "https://b"},
        {"ip": "192.0.2.8"},
        {"user_agent": "another"},
        {"msg": {"email": "bob@example.test"}},
    ],
)
def test_what_tells_two_events_of_a_message_apart(other: dict[str, Any]) -> None:
    assert read(CLICK | other).id != read(CLICK).id


def test_a_later_state_of_the_message_changes_no_id() -> None:
    assert read(CLICK | {"msg": {"email": "ADA@example.test", "opens": [1]}}).id == read(CLICK).id
