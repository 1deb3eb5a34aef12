"""Trying it out with nothing set up: keys of our own making, one a provider, kept in the data directory."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import providers
from webhooks.source import Source
from webhooks.sources import SourceSettings, new_source


def trial_sources(data_dir: Path) -> dict[str, Source]:
    """A source for each provider of ours, each with the key that `webhooks send` signs with."""
    return {name: trial_source(data_dir, name) for name in providers.ADAPTERS}


def trial_source(data_dir: Path, name: str) -> Source:
    adapter = providers.load(name)
    key = made_once(data_dir / "keys" / name, adapter.new_key)
    return new_source(name, SourceSettings(provider=name, keys=[key], **adapter.trial_options))


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
