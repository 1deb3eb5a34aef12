"""The commands: what they say and how they end."""

import asyncio
import base64
import json
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

import providers
from db.chunks import dead_letter_id
from db.database import BadData, DatabaseMisconfigured
from tests import tables
from tests.samples import NOON, decided, event, opt_out
from webhooks.cli import Failed, able_to_sign, app, main, try_next
from webhooks.faults import SettingsError
from webhooks.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from db.store import Store

KEY = providers.load("sendgrid").new_key()


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("WEBHOOKS_SOURCES", json.dumps({"sendgrid": {"keys": [KEY]}}))
    monkeypatch.setenv("WEBHOOKS_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "200")


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


@pytest.mark.usefixtures("configured")
async def test_events_are_shown_newest_first_and_of_one_person(store: "Store") -> None:
    await store.record(
        decided(
            opt_out("ada@example.test"), event("1", email_address="Bob@example.test", minutes=5, reason="[odd] reason")
        )
    )
    shown = await run("events")
    assert shown.exit_code == 0
    assert shown.output.index("Bob@example.test") < shown.output.index("ada@example.test")
    assert "[odd] reason" in shown.output
    bobs = [
        json.loads(line)
        for line in (await run("events", "--email", "bob@EXAMPLE.test", "--format", "json")).output.splitlines()
    ]
    assert [(each["email_address"], each["type"], each["payload"]) for each in bobs] == [
        ("Bob@example.test", "delivered", {"key": "1"})
    ]
    assert (await run("events", "--type", "unsubscribed", "--format", "json")).output.count("\n") == 1


@pytest.mark.usefixtures("configured")
async def test_what_a_stranger_wrote_is_shown_and_not_obeyed(store: "Store", connection: "asyncpg.Connection") -> None:
    reason = "550 \\[/] gone [red]\r\n[/]\x1b[2J\x9b2J \u202e:smile:"
    await store.record(decided(event("1", email_address="[/]@example.test", reason=reason, topic="[bold")))
    await keep_letter(connection, b"?", source="[/]\x1b[2J")
    shown, replayed = await run("events"), await run("replay")
    assert shown.exit_code == 0
    for told in ("[/]@example.test", "[bold", "550 \\[/] gone [red] [/]�[2J�2J �:smile:"):
        assert told in shown.output
    assert "there is no source [/]�[2J any more" in replayed.output
    assert not {"\x1b", "\x9b", "\r", "\u202e"} & {*shown.output, *replayed.output}


@pytest.mark.usefixtures("configured")
async def test_events_that_there_are_not_are_said_not_to_be(store: "Store") -> None:
    await store.record(decided(event("1", email_address="bob@example.test")))
    for format_ in ("table", "json"):
        shown = await run("events", "--type", "bounced", "--email", "bob@example.tset", "--format", format_)
        assert (shown.exit_code, shown.stdout) == (0, "")
        assert shown.stderr == "There are no bounced events of bob@example.tset\n"


@pytest.mark.parametrize(
    ("typed", "words"), [("unsubscribd", ": do you mean unsubscribed? There are"), ("x", "; there are accepted")]
)
async def test_a_type_that_is_none_is_refused_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, typed: str, words: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    refused = await run("events", "--type", typed)
    assert refused.exit_code == 2
    assert f"there is no type {typed}{words}" in refused.output


async def keep_letter(
    connection: "asyncpg.Connection", body: bytes, *, is_item: bool = True, source: str = "sendgrid"
) -> None:
    await connection.execute(
        "insert into webhook_dead_letters (id, source, received_at, error, body, is_item) values ($1, $2, $3, 'was unreadable', $4, $5)",
        dead_letter_id(source, body),
        source,
        NOON,
        body,
        is_item,
    )


@pytest.mark.usefixtures("configured")
async def test_replay_records_what_can_be_read_now_and_says_what_cannot(connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test", "bob@example.test")
    item = {"email": "ada@example.test", "event": "unsubscribe", "timestamp": 1700000000}
    await keep_letter(connection, json.dumps(item).encode())
    await keep_letter(connection, json.dumps([item | {"email": "bob@example.test"}]).encode(), is_item=False)
    await keep_letter(connection, b"still unreadable")
    await keep_letter(connection, b"{}", source="gone")
    first = await run("replay")
    assert first.exit_code == 1
    assert "recorded 2 events; 2 dead letters are still dead" in first.output
    assert "there is no source gone any more" in first.output
    assert await tables.preferences(connection) == {"ada@example.test": False, "bob@example.test": False}
    assert await connection.fetchval("select count(*) from webhook_dead_letters where replayed_at is not null") == 2
    again = await run("replay")
    assert "recorded 0 events; 2 dead letters are still dead" in again.output
    assert await tables.count(connection, "webhook_events") == 2


@pytest.mark.usefixtures("configured")
async def test_replay_records_what_it_can_of_a_letter_that_stays_dead(connection: "asyncpg.Connection") -> None:
    await tables.add_people(connection, "ada@example.test")
    item = {"email": "ada@example.test", "event": "unsubscribe", "timestamp": 1700000000}
    await keep_letter(connection, json.dumps([item, item | {"email": "REDACTED"}]).encode(), is_item=False)
    assert "recorded 1 events; 1 dead letters are still dead" in (await run("replay")).output
    assert await tables.preferences(connection) == {"ada@example.test": False}
    assert "recorded 0 events; 1 dead letters are still dead" in (await run("replay")).output
    assert await tables.count(connection, "webhook_dead_letters") == 1


@pytest.mark.usefixtures("configured")
async def test_replay_says_why_the_database_refuses_a_letter_until_it_does_not(
    connection: "asyncpg.Connection",
) -> None:
    await connection.execute("alter table webhook_events add constraint no_ada check (email_address not like 'ada%')")
    item = {"email": "ada@example.test", "event": "unsubscribe", "timestamp": 1700000000}
    await keep_letter(connection, json.dumps(item).encode())
    refused = await run("replay")
    assert refused.exit_code == 1
    assert "recorded 0 events; 1 dead letters are still dead" in refused.output
    assert 'the database refuses it again: new row for relation "webhook_events" violates' in refused.output
    assert '"no_ada"' in refused.output
    await connection.execute("alter table webhook_events drop constraint no_ada")
    mended = await run("replay")
    assert (mended.exit_code, mended.output) == (0, "recorded 1 events; 0 dead letters are still dead\n")


@pytest.mark.usefixtures("configured")
async def test_prune_says_what_it_did(store: "Store", connection: "asyncpg.Connection") -> None:
    await store.record(decided(opt_out()))
    await tables.add_people(connection, "ada@example.test")
    done = await run("prune", "--payloads-after", "1")
    assert done.exit_code == 0
    assert "opted out 1 rows" in done.output
    assert "forgot the payloads of 1 events" in done.output


@pytest.mark.usefixtures("configured")
async def test_prune_goes_as_far_back_as_there_can_be_events() -> None:
    assert (await run("prune", "--payloads-after", "20000")).exit_code == 0
    refused = await run("prune", "--payloads-after", "10000000")
    assert refused.exit_code == 2
    assert "20000" in refused.output


@pytest.mark.usefixtures("configured")
async def test_prune_says_whose_row_is_refused_and_does_the_rest(
    store: "Store", connection: "asyncpg.Connection"
) -> None:
    await store.record(decided(opt_out()))
    await connection.execute("alter table email_preferences add constraint picky check (marketing_opt_in)")
    await tables.add_people(connection, "ada@example.test")
    done = await run("prune", "--payloads-after", "1")
    assert isinstance(done.exception, Failed)
    assert "ada@example.test: " in str(done.exception)
    assert "forgot the payloads of 1 events" in done.output


@pytest.mark.usefixtures("configured")
async def test_doctor_is_content_with_what_is_right() -> None:
    assert (await run("doctor")).exit_code == 0


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("drop table email_preferences", "no table email_preferences"),
        ("alter table email_preferences rename updated_at to changed", "no column updated_at"),
        ("alter table email_preferences alter updated_at type timestamp(0)", "timestamp(0)"),
        ("drop index email_preferences_lower_email_address", "no index"),
        ("delete from webhook_migrations where name like '0004%'", "webhooks migrate"),
    ],
)
async def test_doctor_says_what_is_wrong_and_what_to_do(
    connection: "asyncpg.Connection", broken: str, words: str
) -> None:
    await connection.execute(broken)
    diagnosed = await run("doctor")
    assert diagnosed.exit_code == 1
    assert words in diagnosed.output


