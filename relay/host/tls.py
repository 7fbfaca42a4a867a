"""TLS towards one other side: trust, versions, our own certificate, pins.

Why an `SSLObject` of our own: asyncio makes its TLS objects through `SSLContext.sslobject_class`, and `do_handshake` is
the only place that runs after the peer has proven its key and before a byte of ours can leave. It serves asyncio alone
(`wrap_bio`); a plain `wrap_socket` on these contexts is refused when there are pins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.config.guarded import open_to_others
from relay.core.errors import ConfigError
from relay.core.secret import Secret

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
"""What `minimum_version` may say."""


class PinMismatchError(ssl.SSLError):
    """The server's public key matches none of the pins; nothing but the handshake was exchanged."""


class WatchedSSLObject(ssl.SSLObject):
    """Checks pins within the handshake, and remembers whether the peer ended the connection in order.

    `ended` becomes True with the peer's close_notify: without it, the end of a body that has no length may be an
    attacker's cut.
    """

    ended: bool = False

    def do_handshake(self) -> None:
        """Shake hands, then compare the server's public key with the pins.

        Raises:
            PinMismatchError: none of them matches.

        """
        super().do_handshake()
        pins: frozenset[bytes] = getattr(self.context, "pins", frozenset())
        certificate = self.getpeercert(binary_form=True)
        if pins and not _matches(certificate, pins):
            raise PinMismatchError(ssl.SSL_ERROR_SSL, "the server's public key matches none of the pins")
        if isinstance(self.context, WatchedContext):
            self.context.shown = certificate or b""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002, ANN401 - as ssl has it
        """Read as `SSLObject.read` does; nothing means that the peer closed in order."""
        data = super().read(len) if buffer is None else super().read(len, buffer)
        if not data:
            self.ended = True
        return data


class WatchedContext(ssl.SSLContext):
    """A client context whose connections are `WatchedSSLObject`s.

    Attributes:
        pins: digests of public keys, one of which the server must have; none: any key.
        shown: the certificate (DER) of the last server that was accepted; nothing else is kept of a handshake.
        own: the relay's own certificate (DER), when it has one.

    """

    sslobject_class = WatchedSSLObject
    pins: frozenset[bytes] = frozenset()
    shown: bytes = b""
    own: bytes = b""

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:  # noqa: ANN401 - passed on as they are
        """Refused with pins, since a plain socket's handshake would not check them."""
        if self.pins:
            msg = "pins are checked on asyncio connections only"
            raise ssl.SSLError(msg)
        return super().wrap_socket(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What the `tls` section of one side says. `client_key` is PEM text; None: it stands in `client_certificate`."""

    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Secret | None = None
    pins: tuple[str, ...] = ()
    minimum_version: str = "TLSv1.2"


def client_context(options: TlsOptions) -> WatchedContext:
    """Make the context for one side. It costs tens of milliseconds: make it once.

    Raises:
        ConfigError: BSR-1009 when a file or key cannot be used, BSR-1010 when others can change a file, BSR-1006 when
            a pin or version is none.

    """
    context = WatchedContext(ssl.PROTOCOL_TLS_CLIENT)
    if options.minimum_version not in VERSIONS:
        raise ConfigError(1006, f"minimum_version {options.minimum_version!r} is none of {', '.join(VERSIONS)}")
    context.minimum_version = VERSIONS[options.minimum_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False  # a name counts where RFC 9525 wants it: among the alternative names
    context.set_alpn_protocols(["http/1.1"])
    context.pins = frozenset(parse_pin(pin) for pin in options.pins)
    if options.ca_file is None:
        _trust_system(context)
    else:
        _trust_file(context, options.ca_file)
    if options.client_certificate is not None:
        load_certificate(context, options.client_certificate, options.client_key, "the client certificate")
        context.own = leaf(options.client_certificate)
    return context


def parse_pin(text: str) -> bytes:
    """The digest of `sha256/BASE64=`.

    Raises:
        ConfigError: BSR-1006.

    """
    kind, _, encoded = text.partition("/")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error is one; what is not ASCII is another
        digest = b""
    if kind != "sha256" or len(digest) != hashlib.sha256().digest_size:
        raise ConfigError(1006, f"the pin {text!r} is not 'sha256/' and the base64 of a SHA-256")
    return digest


def _matches(certificate: bytes | None, pins: frozenset[bytes]) -> bool:
    """Whether the certificate's public key has one of the digests; one that cannot be read has none."""
    try:
        public = x509.load_der_x509_certificate(certificate or b"").public_key()
        info = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return False
    digest = hashlib.sha256(info).digest()
    return any(hmac.compare_digest(digest, pin) for pin in pins)


def _trust_system(context: ssl.SSLContext) -> None:
    # Not load_default_certs(): it obeys SSL_CERT_FILE and SSL_CERT_DIR, and the environment decides nothing here.
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if not (file.is_file() or folder.is_dir()):
        raise ConfigError(1009, f"this system has no trust store at {file} or {folder}; give tls.ca_file")
    context.load_verify_locations(cafile=file if file.is_file() else None, capath=folder if folder.is_dir() else None)


def _trust_file(context: ssl.SSLContext, file: Path) -> None:
    _check_guarded(file)
    try:
        context.load_verify_locations(cafile=file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(1009, f"the CA file {file}: {_reason(error)}") from None
    # An intermediate CA, or the server's own certificate, in the file is trust enough.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _check_guarded(file: Path) -> None:
    """Refuse a file that others can change: whoever writes the authorities decides who is the other side.

    A pipe is refused, too: OpenSSL would wait for its writer, and everything else with it.
    """
    try:
        mode = file.stat().st_mode
        why = open_to_others(file, mode)
    except OSError:
        return  # who reads it tells more
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # OpenSSL says of a folder what it is
        raise ConfigError(1009, f"{file}: no regular file")
    if why is not None:
        raise ConfigError(1010, f"{file}: {why}")


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Secret | None, called: str) -> None:
    """Give a context a certificate of ours with its key; None: the key stands in the certificate's file.

    Raises:
        ConfigError: BSR-1009 when it cannot be used, with what it is `called`; BSR-1010 when others can change it.

    """
    _check_guarded(certificate)
    try:
        if key is None:
            context.load_cert_chain(certificate, password="")
            return
        # OpenSSL reads keys from files only: an anonymous one in memory never reaches a disk.
        descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(key.reveal().encode())
            context.load_cert_chain(certificate, f"/proc/self/fd/{descriptor}", password="")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(1009, f"{called} {certificate} with its key: {_reason(error)}") from None


def leaf(file: Path) -> bytes:
    """The first certificate of a file that OpenSSL has just read; nothing when our own parser cannot."""
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError):
        return b""


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM, or an encrypted key").replace("_", " ").lower()
    return error.strerror or type(error).__name__
