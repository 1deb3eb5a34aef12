"""The embedded PostgreSQL: shared, attached to, outlived, killed and started again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from db.embedded import Cluster, Embedded, EmbeddedFailed
from db.postgres import Postgres


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "postgres"
    Embedded(tmp_path / "postgres").discard()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may enter, so that also root's cluster lies inside of ours."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for directory in place.iterdir():
        Embedded(directory).discard()
    shutil.rmtree(place)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's cluster lies elsewhere")


def postmaster(directory: Path) -> int:
    return int((Cluster.at(directory).data / "postmaster.pid").read_text().splitlines()[0])


async def ask(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_a_second_start_attaches_and_the_last_to_leave_stops_it(directory: Path) -> None:
    first, second = Embedded(directory), Embedded(directory)
    url = first.start()
    assert second.start() == url
    first.stop()
    assert await ask(url, "select 1") == 1
    second.stop()
    with pytest.raises(OSError, match=r"."):
        await ask(url, "select 1")


async def test_what_was_written_is_there_at_the_next_start(directory: Path) -> None:
    first = Embedded(directory)
    await ask(first.start(), "create table kept (number int)")
    first.stop()
    second = Embedded(directory)
    assert await ask(second.start(), "select count(*) from kept") == 0
    second.stop()


async def test_it_keeps_commits_safe_from_a_power_cut(directory: Path) -> None:
    embedded = Embedded(directory)
    url = embedded.start()
    assert [await ask(url, f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == [
        "on"
    ] * 3
    embedded.stop()


async def test_nobody_gets_in_without_the_password(directory: Path) -> None:
    embedded = Embedded(directory)
    url = embedded.start()
    password = url.split(":")[2].split("@")[0]
    assert (directory / "password").stat().st_mode & 0o077 == 0
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "guess"))
    embedded.stop()


async def test_a_killed_server_is_started_again_by_the_next_statement(directory: Path) -> None:
    embedded = Embedded(directory)
    database = Postgres(embedded.url, patience=30)
    await database.execute("create table kept (number int)")
    for number in range(3):
        await database.execute("insert into kept values (cast(:number as int))", {"number": number})
        os.kill(postmaster(directory), signal.SIGKILL)
    [row] = await database.execute("select count(*) as number from kept")
    assert row["number"] == 3
    await database.close()
    embedded.stop()


async def test_a_server_outlives_a_killed_user_and_is_found_again(directory: Path) -> None:
    code = "import os, sys; from pathlib import Path; from db.embedded import Embedded; print(Embedded(Path(sys.argv[1])).start(), flush=True); os.kill(os.getpid(), 9)"
    started = subprocess.run(
        [sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, text=True, check=False
    )
    assert started.returncode == -signal.SIGKILL
    embedded = Embedded(directory)
    assert embedded.start() == started.stdout.strip()
    embedded.stop()


def test_a_stopped_one_is_not_started_by_a_late_statement(directory: Path) -> None:
    embedded = Embedded(directory)
    embedded.start()
    embedded.stop()
    with pytest.raises(EmbeddedFailed, match="stopped"):
        embedded.start()


def test_data_of_another_major_version_is_refused_by_name(directory: Path) -> None:
    embedded = Embedded(directory)
    embedded.start()
    embedded.stop()
    version = Cluster.at(directory).data / "PG_VERSION"
    version.write_text("9\n")
    refused = Embedded(directory)
    with pytest.raises(EmbeddedFailed, match="was made by PostgreSQL 9"):
        refused.start()
    refused.stop()


def test_a_directory_of_the_users_is_never_opened_to_others(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    embedded = Embedded(private / "postgres")
    embedded.start()
    embedded.discard()
    assert private.stat().st_mode & 0o777 == 0o700


def copied(directory: Path) -> Path:
    copy = directory.with_name("copy")
    subprocess.run(["cp", "-a", directory, copy], check=True)
    return copy


async def test_a_copy_made_while_the_original_serves_has_a_server_of_its_own(place: Path) -> None:
    original = Embedded(place / "original")
    url = original.start()
    await ask(url, "create table kept (number int)")
    copy = Embedded(copied(place / "original"))
    await ask(copy.start(), "drop table kept")
    copy.stop()
    assert await ask(url, "select count(*) from kept") == 0
    original.stop()


@needs_root
async def test_a_copy_does_not_share_a_cluster_that_lies_elsewhere(directory: Path) -> None:
    original = Embedded(directory)
    url = original.start()
    copy = Embedded(copied(directory))
    with pytest.raises(EmbeddedFailed, match=r"is a copy of .*remove .*/copy/elsewhere to begin anew"):
        copy.start()
    (copy.directory / "elsewhere").unlink()
    assert copy.start() != url
    copy.discard()
    assert await ask(url, "select 1") == 1
    original.stop()


@needs_root
def test_a_start_that_failed_is_tried_again_in_the_same_place(directory: Path) -> None:
    embedded = Embedded(directory)
    embedded.start()
    embedded.stop()
    home = Cluster.at(directory).home
    shutil.rmtree(home / "data")
    assert Cluster.at(directory).home == home


@needs_root
async def test_what_lies_elsewhere_is_found_after_a_move(directory: Path, tmp_path: Path) -> None:
    former = Embedded(tmp_path / "former")
    await ask(former.start(), "create table kept (number int)")
    former.stop()
    shutil.move(former.directory, directory)
    moved = Embedded(directory)
    assert await ask(moved.start(), "select count(*) from kept") == 0
    moved.stop()


# What it imports later than the others must be there before: the interpreter may lie where only root may read.
AS_A_USER = """
import encodings.idna, os, sys
from pathlib import Path
from db.embedded import Embedded
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
embedded = Embedded(Path(sys.argv[1]))
print(embedded.start())
embedded.stop()
"""


def as_a_user(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", AS_A_USER, directory], capture_output=True, text=True, check=False)


@needs_root
def test_what_a_user_made_root_serves_as_that_user(place: Path) -> None:
    os.chown(place, 65534, 65534)
    made = as_a_user(place / "postgres")
    assert made.returncode == 0, made.stderr
    embedded = Embedded(place / "postgres")
    assert embedded.start() == made.stdout.strip()
    assert Cluster.at(place / "postgres").data == place / "postgres" / "data"
    embedded.stop()
    assert as_a_user(place / "postgres").stdout == made.stdout


@needs_root
def test_what_is_anothers_is_refused_by_name(place: Path) -> None:
    embedded = Embedded(place / "postgres")
    embedded.start()
    refused = as_a_user(place / "postgres")
    embedded.stop()
    assert refused.returncode == 1
    assert f"DatabaseMisconfigured: the embedded PostgreSQL cannot use {place / 'postgres'} (Permission denied" in (
        refused.stderr
    )


@needs_root
def test_what_root_made_is_found_by_the_user_to_whom_it_is_given(place: Path) -> None:
    embedded = Embedded(place / "postgres")
    embedded.start()
    embedded.stop()
    subprocess.run(["chown", "-R", "nobody", place], check=True)
    given = as_a_user(place / "postgres")
    assert given.returncode == 0, given.stderr
    assert not (place / "postgres" / "data").exists()


@needs_root
def test_what_belongs_to_root_is_not_served_and_says_so(place: Path) -> None:
    embedded = Embedded(place / "postgres")
    embedded.start()
    embedded.stop()
    data = Cluster.at(place / "postgres").data
    account = data.stat()
    os.chown(data, 0, 0)
    refused = Embedded(place / "postgres")
    with pytest.raises(EmbeddedFailed, match="belongs to root"):
        refused.start()
    os.chown(data, account.st_uid, account.st_gid)
    refused.stop()
