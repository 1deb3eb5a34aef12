"""Every setting: where it comes from, what it may be, and all faults in one message."""

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

import providers
from webhooks.consent import Scope, TopicPolicy
from webhooks.ingest import Source

PREFIX = "WEBHOOKS_"
CONFIG = "WEBHOOKS_CONFIG"
DEFAULT_CONFIG = "webhooks.toml"


class SettingsError(ValueError):
    """What is wrong with the settings: every fault, and what to write instead."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(["The settings cannot be used:", *(f"  - {fault}" for fault in self.faults)]))


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


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, arbitrary_types_allowed=True)

    toml: ClassVar[Mapping[str, Any]] = {}

    sources: Annotated[dict[str, Source], NoDecode] = Field(default_factory=dict)
    database_url: str | None = None
    data_dir: Path = Path(".webhooks")
    cluster_arn: str | None = None
    secret_arn: str | None = None
    database: str | None = None
    admin_token: str | None = None
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    queue_url: str | None = None
    preferences_index: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("sources", mode="before")
    @classmethod
    def _read_sources(cls, value: Any) -> dict[str, Source]:
        return read_sources(value)

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str | None) -> str | None:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise fault("is no PostgreSQL address: write postgresql://user:password@host:5432/database")
        try:
            urlsplit(value or "").port  # noqa: B018 - reading it checks it
        except ValueError as error:
            raise fault(
                f"is no PostgreSQL address ({error}): write postgresql://user:password@host:5432/database"
            ) from error
        return value or None

    @field_validator("admin_token")
    @classmethod
    def _is_long(cls, value: str | None) -> str | None:
        if value is not None and len(value) < 8:
            raise fault("is too short to keep anybody out: make one with `openssl rand -hex 24`")
        return value

    @field_validator("data_dir")
    @classmethod
    def _is_no_file(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise fault(f"{value} is a file: name a directory")
        return value

    @field_validator("cluster_arn", "secret_arn", "database", "queue_url")
    @classmethod
    def _is_for_later(cls, value: str | None) -> str | None:
        if value:
            raise fault("is not supported by this version yet: set WEBHOOKS_DATABASE_URL, or nothing at all, instead")
        return None

    @property
    def is_trial(self) -> bool:
        """Nothing is set up: an embedded database, and keys of our own making."""
        return not self.sources and self.database_url is None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlFile(settings_cls)


class TomlFile(PydanticBaseSettingsSource):
    """webhooks.toml, or the file that WEBHOOKS_CONFIG names."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return read_toml()


def fault(text: str) -> PydanticCustomError:
    # Braces are placeholders to pydantic.
    return PydanticCustomError("setting", "{text}", {"text": text})


def load_settings() -> Settings:
    """The settings of this process. Raises SettingsError, naming every fault at once."""
    faults = list(unknown_names())
    try:
        settings = Settings()
    except ValidationError as error:
        faults += [line for problem in error.errors() for line in describe(cast("Mapping[str, Any]", problem))]
    except OSError as error:
        faults.append(f"{os.environ.get(CONFIG, DEFAULT_CONFIG)} cannot be read: {error.strerror}")
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{os.environ.get(CONFIG, DEFAULT_CONFIG)} is not TOML: {error}")
    if faults:
        raise SettingsError(faults)
    return settings


def read_toml() -> dict[str, Any]:
    named = os.environ.get(CONFIG)
    path = Path(named or DEFAULT_CONFIG)
    if not named and not path.exists():
        return {}
    return tomllib.loads(path.read_text())


