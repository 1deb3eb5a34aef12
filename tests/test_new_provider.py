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
    return run(
        tree, "-m", "pytest", "-p", "no:cacheprovider", "tests/providers/test_contract.py", "-k", "acme", **environment
    )


def test_a_new_provider_runs_and_its_contract_says_what_is_missing(tree: Path) -> None:
    made = run(tree, "-m", "tests.new_provider", "acme")
    assert made.returncode == 0, made.stderr
    assert "Next:" in made.stdout
    failed = contract(tree)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "TODO" in failed.stdout
    assert "UPDATE_GOLDEN=1" in failed.stdout
    for file in ("providers/acme.py", "providers/acme.md"):
        path = tree / file
        path.write_text(path.read_text().replace("TODO", "done: covers the body, no time"))
    assert contract(tree, UPDATE_GOLDEN="1").returncode == 0
    passed = contract(tree)
    assert passed.returncode == 0, passed.stdout


@pytest.mark.parametrize("name", ["", "Acme", "a b", "../x", "sendgrid", "signing"])
def test_a_name_that_cannot_be_or_is_taken_is_refused(tree: Path, name: str) -> None:
    refused = run(tree, "-m", "tests.new_provider", name)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert not refused.stdout


THEIRS = """
from providers.sendgrid import SendGrid

class Theirs(SendGrid):
    name = "theirs"
"""
ASK = """
import json, os
import providers
from webhooks.settings import SettingsError, load_settings
assert "theirs" in providers.names()
os.environ["WEBHOOKS_SOURCES"] = json.dumps({"theirs": {"verify": False}, "sendgrid": {"verify": False}})
try:
    print(type(load_settings().sources["theirs"].adapter).__name__)
except SettingsError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (THEIRS, ["Theirs"]),
        ("import not_installed", ["the adapter of theirs cannot be loaded", "not_installed"]),
        ("class Theirs: pass", ["the adapter of theirs cannot be loaded", "no subclass"]),
    ],
    ids=["good", "cannot be imported", "no adapter"],
)
def test_an_adapter_of_an_installed_package_is_found(tmp_path: Path, module: str, words: list[str]) -> None:
    (tmp_path / "their_adapter.py").write_text(module)
    info = tmp_path / "their_adapter-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-adapter\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[webhooks.providers]\ntheirs = their_adapter:Theirs\n")
    asked = run(tmp_path, "-c", ASK, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert asked.returncode == 0, asked.stderr
    assert [word for word in words if word not in asked.stdout] == []
