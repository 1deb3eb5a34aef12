"""Trying it out with nothing set up: keys of our own making, one a provider, kept in the data directory."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import providers
from webhooks.faults import SettingsError
from webhooks.source import Source
from webhooks.sources import SourceSettings, new_source


def trial_sources(data_dir: Path) -> dict[str, Source]:
    """A source for each provider of ours, each with the key that `webhooks send` signs with."""
    return {name: trial_source(data_dir, name) for name in providers.ADAPTERS}


def trial_source(data_dir: Path, name: str) -> Source:
    adapter = providers.load(name)
    key = key_of(data_dir, name)
    return new_source(name, SourceSettings(provider=name, keys=[key], **adapter.trial_options))


def key_of(data_dir: Path, name: str) -> str:
    """Raises SettingsError."""
    try:
        return made_once(data_dir / "keys" / name, providers.load(name).new_key)
    except OSError as error:
        where = f"WEBHOOKS_DATA_DIR: {data_dir} cannot be used ({error.strerror}: {error.filename})"
        raise SettingsError([f"{where}: name a directory of your own, or run as the user whose it is"]) from error


def made_once(path: Path, make: Callable[[], str]) -> str:
    """What the file holds; where it is missing, what `make` makes, whichever of several processes was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as new:  # mode 0600
            new.write(make())
        try:
            os.link(new.name, path)
        except FileExistsError:
            pass
        finally:
            Path(new.name).unlink()
    return path.read_text().strip()