def unknown_names() -> Iterable[str]:
    """A misspelt name would be a setting that silently does nothing."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is no setting{f': do you mean {close[0]}?' if close else '; these are: ' + ', '.join(sorted(known))}"


def describe(problem: Mapping[str, Any]) -> list[str]:
    name = ".".join(str(part) for part in problem["loc"])
    text = str(problem["msg"])
    if problem["type"] == "faults":
        return text.split("\n")
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return [f"{name} in the configuration file is no setting" + (f": do you mean {close[0]}?" if close else "")]
    return [f"{PREFIX}{name.upper()}: {text}" if name else text]


def read_sources(value: Any) -> dict[str, Source]:
    """Every source with its adapter. Raises a fault with one line for each thing that is wrong."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise faults_of(
                [f'WEBHOOKS_SOURCES is not JSON ({error}): write {{"sendgrid": {{"keys": ["MFkw…"]}}}}']
            ) from error
    if not isinstance(value, Mapping):
        raise faults_of(['WEBHOOKS_SOURCES is not an object: write {"sendgrid": {"keys": ["MFkw…"]}}'])
    sources: dict[str, Source] = {}
    faults: list[str] = []
    for name, entry in value.items():
        try:
            sources[name] = read_source(name, entry)
        except SettingsError as error:
            faults += [f"WEBHOOKS_SOURCES: {name}: {each}" for each in error.faults]
    if faults:
        raise faults_of(faults)
    return sources


def faults_of(faults: list[str]) -> PydanticCustomError:
    return PydanticCustomError("faults", "{text}", {"text": "\n".join(faults)})


def read_source(name: str, entry: Any) -> Source:
    if isinstance(entry, Source):
        return entry
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise SettingsError(["the name becomes a path: use letters, digits, '-', '_' and '.' only"])
    if not isinstance(entry, Mapping):
        raise SettingsError(['is not an object: write {"keys": ["…"]}'])
    try:
        settings = SourceSettings.model_validate({"provider": name, **entry})
    except ValidationError as error:
        raise SettingsError(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()) from error
    if settings.provider not in providers.names():
        close = difflib.get_close_matches(settings.provider, providers.names(), n=1)
        raise SettingsError(
            [
                f"there is no provider {settings.provider!r}"
                + (f": do you mean {close[0]!r}?" if close else f"; these are: {', '.join(providers.names())}")
                + ("" if "provider" in entry else ' (a source of another name needs "provider": "…")')
            ]
        )
    return new_source(name, settings)


def new_source(name: str, settings: SourceSettings) -> Source:
    try:
        adapter = providers.load(settings.provider)
    except (ImportError, AttributeError, TypeError) as error:
        raise SettingsError([f"the adapter of {settings.provider} cannot be loaded: {error}"]) from error
    if not settings.keys and settings.verify:
        raise SettingsError([f'has no keys, so nobody could be told from the provider: "keys" takes {adapter.key}'])
    keys, faults = resolve_keys(settings.keys)
    for number, key in enumerate(keys):
        try:
            adapter(name, [key], settings.options)
        except ValidationError as error:
            faults += [
                f"{'.'.join(map(str, each['loc']))}: {option_fault(each['type'], each['msg'])}"
                for each in error.errors()
            ]
            break
        except ValueError as error:
            faults.append(f"keys[{number}] cannot be a key ({error}): it takes {adapter.key}")
    if faults:
        raise SettingsError(faults)
    policy = TopicPolicy(settings.topics, adapter.leaving_a_topic_leaves_all)
    return Source(adapter(name, keys, settings.options), policy, settings.verify)


def option_fault(kind: str, message: str) -> str:
    return "is no option of this provider" if kind == "extra_forbidden" else message


def resolve_keys(references: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys that are meant, literal or named by reference, and what is wrong with the others."""
    keys, faults = [], []
    for number, reference in enumerate(references):
        try:
            keys.append(resolve_key(reference))
        except SettingsError as error:
            faults += [f"keys[{number}]: {each}" for each in error.faults]
    return keys, faults


def resolve_key(reference: str) -> str:
    scheme, separator, name = reference.partition(":")
    if not separator or scheme not in {"env", "file", "secretsmanager", "ssm"}:
        key = reference
    elif scheme == "env":
        if name not in os.environ:
            raise SettingsError([f"the environment has no {name}"])
        key = os.environ[name]
    elif scheme == "file":
        try:
            key = Path(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError([f"the file {name} cannot be read: {error}"]) from error
    else:
        raise SettingsError([f"{scheme}: is not supported by this version yet: use env: or file:"])
    if not key.strip():
        raise SettingsError(["is empty"])
    return key.strip()
