"""Fetching over https, from a real server with a certificate of its own."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CERTIFICATE = b"a certificate"
FETCH = """
import asyncio, json, sys
from providers.adapter import ProofUnavailable
from webhooks.fetch import fetch
try:
    print(json.dumps({"body": asyncio.run(fetch(sys.argv[1])).decode()}))
except ProofUnavailable as error:
    print(json.dumps({"error": str(error)}))
"""


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = {
            "/certificate.pem": (200, CERTIFICATE),
            "/large": (200, b"x" * 70_000),
            "/elsewhere": (302, b""),
        }.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("Location", "/certificate.pem")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def make_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "certificate.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and the certificate by which it is trusted."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}", certificate
    server.shutdown()
    server.server_close()


def fetched(url: str, trusted: Path | None = None) -> dict[str, str]:
    environment = {"SSL_CERT_FILE": str(trusted)} if trusted else {}
    command = [sys.executable, "-c", FETCH, url]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    told: dict[str, str] = json.loads(ran.stdout)
    return told


def test_the_body_of_a_200_is_had(server: tuple[str, Path]) -> None:
    url, certificate = server
    assert fetched(f"{url}/certificate.pem", certificate) == {"body": CERTIFICATE.decode()}


@pytest.mark.parametrize(
    ("path", "words"), [("/elsewhere", "answers 302"), ("/large", "more than"), ("/nothing", "answers 404")]
)
def test_anything_else_is_no_proof(server: tuple[str, Path], path: str, words: str) -> None:
    url, certificate = server
    assert words in fetched(url + path, certificate)["error"]


def test_a_server_that_nobody_vouches_for_is_not_believed(server: tuple[str, Path]) -> None:
    assert "Certificate" in fetched(f"{server[0]}/certificate.pem")["error"]


def test_only_https_is_fetched() -> None:
    assert "is not https" in fetched("http://127.0.0.1/")["error"]
