"""Secrets that come up at work are known to the log: tokens, headers made of passwords, cookies, proxy accounts."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path

from support.server import HttpsServer, Request, Response
from support.tls import Authority, Certificate

from relay.config.connection import ProxySettings, TlsSettings
from relay.config.values import SecretRef
from relay.core.redact import Redactor
from relay.core.secret import Secret
from relay.daemon.process import KnownSecrets
from relay.host.clock import Clock
from relay.host.http import HttpClient, HttpRequest
from relay.host.targets import make_target
from relay.servicenow.session import Shared, token_fetcher

TOKENS = {"access_token": "access-0123456789", "refresh_token": "refresh-0123456789", "expires_in": 1800}


def answer(request: Request) -> Response:
    """Tokens for who asks for one, a cookie for the others."""
    if request.path == "/oauth_token.do":
        return Response(200, json.dumps(TOKENS).encode(), {"content-type": "application/json"})
    return Response(200, b"{}", {"set-cookie": "JSESSIONID=cookie-0123456789; Secure; HttpOnly; Path=/"})


async def test_what_passes_by_http_is_known(authority: Authority, certificate: Certificate) -> None:
    """After a request its credentials are blanked, after an answer its cookies, after a token request what it gave."""
    redactor = Redactor()
    secrets = KnownSecrets({}, redactor)
    async with HttpsServer(answer, certificate) as server:
        tls = TlsSettings(ca_file=authority.ca_file)
        target = make_target("servicenow", server.url, tls, None, secrets, timeout=10)
        client = HttpClient(target, keep_alive=False, cookies=True)
        basic = base64.b64encode(b"svc.relay:pw-0123456789").decode()
        for scheme, credential in (("Basic", basic), ("Bearer", "bearer-0123456789")):
            await client.send(HttpRequest("GET", target.origin + "/", (("Authorization", f"{scheme} {credential}"),)))
            assert redactor.scrub(f"Authorization: {scheme} {credential}") == f"Authorization: {scheme} ********"
        assert redactor.scrub("cookie-0123456789") == "********"
        form: Mapping[str, Secret | str] = {"grant_type": "x", "assertion": Secret("assertion-0123456789")}
        await token_fetcher(Shared(target, 10, Clock()), client)(form)
        for text in ("access-0123456789", "refresh-0123456789", "assertion-0123456789"):
            assert redactor.scrub(text) == "********"
        assert redactor.scrub("grant_type 1800") == "grant_type 1800"
        await client.aclose()


async def test_secrets_of_files_are_known_when_they_are_read(tmp_path: Path) -> None:
    """A rotated secret is blanked from its first reading on, the former still is; so is a proxy account's pair."""
    redactor = Redactor()
    secrets = KnownSecrets({}, redactor)
    path = tmp_path / "secret"
    for text in ("the-first-secret", "the-second-secret"):
        path.write_text(text)
        path.chmod(0o600)
        secrets.read(SecretRef("file", str(path)))
    assert redactor.scrub("the-first-secret the-second-secret") == "******** ********"
    proxy = ProxySettings(url="http://proxy.example.com:3128", username="me", password=SecretRef("file", str(path)))
    await asyncio.to_thread(make_target, "servicenow", "https://example.com", TlsSettings(), proxy, secrets, timeout=10)
    pair = base64.b64encode(b"me:the-second-secret").decode().rstrip("=")
    assert redactor.scrub(f"Basic {pair}") == "Basic ********"


def test_values_that_carry_credentials_do_not_show_them() -> None:
    """The repr of a request has neither its URL's query nor its headers nor its body."""
    request = HttpRequest("POST", "https://a/?q=hunter2", (("Authorization", "hunter2"),), b"hunter2")
    assert "hunter2" not in repr(request)
