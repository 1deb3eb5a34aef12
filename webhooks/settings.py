"""Every setting: where it comes from, what it may be, and all faults in one message."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from webhooks.faults import SettingsError
from webhooks.source import Source
from webhooks.sources import read_sources

PREFIX = "WEBHOOKS_"
CONFIG = "WEBHOOKS_CONFIG"
DEFAULT_CONFIG = "webhooks.toml"

CLUSTER_ARN = re.compile(r"arn:aws[\w-]*:rds:[a-z0-9-]+:\d+:cluster:[A-Za-z][A-Za-z0-9-]*")
SECRET_ARN = re.compile(r"arn:aws[\w-]*:secretsmanager:[a-z0-9-]+:\d+:secret:[\w/+=.@!-]+")
AN_ADDRESS = "postgresql://user:password@host:5432/database"
HOST = re.compile(r"(?=.)(\[[^\[\]]+\]|[^:\[\]]*)(:(?P<port>\d{0,5}))?")
# What libpq and others take in an address. asyncpg would hand it on to the server, which knows it as little.
FOREIGN = frozenset(
    (
        "channel_binding connect_timeout fallback_application_name gssdelegation gssencmode hostaddr keepalives"
        " keepalives_count keepalives_idle keepalives_interval load_balance_hosts max_protocol_version"
        " min_protocol_version oauth_client_id oauth_client_secret oauth_issuer oauth_scope replication require_auth"
        " requirepeer requiressl scram_client_key scram_server_key servicefile ssl sslcertmode sslcompression"
        " sslkeylogfile sslsni"
    ).split()
)
A_CLUSTER = "arn:aws:rds:REGION:ACCOUNT:cluster:NAME"
A_SECRET = "arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-AbCdEf"  # noqa: S105 - how one looks
POSTGRES_CONCURRENCY = 2
# A delivery of 10,000 events is ten statements, which then go out side by side.
DATA_API_CONCURRENCY = 16
# What the Data API needs, all of it or none, and what to write.
DATA_API = {"cluster_arn": A_CLUSTER, "secret_arn": A_SECRET, "database": "the database's name"}


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    sources: dict[str, Source] = Field(default_factory=dict)
    database_url: str | None = None
    data_dir: Path = Path(".webhooks")
    cluster_arn: str | None = None
    secret_arn: str | None = None
    database: str | None = None
    concurrency: int | None = Field(default=None, ge=1, le=1000)
    admin_token: str | None = None
    max_body_bytes: int = Field(default=10 * 1024 * 1024, ge=1)
    queue_url: str | None = None
    preferences_index: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("sources", mode="before")
    @classmethod
    def _read_sources(cls, value: Any) -> dict[str, Source]:
        try:
            return read_sources(value)
        except SettingsError as error:
            raise PydanticCustomError("faults", "{text}", {"text": "\n".join(error.faults)}) from error

    @field_validator("database_url", "cluster_arn", "secret_arn", "database", "queue_url")
    @classmethod
    def _is_not_empty(cls, value: str | None, info: ValidationInfo) -> str | None:
        # As a secret is that was not handed over: nothing is acknowledged into a database that nobody keeps.
        if value is not None and not value.strip():
            instead = ": an embedded PostgreSQL then takes its place" if info.field_name == "database_url" else ""
            raise fault(f"is empty: set it, or remove it{instead}")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not value.startswith(("postgresql://", "postgres://")) or not is_readable(value):
            # What is wrong would quote the password.
            raise fault(
                f"is no PostgreSQL address: write {AN_ADDRESS}; percent-encode / # ? @ : [ ] in user and password"
            )
        if foreign := sorted(FOREIGN & dict(parse_qsl(urlsplit(value).query)).keys()):
            raise fault(f"has what only other clients than ours know: leave out {', '.join(foreign)}")
        return value

    @field_validator("admin_token")
    @classmethod
    def _is_long(cls, value: str | None) -> str | None:
        if value is not None and len(value) < 8:
            raise fault("is too short to keep anybody out: make one with `openssl rand -hex 24`")
        return value

    @field_validator("data_dir")
    @classmethod
    def _is_no_file(cls, value: Path) -> Path:
        try:
            is_file = value.exists() and not value.is_dir()
        except OSError as error:
            raise fault(f"{value} cannot be used ({error.strerror}): name a directory of your own") from error
        if is_file:
            raise fault(f"{value} is a file: name a directory")
        return value

    @field_validator("cluster_arn")
    @classmethod
    def _is_a_cluster(cls, value: str | None) -> str | None:
        if value and not CLUSTER_ARN.fullmatch(value):
            raise fault(f"is no ARN of a cluster: write {A_CLUSTER}")
        name = (value or "").rpartition(":")[2]
        if value and name != name.lower():
            # AWS keeps the id in lower case, and compares ARNs letter by letter.
            raise fault(f"the cluster's id is in lower case: write {value.removesuffix(name)}{name.lower()}")
        return value

    @field_validator("secret_arn")
    @classmethod
    def _is_a_secret(cls, value: str | None) -> str | None:
        if value and not SECRET_ARN.fullmatch(value):
            raise fault(f"is no ARN of a secret: write {A_SECRET}, as Secrets Manager shows it")
        return value

    @field_validator("database")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value and len(value) > 63:
            raise fault("is longer than a database's name can be: write the name alone, such as app")
        return value

    @field_validator("queue_url")
    @classmethod
    def _is_a_queue(cls, value: str | None) -> str | None:
        if value and not value.startswith(("https://", "http://")):
            raise fault(
                "is no address of a queue: write https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, as SQS shows it"
            )
        return value

    @property
    def is_embedded(self) -> bool:
        """No database is named: we bring our own."""
        return self.database_url is None and self.cluster_arn is None

    @property
    def statements(self) -> int:
        """How many may be under way at once: beside the database two are best, over the Data API they wait on the way."""
        return self.concurrency or (DATA_API_CONCURRENCY if self.cluster_arn else POSTGRES_CONCURRENCY)

    @property
    def is_trial(self) -> bool:
        """Nothing is set up: an embedded database, and keys of our own making."""
        return not self.sources and self.is_embedded


def is_readable(address: str) -> bool:
    """Whether it is read as it is meant: what stands unencoded in a password would be taken for a host, port or path."""
    try:
        parts = urlsplit(address)
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return False
    _, at, hosts = parts.netloc.rpartition("@")
    return address.count("@") == len(at) and (not hosts or all(map(is_host, hosts.split(","))))


def is_host(text: str) -> bool:
    found = HOST.fullmatch(text)
    return found is not None and int(found["port"] or 0) < 65536


def fault(text: str) -> PydanticCustomError:
    # Braces are placeholders to pydantic.
    return PydanticCustomError("setting", "{text}", {"text": text})


def load_settings() -> Settings:
    """The settings of this process. Raises SettingsError, naming every fault at once."""
    faults = list(unknown_names())
    try:
        given = read_toml() | read_environment()
        faults += which_database(given)
        settings = Settings.model_validate(given)
    except ValidationError as error:
        faults += [line for problem in error.errors() for line in describe(cast("Mapping[str, Any]", problem))]
    except OSError as error:
        faults.append(f"{os.environ.get(CONFIG, DEFAULT_CONFIG)} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        faults.append(f"{os.environ.get(CONFIG, DEFAULT_CONFIG)} is not UTF-8, as TOML must be: save it so")
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
    return tomllib.loads(path.read_text("utf-8"))


def read_environment() -> dict[str, str]:
    names = {name: f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}


def unknown_names() -> Iterable[str]:
    """A misspelt name would be a setting that silently does nothing."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is no setting{f': do you mean {close[0]}?' if close else '; these are: ' + ', '.join(sorted(known))}"


