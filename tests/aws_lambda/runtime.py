"""Lambda's side of the runtime: the real runtime client in a process of its own, fed with events over loopback."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

SECONDS = 30
PREFIX = "/2018-06-01/runtime"


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of one event: what the function returned, or the error that it raised."""

    result: Any = None
    error: Any = None


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that was killed has hung up."""


class Runtime:
    """One execution environment: `invoke` hands it an event and waits for what becomes of it."""

    def __init__(
        self,
        log: Path,
        environment: Mapping[str, str],
        *,
        python: str = sys.executable,
        handler: str = "webhooks.aws_lambda.handler",
        task_root: Path | None = None,
    ) -> None:
        self.log = log
        self.events: queue.Queue[tuple[str, bytes, int]] = queue.Queue()
        self.outcomes: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.is_asking = threading.Event()
        self.asked_at = 0.0
        self.number = 0
        self.server = Server(("127.0.0.1", 0), api_of(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        root = task_root or Path(__file__).parent.parent.parent
        self.started_at = time.monotonic()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [python, "-m", "awslambdaric", handler],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(root),
                    "LAMBDA_TASK_ROOT": str(root),
                    "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
                    "AWS_LAMBDA_FUNCTION_NAME": "function",
                    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
                    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
                    "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
                    "AWS_REGION": "eu-west-1",
                    "AWS_DEFAULT_REGION": "eu-west-1",
                    "AWS_ACCESS_KEY_ID": "made-up",
                    "AWS_SECRET_ACCESS_KEY": "made-up",
                    **environment,
                },
                cwd=root,
                stdout=output,
                stderr=output,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to its first question for an event."""
        deadline = time.monotonic() + SECONDS
        while not self.is_asking.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline or not self.outcomes.empty():
                raise AssertionError(f"the function never asked for an event:\n{self.log.read_text()}")
        return self.asked_at - self.started_at

    def invoke(self, event: Any, *, milliseconds: int = 28_000) -> Invocation:
        """`milliseconds` is what is left until Lambda would kill it."""
        self.number += 1
        self.events.put((f"request-{self.number}", json.dumps(event).encode(), milliseconds))
        try:
            kind, value = self.outcomes.get(timeout=SECONDS)
        except queue.Empty:
            raise AssertionError(f"no answer to an event:\n{self.log.read_text()}") from None
        return Invocation(result=value) if kind == "response" else Invocation(error=value)

    def freeze(self, seconds: float) -> None:
        """As Lambda does between two events."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


def api_of(runtime: Runtime) -> type[BaseHTTPRequestHandler]:
    """The Runtime API, as far as the runtime client uses it."""

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two packets: the second must not wait until the client has acknowledged the first.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if not runtime.is_asking.is_set():
                runtime.asked_at = time.monotonic()
                runtime.is_asking.set()
            identity, event, milliseconds = runtime.events.get()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Lambda-Runtime-Aws-Request-Id", identity)
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + milliseconds))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:000000000000:function:f")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else read_chunked(self)
            runtime.outcomes.put((self.path.rpartition("/")[2], json.loads(body or b"null")))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Api


def read_chunked(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return b""
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    return body
