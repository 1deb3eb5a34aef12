"""`webhooks …`: the commands."""

import asyncio
import difflib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

import providers
from db.database import DOCTOR, BadData, Database, DatabaseUnavailable
from db.embedded import Embedded
from db.migrate import migrate, pending, rights_missing
from db.preferences import preferences_problems, preferences_warnings, record_nothing
from db.reports import latest_events
from db.store import Store
from db.upkeep import prune_payloads, prune_tokens, repair_preferences
from providers.adapter import Adapter
from providers.events import EventType
from webhooks.database import new_database
from webhooks.faults import SettingsError
from webhooks.settings import Settings, load_settings
from webhooks.source import Source
from webhooks.trial import trial_source, trial_sources

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Webhooks of many email providers: verified, in one vocabulary, each event once; opt-in flags kept right.",
)
out = Console()
err = Console(stderr=True)

DEFAULT_URL = "http://127.0.0.1:8000"
MIGRATION_SECONDS = 3600.0
UPKEEP_SECONDS = 600.0
# As far back as the ids of events go, which begin with the time since 1970.
MAX_DAYS = 20_000
# A paused database takes 15 s to wake, 30 s and more after a day: who sits at a terminal waits for it.
WAKE_SECONDS = 90.0


class Failed(Exception):
    """What went wrong, for the person at the terminal."""


def main() -> None:
    try:
        app()
    except (SettingsError, Failed, DatabaseUnavailable) as error:
        tell(err, str(error), "red")
        sys.exit(2 if isinstance(error, SettingsError) else 1)
    except BadData as error:
        tell(err, f"the database refuses what was asked of it: {error}", "red")
        sys.exit(1)


def tell(console: Console, text: str, style: str = "") -> None:
    """As it stands, a line a line: some of what we show strangers have written."""
    console.print(Text(printable(text), style), soft_wrap=True)


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="PORT")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the port.")] = 1,
) -> None:
    """Take deliveries.

    With nothing set up, beside an embedded PostgreSQL and with keys made for trying out.

    Example: webhooks serve --port 8000 --workers 2
    """
    from webhooks.server import serve as run

    settings = load_settings()
    may_listen(host, port, f"--port, or make run PORT={port % 65535 + 1}")
    embedded = Embedded(settings.data_dir / "postgres") if settings.is_embedded else None
    try:
        if embedded:
            at = urlsplit(embedded.start())
            address = f"postgresql://{at.username}@{at.hostname}:{at.port}{at.path}"
            tell(err, f"Embedded PostgreSQL: {address}, its password in {embedded.directory / 'password'}")
        if settings.is_trial:
            trial_sources(settings.data_dir)
            try_next(settings, host, port)
        if workers == 1:
            run(host, port, workers)
            return
        with tempfile.TemporaryDirectory(prefix="webhooks-metrics-") as shared:
            # Where the workers' counters add up; read when prometheus_client is first imported, in each worker.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            run(host, port, workers)
    finally:
        if embedded:
            embedded.stop()


def may_listen(host: str, port: int, option: str) -> None:
    """Asked before anything is started. Raises Failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise Failed(
            f"cannot listen on {host}:{port} ({reason}): choose another port ({option}) or an address of this machine (--host)"
        ) from error


def try_next(settings: Settings, host: str, port: int) -> None:
    at = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    option = "" if at == DEFAULT_URL else f" --url {at}"
    tell(
        err,
        f"""Nothing is set up, so this is a trial: its keys are in {settings.data_dir / "keys"}. Serving on {at}. Try, in another terminal:
  .venv/bin/webhooks send sendgrid unsubscribe --email you@example.com{option}
  .venv/bin/webhooks events
  curl {at}/readyz
