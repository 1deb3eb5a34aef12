"""Task roots and interpreters with nothing in them but what is named."""

import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

RUNTIME_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


def bare_python(directory: Path) -> str:
    """An interpreter that knows the runtime client and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    site = next((directory / "lib").glob("python*")) / "site-packages"
    copy_distributions(RUNTIME_CLIENT, site)
    compile_bytecode(site)
    return str(directory / "bin" / "python")


def copy_distributions(names: Iterable[str], target: Path) -> None:
    """As they are installed beside this."""
    for name in names:
        for file in distribution(name).files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (target / file).write_bytes(Path(str(file.locate())).read_bytes())


def compile_bytecode(directory: Path) -> None:
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, str(directory)], check=True)
