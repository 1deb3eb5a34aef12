"""Keys that change where they lie, while the service runs."""

import os
from pathlib import Path

import pytest

import providers
from providers.adapter import Adapter, NotVerified, ProofUnavailable, WebhookRequest
from tests.webhooks.conftest import sample, signed
from webhooks.source import Source
from webhooks.sources import SourceSettings, new_source


@pytest.fixture
def file(tmp_path: Path, sendgrid: Adapter) -> Path:
    (tmp_path / "key").write_text(sendgrid.keys[0])
    return tmp_path / "key"


@pytest.fixture
def source(file: Path) -> Source:
    return new_source("sendgrid", SourceSettings(provider="sendgrid", keys=[f"file:{file}"]))


def rotate(file: Path) -> Adapter:
    """A new key in the file, and who signs with it."""
    kind = providers.load("sendgrid")
    rotated = kind("sendgrid", [kind.new_key()])
    file.write_text(rotated.keys[0])
    return rotated


def replace(file: Path) -> Adapter:
    """As `rotate`, by a file of the same size and time."""
    before, new = file.stat(), file.with_name("new")
    rotated = rotate(new)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(file)
    return rotated


def request_of(adapter: Adapter) -> WebhookRequest:
    return signed(adapter, sample(adapter, "unsubscribe"))


def another(adapter: Adapter) -> Adapter:
    return type(adapter)("sendgrid", [adapter.new_key()])


async def test_a_key_in_a_file_is_taken_as_soon_as_it_is_there_whatever_strangers_send(
    source: Source, file: Path, sendgrid: Adapter
) -> None:
    await source.verify(request_of(sendgrid))
    for _ in range(2):
        with pytest.raises(NotVerified):
            await source.verify(request_of(another(sendgrid)))
        await source.verify(request_of(rotate(file)))


async def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_another(source: Source, file: Path) -> None:
    await source.verify(request_of(replace(file)))


async def test_a_file_that_has_not_changed_is_not_read_again(
    source: Source, sendgrid: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "read_again", lambda: pytest.fail("it was"))
    with pytest.raises(NotVerified):
        await source.verify(request_of(another(sendgrid)))


async def test_while_the_file_is_away_the_provider_sends_again(source: Source, file: Path, sendgrid: Adapter) -> None:
    away = file.rename(file.with_name("away"))  # noqa: ASYNC240 - a test may wait
    for _ in range(2):
        with pytest.raises(ProofUnavailable):
            await source.verify(request_of(another(sendgrid)))
    await source.verify(request_of(sendgrid))
    rotated = rotate(away)
    away.rename(file)
    await source.verify(request_of(rotated))


async def test_a_file_that_could_not_be_read_is_tried_again_though_it_looks_the_same(
    source: Source, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(*_: object, **__: object) -> str:
        raise OSError(24, "Too many open files")

    rotated = rotate(file)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", too_many)
        with pytest.raises(ProofUnavailable):
            await source.verify(request_of(rotated))
    monkeypatch.setattr("webhooks.source.RENEWAL_SECONDS", 0)
    await source.verify(request_of(rotated))
