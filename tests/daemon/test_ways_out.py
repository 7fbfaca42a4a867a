"""The real daemon's ways out: through a real proxy, and not where the environment points."""

from __future__ import annotations

from pathlib import Path

from support.daemon import FAST, world
from support.proxy import ConnectProxy
from support.tinyproxy import needs_tinyproxy, tinyproxy

from relay.config.load import IGNORED_VARIABLES
from relay.sandbox.configured import write_private

KINDS = ["typed health", "terminate"]


@needs_tinyproxy
async def test_both_sides_through_a_real_proxy(tmp_path: Path) -> None:
    """Through tinyproxy, with its account: all work is done, the proxy saw two targets and no secret."""
    password = tmp_path / "proxy_password"
    write_private(password, "password-of-the-proxy")
    async with tinyproxy(tmp_path, account=("relay", "password-of-the-proxy")) as proxy:
        way = f"proxy: {{url: '{proxy.url}', username: relay, password: {{file: {password}}}}}"
        drop_in = f"{FAST}  {way}\nappliances:\n  default:\n    {way}\n"
        async with world(tmp_path, products=("pra",), drop_in=drop_in) as made:
            made.put(20, KINDS)
            await made.processed()
            made.box.check(final=True)
            sides = {made.box.servicenow.url, made.box.appliance.url}
            assert {f"https://{target}" for target in proxy.connects} == sides
            secrets = [*made.box.secrets.values(), "password-of-the-proxy"]
            assert not [secret for secret in secrets if secret in proxy.log.read_text()]
            assert await made.daemon.stop() == 0
            connects = [line for line in made.log() if line["event"] == "http.connect"]
            assert {line["port"] for line in connects} == {proxy.port}


async def test_the_environment_changes_nothing(tmp_path: Path) -> None:
    """Whatever proxies, CA files and key logs the environment names: work is done straight, and one line names them."""
    keys = tmp_path / "session.keys"
    async with ConnectProxy() as proxy:
        environ = {name: f"{tmp_path}/evil.pem" for name in IGNORED_VARIABLES if name.startswith("SSL_")}
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            environ |= {name: f"{proxy.url}/marked-value", name.lower(): f"{proxy.url}/marked-value"}
        environ |= {"NO_PROXY": "marked-value", "no_proxy": "marked-value", "SSLKEYLOGFILE": str(keys)}
        environ |= {"REQUESTS_CA_BUNDLE": "/marked-value", "CURL_CA_BUNDLE": "/marked-value"}
        assert {name.upper() for name in environ} == set(IGNORED_VARIABLES)
        async with world(tmp_path, products=("pra",), **environ) as made:
            made.put(6, KINDS)
            await made.processed()
            made.box.check(final=True)
            code, _, problem = await made.run("reload")
            assert code == 0, problem
            made.put(1, KINDS, seed=2)
            await made.answered(7)
            assert await made.daemon.stop() == 0
            told = [line for line in made.log() if "BSR-1018" in str(line)]
            assert len(told) == 1
            assert all(name in told[0]["problem"] for name in environ)
            assert "marked-value" not in made.daemon.log.read_text()
        assert proxy.asked == []
        assert not keys.exists()


async def test_our_proxy_has_precedence_over_the_environments(tmp_path: Path) -> None:
    """The proxy of the configuration is used although the environment names another, and excepts the host."""
    async with ConnectProxy() as ours, ConnectProxy() as theirs:
        drop_in = f"{FAST}  proxy: {{url: '{ours.url}'}}\n"
        environ = {"HTTPS_PROXY": theirs.url, "no_proxy": "*"}
        async with world(tmp_path, products=("pra",), drop_in=drop_in, **environ) as made:
            made.put(2, KINDS)
            await made.processed()
            assert {f"https://{target}" for target in ours.asked} == {made.box.servicenow.url}
            assert theirs.asked == []
