"""Settings: every fault in one message, with what to write instead; environment over file over defaults."""

import json
from pathlib import Path
from typing import Any

import pytest

import providers
from webhooks.faults import SettingsError
from webhooks.settings import Settings, load_settings

KEY = providers.load("sendgrid").new_key()
GOOD = {"sendgrid": {"keys": [KEY]}}
DATA_API = {
    "CLUSTER_ARN": "arn:aws:rds:eu-west-1:123456789012:cluster:app",
    "SECRET_ARN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!cluster-app-AbCdEf",
    "DATABASE": "app",
}


@pytest.fixture(autouse=True)
def set_(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def set_(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"WEBHOOKS_{name}", value if isinstance(value, str) else json.dumps(value))

    return set_


def faults() -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return refused.value.faults


def test_with_nothing_set_it_is_a_trial() -> None:
    assert load_settings().is_trial


def test_a_source_takes_its_providers_name_unless_it_says_another(set_: Any) -> None:
    set_(SOURCES={"sendgrid": {"keys": [KEY]}, "eu": {"provider": "sendgrid", "keys": [KEY, KEY]}})
    sources = load_settings().sources
    assert {name: (source.adapter.name, source.adapter.source) for name, source in sources.items()} == {
        "sendgrid": ("sendgrid", "sendgrid"),
        "eu": ("sendgrid", "eu"),
    }
    assert not load_settings().is_trial


def test_a_key_may_lie_in_the_environment_or_in_a_file(
    set_: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    (tmp_path / "key").write_text(f"{KEY}\n")
    set_(SOURCES={"sendgrid": {"keys": ["env:THE_KEY", f"file:{tmp_path / 'key'}"]}})
    assert list(load_settings().sources["sendgrid"].adapter.keys) == [KEY.strip()] * 2


@pytest.mark.parametrize(
    "key", ["env1:pass/word", "sns:password", "sms:PASSWORD", "profile:pa:ss", "vault:of/keys", "e:x"]
)
def test_a_user_and_a_password_are_no_misspelt_reference(set_: Any, key: str) -> None:
    set_(SOURCES={"postmark": {"keys": [key]}})
    assert list(load_settings().sources["postmark"].adapter.keys) == [key]


def test_the_data_api_is_a_database_too_and_says_how_many_calls_go_out_at_once(set_: Any) -> None:
    set_(**DATA_API)
    settings = load_settings()
    assert (settings.is_trial, settings.is_embedded, settings.statements) == (False, False, 16)
    set_(CONCURRENCY="3")
    assert load_settings().statements == 3


def test_each_part_of_the_data_api_that_is_missing_is_named(set_: Any) -> None:
    set_(DATABASE="app")
    assert [fault.split()[0] for fault in faults()] == ["WEBHOOKS_CLUSTER_ARN", "WEBHOOKS_SECRET_ARN"]


def test_topics_are_the_users_word(set_: Any) -> None:
    set_(SOURCES={"sendgrid": {"keys": [KEY], "topics": {"42": "global"}}})
    assert load_settings().sources["sendgrid"].topics.scopes == {"42": "global"}


def test_the_environment_goes_over_the_file_and_the_file_over_defaults(set_: Any, tmp_path: Path) -> None:
    (tmp_path / "webhooks.toml").write_text(
        'log_level = "error"\nmax_body_bytes = 5000\n[sources.sendgrid]\nkeys = ["{}"]\n'.format(
            KEY.replace("\n", "\\n")
        )
    )
    set_(MAX_BODY_BYTES="6000")
    settings = load_settings()
    assert (settings.log_level, settings.max_body_bytes, settings.preferences_index) == ("error", 6000, True)
    assert list(settings.sources) == ["sendgrid"]


def test_another_file_may_be_named(set_: Any, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("max_body_bytes = 7000\n")
    set_(CONFIG=str(tmp_path / "other.toml"))
    assert load_settings().max_body_bytes == 7000


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"SORCES": "{}"}, ["WEBHOOKS_SORCES", "WEBHOOKS_SOURCES"]),
        ({"SOURCES": "{"}, ["WEBHOOKS_SOURCES", "JSON", '{"sendgrid"']),
        ({"SOURCES": "[]"}, ["WEBHOOKS_SOURCES", "object"]),
        ({"SOURCES": {"sengrid": {"keys": [KEY]}}}, ["sengrid", "'sendgrid'"]),
        ({"SOURCES": {"eu": {"keys": [KEY]}}}, ["eu", '"provider"']),
        ({"SOURCES": {"sendgrid": {"keys": []}}}, ["sendgrid", "no keys", "verification key"]),
        ({"SOURCES": {"sendgrid": {}}}, ["sendgrid", "no keys"]),
        ({"SOURCES": {"sendgrid": [KEY]}}, ["sendgrid", "object"]),
        ({"SOURCES": {"sendgrid": {"keys": "MFkw"}}}, ["sendgrid", "keys", "list"]),
        ({"SOURCES": {"sendgrid": {"keys": ["SG.api-key"]}}}, ["sendgrid", "keys[0]", "MFkw"]),
        ({"SOURCES": {"sendgrid": {"keys": [KEY, ""]}}}, ["sendgrid", "keys[1]", "empty"]),
        ({"SOURCES": {"sendgrid": {"keys": ["env:NOT_SET"]}}}, ["keys[0]", "NOT_SET"]),
        ({"SOURCES": {"sendgrid": {"keys": ["file:/nowhere/key"]}}}, ["keys[0]", "/nowhere/key"]),
        ({"SOURCES": {"postmark": {"keys": ["evn:THE_KEY"]}}}, ["keys[0]", "env:…"]),
        ({"SOURCES": {"postmark": {"keys": ["ENV:THE_KEY"]}}}, ["keys[0]", "env:…"]),
        ({"SOURCES": {"postmark": {"keys": ["flie:/run/secrets/key"]}}}, ["keys[0]", "file:…"]),
        ({"SOURCES": {"postmark": {"keys": ["smm:/the/key"]}}}, ["keys[0]", "ssm:…"]),
        ({"SOURCES": {"postmark": {"keys": ["secretmanager:key"]}}}, ["keys[0]", "secretsmanager:…"]),
        ({"SOURCES": {"..": {"provider": "sendgrid", "keys": [KEY]}}}, ["..: the name becomes a path"]),
        ({"SOURCES": {".": {"provider": "sendgrid", "keys": [KEY]}}}, [".: the name becomes a path"]),
        ({"SOURCES": '{"sendgrid": {}, "eu": {}, "sendgrid": {}}'}, ["WEBHOOKS_SOURCES", "'sendgrid' stands twice"]),
        ({"SOURCES": '{"sendgrid": {"keys": [], "keys": []}}'}, ["WEBHOOKS_SOURCES", "'keys' stands twice"]),
        ({"SOURCES": {"sendgrid": {"keys": [KEY], "hedder": "x"}}}, ["hedder", "no option"]),
        ({"SOURCES": {"sendgrid": {"keys": [KEY], "topics": {"42": "all"}}}}, ["topics.42", "topic", "global"]),
        ({"SOURCES": {"a/b": {"provider": "sendgrid", "keys": [KEY]}}}, ["a/b", "path"]),
        ({"SOURCES": {"postmark": {"keys": ["password"]}}}, ["postmark", "user:password"]),
        ({"DATABASE_URL": "mysql://x"}, ["WEBHOOKS_DATABASE_URL", "postgresql://"]),
        ({"DATABASE_URL": "postgresql://host:port/x"}, ["WEBHOOKS_DATABASE_URL", "postgresql://"]),
        ({"MAX_BODY_BYTES": "ten"}, ["WEBHOOKS_MAX_BODY_BYTES", "integer"]),
        ({"MAX_BODY_BYTES": "-1"}, ["WEBHOOKS_MAX_BODY_BYTES", "greater"]),
        ({"ADMIN_TOKEN": "x"}, ["WEBHOOKS_ADMIN_TOKEN", "short"]),
        ({"LOG_LEVEL": "loud"}, ["WEBHOOKS_LOG_LEVEL", "'info'"]),
        ({"CONFIG": "/nowhere/webhooks.toml"}, ["/nowhere/webhooks.toml"]),
        (DATA_API | {"CLUSTER_ARN": "app"}, ["WEBHOOKS_CLUSTER_ARN", "arn:aws:rds:REGION:ACCOUNT:cluster:NAME"]),
        (DATA_API | {"CLUSTER_ARN": "arn:aws:rds:eu-west-1:1:db:app"}, ["WEBHOOKS_CLUSTER_ARN", ":cluster:"]),
        (
            DATA_API | {"CLUSTER_ARN": "arn:aws:rds::1:cluster:app"},
            ["WEBHOOKS_CLUSTER_ARN", "REGION"],
        ),
        (
            DATA_API | {"CLUSTER_ARN": "arn:aws:rds:eu-west-1:1:cluster:MyApp"},
            ["WEBHOOKS_CLUSTER_ARN", "lower case", "write arn:aws:rds:eu-west-1:1:cluster:myapp"],
        ),
        (DATA_API | {"SECRET_ARN": "app-password"}, ["WEBHOOKS_SECRET_ARN", "arn:aws:secretsmanager:"]),
        (
            DATA_API | {"SECRET_ARN": "arn:aws:secretsmanager:us-east-1:1:secret:app"},
            ["WEBHOOKS_SECRET_ARN", "another region", "eu-west-1"],
        ),
        (DATA_API | {"DATABASE": "x" * 64}, ["WEBHOOKS_DATABASE", "longer"]),
        (DATA_API | {"DATABASE": ""}, ["WEBHOOKS_DATABASE: is empty"]),
        (DATA_API | {"CLUSTER_ARN": ""}, ["WEBHOOKS_CLUSTER_ARN: is empty"]),
        (DATA_API | {"SECRET_ARN": " "}, ["WEBHOOKS_SECRET_ARN: is empty"]),
        ({"SOURCES": GOOD, "DATABASE_URL": ""}, ["WEBHOOKS_DATABASE_URL: is empty", "remove", "embedded"]),
        ({"SOURCES": GOOD, "QUEUE_URL": ""}, ["WEBHOOKS_QUEUE_URL: is empty", "remove"]),
        (DATA_API | {"DATABASE_URL": "postgresql://x"}, ["two databases", "WEBHOOKS_DATABASE_URL"]),
        ({"CONCURRENCY": "0"}, ["WEBHOOKS_CONCURRENCY", "greater"]),
    ],
)
def test_a_fault_is_named_with_what_to_write_instead(set_: Any, values: dict[str, Any], words: list[str]) -> None:
    set_(**values)
    [fault] = faults()
    assert [word for word in words if word not in fault] == []


