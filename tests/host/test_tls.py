"""Trust, versions, client certificates and pins, against real servers."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate, pin_of

from relay.core.errors import ConfigError
from relay.core.secret import Secret
from relay.host.http import HttpClient, HttpFault, HttpRequest, HttpResponse, Target
from relay.host.tls import TlsOptions, _matches, client_context, parse_pin

OTHER_PIN = "sha256/" + "A" * 43 + "="


def fine(_: Request) -> Response:
    return Response(200, b"fine")


async def ask(url: str, options: TlsOptions) -> HttpResponse:
    client = HttpClient(Target("test", url, client_context(options)), keep_alive=False, cookies=False)
    return await client.send(HttpRequest("POST", url + "/", content=b"secret work", timeout=10))


async def refused(server: HttpsServer, options: TlsOptions, url: str = "") -> HttpFault:
    with pytest.raises(HttpFault) as caught:
        await ask(url or server.url, options)
    assert caught.value.kind == "tls", caught.value
    return caught.value


async def test_a_server_of_another_ca_is_refused(authority: Authority, tmp_path: Path) -> None:
    """A certificate that the CA file does not vouch for ends the handshake."""
    stranger = Authority(tmp_path)
    async with HttpsServer(fine, stranger.issue()) as server:
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file))
        assert (fault.maybe_sent, server.received) == (False, 0)
        assert fault.detail == "unable to get local issuer certificate"
        await refused(server, TlsOptions())


async def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    """The certificate must be for the host that was asked for."""
    async with HttpsServer(fine, authority.issue("other.example")) as server:
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file))
        assert (fault.maybe_sent, server.received) == (False, 0)
        assert fault.detail == "Hostname mismatch, certificate is not valid for 'localhost'."


async def test_a_name_beside_the_alternative_names_does_not_count(tmp_path: Path) -> None:
    """A certificate that names the host as its common name alone is refused."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(made.public_bytes(Encoding.PEM))
    async with HttpsServer(fine, context) as server:
        fault = await refused(server, TlsOptions(ca_file=ca_file))
        assert (fault.maybe_sent, server.received) == (False, 0)
        assert fault.detail.startswith("Hostname mismatch")


async def test_an_address_is_checked_like_a_name(authority: Authority, certificate: Certificate) -> None:
    """A target may be an address when the certificate says so."""
    async with HttpsServer(fine, certificate) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert (await ask(url, TlsOptions(ca_file=authority.ca_file))).body == b"fine"


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    """A certificate whose time is over ends the handshake."""
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    leaf = authority.ca.issue_cert("localhost", not_before=past - dt.timedelta(days=9), not_after=past)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    async with HttpsServer(fine, context) as server:
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file))
        assert (fault.detail, fault.maybe_sent) == ("certificate has expired", False)


async def test_an_old_protocol_version_is_refused(authority: Authority) -> None:
    """A server that speaks no more than TLS 1.2 does not get through where 1.3 is the minimum."""
    certificate = authority.issue()
    certificate.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with HttpsServer(fine, certificate) as server:
        assert (await ask(server.url, TlsOptions(ca_file=authority.ca_file))).body == b"fine"
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file, minimum_version="TLSv1.3"))
        assert (fault.maybe_sent, len(server.requests)) == (False, 1)


async def test_tls_1_1_is_refused(authority: Authority) -> None:
    """A server that speaks no more than TLS 1.1 is refused by default."""
    certificate = authority.issue()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        certificate.context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        certificate.context.maximum_version = ssl.TLSVersion.TLSv1_1
    certificate.context.set_ciphers("DEFAULT:@SECLEVEL=0")
    # That the server would speak it is proven by a client that allows it.
    old = authority.client_context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    async with HttpsServer(fine, certificate) as server:
        try:
            client = HttpClient(Target("old", server.url, old), keep_alive=False, cookies=False)
            await client.send(HttpRequest("GET", server.url + "/", timeout=10))
        except HttpFault as fault:
            pytest.skip(f"this OpenSSL speaks no TLS 1.1 at all: {fault.detail}")
        received = server.received
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file))
        assert (fault.maybe_sent, server.received) == (False, received)


async def test_a_pin_lets_its_own_key_through(authority: Authority, certificate: Certificate) -> None:
    """Any one of the pins is enough."""
    async with HttpsServer(fine, certificate) as server:
        options = TlsOptions(ca_file=authority.ca_file, pins=(OTHER_PIN, certificate.pin))
        assert (await ask(server.url, options)).body == b"fine"


