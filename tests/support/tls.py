"""A certificate authority that lives as long as the tests, and the certificates it issues."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as files and as a server's SSLContext (HTTP/1.1 by ALPN)."""

    context: ssl.SSLContext
    chain: Path
    key: Path
    pin: str


@dataclass
class Authority:
    """A throw-away CA. `ca_file` is what a client names as `tls.ca_file`."""

    folder: Path
    ca: trustme.CA = field(default_factory=trustme.CA)
    ca_file: Path = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, *names: str, client_ca: Path | None = None) -> Certificate:
        """A server or client certificate; without names for `localhost`, `127.0.0.1` and `::1`.

        With `client_ca` a server asks for a client certificate of that CA and refuses clients without one.
        """
        self._count += 1
        leaf = self.ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")))
        chain, key = self.folder / f"leaf{self._count}.pem", self.folder / f"leaf{self._count}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        key.chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        leaf.configure_cert(context)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return Certificate(context, chain, key, pin_of(leaf.cert_chain_pems[0].bytes()))

    def client_context(self) -> ssl.SSLContext:
        """A plain client context that trusts this CA, for tests that talk to servers without the relay's client."""
        return ssl.create_default_context(cafile=self.ca_file)


def pin_of(pem: bytes) -> str:
    """`sha256/BASE64=` of a certificate's public key, as `tls.pins` takes it."""
    public = x509.load_pem_x509_certificate(pem).public_key()
    digest = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return "sha256/" + base64.b64encode(digest).decode()
