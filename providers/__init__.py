"""The registry of adapters: a provider's name → its adapter, imported when it is asked for."""

from importlib import import_module
from importlib.metadata import entry_points

from providers.adapter import Adapter

# One line a provider.
ADAPTERS = {
    "sendgrid": "providers.sendgrid:SendGrid",
    "mailgun": "providers.mailgun:Mailgun",
    "postmark": "providers.postmark:Postmark",
}

ENTRY_POINTS = "webhooks.providers"


def names() -> list[str]:
    """Every provider there is an adapter for: ours, and those that installed packages bring as entry points."""
    return sorted({*ADAPTERS, *entry_points(group=ENTRY_POINTS).names})


def load(name: str) -> type[Adapter]:
    """Raises KeyError for a name without an adapter."""
    if name in ADAPTERS:
        module, _, attribute = ADAPTERS[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        found = entry_points(group=ENTRY_POINTS)[name].load()
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise TypeError(f"the adapter of {name} is no subclass of providers.adapter.Adapter but {found!r}")
    return found
