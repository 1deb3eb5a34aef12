"""Keys that lie in AWS: `ssm:/name` in Parameter Store, `secretsmanager:ARN#field` in Secrets Manager."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from webhooks.aws import new_client

SCHEMES = ("ssm:", "secretsmanager:")
# As many as Parameter Store gives at once.
PARAMETERS = 10


class SecretUnavailable(Exception):
    """A key cannot be had; says why."""


Secrets = Mapping[str, str | SecretUnavailable]
"""Reference → what it stands for, or why that cannot be had."""


def is_secret(reference: str) -> bool:
    return reference.startswith(SCHEMES)


def read_secrets(references: Iterable[str]) -> Secrets:
    """As `fetch_secrets`, wherever it is called: also where an event loop is running already."""
    wanted = [each for each in references if is_secret(each)]
    if not wanted:
        return {}
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fetch_secrets(wanted)).result()


async def fetch_secrets(references: Iterable[str]) -> Secrets:
    """Those among the references that lie in AWS, side by side."""
    references = list(references)
    names = sorted({each.removeprefix("ssm:") for each in references if each.startswith("ssm:")})
    pages = [names[start : start + PARAMETERS] for start in range(0, len(names), PARAMETERS)]
    secrets = sorted({each for each in references if each.startswith("secretsmanager:")})
    found = await asyncio.gather(*map(parameters, pages), *map(secret, secrets))
    return {reference: value for each in found for reference, value in each.items()}


async def parameters(names: Sequence[str]) -> Secrets:
    try:
        async with new_client("ssm") as client:
            answer = await client.get_parameters(Names=names, WithDecryption=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever starts the service must hear of it
        why, values = f"{type(error).__name__}: {error}", {}
    else:
        why = "there is none of that name in this region"
        values = {each["Name"]: each["Value"] for each in answer["Parameters"]}
    return {f"ssm:{name}": values.get(name) or SecretUnavailable(f"{name} in Parameter Store: {why}") for name in names}


async def secret(reference: str) -> Secrets:
    identity, _, field = reference.removeprefix("secretsmanager:").partition("#")
    try:
        async with new_client("secretsmanager") as client:
            text = (await client.get_secret_value(SecretId=identity))["SecretString"]
        return {reference: field_of(text, field) if field else text}
    except Exception as error:  # noqa: BLE001 - as above
        return {reference: SecretUnavailable(f"{identity} in Secrets Manager: {type(error).__name__}: {error}")}


def field_of(text: str, name: str) -> str:
    """Raises ValueError, telling nothing of the secret."""
    try:
        value = json.loads(text)[name]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"it is no JSON object with a field {name}") from None
    if not isinstance(value, str):
        raise ValueError(f"its field {name} is no text")
    return value
