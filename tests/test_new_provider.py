"""`make provider`: what it writes runs, and says itself what is missing. Adapters of other people's packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("providers", "db", "webhooks", "tests", "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "db", "webhooks"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def run(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree), **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def contract(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(tree, "-m", "pytest", "-p", "no:cacheprovider", "tests/providers", "-k", "acme", **environment)


def test_a_new_provider_runs_and_its_contract_says_what_is_missing(tree: Path) -> None:
    made = run(tree, "-m", "tests.new_provider", "acme")
    assert made.returncode == 0, made.stderr
    assert "Next:" in made.stdout
    failed = contract(tree)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "TODO" in failed.stdout
    assert "UPDATE_GOLDEN=1" in failed.stdout
    assert "ImportError" not in failed.stdout
    module, page = tree / "providers" / "acme.py", tree / "providers" / "acme.md"
    module.write_text(module.read_text().replace("TODO", "Acme"))
    page.write_text(page.read_text().replace("TODO", "The signature has no time."))
    assert contract(tree, UPDATE_GOLDEN="1").returncode == 0
    passed = contract(tree)
    assert passed.returncode == 0, passed.stdout


def test_what_is_written_is_in_our_style(tree: Path) -> None:
    assert run(tree, "-m", "tests.new_provider", "acme_mail").returncode == 0
    for command in (["check"], ["format", "--check"]):
        checked = run(tree, "-m", "ruff", *command, "--no-cache", "providers/acme_mail.py", "providers/__init__.py")
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "in lower case"),
        ("Acme", "in lower case"),
        ("a b", "in lower case"),
        ("../x", "in lower case"),
        ("class", "in lower case"),
        ("sendgrid", "there is a provider sendgrid already"),
        ("signing", "providers/signing.py exists already"),
        ("half_done", "tests/providers/half_done exists already"),
        ("event", "another Event"),
    ],
)
def test_a_name_that_cannot_be_or_is_taken_is_refused(tree: Path, name: str, words: str) -> None:
    (tree / "tests" / "providers" / "half_done").mkdir()
    before = (tree / "providers" / "__init__.py").read_text()
    refused = run(tree, "-m", "tests.new_provider", name)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not refused.stdout
    assert (tree / "providers" / "__init__.py").read_text() == before


THEIRS = """
from providers.sendgrid import SendGrid

class Theirs(SendGrid):
    name = "theirs"
"""
# Of each source by itself: what is read in a delivery that it would accept, or what is wrong with it.
ASK = """
import asyncio, json, os
from datetime import UTC, datetime
import providers
from webhooks.faults import SettingsError
from webhooks.settings import load_settings

async def first_type(adapter):
    now = datetime.now(UTC)
    [request] = adapter.sign([adapter.sample("unsubscribe", "ada@example.test", now, 1)], now)
    [event] = adapter.parse(await adapter.verify(request)).events
    return f"{event.item.provider} {event.type}"

assert "theirs" in providers.names()
key = providers.load("sendgrid").new_key()
for name in ("theirs", "sendgrid"):
    os.environ["WEBHOOKS_SOURCES"] = json.dumps({"eu": {"provider": name, "keys": [key]}})
    try:
        print(asyncio.run(first_type(load_settings().sources["eu"].adapter)))
    except SettingsError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (THEIRS, ["theirs unsubscribed"]),
        ("import not_installed", ["eu: the adapter of theirs cannot be loaded", "not_installed"]),
        ("", ["eu: the adapter of theirs cannot be loaded", "has no attribute 'Theirs'"]),
        ("class Theirs: pass", ["eu: the adapter of theirs cannot be loaded", "no subclass"]),
    ],
    ids=["good", "cannot be imported", "not there", "no adapter"],
)
def test_an_adapter_of_an_installed_package_is_found_and_harms_no_other(
    tmp_path: Path, module: str, words: list[str]
) -> None:
    (tmp_path / "their_adapter.py").write_text(module)
    info = tmp_path / "their_adapter-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-adapter\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[webhooks.providers]\ntheirs = their_adapter:Theirs\n")
    asked = run(tmp_path, "-c", ASK, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert asked.returncode == 0, asked.stderr
    assert [word for word in [*words, "sendgrid unsubscribed"] if word not in asked.stdout] == []
