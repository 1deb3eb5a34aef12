"""The service as a process of its own, as a user runs it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from db.embedded import free_port

START_SECONDS = 60


class Service:
    """`webhooks serve` with sources of its own; `start` returns when it is ready, and may be called again after `kill`."""

    def __init__(
        self, data_dir: Path, *, settings: Mapping[str, str] | None = None, command: tuple[str, ...] = ("serve",)
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"WEBHOOKS_DATA_DIR": str(data_dir), **(settings or {})}
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data_dir.with_name(f"{data_dir.name}-{self.port}.log")

    def start(self, seconds: float = START_SECONDS) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOKS_")}
        command = [sys.executable, "-m", "webhooks", *self.command, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=inherited | self.settings, stdout=log, stderr=log)
        self.wait_until(200, seconds)

    def wait_until(self, status: int, seconds: float = START_SECONDS) -> None:
        """Until `/readyz` says so."""
        deadline = time.monotonic() + seconds
        with httpx.Client(timeout=30) as client:
            while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
                try:
                    if client.get(f"{self.url}/readyz").status_code == status:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.02)
        raise AssertionError(f"/readyz never said {status}:\n{self.log.read_text() if self.log.exists() else ''}")

    def stop(self) -> int:
        """As an orchestrator does; the exit status."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.terminate()
        return process.wait(timeout=20)

    def kill(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(signal.SIGKILL)
            process.wait()
