"""`make demo`: the service beside an embedded PostgreSQL, three signed notifications, the preferences before and after.

Exits with 0 only if user2 (a spam report) and user3 (an unsubscribe) end opted out, and user1 (a drop) does not.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from db.database import DatabaseUnavailable
from db.embedded import Embedded, free_port
from webhooks.faults import SettingsError
from webhooks.trial import trial_source

HERE = Path(__file__).parent
DATA_DIR = Path(os.environ.get("WEBHOOKS_DATA_DIR", ".webhooks"))
EXPECTED = {"user1@example.com": True, "user2@example.com": False, "user3@example.com": False}
START_SECONDS = 60

console = Console()


def main() -> int:
    embedded = Embedded(DATA_DIR / "postgres")
    try:
        url = embedded.start()
        asyncio.run(create_users(url))
        show("before", asyncio.run(preferences(url)))
        with service() as address:
            receipt = send_notifications(address)
        console.print(f"answered 200 {json.dumps(receipt)}", highlight=False, soft_wrap=True)
        console.print(
            "receipt:",
            ", ".join(f"{name}: {number}" for name, number in receipt.items()),
            highlight=False,
            soft_wrap=True,
        )
        after = asyncio.run(preferences(url))
        show("after", after)
    finally:
        embedded.stop()
    opted_in = {row["email_address"]: row["marketing_opt_in"] for row in after if row["email_address"] in EXPECTED}
    if opted_in == EXPECTED and receipt["received"] == len(EXPECTED) and not receipt["dead"]:
        console.print("As it must be: user2 and user3 are opted out, user1 is not.", style="green")
        return 0
    console.print(f"Wrong: expected {EXPECTED}", style="red")
    return 1


async def create_users(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute((HERE / "email_preferences.sql").read_text())
    await connection.close()


async def preferences(url: str) -> Sequence[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    rows: Sequence[asyncpg.Record] = await connection.fetch(
        "select email_address, marketing_opt_in, updated_at from email_preferences order by email_address"
    )
    await connection.close()
    return rows


def show(title: str, rows: Sequence[asyncpg.Record]) -> None:
    table = Table("email_address", "marketing_opt_in", "updated_at", title=title, title_justify="left")
    for row in rows:
        table.add_row(row["email_address"], str(row["marketing_opt_in"]).lower(), str(row["updated_at"]))
    console.print(table)


@contextmanager
def service() -> Iterator[str]:
    """`webhooks serve` with nothing set up, at a free port."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
    environment |= {"WEBHOOKS_DATA_DIR": str(DATA_DIR), "WEBHOOKS_CONFIG": os.devnull}
    command = [sys.executable, "-m", "webhooks", "serve", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603 - ourselves
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=20)


def wait_until_ready(address: str, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    process.kill()
    sys.exit(f"The service did not start:\n{process.communicate()[1]}")


def send_notifications(address: str) -> dict[str, int]:
    adapter = trial_source(DATA_DIR, "sendgrid").adapter
    [request] = adapter.sign(json.loads((HERE / "notifications.json").read_text()), datetime.now(UTC))
    response = httpx.post(f"{address}/webhooks/sendgrid", content=request.body, headers=dict(request.headers))
    receipt: dict[str, int] = response.raise_for_status().json()
    return receipt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DatabaseUnavailable, SettingsError) as error:
        sys.exit(str(error))
