"""The Lambda package: what the function needs, pruned, with bytecode, the same bytes whenever it is built.

`make package` builds build/lambda.zip for arm64; `--architecture x86_64` what runs on this kind of machine, for tests.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("webhooks", "providers", "db")
# The local servers and the command line stay at home.
LEFT_OUT = ("db/local_data_api", "db/embedded.py", "webhooks/cli.py", "webhooks/server.py", "webhooks/trial.py")
PLATFORMS = {
    "arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_28_x86_64"),
}
# What the SDK knows of AWS: 430 services, of which we call these.
SERVICES = ("rds-data", "secretsmanager", "sqs", "ssm", "sts")
USELESS = (
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "*.c",
    "*.h",
    "*.typed",
    "*.md",
    "tests",
    "_testcapi*.so",
    "bin",
    "cffi",
    "pycparser",
)
KEPT_OF_METADATA = {"METADATA", "entry_points.txt"}
ONE_TIME = (1980, 1, 1, 0, 0, 0)


def build(target: Path, *, architecture: str, python: str, minor: str) -> None:
    """Writes `target` anew. `python` is an interpreter of the runtime's version: its bytecode is what is shipped."""
    root = target.parent / f"{target.stem}-root"
    shutil.rmtree(root, ignore_errors=True)
    install(root, ROOT / "requirements-lambda.lock", architecture=architecture, minor=minor)
    prune(root)
    for package in OURS:
        copy_ours(package, root)
    compile_bytecode(root, python)
    write_zip(root, target)


def install(root: Path, lock: Path, *, architecture: str, minor: str) -> None:
    """Exactly what the lock names, in the runtime's own binary form; nothing is built."""
    platforms = [argument for platform in PLATFORMS[architecture] for argument in ("--platform", platform)]
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps",
        "--no-compile", "--only-binary=:all:", "--implementation", "cp", "--python-version", minor, *platforms,
        "--target", str(root), "--requirement", str(lock),
    ]  # fmt: skip
    subprocess.run(command, check=True)  # noqa: S603 - our own arguments


def prune(root: Path) -> None:
    for pattern in USELESS:
        for path in sorted(root.rglob(pattern)):
            remove(path)
    for metadata in root.glob("*.dist-info"):
        for path in metadata.iterdir():
            if path.name not in KEPT_OF_METADATA:
                remove(path)
    prune_botocore(root / "botocore")


def prune_botocore(botocore: Path) -> None:
    data = botocore / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in SERVICES:
            remove(path)
    endpoints = data / "endpoints.json"
    # The endpoints of a service that is not there: 1.2 MB to parse at each start.
    known = json.loads(endpoints.read_text())
    for partition in known["partitions"]:
        partition["services"] = {name: each for name, each in partition["services"].items() if name in SERVICES}
    endpoints.write_text(json.dumps(known, separators=(",", ":")))


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy_ours(package: str, root: Path) -> None:
    for path in sorted((ROOT / package).rglob("*")):
        name = path.relative_to(ROOT)
        if path.suffix in {".py", ".sql"} and not name.as_posix().startswith(LEFT_OUT):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / name)


def compile_bytecode(root: Path, python: str) -> None:
    """Lambda's own disk cannot be written to: without bytecode each cold start would compile everything anew."""
    command = [python, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(root), "-p", "/var/task", str(root)], check=True)  # noqa: S603


def write_zip(root: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files(root):
            entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), ONE_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if path.suffix == ".so" else 0o100644) << 16
            archive.writestr(entry, path.read_bytes())


def files(root: Path) -> Iterator[Path]:
    return iter(sorted(path for path in root.rglob("*") if path.is_file()))


def interpreter(minor: str) -> str:
    """One of the runtime's version. Bytecode of another would be ignored there, and nobody would see why it is slow."""
    for candidate in (os.environ.get("LAMBDA_PYTHON"), f"python{minor}", sys.executable, *pyenv(minor)):
        if candidate and version_of(candidate) == minor:
            return candidate
    sys.exit(
        f"no Python {minor} found, whose bytecode goes into the package: install it, or name one:"
        f" LAMBDA_PYTHON=/path/to/python{minor} make package"
    )


def pyenv(minor: str) -> list[str]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return [str(path) for path in sorted(root.glob(f"versions/{minor}.*/bin/python"))]


def version_of(python: str) -> str | None:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        ran = subprocess.run([python, "-c", program], check=False, capture_output=True, text=True)  # noqa: S603
    except OSError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", choices=sorted(PLATFORMS), default="arm64")
    parser.add_argument("--python", default="3.13", metavar="MINOR", help="the runtime's version")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "lambda.zip")
    asked = parser.parse_args()
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    build(asked.output, architecture=asked.architecture, python=interpreter(asked.python), minor=asked.python)
    content = asked.output.read_bytes()
    print(f"{asked.output}  {len(content) / 1e6:.1f} MB  sha256 {hashlib.sha256(content).hexdigest()}")  # noqa: T201


if __name__ == "__main__":
    main()
