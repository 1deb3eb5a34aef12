"""Providers that sign our own address: proxies change the one that arrives, so the source's option `url` says it."""

import re
from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from providers.adapter import NotVerified, Options

# In an address: user and password, and all that follows a question mark. The path is told: which address it was must be seen.
SECRETS = re.compile(r"(?<=//)[^/?#]*(?=@)|(?<=[?#]).+", re.DOTALL)


def in_list(url: Any) -> Any:
    return [url] if isinstance(url, str) else url


class UrlOptions(Options):
    """`url`: our address exactly as it was entered at the provider; several while one moves to another."""

    url: Annotated[list[Annotated[str, Field(pattern="^https?://.")]], Field(min_length=1), BeforeValidator(in_list)]


def check_urls(urls: Collection[str], check: Callable[[str], None]) -> None:
    """`check` raises NotVerified for an address that was not signed. Which were tried is told, but no secret in them."""
    for url in urls:
        try:
            check(url)
        except NotVerified:
            continue
        return
    tried = " or ".join(dict.fromkeys(SECRETS.sub("…", url) for url in urls))
    raise NotVerified(f"the signature is of no key for the address {tried}: is `url` as it was entered there?")
