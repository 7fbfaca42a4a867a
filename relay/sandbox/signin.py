"""Further ways to sign in at a sandbox's ServiceNow, beside the user and the OAuth application that it always has."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.sandbox.box import USER, Sandbox
from relay.sandbox.configured import write_private

KEY_ID = "relay-key-1"


@dataclass(frozen=True, slots=True)
class Shown:
    """A client certificate: its files."""

    certificate: Path
    key: Path


def offer_key(box: Sandbox, key_id: str = KEY_ID, file: str = "servicenow_jwt_key") -> Path:
    """Let assertions of a new key sign in; returns the private key's file, in `credentials/`."""
    key = rsa.generate_private_key(65537, 2048)
    path = box.directory / "credentials" / file
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    box.servicenow.access.assertions.keys[key_id] = key.public_key()
    return path


def offer_certificate(box: Sandbox, user: str | None = USER, file: str = "servicenow_client") -> Shown:
    """Issue a client certificate that stands for a user (None: for nobody); the instance looks at it from now on."""
    certificate, key, digest = box.authority.client(file)
    if user is not None:
        box.servicenow.access.certificates[digest] = user
    context = box.doors["servicenow"].context
    if context.verify_mode is ssl.CERT_NONE:
        context.load_verify_locations(box.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return Shown(certificate, key)


def demand_certificate(box: Sandbox) -> None:
    """Let nobody in without a client certificate; the TLS handshake fails."""
    box.doors["servicenow"].context.load_verify_locations(box.ca_file)
    box.doors["servicenow"].context.verify_mode = ssl.CERT_REQUIRED