Providers: {", ".join(providers.names())}. README.md tells how to point a real one here.""",
    )


@app.command("migrate")
def migrate_command() -> None:
    """Bring the database to the present schema; safe to run at any time.

    Example: WEBHOOKS_DATABASE_URL=postgresql://me@db/app webhooks migrate
    """
    asyncio.run(migrate_and_tell())


async def migrate_and_tell() -> None:
    settings = load_settings()
    async with database(settings, statement_seconds=MIGRATION_SECONDS) as db:
        migrated = await migrate(db, preferences_index=settings.preferences_index)
    for name in migrated.applied:
        out.print(f"applied {name}", highlight=False)
    if not migrated.applied:
        out.print("The schema is current.")
    if migrated.made_in:
        out.print(f"created email_preferences in schema {migrated.made_in}", markup=False, highlight=False)
    for warning in migrated.warnings:
        tell(err, f"warning: {warning}", "yellow")


def address_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise typer.BadParameter(f"{url} is no address ({error}): write {DEFAULT_URL}") from error
    if not is_one:
        raise typer.BadParameter(f"{url} is no address: write {DEFAULT_URL}")
    return url


@app.command()
def send(
    provider: Annotated[str, typer.Argument(help="A source's name, or a provider's.")],
    events: Annotated[list[str] | None, typer.Argument(help="The provider's own names; none: an unsubscribe.")] = None,
    email: Annotated[list[str] | None, typer.Option(help="Whose events; {n} counts them: user{n}@example.com.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="How many events, the kinds in turn.")] = None,
    url: Annotated[str, typer.Option(help="Where the service listens.", callback=address_of)] = DEFAULT_URL,
) -> None:
    """Speak for a provider, with genuine signatures.

    Signs with the keys of the configured sources, or, with nothing set up, with those that `webhooks serve` made.

    Example: webhooks send sendgrid unsubscribe spamreport --email user{n}@example.com --count 1000
    """
    if not email:
        raise Failed("--email is missing: whose events shall these be? --email you@example.com")
    source = source_to_speak_for(provider)
    known = source.adapter.samples
    if not known:
        raise Failed(f"{source.adapter.source} declares no events but unknown ones: there is nothing to send")
    chosen = events or list(known)[:1]
    if unknown := [event for event in chosen if event not in known]:
        raise Failed(f"{source.adapter.name} has no event {', '.join(unknown)}; these are: {', '.join(known)}")
    try:
        asyncio.run(send_and_tell(source, chosen, email, max(count or len(chosen), 1), url))
    except OSError as error:
        raise Failed(f"{url}: {error}") from error


def source_to_speak_for(name: str) -> Source:
    settings = load_settings()
    if settings.is_trial and name in providers.ADAPTERS:
        return trial_source(settings.data_dir, name)
    sources = settings.sources
    matching = [source for each, source in sources.items() if name in (each, source.adapter.name)]
    if not matching:
        have = ", ".join(sources) if sources else ", ".join(providers.ADAPTERS)
        raise Failed(f"there is no source {name}; these are: {have}")
    return sources.get(name, matching[0])


def able_to_sign(adapter: Adapter) -> Adapter:
    """Where there is no key, `"verify": false`, nobody verifies either: one that is made up will do."""
    if adapter.keys:
        return adapter
    try:
        return type(adapter)(adapter.source, [adapter.new_key()], adapter.options)  # type: ignore[arg-type] # validated
    except ValueError as error:
        raise Failed(
            f'{adapter.source} has no key to sign with, and none can be made up: give it one in "keys", which'
            ' "verify": false does not look at'
        ) from error


async def send_and_tell(source: Source, events: list[str], addresses: list[str], number: int, url: str) -> None:
    import httpx

    from webhooks.send import Sent, deliveries, samples, send

    adapter = able_to_sign(source.adapter)
    target = f"{url.rstrip('/')}/webhooks/{adapter.source}"
    try:
        requests = list(deliveries(adapter, samples(adapter, events, addresses, number)))
    except ValueError as error:
        raise Failed(
            f"the key of {adapter.source} verifies but cannot sign ({error}): only the provider has the other half."
            " For a test, set a private key of your own in its place: webhooks serve makes one when nothing is set up"
        ) from error
    sent = Sent()
    with Progress(
        "sending", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err, transient=True
    ) as bar:
        task = bar.add_task("sending", total=len(requests), visible=len(requests) > 1)
        try:
            async for sent in send(target, iter(requests)):  # noqa: B007 - the last is what became of all
                bar.advance(task)
        except httpx.HTTPError as error:
            raise Failed(
                f"{target} does not answer ({error or type(error).__name__}): is the service running? make run"
            ) from error
    out.print_json(json.dumps({"answers": {str(status): n for status, n in sent.statuses.items()}, **sent.receipt}))
    for refusal, times in sent.refusals.items():
        tell(err, f"{times} × {refusal}", "red")
    if sent.refusals:
        raise Failed("not everything was taken")


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def known_type(type_: str | None) -> str | None:
    if type_ is None or type_ in list(EventType):
        return type_
    close = difflib.get_close_matches(type_, EventType, n=1)
    meant = f": do you mean {close[0]}? There are" if close else "; there are"
    raise typer.BadParameter(f"there is no type {type_}{meant} {', '.join(EventType)}")


@app.command("events")
def events_command(
    email: Annotated[str | None, typer.Option(help="Of this address only.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Of this type only: unsubscribed, bounced, …", callback=known_type)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    format_: Annotated[
        Format, typer.Option("--format", help="json: a line an event, with its payload.")
    ] = Format.TABLE,
) -> None:
    """Show the latest events, newest first.

    Example: webhooks events --email you@example.com --format json
    """
    asyncio.run(show_events(email, type_, limit, format_))


async def show_events(email: str | None, type_: str | None, limit: int, format_: Format) -> None:
    async with database(load_settings()) as db:
        rows = await latest_events(db, limit=limit, email_address=email, event_type=type_)
    if not rows:
        tell(err, "There are no " + " ".join(filter(None, (type_, "events", email and f"of {email}"))))
        return
    if format_ is Format.JSON:
        for row in rows:
            out.out(json.dumps(dict(row), default=str))
        return
    names = ("source", "type", "address", "topic", "opted in", "reason")
    table = Table(Column("occurred", no_wrap=True), *(Column(name, overflow="fold") for name in names))
    for row in rows:
        opted_in = {None: Text(), True: Text("yes"), False: Text("no", "red")}[row["opted_in"]]
        told = [cell(row[name]) for name in ("source", "type", "email_address", "topic")]
        table.add_row(f"{row['occurred_at']:%Y-%m-%d %H:%M:%S}", *told, opted_in, cell(row["reason"])[:60])
    if not out.is_terminal:
        out.width = 240  # in a pipe a line an event
    out.print(table)


def cell(value: str | None) -> Text:
    return Text(printable(" ".join((value or "").split())))


@app.command()
def replay() -> None:
    """Read the dead letters again, and record what can be read now. Ends with 1 where some are still dead.

    Example: webhooks replay
    """
    asyncio.run(replay_and_tell())


async def replay_and_tell() -> None:
    from webhooks.replay import replay as run

    settings = load_settings()
    sources = trial_sources(settings.data_dir) if settings.is_trial else settings.sources
    async with database(settings) as db:
        store = Store(db)
        replayed = await run(store, sources)
        await store.committer.drain()
    out.print(
        f"recorded {replayed.recorded} events; {len(replayed.still_dead)} dead letters are still dead", highlight=False
    )
    for identity, error in replayed.still_dead.items():
        tell(out, f"  {identity}  {error}")
    if replayed.still_dead:
        raise typer.Exit(1)


@app.command()
def prune(
    payloads_after: Annotated[
        int | None,
        typer.Option(
            "--payloads-after", min=1, max=MAX_DAYS, metavar="DAYS", help="Forget the payloads of older events."
        ),
    ] = None,
) -> None:
    """Upkeep, for a daily schedule: apply opt-outs to rows that came later, forget what is no longer needed.

    An opt-out of an address that had no row in email_preferences is remembered; this applies it to a row that was
    imported since. One-time tokens that have outlived their signatures go.

    Example: webhooks prune --payloads-after 90
    """
    asyncio.run(prune_and_tell(payloads_after))


async def prune_and_tell(payloads_after: int | None) -> None:
    async with database(load_settings(), statement_seconds=UPKEEP_SECONDS) as db:
        repair = await repair_preferences(db)
        out.print(f"opted out {repair.repaired} rows of email_preferences that came after the opt-out")
        out.print(f"forgot {await prune_tokens(db)} one-time tokens")
        if payloads_after:
            before = datetime.now(UTC) - timedelta(days=payloads_after)
            out.print(f"forgot the payloads of {await prune_payloads(db, before)} events")
    if repair.refused:
        raise Failed(repair.refusals())


def postgresql_at(url: str | None) -> str | None:
    try:
        return Settings(database_url=url).database_url
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from error


@app.command("data-api")
def data_api_command(  # noqa: PLR0913, PLR0917 - all may be left out
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8002,
    host: str = "127.0.0.1",
    database_url: Annotated[
        str | None,
        typer.Option(help="The PostgreSQL behind it; none: the embedded one.", callback=postgresql_at),
    ] = None,
    cluster_arn: Annotated[str | None, typer.Option(help="The one that it answers to; none: a made-up one.")] = None,
    secret_arn: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    faults: Annotated[
        str | None,
        typer.Option(help="How it misbehaves, as JSON; with it, GET, PUT and DELETE /faults change that meanwhile."),
    ] = None,
) -> None:
    """Speak the RDS Data API over a PostgreSQL: Lambda's way to the database, on this machine.

    Prints what points any AWS SDK at it. Faults: latency, resuming_seconds, rates and operations (throttle, unavailable,
    cut_before, cut_after, …), next_calls; docs/data-api.md tells of them all.

    Example: webhooks data-api --port 8002 --faults '{"latency": 0.15, "rates": {"cut_after": 0.05}}'
    """
    try:
        from webhooks.data_api import Served, ordered, serve
    except ModuleNotFoundError as error:
        raise Failed(f"{error}: pip install 'email-webhooks[local-data-api]'") from error
    served = Served(host, port)
    served.cluster_arn = cluster_arn or served.cluster_arn
    served.secret_arn = secret_arn or served.secret_arn
    try:
        misbehaving = ordered(faults or "{}")
    except ValueError as error:
        raise Failed(f"--faults: {error}") from error
    may_listen(host, port, "--port")
    embedded = None if database_url else Embedded(load_settings().data_dir / "postgres")
    try:
        url = database_url or (embedded.start() if embedded else "")
        served.database = urlsplit(url).path.removeprefix("/") or served.database
        out.out(served.exports())
        serve(served, embedded.url if embedded else url, misbehaving, side_door=faults is not None)
    finally:
        if embedded:
            embedded.stop()


@app.command()
def doctor() -> None:
    """Check everything that deliveries need, and say what to do where it is not so.

    Example: webhooks doctor
    """
    problems = asyncio.run(diagnose())
    for problem in problems:
        tell(out, f"✗ {problem}", "red")
    if problems:
        raise typer.Exit(1)
    out.print("✓ settings, sources, database and schema are as they must be", style="green")


async def diagnose() -> list[str]:
    settings = load_settings()
    problems = [
        f"source {name} is not verified: anybody can write to it"
        for name, source in settings.sources.items()
        if not source.is_verified
    ]
    if not settings.sources and not settings.is_trial:
        problems.append('WEBHOOKS_SOURCES is empty: set it to {"sendgrid": {"keys": ["MFkw…"]}} or the like')
    try:
        async with database(settings) as db:
            if isinstance(db, Operable):
                await db.try_out()
                tell_of_waking(db)
            problems += await schema_problems(db, settings)
    except (DatabaseUnavailable, BadData) as error:
        problems.append(f"the database: {str(error).removesuffix(DOCTOR)}")
    return problems


async def schema_problems(db: Database, settings: Settings) -> list[str]:
    if missing := await pending(db):
        return await rights_missing(db) or [f"the database has not seen {', '.join(missing)}: run `webhooks migrate`"]
    problems = await preferences_problems(db, preferences_index=settings.preferences_index)
    if not problems:
        await record_nothing(db)
    for warning in await preferences_warnings(db):
        out.print(f"! {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return problems


@runtime_checkable
class Operable(Protocol):
    """A database with operations of its own, each of which may be forbidden; and which may be asleep."""

    @property
    def woke_after(self) -> float | None: ...

    async def try_out(self) -> None: ...


def tell_of_waking(db: Operable) -> None:
    if db.woke_after is not None:
        tell(
            out,
            f"! the database was paused and took {db.woke_after:.1f} s to wake. Deliveries that come meanwhile are answered"
            " with 503 and sent again; to keep it awake, give the cluster a minimum capacity above 0 ACU",
            "yellow",
        )


@asynccontextmanager
async def database(settings: Settings, *, statement_seconds: float = 30.0) -> AsyncIterator[Database]:
    """The configured one; the embedded one is started for the time being, and has its schema."""
    embedded = Embedded(Path(settings.data_dir) / "postgres") if settings.is_embedded else None
    db = new_database(settings, embedded, statement_seconds=statement_seconds, waking_seconds=WAKE_SECONDS)
    try:
        if embedded:
            await migrate(db, preferences_index=settings.preferences_index)
        yield db
    finally:
        await db.close()
        if embedded:
            await asyncio.to_thread(embedded.stop)
