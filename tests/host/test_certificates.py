"""Which certificates are in use, and when they end."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from support.proxy import ConnectProxy
from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.config.model import ProxySettings, TlsSettings
from relay.host import certificates
from relay.host.certificates import Held, held
from relay.host.http import HttpClient, HttpRequest, Target
from relay.host.secrets import SecretReader
from relay.host.targets import make_target

YEAR = dt.timedelta(days=365)


def fine(_: Request) -> Response:
    return Response(200, b"fine")


def ends(file: Path) -> float:
    found = certificates.x509.load_pem_x509_certificate(file.read_bytes())
    return found.not_valid_after_utc.timestamp()


async def ask(target: Target) -> None:
    client = HttpClient(target, keep_alive=False, cookies=False)
    assert (await client.send(HttpRequest("GET", target.origin + "/"))).body == b"fine"
    await client.aclose()


async def test_servers_are_seen_in_the_handshake(authority: Authority, tmp_path: Path) -> None:
    """Server, proxy and our own certificate are known with their ends, others' from the first handshake on."""
    server_certificate, proxy_certificate, mine = authority.issue(), authority.issue(), authority.issue("relay")
    copy = tmp_path / "key"
    copy.write_text(mine.key.read_text())
    copy.chmod(0o600)
    async with (
        HttpsServer(fine, server_certificate) as server,
        ConnectProxy(context=proxy_certificate.context) as proxy,
    ):
        tls = TlsSettings.model_validate(
            {
                "ca_file": str(authority.ca_file),
                "client_certificate": str(mine.chain),
                "client_key": {"file": str(copy)},
            }
        )
        way = ProxySettings.model_validate({"url": proxy.url, "ca_file": str(authority.ca_file)})
        target = make_target("test", server.url, tls, way, SecretReader({}), timeout=10)
        own = Held("test", "client", ends(mine.chain))
        assert list(held(target)) == [own]
        await ask(target)
        seen = [
            Held("test", "server", ends(server_certificate.chain)),
            Held("test", "proxy", ends(proxy_certificate.chain)),
        ]
        assert list(held(target)) == [*seen, own]
        # Another certificate of our own, and what was seen of the others stays known.
        other = authority.issue("relay")
        mine.chain.write_bytes(other.chain.read_bytes())
        copy.write_text(other.key.read_text())
        assert target.renew()
        assert list(held(target)) == [*seen, Held("test", "client", ends(other.chain))]


async def test_a_server_that_was_not_accepted_is_not_seen(authority: Authority, certificate: Certificate) -> None:
    """Only a server that passed every check counts."""
    tls = TlsSettings.model_validate({"ca_file": str(authority.ca_file), "pins": ["sha256/" + "A" * 43 + "="]})
    async with HttpsServer(fine, certificate) as server:
        target = make_target("test", server.url, tls, None, SecretReader({}), timeout=10)
        try:
            await ask(target)
        except Exception:  # noqa: BLE001 - what it is does not matter here
            assert list(held(target)) == []
        else:
            raise AssertionError("the pin did not count")


def test_a_certificate_that_our_parser_does_not_understand() -> None:
    """It has no end that is known."""
    assert certificates._end(b"") is None
    assert certificates._end(b"nonsense") is None
