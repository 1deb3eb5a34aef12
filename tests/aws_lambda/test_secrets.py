"""Keys in Parameter Store and Secrets Manager: fetched at the start, and read anew when a delivery does not verify."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from providers.adapter import Adapter, WebhookRequest
from tests.aws_lambda import events
from tests.aws_lambda.conftest import NewFunction, client, invoke
from tests.aws_lambda.runtime import Runtime
from webhooks.faults import SettingsError
from webhooks.settings import load_settings

PARAMETER = "/email-webhooks/test/sendgrid"


@pytest.fixture
def at(aws: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where they lie, for a function and for this process."""
    settings = {"AWS_ENDPOINT_URL_SSM": aws, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws}
    for name, value in {**settings, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    return settings


def put(aws: str, value: str, name: str = PARAMETER) -> None:
    client("ssm", aws).put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)


def keep(aws: str, value: str) -> str:
    """The ARN of a new secret."""
    name = f"email-webhooks/test/{datetime.now(UTC).timestamp()}"
    arn: str = client("secretsmanager", aws).create_secret(Name=name, SecretString=value)["ARN"]
    return arn


def sources(*keys: str, **more: Any) -> str:
    return json.dumps({"sendgrid": {"keys": keys}, **more})


def signed(adapter: Adapter) -> WebhookRequest:
    now = datetime.now(UTC)
    [request] = adapter.sign([adapter.sample("open", "ada@example.test", now, 1)], now)
    return request


async def status(function: Runtime, adapter: Adapter) -> int:
    return events.answer((await invoke(function, events.http_api_2(signed(adapter)))).result)[0]


async def test_a_key_that_rotates_where_it_lies_is_read_anew(
    new_function: NewFunction, adapter: Adapter, aws: str, at: dict[str, str]
) -> None:
    put(aws, adapter.keys[0])
    function = new_function(WEBHOOKS_SOURCES=sources(f"ssm:{PARAMETER}"), **at)
    assert await status(function, adapter) == 200
    rotated = type(adapter)("sendgrid", [adapter.new_key()])
    put(aws, rotated.keys[0])
    assert await status(function, rotated) == 200
    # At most once a minute: the next is not read before that.
    again = type(adapter)("sendgrid", [adapter.new_key()])
    put(aws, again.keys[0])
    assert await status(function, again) == 401
    assert await status(function, rotated) == 200


async def test_a_key_may_be_a_field_of_a_secret(
    new_function: NewFunction, adapter: Adapter, aws: str, at: dict[str, str]
) -> None:
    whole = keep(aws, adapter.keys[0])
    field = keep(aws, json.dumps({"signing": adapter.keys[0], "other": 1}))
    for reference in (f"secretsmanager:{whole}", f"secretsmanager:{field}#signing"):
        function = new_function(WEBHOOKS_SOURCES=sources(reference), **at)
        assert await status(function, adapter) == 200


@pytest.mark.usefixtures("at")
def test_many_are_fetched_and_all_that_are_missing_are_named(
    aws: str, adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{PARAMETER}/{number}" for number in range(25)]
    for name in names:
        put(aws, adapter.new_key(), name)
    monkeypatch.setenv("WEBHOOKS_SOURCES", sources(*(f"ssm:{name}" for name in names)))
    assert len(load_settings().sources["sendgrid"].adapter.keys) == 25

    arn = keep(aws, '{"signing": 5}')
    more = {"keys": [f"secretsmanager:{arn}#signing", f"secretsmanager:{arn}#nothing", "secretsmanager:gone"]}
    monkeypatch.setenv("WEBHOOKS_SOURCES", sources("ssm:/nowhere", eu={"provider": "sendgrid", **more}))
    with pytest.raises(SettingsError) as refused:
        load_settings()
    told = str(refused.value)
    for words in (
        "sendgrid: keys[0]: /nowhere in Parameter Store: there is none of that name",
        f"eu: keys[0]: {arn} in Secrets Manager: ValueError: its field signing is no text",
        f"eu: keys[1]: {arn} in Secrets Manager: ValueError: it is no JSON object with a field nothing",
        "eu: keys[2]: gone in Secrets Manager: ResourceNotFoundException",
    ):
        assert words in told


async def test_where_they_cannot_be_had_when_a_delivery_does_not_verify_the_provider_sends_again(
    new_function: NewFunction, adapter: Adapter, aws: str, at: dict[str, str]
) -> None:
    name = f"{PARAMETER}/lost"
    put(aws, adapter.keys[0], name)
    function = new_function(WEBHOOKS_SOURCES=sources(f"ssm:{name}"), **at)
    assert await status(function, adapter) == 200
    client("ssm", aws).delete_parameter(Name=name)
    stranger = type(adapter)("sendgrid", [adapter.new_key()])
    assert await status(function, stranger) == 503
    assert await status(function, stranger) == 503
    assert await status(function, adapter) == 200


async def test_a_source_whose_key_is_missing_at_the_start_stops_no_other(
    new_function: NewFunction, adapter: Adapter, aws: str, at: dict[str, str]
) -> None:
    name = f"{PARAMETER}/later"
    eu = type(adapter)("eu", [adapter.new_key()])
    missing = {"provider": "sendgrid", "keys": [f"ssm:{name}"]}
    two = {"provider": "sendgrid", "keys": [adapter.keys[0], f"ssm:{name}"]}
    function = new_function(WEBHOOKS_SOURCES=sources(adapter.keys[0], eu=missing, two=two), **at)
    assert await status(function, adapter) == 200
    assert await status(function, type(adapter)("two", adapter.keys)) == 200
    assert await status(function, eu) == 503
    lines = function.lines()
    assert [each["source"] for each in lines if each["event"].startswith("KEYS MISSING")] == ["eu", "two"]
    assert "there is none of that name" in lines[-1]["error"]

    put(aws, eu.keys[0], name)
    again = new_function(WEBHOOKS_SOURCES=sources(adapter.keys[0], eu=missing), **at)
    assert await status(again, eu) == 200


async def test_a_source_gets_its_missing_key_when_that_is_there(
    new_function: NewFunction, adapter: Adapter, aws: str, at: dict[str, str]
) -> None:
    name = f"{PARAMETER}/soon"
    function = new_function(WEBHOOKS_SOURCES=sources(f"ssm:{name}"), **at)
    await asyncio.to_thread(function.wait_until_ready)
    put(aws, adapter.keys[0], name)
    assert await status(function, adapter) == 200


async def test_whatever_else_is_wrong_with_a_key_refuses_the_start(
    new_function: NewFunction, at: dict[str, str]
) -> None:
    function = new_function(WEBHOOKS_SOURCES=sources("ssm:/nowhere", eu={"provider": "sendgrid", "keys": ["x"]}), **at)
    with pytest.raises(AssertionError, match=r"eu: keys\[0\] cannot be a key"):
        await asyncio.to_thread(function.wait_until_ready)