@pytest.mark.usefixtures("configured")
async def test_doctor_does_not_send_to_doctor(connection: "asyncpg.Connection") -> None:
    await connection.execute("alter table webhook_events drop column reason")
    diagnosed = await run("doctor")
    assert "webhooks migrate" in diagnosed.output
    assert "webhooks doctor" not in diagnosed.output


async def test_doctor_says_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOKS_SOURCES", json.dumps({"sendgrid": {"verify": False}}))
    monkeypatch.setenv("WEBHOOKS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    diagnosed = await run("doctor")
    assert diagnosed.exit_code == 1
    assert "not verified" in diagnosed.output
    assert "the database:" in diagnosed.output


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sendgrid"], "--email"),
        (["sendgrid", "unsubscribes", "--email", "a@b"], "group_unsubscribe"),
        (["mailgun", "--email", "a@b"], "no source mailgun"),
        (["sendgrid", "--email", "a@b", "--url", "http://127.0.0.1:1"], "is the service running?"),
    ],
)
async def test_send_says_what_is_missing(arguments: list[str], words: str) -> None:
    refused = await run("send", *arguments)
    assert isinstance(refused.exception, Failed)
    assert words in str(refused.exception)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:0", "127.0.0.1:8000", "http://[", "http:"])
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    refused = await run("send", "sendgrid", "--email", "a@b", "--url", url)
    assert refused.exit_code == 2
    assert "is no address" in refused.output


