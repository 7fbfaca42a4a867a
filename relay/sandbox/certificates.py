"""A throw-away certificate authority for the stand-ins."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAYS = 365.0
_SKEW = dt.timedelta(days=1)  # the clocks of a test may have been set back


def _name(common: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "B Series Relay sandbox")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])


class Authority:
    """A CA whose key lives in memory only; `folder` receives `ca.pem` and the servers' files (0600).

    Why EC P-256: the appliance wants a new connection for each call, and an RSA handshake costs more than the call.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("sandbox CA")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str, *, days: float = _DAYS) -> ssl.SSLContext:
        """A server context with a new certificate for 127.0.0.1 and localhost, named `name`, for so many days."""
        certificate, key = self.files(name, days=days)
        file = self.folder / f"{name}.pem"
        _write(file, key + certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(file)
        return context

    def files(self, name: str, *, days: float = _DAYS) -> tuple[bytes, bytes]:
        """A new certificate for a server at 127.0.0.1 and localhost, and its key, both PEM."""
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate, key = self._issue(name, ExtendedKeyUsageOID.SERVER_AUTH, names, days)
        return certificate.public_bytes(serialization.Encoding.PEM), key

    def client(self, name: str, *, days: float = _DAYS) -> tuple[Path, Path, str]:
        """A new client certificate's file, its key's file, and the certificate's SHA-256, hex."""
        certificate, key = self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName(name)], days)
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        for file, data in zip(files, (certificate.public_bytes(serialization.Encoding.PEM), key), strict=True):
            _write(file, data)
        return *files, certificate.fingerprint(hashes.SHA256()).hex()

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, names: Sequence[x509.GeneralName], days: float
    ) -> tuple[x509.Certificate, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(name), key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate, key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float = _DAYS
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + dt.timedelta(days=days))
        )


def _write(file: Path, data: bytes) -> None:
    """Write a file that only its owner can read, as it was from the beginning."""
    file.touch(mode=0o600)
    file.write_bytes(data)