def test_all_faults_come_in_one_message(set_: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    set_(
        SOURCES={"sendgrid": {"keys": ["bad", "env:NOT_SET"]}, "mailgum": {"keys": ["x"]}, "mailgun": {}},
        DATABASE_URL="localhost",
        MAX_BODY_BYTES="ten",
        DATA_DIR=str(tmp_path / "file"),
        QUEUE="x",
    )
    found = faults()
    for words in (
        "keys[0]",
        "NOT_SET",
        "mailgum",
        "mailgun: has no keys",
        "DATABASE_URL",
        "MAX_BODY",
        "DATA_DIR",
        "WEBHOOKS_QUEUE ",
    ):
        assert [fault for fault in found if words in fault], (words, found)


def test_a_file_with_a_mistake_is_named(tmp_path: Path) -> None:
    (tmp_path / "webhooks.toml").write_text("max_body_bytes = \n")
    assert "webhooks.toml is not TOML" in faults()[0]
    (tmp_path / "webhooks.toml").write_text("max_body_byte = 1\n")
    assert "max_body_bytes" in faults()[0]


def test_a_file_in_another_charset_is_named(tmp_path: Path) -> None:
    (tmp_path / "webhooks.toml").write_bytes('# für alle\nlog_level = "info"\n'.encode("latin-1"))
    assert faults() == ["webhooks.toml is not UTF-8, as TOML must be: save it so"]


def test_a_data_directory_that_nobody_lets_us_into_is_named(set_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path, **_: Any) -> bool:
        if self.name == "data":
            raise PermissionError(13, "Permission denied")
        return False

    set_(DATA_DIR="/closed/data")
    monkeypatch.setattr(Path, "exists", closed)
    [fault] = faults()
    assert fault.startswith("WEBHOOKS_DATA_DIR: /closed/data cannot be used (Permission denied)")


def test_no_secret_is_in_any_message(set_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "hush-hush-secret")
    set_(
        SOURCES={"sendgrid": {"keys": ["env:THE_KEY", "hush-hush-secret"]}, "postmark": {"keys": ["hush-hush-secret"]}},
        DATABASE_URL="mysql://me:hush-hush-secret@host",
        ADMIN_TOKEN="hush",
        MAX_BODY_BYTES="x",
    )
    assert "hush" not in "\n".join(faults())


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@host:port/app",
        "postgresql://me:s3cret:5432/app",
        "postgresql://me:12?s3cret@host/app",
        "postgresql://me:12?s3cret=x@host/app",
        "postgresql://me:12?a=b&s3cret@host/app",
        "postgresql://me:12/s3cret@host/app",
        "postgresql://me:12#s3cret@host/app",
        "postgresql://me:s3@cret@host/app",
        "postgresql://me:[s3cret@host/app",
        "postgresql://me:[s3cret]@host/app",
        "postgresql://me:s3cret\u2100@host/app",
        "postgresql://me:s3cret@host:99999/app",
        "postgresql://me:s3cret@h1:1,,h2/app",
        "postgresql://me:s3cret@host/app?s3cret",
        "mysql://me:s3cret@host/app",
    ],
)
def test_an_address_that_would_be_misread_is_refused_and_not_repeated(set_: Any, address: str) -> None:
    set_(DATABASE_URL=address)
    [fault] = faults()
    assert "percent-encode / # ? @ : [ ] in user and password" in fault
    assert "cret" not in fault


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://",
        "postgresql:///app",
        "postgresql://host",
        "postgresql://me@host/app",
        "postgresql://me:s3:cr%3Ft@host:5432/app?sslmode=require&application_name=x",
        "postgres://h1:5432,h2:5433,h3/app?target_session_attrs=read-write",
        "postgresql://me@[::1]:5432/app",
        "postgresql://%2Fvar%2Frun/app",
        "postgresql://me@/app?host=/var/run&port=5433&options=-c%20statement_timeout%3D5s",
    ],
)
def test_an_address_that_asyncpg_takes_is_taken(set_: Any, address: str) -> None:
    set_(DATABASE_URL=address)
    assert load_settings().database_url == address


def test_what_only_other_clients_know_is_refused_by_name(set_: Any) -> None:
    set_(
        DATABASE_URL="postgresql://me:s3cret@host/app?sslmode=require&channel_binding=require&connect_timeout=5&ssl=true"
    )
    [fault] = faults()
    assert fault.startswith("WEBHOOKS_DATABASE_URL")
    assert fault.endswith("leave out channel_binding, connect_timeout, ssl")


def test_an_unverified_source_needs_no_key_but_the_word(set_: Any) -> None:
    set_(SOURCES={"sendgrid": {"verify": False}})
    assert not load_settings().sources["sendgrid"].is_verified


def test_the_settings_of_one_object_cannot_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().log_level = "debug"
