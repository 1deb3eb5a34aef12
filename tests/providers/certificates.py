"""Certificates of our own making, and whoever would fetch them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from providers.adapter import ProofUnavailable

SINCE, UNTIL = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def certificate(
    key: PublicKey,
    name: str,
    by: tuple[str, rsa.RSAPrivateKey],
    *,
    since: datetime = SINCE,
    until: datetime = UNTIL,
    others: Sequence[str] = (),
    is_authority: bool = False,
) -> x509.Certificate:
    """`by`: the issuer's name and key; `others`: further names that it is good for."""
    builder = x509.CertificateBuilder(
        named(by[0]), named(name), key, x509.random_serial_number(), since, until
    ).add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    if others:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, others)), critical=False)
    return builder.sign(by[1], hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


@dataclass
class World:
    """What lies at which address, and who has asked for it."""

    pages: Mapping[str, bytes]
    asked: list[str] = field(default_factory=list)

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise ProofUnavailable(f"{url} answers 404")
        return self.pages[url]
