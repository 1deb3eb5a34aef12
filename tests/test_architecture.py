"""What import-linter cannot say of modules that are yet to be written, and what must not be in the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import providers

ROOT = Path(__file__).parent.parent
ADAPTERS = {path.partition(":")[0] for path in providers.ADAPTERS.values()}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "providers").glob("*.py")), ids=lambda path: path.stem)
def test_nobody_knows_an_adapter_but_the_registry(path: Path) -> None:
    assert imported(path) & ADAPTERS == set()


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_lock_files_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
        assert text.count("--hash=sha256:") > len(re.findall(r"^\S+==", text, re.MULTILINE)) > 10


def test_modules_open_with_a_sentence() -> None:
    for path in tracked():
        if path.suffix == ".py" and path.read_text().strip():
            assert ast.get_docstring(ast.parse(path.read_text())), path