def which_database(given: Mapping[str, Any]) -> Iterable[str]:
    """The Data API whole or not at all, and not beside another database."""
    named = [name for name in DATA_API if given.get(name)]
    if named and given.get("database_url"):
        yield (
            f"WEBHOOKS_DATABASE_URL and {', '.join(f'{PREFIX}{name.upper()}' for name in named)} name two databases: leave"
            " out the URL to go over the Data API, or the others to go to PostgreSQL directly"
        )
    elif named:
        for name, example in DATA_API.items():
            if name not in given:
                yield f"{PREFIX}{name.upper()} is missing, which the Data API needs too: write {example}"
    here, there = (region_of(str(given.get(name, ""))) for name in ("cluster_arn", "secret_arn"))
    if here and there and here != there:
        yield f"WEBHOOKS_SECRET_ARN lies in another region than the cluster: write that of a secret in {here}"


def region_of(arn: str) -> str:
    return "".join(arn.split(":")[3:4])


def describe(problem: Mapping[str, Any]) -> list[str]:
    name = ".".join(str(part) for part in problem["loc"])
    text = str(problem["msg"])
    if problem["type"] == "faults":
        return text.split("\n")
    if problem["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return [f"{name} in the configuration file is no setting" + (f": do you mean {close[0]}?" if close else "")]
    return [f"{PREFIX}{name.upper()}: {text}" if name else text]