class Stranger(BaseHTTPRequestHandler):
    """Another service at the port where ours was thought to be."""

    says = b""

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.says)))
        self.end_headers()
        self.wfile.write(self.says)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("says", [b"<html>hello</html>", b'{"status": "hello"}', b"[]", b""])
async def test_an_answer_that_is_no_receipt_is_shown(monkeypatch: pytest.MonkeyPatch, says: bytes) -> None:
    monkeypatch.setattr(Stranger, "says", says)
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        Thread(target=server.serve_forever).start()
        sent = await run("send", "sendgrid", "--email", "a@b", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert isinstance(sent.exception, Failed)
    assert f"1 × no receipt, so this is not our service: {says.decode()}" in sent.output


@pytest.mark.parametrize("name", providers.ADAPTERS)
async def test_a_source_without_keys_can_be_spoken_for(name: str) -> None:
    kind = providers.load(name)
    adapter = able_to_sign(kind(name, [], kind.trial_options))
    [event, *_] = adapter.samples
    assert adapter.sign([adapter.sample(event, "ada@example.test", NOON, 1)], NOON)


async def test_where_no_key_can_be_made_up_send_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    options = providers.load("custom").trial_options
    signature = {**options["signature"], "algorithm": "ed25519"}
    source = {**options, "provider": "custom", "verify": False, "signature": signature}
    monkeypatch.setenv("WEBHOOKS_SOURCES", json.dumps({"acme": source}))
    refused = await run("send", "acme", "--email", "a@b")
    assert 'acme has no key to sign with, and none can be made up: give it one in "keys"' in str(refused.exception)


@pytest.mark.parametrize("command", ["serve", "data-api"])
async def test_a_port_that_is_none_is_refused_and_one_that_is_taken_named(command: str) -> None:
    for port in ("70000", "0", "-1", "http"):
        assert (await run(command, "--port", port)).exit_code == 2
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = await run(command, "--port", port)
    assert isinstance(refused.exception, Failed)
    assert f"cannot listen on 127.0.0.1:{port} (Address already in use): choose another port (--port" in str(
        refused.exception
    )
    assert not refused.output


def test_a_trial_tells_an_address_that_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    try_next(Settings(), "::1", 8001)
    assert "--url http://[::1]:8001" in capsys.readouterr().err


def test_what_the_database_refuses_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise BadData("value too long (SQLSTATE 22001)")

    monkeypatch.setattr("webhooks.cli.app", refuse)
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "the database refuses what was asked of it: value too long (SQLSTATE 22001)" in capsys.readouterr().err


async def test_a_key_that_only_verifies_cannot_sign_and_send_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from providers.signing import ecdsa_public_key

    public = ecdsa_public_key(KEY).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    monkeypatch.setenv("WEBHOOKS_SOURCES", json.dumps({"sendgrid": {"keys": [base64.b64encode(public).decode()]}}))
    refused = await run("send", "sendgrid", "--email", "a@b")
    assert "cannot sign" in str(refused.exception)


@pytest.mark.parametrize(
    "command", ["serve", "send sendgrid --email a@b", "migrate", "doctor", "events", "replay", "prune", "data-api"]
)
async def test_a_data_directory_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: "Path", command: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WEBHOOKS_DATA_DIR", str(tmp_path / "file" / "data"))
    refused = await run(*command.split())
    assert isinstance(refused.exception, SystemExit | DatabaseMisconfigured | SettingsError)
    said = refused.output + str(refused.exception)
    assert f"Not a directory: {tmp_path / 'file'}" in said
    assert "WEBHOOKS_DATA_DIR" in said


@pytest.mark.parametrize("command", ["serve", "send", "migrate", "doctor", "events", "replay", "prune", "data-api"])
async def test_every_commands_help_shows_an_example(command: str) -> None:
    helped = await run(command, "--help")
    assert helped.exit_code == 0
    assert "Example: " in helped.output


def test_the_keys_of_a_trial_are_nobody_elses_to_read(tmp_path: "Path") -> None:
    from webhooks.trial import trial_sources

    assert set(trial_sources(tmp_path)) == set(providers.ADAPTERS)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "keys").iterdir()} == {0}
