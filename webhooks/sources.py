"""The sources that the settings name: their adapters, and their keys from wherever they lie."""

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import providers
from providers.adapter import Adapter
from webhooks.consent import Scope, TopicPolicy
from webhooks.faults import SettingsError
from webhooks.secrets import Secrets, SecretUnavailable, fetch_secrets, is_secret, read_secrets
from webhooks.source import Source, stamp

FILE = "file:"
# What stands behind each, so that a key which is a user and a password is not taken for a misspelt one.
NAMES = {"env": r"[A-Z][A-Z0-9_]*", "file": r".*/.*", "ssm": r"/.*", "secretsmanager": r".+"}
# Close enough for two letters that have changed places in the shortest of them.
CUTOFF = 0.66
ON_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME" in os.environ


class SourceSettings(BaseModel):
    """One entry of WEBHOOKS_SOURCES. What is no field here is an option of the provider's adapter."""

    model_config = ConfigDict(extra="allow", frozen=True)

    provider: str
    keys: list[str] = Field(default_factory=list)
    verify: bool = True
    topics: dict[str, Scope] = Field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        return self.model_extra or {}


def read_sources(value: Any) -> dict[str, Source]:
    """Every source with its adapter. Raises a fault with one line for each thing that is wrong."""
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=named_once)
        except SettingsError:
            raise
        except ValueError as error:
            raise SettingsError(
                [f'WEBHOOKS_SOURCES is not JSON ({error}): write {{"sendgrid": {{"keys": ["MFkw…"]}}}}']
            ) from error
    if not isinstance(value, Mapping):
        raise SettingsError(['WEBHOOKS_SOURCES is not an object: write {"sendgrid": {"keys": ["MFkw…"]}}'])
    sources: dict[str, Source] = {}
    faults: list[str] = []
    secrets = read_secrets(references_in(value))
    for name, entry in value.items():
        try:
            sources[name] = read_source(name, entry, secrets)
        except SettingsError as error:
            faults += [f"WEBHOOKS_SOURCES: {name}: {each}" for each in error.faults]
    if faults:
        raise SettingsError(faults)
    return sources


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which the last of two would silently stand for both."""
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise SettingsError(f"WEBHOOKS_SOURCES: {name!r} stands twice in one object: leave out one" for name in twice)
    return dict(pairs)


def references_in(sources: Mapping[str, Any]) -> Iterator[str]:
    """Whatever is given as a key; what is wrong with it comes later."""
    for entry in sources.values():
        keys = entry.get("keys") if isinstance(entry, Mapping) else None
        yield from (key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()


def read_source(name: str, entry: Any, secrets: Secrets) -> Source:
    if isinstance(entry, Source):
        return entry
    if name in {"", ".", ".."} or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise SettingsError(
            ["the name becomes a path: use letters, digits, '-', '_' and '.' only, and not '.' or '..' alone"]
        )
    if not isinstance(entry, Mapping):
        raise SettingsError(['is not an object: write {"keys": ["…"]}'])
    try:
        settings = SourceSettings.model_validate({"provider": name, **entry})
    except ValidationError as error:
        raise SettingsError(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()) from error
    if not providers.is_known(settings.provider):
        close = difflib.get_close_matches(settings.provider, providers.names(), n=1)
        raise SettingsError(
            [
                f"there is no provider {settings.provider!r}"
                + (f": do you mean {close[0]!r}?" if close else f"; these are: {', '.join(providers.names())}")
                + ("" if "provider" in entry else ' (a source of another name needs "provider": "…")')
            ]
        )
    return new_source(name, settings, secrets)


def new_source(name: str, settings: SourceSettings, secrets: Secrets | None = None) -> Source:
    """Raises SettingsError with all that is wrong."""
    try:
        kind = providers.load(settings.provider)
    except (ImportError, AttributeError, TypeError) as error:
        raise SettingsError([f"the adapter of {settings.provider} cannot be loaded: {error}"]) from error
    if not settings.keys and settings.verify:
        raise SettingsError([f'has no keys, so nobody could be told from the provider: "keys" takes {kind.key}'])
    # Before they are read: what is written meanwhile is then read again.
    files = {path: stamp(path) for path in files_of(settings.keys)}
    had, missing = keys_to_start_with(settings, secrets or {})
    adapter = new_adapter(kind, name, had, secrets or {})

    async def read_again() -> Adapter:
        return new_adapter(kind, name, settings, await fetch_secrets(settings.keys))

    in_aws = any(map(is_secret, settings.keys))
    policy = TopicPolicy(settings.topics, adapter.leaving_a_topic_leaves_all)
    return Source(adapter, policy, settings.verify, read_again if files or in_aws else None, files, in_aws, missing)


def files_of(references: Iterable[str]) -> Iterator[Path]:
    return (Path(each.removeprefix(FILE)) for each in references if each.startswith(FILE))


def keys_to_start_with(settings: SourceSettings, secrets: Secrets) -> tuple[SourceSettings, list[str]]:
    """On Lambda, where a start is no deployment that could be refused, those that can be had, and why others cannot: one
    source must not stop all of them. Each of the others is had when it is there again.
    """
    if not ON_LAMBDA:
        return settings, []
    missing = {key: str(secrets[key]) for key in settings.keys if isinstance(secrets.get(key), SecretUnavailable)}
    had = [key for key in settings.keys if key not in missing]
    return settings.model_copy(update={"keys": had}), list(missing.values())


def new_adapter(kind: type[Adapter], name: str, settings: SourceSettings, secrets: Secrets) -> Adapter:
    """Raises SettingsError."""
    keys, faults = resolve_keys(settings.keys, secrets)
    # Each by itself first, so that all that are wrong are named.
    for number, key in enumerate(keys):
        faults += key_faults(kind, name, [key], settings.options, f"keys[{number}]")
    faults = faults or key_faults(kind, name, keys, settings.options, "keys")
    if faults:
        raise SettingsError(dict.fromkeys(faults))
    return kind(name, keys, settings.options)


def key_faults(
    kind: type[Adapter], name: str, keys: Sequence[str], options: Mapping[str, Any], which: str
) -> list[str]:
    try:
        kind(name, keys, options)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, each['loc']))}: {option_fault(each['type'], each['msg'])}" for each in error.errors()
        ]
    except ValueError as error:
        return [f"{which} cannot be a key ({error}): it takes {kind.key}"]
    return []


def option_fault(kind: str, message: str) -> str:
    return "is no option of this provider" if kind == "extra_forbidden" else message


def resolve_keys(references: Iterable[str], secrets: Secrets) -> tuple[list[str], list[str]]:
    """The keys that are meant, literal or named by reference, and what is wrong with the others."""
    keys, faults = [], []
    for number, reference in enumerate(references):
        try:
            keys.append(resolve_key(reference, secrets))
        except (KeyUnavailable, SecretUnavailable) as error:
            faults.append(f"keys[{number}]: {error}")
    return keys, faults


class KeyUnavailable(Exception):
    """What a key's reference names is not there."""


def resolve_key(reference: str, secrets: Secrets) -> str:
    scheme, _, name = reference.partition(":")
    key: str | SecretUnavailable = reference
    if is_secret(reference):
        key = secrets[reference]
    elif scheme == "env":
        if name not in os.environ:
            raise KeyUnavailable(f"the environment has no {name}")
        key = os.environ[name]
    elif scheme == "file":
        try:
            key = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise KeyUnavailable(f"the file {name} cannot be read: {error}") from error
    elif meant := misspelt(scheme, name):
        raise KeyUnavailable(
            f"looks like a misspelt {meant}:…; if it is the key itself, put it where env:NAME or file:PATH name it"
        )
    if isinstance(key, SecretUnavailable):
        raise key
    if not key.strip():
        raise KeyUnavailable("is empty")
    return key.strip()


def misspelt(scheme: str, name: str) -> str:
    """The reference that is meant, or nothing."""
    close = difflib.get_close_matches(scheme.strip().lower(), NAMES, n=1, cutoff=CUTOFF)
    return next((each for each in close if re.fullmatch(NAMES[each], name)), "")
