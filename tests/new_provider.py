"""`make provider NAME=acme`: the beginnings of an adapter; the contract tests then say what is missing."""

import keyword
import re
import sys
from pathlib import Path

import providers

ROOT = Path(providers.__file__).parent.parent

MODULE = '''"""{title}: TODO how many events a request has, and what proves who sent it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from providers.adapter import Adapter, Proof, Verified, WebhookRequest
from providers.decoding import Shape, encode, shaped
from providers.events import Event, EventType, Item, address, folded, moment
from providers.signing import check_hmac, header, hmac_hex

SIGNATURE = "X-TODO-Signature"

TYPES = {{
    "unsubscribed": EventType.UNSUBSCRIBED,
}}


class Payload(Shape):
    event: str
    id: str | None = None
    email: str | None = None
    timestamp: Any = None


class {title}(Adapter):
    name = "{name}"
    key = "TODO what a key is, and where its user finds it"
    final_statuses = range(200, 300)
    samples = {{"unsubscribed": {{}}}}

    async def verify(self, request: WebhookRequest) -> Verified:
        check_hmac(header(request, SIGNATURE), request.body, self.keys)
        return Verified(request)

    def read(self, item: Item) -> Iterable[Event]:
        payload = shaped(Payload, item.value)
        email_address = address(payload.email)
        return [
            Event(
                item=item,
                natural_key=(payload.event, payload.id, folded(email_address)),
                type=TYPES.get(payload.event, EventType.UNKNOWN),
                at=moment(payload.timestamp),
                email_address=email_address,
            )
        ]

    def sample(self, event: str, email_address: str, at: datetime, number: int) -> dict[str, Any]:
        return {{
            "id": f"sample-{{number}}",
            "event": event,
            "email": email_address,
            "timestamp": int(at.timestamp()),
            **self.samples[event],
        }}

    def bodies(self, samples: Sequence[Any], at: datetime) -> Iterable[bytes]:
        return [encode(samples)]

    def prove(self, body: bytes, at: datetime) -> Proof:
        return {{"headers": {{SIGNATURE: hmac_hex(self.keys[0], body)}}}}
'''

PAGE = """# {title}

TODO what it sends.

## Set-up

TODO what to click, and which key to copy where.

## What `verify` proves

TODO and what not.

## Retries

TODO for how long, and on which answers it gives up.

## Events

TODO

## Ids

TODO what the natural key is made of, and what it is worth.

## Oddities

TODO
"""

NEXT = """made providers/{name}.py, providers/{name}.md and tests/providers/{name}/; registered in providers/__init__.py.
Next:
  1. fill in the module, its page, and payloads as captured in tests/providers/{name}/
  2. UPDATE_GOLDEN=1 .venv/bin/pytest tests/providers -k {name}    writes what is read in them: check it
  3. make check test"""


def main(name: str, root: Path = ROOT) -> None:
    title = "".join(word.capitalize() for word in name.split("_"))
    module = root / "providers" / f"{name}.py"
    page = module.with_suffix(".md")
    payloads = root / "tests" / "providers" / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        sys.exit("NAME is the provider's name in lower case, letters, digits and _: make provider NAME=acme")
    if providers.is_known(name):
        sys.exit(f"there is a provider {name} already: choose another NAME")
    for path in (module, page, payloads):
        if path.exists():
            sys.exit(
                f"{path.relative_to(root)} exists already and stays as it is: choose another NAME, or move it away"
            )
    if re.search(rf"\b{title}\b", MODULE):
        sys.exit(f"an adapter's module has another {title} already: choose a longer NAME, {name}_mail or the like")
    module.write_text(MODULE.format(name=name, title=title))
    page.write_text(PAGE.format(title=title))
    payloads.mkdir(parents=True)
    (payloads / "unsubscribed.json").write_text(
        '[{"id": "1", "event": "unsubscribed", "email": "ada@example.test", "timestamp": 1700000000}]\n'
    )
    register(root / "providers" / "__init__.py", name, title)
    print(NEXT.format(name=name))  # noqa: T201 - for whoever ran it


def register(registry: Path, name: str, title: str) -> None:
    head, closing, rest = registry.read_text().partition("\n}\n")
    registry.write_text(f'{head}\n    "{name}": "providers.{name}:{title}",{closing}{rest}')


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