async def test_a_pin_stops_every_other_key_before_the_first_byte(
    authority: Authority, certificate: Certificate
) -> None:
    """A server with a good certificate and another key receives not one byte of a request."""
    async with HttpsServer(fine, certificate) as server:
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file, pins=(OTHER_PIN,)))
        assert (fault.maybe_sent, server.received, server.requests) == (False, 0, [])
        assert "none of the pins" in fault.detail


async def test_pins_come_after_trust_not_instead(authority: Authority, tmp_path: Path) -> None:
    """A matching pin does not make a certificate of an unknown CA good."""
    certificate = Authority(tmp_path).issue()
    async with HttpsServer(fine, certificate) as server:
        fault = await refused(server, TlsOptions(ca_file=authority.ca_file, pins=(certificate.pin,)))
        assert fault.detail == "unable to get local issuer certificate"


def test_a_plain_socket_cannot_pass_by_the_pins(authority: Authority) -> None:
    """`wrap_socket`, which would not check pins, is refused when there are some."""
    with pytest.raises(ssl.SSLError):
        client_context(TlsOptions(ca_file=authority.ca_file, pins=(OTHER_PIN,))).wrap_socket()
    with pytest.raises(TypeError):
        client_context(TlsOptions(ca_file=authority.ca_file)).wrap_socket()


@pytest.mark.parametrize("certificate", [None, b"", b"nonsense"])
def test_a_certificate_that_cannot_be_read_matches_no_pin(certificate: bytes | None) -> None:
    """What our own parser does not understand fails closed, whatever OpenSSL made of it."""
    assert not _matches(certificate, frozenset({parse_pin(OTHER_PIN)}))


@pytest.mark.parametrize("separate", [True, False])
async def test_a_client_certificate_is_shown(authority: Authority, tmp_path: Path, *, separate: bool) -> None:
    """The key may be a secret that is never on disk, or stand in the certificate's own file."""
    mine = authority.issue("relay")
    both = tmp_path / "both.pem"
    both.write_bytes(mine.chain.read_bytes() + mine.key.read_bytes())
    options = (
        TlsOptions(ca_file=authority.ca_file, client_certificate=mine.chain, client_key=Secret(mine.key.read_text()))
        if separate
        else TlsOptions(ca_file=authority.ca_file, client_certificate=both)
    )
    async with HttpsServer(fine, authority.issue(client_ca=authority.ca_file)) as server:
        assert (await ask(server.url, options)).body == b"fine"


async def test_a_missing_client_certificate_is_a_tls_fault(authority: Authority) -> None:
    """TLS 1.3 tells a client without certificate only after its request has left: `tls`, and maybe sent."""
    context = authority.issue(client_ca=authority.ca_file).context

    def serve(listener: socket.socket) -> None:
        # A blocking server: asyncio's own sends no alert when a handshake fails.
        connection, _ = listener.accept()
        # The copy outlives the failed handshake: a close with bytes unread would be a reset instead of the alert.
        with connection, connection.dup() as copy:
            with pytest.raises(ssl.SSLError, match="did not return a certificate"):
                context.wrap_socket(connection, server_side=True)
            copy.shutdown(socket.SHUT_WR)
            while copy.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(asyncio.to_thread(serve, listener))
        with pytest.raises(HttpFault) as caught:
            await ask(f"https://127.0.0.1:{listener.getsockname()[1]}", TlsOptions(ca_file=authority.ca_file))
        await serving
    assert (caught.value.kind, caught.value.maybe_sent) == ("tls", True)
    assert "certificate required" in caught.value.detail


async def test_an_intermediate_ca_is_trust_enough(tmp_path: Path) -> None:
    """The CA file may name an intermediate alone."""
    middle = trustme.CA().create_child_ca()
    file = tmp_path / "middle.pem"
    middle.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    middle.issue_cert("localhost").configure_cert(context)
    async with HttpsServer(fine, context) as server:
        assert (await ask(server.url, TlsOptions(ca_file=file))).body == b"fine"


