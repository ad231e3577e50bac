"""Certificates made for a test: an authority, and servers that it vouches for."""

from __future__ import annotations

import itertools
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
HTTP2 = ("h2", "http/1.1")
_numbers = itertools.count(1)


class Authority:
    """Signs server certificates; ``file`` is what a client has to trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)  # noqa: TID251 - libcurl judges certificates by the machine's clock
        self._now = now
        self._certificate = self._sign(self._key, "authority", [], now - _DAY, now + _DAY, self._key, None)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server(
        self,
        *,
        address: str = "127.0.0.1",
        name: str = "partner.test",
        expired: bool = False,
        self_signed: bool = False,
        asks_for_client: bool = False,
        protocols: tuple[str, ...] = (),
    ) -> ssl.SSLContext:
        """A server's side of TLS whose certificate is for this address and this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = self._now - _DAY if expired else self._now + _DAY
        issuer_key, issuer = (key, None) if self_signed else (self._key, self._certificate)
        names: list[x509.GeneralName] = [x509.IPAddress(ip_address(address)), x509.DNSName(name)]
        certificate = self._sign(key, "partner", names, self._now - 2 * _DAY, until, issuer_key, issuer)
        file = self._folder / f"server-{next(_numbers)}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        if asks_for_client:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(self.file)
        return context

    def client(self, name: str) -> tuple[str, str]:
        """A client's certificate and its private key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(key, name, [], self._now - _DAY, self._now + _DAY, self._key, self._certificate)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM).decode(), private.decode()

    def _sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        common_name: str,
        names: list[x509.GeneralName],
        start: datetime,
        end: datetime,
        issuer_key: ec.EllipticCurvePrivateKey,
        issuer: x509.Certificate | None,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=common_name == "authority", path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())
