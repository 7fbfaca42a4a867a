"""Servers that are not who they should be: each is refused by name, and none is given a byte."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from support.tls import Authority

from relay.appliance.faults import translate
from relay.host.http import HttpClient, HttpFault, HttpRequest, Target
from relay.host.tls import TlsOptions, client_context
from relay.servicenow.answers import fault_error

OTHER_PIN = "sha256/" + "A" * 43 + "="
DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


@dataclass
class Eavesdropper:
    """A server that shakes hands and writes down what it is then sent.

    `received` has one entry for each finished handshake: the application bytes that came after it.
    """

    context: ssl.SSLContext
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    connections: int = 0

    def serve(self, listener: socket.socket) -> None:
        """Take one connection after another until the listener is closed."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(10)
                try:
                    with self.context.wrap_socket(connection, server_side=True) as tls:
                        got = b""
                        self.received.append(got)
                        while more := tls.recv(65536):
                            got += more
                            self.received[-1] = got
                except OSError:
                    continue  # a handshake that failed, or a client that left without a word


@contextmanager
def eavesdropper(context: ssl.SSLContext) -> Iterator[Eavesdropper]:
    """A running one. Leaving waits until it has heard everything."""
    made = Eavesdropper(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made.port = listener.getsockname()[1]
        thread = threading.Thread(target=made.serve, args=(listener,))
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def serving(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def another_authority(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    return serving(trustme.CA().issue_cert("localhost"))


def another_name(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    return serving(authority.ca.issue_cert("other.example"))


def expired(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    return serving(authority.ca.issue_cert("localhost", not_before=NOW - 9 * DAY, not_after=NOW - DAY))


def not_yet_valid(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    return serving(authority.ca.issue_cert("localhost", not_before=NOW + DAY, not_after=NOW + 9 * DAY))


def without_intermediate(authority: Authority, folder: Path) -> ssl.SSLContext:
    leaf = authority.ca.create_child_ca().issue_cert("localhost")
    chain, key = folder / "leaf.pem", folder / "leaf.key"
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def self_signed(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW - DAY, NOW + DAY)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    chain, secret = folder / "self.pem", folder / "self.key"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context


def at_most(version: ssl.TLSVersion) -> Callable[[Authority, Path], ssl.SSLContext]:
    """A good certificate served with no newer protocol version."""

    def make(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
        context = serving(authority.ca.issue_cert("localhost"))
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is old is the point
            context.minimum_version = context.maximum_version = version
        return context

    return make


def good(authority: Authority, folder: Path) -> ssl.SSLContext:  # noqa: ARG001 - as the others
    return serving(authority.ca.issue_cert("localhost"))


Make = Callable[[Authority, Path], ssl.SSLContext]
FAULTS: dict[str, tuple[Make, dict[str, object], str]] = {
    "another authority": (another_authority, {}, "unable to get local issuer certificate"),
    "self-signed": (self_signed, {}, "self-signed certificate"),
    "intermediate missing": (without_intermediate, {}, "unable to get local issuer certificate"),
    "another name": (another_name, {}, "Hostname mismatch, certificate is not valid for 'localhost'."),
    "expired": (expired, {}, "certificate has expired"),
    "not yet valid": (not_yet_valid, {}, "certificate is not yet valid"),
    "TLS 1.1 only": (at_most(ssl.TLSVersion.TLSv1_1), {}, "version"),
    "TLS 1.2 where 1.3 is asked for": (at_most(ssl.TLSVersion.TLSv1_2), {"minimum_version": "TLSv1.3"}, "version"),
    "another key than pinned": (good, {"pins": (OTHER_PIN,)}, "the server's public key matches none of the pins"),
}


async def ask(port: int, options: TlsOptions) -> HttpFault:
    """What ends a request that carries a secret."""
    target = Target("test", f"https://localhost:{port}", client_context(options))
    client = HttpClient(target, keep_alive=True, cookies=True)
    request = HttpRequest("POST", target.origin + "/", (("Authorization", "Basic secret"),), b"secret work", timeout=10)
    with pytest.raises(HttpFault) as caught:
        await client.send(request)
    await client.aclose()
    return caught.value


@pytest.mark.parametrize("name", FAULTS)
async def test_a_wrong_server_is_named_and_given_nothing(authority: Authority, tmp_path: Path, name: str) -> None:
    """The fault says what is wrong, is BSR-2002 and BSR-3002, was surely not sent, and no application byte arrived."""
    make, extra, detail = FAULTS[name]
    options = TlsOptions(ca_file=authority.ca_file, **extra)  # type: ignore[arg-type]
    with eavesdropper(make(authority, tmp_path)) as server:
        for _ in range(2):
            fault = await ask(server.port, options)
            assert (fault.kind, fault.maybe_sent) == ("tls", False)
            assert detail in fault.detail
            sides = (fault_error(fault, None), translate(fault, name="default"))
            assert [(error.number, error.maybe_sent, error.retryable) for error in sides] == [
                (2002, False, True),
                (3002, False, True),
            ]
    assert server.connections == 2
    assert all(got == b"" for got in server.received)


async def test_the_eavesdropper_hears_what_a_right_server_is_sent(authority: Authority, tmp_path: Path) -> None:
    """The count above can be other than zero: where everything is right the request arrives."""
    with eavesdropper(good(authority, tmp_path)) as server:
        target = Target("test", f"https://localhost:{server.port}", client_context(TlsOptions(authority.ca_file)))
        client = HttpClient(target, keep_alive=False, cookies=False)
        with pytest.raises(HttpFault, match="timeout"):
            await client.send(HttpRequest("POST", target.origin + "/", content=b"secret work", timeout=0.5))
    assert server.received[0].endswith(b"secret work")


async def test_pins_are_compared_after_a_finished_handshake_and_before_a_byte(
    authority: Authority, tmp_path: Path
) -> None:
    """With TLS 1.2 the server has finished its handshake when the pin fails; it still receives nothing."""
    context = at_most(ssl.TLSVersion.TLSv1_2)(authority, tmp_path)
    with eavesdropper(context) as server:
        fault = await ask(server.port, TlsOptions(ca_file=authority.ca_file, pins=(OTHER_PIN,)))
        assert (fault.kind, fault.maybe_sent) == ("tls", False)
    assert server.received == [b""]