def test_the_environment_does_not_choose_whom_to_trust(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """SSL_CERT_FILE and SSL_CERT_DIR add nothing to the system's trust store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder))
    ours = ssl.PEM_cert_to_DER_cert(authority.ca_file.read_text())
    assert ours not in client_context(TlsOptions()).get_ca_certs(binary_form=True)
    assert ours in client_context(TlsOptions(ca_file=authority.ca_file)).get_ca_certs(binary_form=True)


@pytest.mark.parametrize(("file", "folder"), [(True, False), (False, True), (False, False)])
def test_the_system_trust_store_is_a_file_or_a_folder(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path, *, file: bool, folder: bool
) -> None:
    """Distributions have one or the other; with neither, the configuration must name a CA file."""
    where = ssl.DefaultVerifyPaths(
        None, None, "", str(authority.ca_file if file else tmp_path / "no"), "", str(tmp_path if folder else "/no")
    )
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: where)
    if file or folder:
        assert bool(client_context(TlsOptions()).get_ca_certs()) == file
    else:
        with pytest.raises(ConfigError, match=r"BSR-1009.*no trust store"):
            client_context(TlsOptions())


@pytest.mark.parametrize(
    "pin", ["", "sha256/", "sha256/AAAA", "sha1/" + "A" * 43 + "=", "sha256/" + "!" * 44, "sha256/é", "x"]
)
def test_a_bad_pin_is_a_configuration_error(pin: str) -> None:
    """What is no SHA-256 in base64 is refused, since a pin that can never match would only look like one."""
    with pytest.raises(ConfigError, match="BSR-1006"):
        parse_pin(pin)


def test_a_pin_is_the_digest_of_the_public_key(certificate: Certificate) -> None:
    """Renewing a certificate over the same key keeps the pin."""
    assert len(parse_pin(pin_of(certificate.chain.read_bytes()))) == 32


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path) -> None:
    """A missing or damaged file is BSR-1009 that names it and tells why, never a key's text."""
    bad = tmp_path / "bad.pem"
    bad.write_text("nonsense")
    mine, other = authority.issue("relay"), authority.issue("relay")
    key = Secret(other.key.read_text())
    wrong = [
        TlsOptions(ca_file=tmp_path / "absent"),
        TlsOptions(ca_file=bad),
        TlsOptions(ca_file=authority.ca_file, client_certificate=tmp_path / "absent"),
        TlsOptions(ca_file=authority.ca_file, client_certificate=mine.chain, client_key=Secret("nonsense")),
        TlsOptions(ca_file=authority.ca_file, client_certificate=mine.chain, client_key=key),
    ]
    texts = []
    for options in wrong:
        with pytest.raises(ConfigError) as caught:
            client_context(options)
        assert caught.value.number == 1009
        texts.append(caught.value.text)
    assert "No such file" in texts[0]
    assert str(bad) in texts[1]
    assert "key values mismatch" in texts[4]
    assert not any("nonsense" in text or key.reveal()[40:80] in text for text in texts)


def test_a_pipe_does_not_hold_up_the_start(authority: Authority, tmp_path: Path) -> None:
    """Nobody may ever write into it: BSR-1009 at once, and the loop goes on."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for options in (
        TlsOptions(ca_file=pipe),
        TlsOptions(ca_file=authority.ca_file, client_certificate=pipe),
    ):
        with pytest.raises(ConfigError, match=r"BSR-1009.*pipe: no regular file"):
            client_context(options)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_files_that_others_can_change_are_not_trusted(tmp_path: Path, mode: int) -> None:
    """Whoever can write the CA file decides who the other side is: BSR-1010, for our own certificate too."""
    authority = Authority(tmp_path)
    authority.ca_file.chmod(mode)
    for options in (TlsOptions(ca_file=authority.ca_file), TlsOptions(client_certificate=authority.ca_file)):
        with pytest.raises(ConfigError, match=r"BSR-1010.*chmod go-w"):
            client_context(options)
    authority.ca_file.chmod(0o644)
    assert client_context(TlsOptions(ca_file=authority.ca_file))
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigError, match=r"BSR-1010.*chmod go-w"):
        client_context(TlsOptions(ca_file=authority.ca_file))


def test_an_encrypted_key_does_not_ask_at_the_terminal(authority: Authority) -> None:
    """A key with a pass phrase is refused instead of waiting for somebody to type it."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - for this test alone

    mine = authority.issue("relay")
    key = form.load_pem_private_key(mine.key.read_bytes(), None)
    text = key.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"phrase")
    ).decode()
    with pytest.raises(ConfigError, match="BSR-1009"):
        client_context(TlsOptions(ca_file=authority.ca_file, client_certificate=mine.chain, client_key=Secret(text)))


def test_an_unknown_version_is_refused(authority: Authority) -> None:
    """Only TLS 1.2 and 1.3 can be the minimum."""
    with pytest.raises(ConfigError, match=r"BSR-1006.*TLSv1\.1"):
        client_context(TlsOptions(ca_file=authority.ca_file, minimum_version="TLSv1.1"))
