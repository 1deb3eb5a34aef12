"""Bodies that lie, over raw sockets, to the service as it runs."""

import gzip
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

import providers
from db.embedded import Embedded
from providers.adapter import Adapter, WebhookRequest
from tests.service import Service
from tests.webhooks.conftest import sample, signed, signed_body

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    sendgrid = providers.load("sendgrid")
    return sendgrid("sendgrid", [sendgrid.new_key()])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, adapter: Adapter) -> Iterator[Service]:
    settings = {
        "WEBHOOKS_SOURCES": json.dumps({"sendgrid": {"keys": list(adapter.keys)}}),
        "WEBHOOKS_MAX_BODY_BYTES": str(LIMIT),
    }
    service = Service(tmp_path_factory.mktemp("bodies") / "data", settings=settings)
    service.start()
    yield service
    service.kill()
    Embedded(service.data_dir / "postgres").discard()


def head(request: WebhookRequest, *more: str) -> bytes:
    lines = [
        "POST /webhooks/sendgrid HTTP/1.1",
        "Host: service",
        *(f"{name}: {value}" for name, value in request.headers.items()),
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Wire:
    """One connection, and what comes back on it."""

    def __init__(self, service: Service) -> None:
        self.socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def answer(self) -> tuple[int, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            part = self.socket.recv(65536)
            if not part:
                break
            received += part
        if not received:
            return 0, b""
        status, _, rest = received.partition(b"\r\n\r\n")
        return int(status.split()[1]), rest


def recorded(service: Service) -> float:
    text = httpx.get(f"{service.url}/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("webhooks_records_total"))


def post(service: Service, request: WebhookRequest, content: bytes | None = None, **headers: str) -> httpx.Response:
    all_headers = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(
        f"{service.url}/webhooks/sendgrid",
        content=request.body if content is None else content,
        headers=all_headers,
        timeout=30,
    )


@pytest.fixture
def one(adapter: Adapter, request: pytest.FixtureRequest) -> WebhookRequest:
    return signed(adapter, sample(adapter, "unsubscribe", f"{abs(hash(request.node.name))}@example.test"))


def test_a_chunked_body_is_taken(service: Service, one: WebhookRequest) -> None:
    body = one.body
    with Wire(service) as wire:
        wire.send(head(one, "Transfer-Encoding: chunked"), f"{len(body):x}\r\n".encode(), body, b"\r\n0\r\n\r\n")
        assert wire.answer()[0] == 200


def test_no_body_at_all_is_not_proven(service: Service, one: WebhookRequest) -> None:
    assert post(service, one, b"").status_code == 401


def test_authentic_nothing_and_nested_brackets_are_dead_letters(service: Service, adapter: Adapter) -> None:
    for body in (b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff" * 1000):
        assert post(service, signed_body(adapter, body)).json()["dead"] == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_verified_as_it_was_before(service: Service, one: WebhookRequest, encoding: str) -> None:
    content = gzip.compress(one.body) if encoding == "gzip" else zlib.compress(one.body)
    assert post(service, one, content, content_encoding=encoding).json()["recorded"] == 1


def test_a_gzip_body_of_several_members_is_all_of_them(service: Service, one: WebhookRequest) -> None:
    members = [gzip.compress(one.body[:20]), gzip.compress(b""), gzip.compress(one.body[20:])]
    assert post(service, one, b"".join(members), content_encoding="gzip").json()["recorded"] == 1


@pytest.mark.parametrize("padding", [1, 100_000])
def test_zeros_behind_a_gzip_body_are_padding(service: Service, one: WebhookRequest, padding: int) -> None:
    assert post(service, one, gzip.compress(one.body) + b"\0" * padding, content_encoding="gzip").status_code == 200


@pytest.mark.parametrize(
    "more",
    [gzip.compress(b" ")[:-9], b"no gzip", b"\0" * 10 + b"no gzip", b"\0" * 100_000 + b"x"],
    ids=["cut off", "garbage", "garbage behind padding", "garbage far behind"],
)
def test_what_is_no_whole_member_behind_the_first_is_refused(
    service: Service, one: WebhookRequest, more: bytes
) -> None:
    assert post(service, one, gzip.compress(one.body) + more, content_encoding="gzip").status_code == 401


@pytest.mark.parametrize(
    ("content", "encoding"),
    [(b"no gzip", "gzip"), (gzip.compress(b"x" * 1000)[:-9], "gzip"), (b"x", "br"), (b"x", "gzip, gzip")],
)
def test_a_body_that_is_not_compressed_as_it_says_is_refused(
    service: Service, one: WebhookRequest, content: bytes, encoding: str
) -> None:
    assert post(service, one, content, content_encoding=encoding).status_code == 401


@pytest.mark.parametrize("before_it", [b"", gzip.compress(b" ")], ids=["alone", "second"])
def test_a_bomb_is_refused_and_fills_no_memory(service: Service, one: WebhookRequest, before_it: bytes) -> None:
    bomb = before_it + gzip.compress(b"\0" * 500_000_000, compresslevel=9)
    assert len(bomb) < LIMIT
    before = memory(service)
    answer = post(service, one, bomb, content_encoding="gzip")
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
    assert memory(service) < before + 50_000_000


def test_many_small_members_are_too_large_together(service: Service, one: WebhookRequest) -> None:
    content = gzip.compress(b"\0" * 5_000) * (LIMIT // 5_000 + 1)
    answer = post(service, one, content, content_encoding="gzip")
    assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def memory(service: Service) -> int:
    assert service.process is not None
    return int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1]) * 4096


def test_a_large_body_is_refused_without_reading_the_rest(service: Service, one: WebhookRequest) -> None:
    with Wire(service) as wire:
        wire.send(head(one, f"Content-Length: {10 * LIMIT}"), b"[" * 1000)
        assert wire.answer()[0] == 413
    with Wire(service) as wire:
        chunk = b"%x\r\n%s\r\n" % (LIMIT // 2, b" " * (LIMIT // 2))
        wire.send(head(one, "Transfer-Encoding: chunked"), chunk, chunk, chunk)
        assert wire.answer()[0] == 413


def test_a_body_shorter_than_its_length_records_nothing(service: Service, one: WebhookRequest) -> None:
    before = recorded(service)
    with Wire(service) as wire:
        wire.send(head(one, f"Content-Length: {len(one.body) + 10}"), one.body)
        wire.socket.shutdown(socket.SHUT_WR)
        wire.answer()
    assert recorded(service) == before
    assert httpx.get(f"{service.url}/readyz").status_code == 200


def test_a_body_longer_than_its_length_is_cut_and_so_not_proven(service: Service, one: WebhookRequest) -> None:
    before = recorded(service)
    with Wire(service) as wire:
        wire.send(head(one, f"Content-Length: {len(one.body) - 5}"), one.body)
        assert wire.answer()[0] in {400, 401}
    assert recorded(service) == before


@pytest.mark.parametrize("lengths", [["-1"], ["ten"], ["10", "20"], ["1e3"], ["99999999999999999999999"]])
def test_a_length_that_is_none_is_refused(service: Service, one: WebhookRequest, lengths: list[str]) -> None:
    with Wire(service) as wire:
        wire.send(head(one, *(f"Content-Length: {length}" for length in lengths)), one.body)
        assert wire.answer()[0] in {400, 413}
    assert httpx.get(f"{service.url}/readyz").status_code == 200


def test_a_sender_that_hangs_up_in_the_middle_does_no_harm(service: Service, one: WebhookRequest) -> None:
    for _ in range(20):
        with Wire(service) as wire:
            wire.send(head(one, f"Content-Length: {len(one.body)}"), one.body[:20])
    assert post(service, one).json()["recorded"] == 1


@pytest.mark.parametrize(
    "path", ["/webhooks/..%2f..%2fetc", "/webhooks/%00", "/webhooks/a/b", "/webhooks/" + "x" * 10_000, "/webhooks/%ff"]
)
def test_rubbish_paths_are_not_found(service: Service, path: str) -> None:
    with Wire(service) as wire:
        wire.send(f"POST {path} HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n".encode())
        assert wire.answer()[0] in {400, 404}


def test_rubbish_that_is_no_http_is_refused(service: Service) -> None:
    with Wire(service) as wire:
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert wire.answer()[0] in {0, 400}
