"""The five ways to sign in, against the sandbox's instance over real TLS."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.config.model import ServiceNowSettings
from relay.core.errors import ConfigError, ServiceNowError
from relay.host.clock import Clock
from relay.host.secrets import ROTATION, SecretReader
from relay.sandbox.access import JWT_BEARER
from relay.sandbox.box import OAUTH_CLIENT, USER, Sandbox
from relay.sandbox.configured import write_private
from relay.sandbox.signin import KEY_ID, demand_certificate, offer_certificate, offer_key
from relay.servicenow import auth_oauth
from relay.servicenow.instance import Instance

WAYS = ["basic", "oauth_client", "oauth_password", "oauth_jwt", "certificate"]
GRANTS = {"oauth_client": "client_credentials", "oauth_password": "password", "oauth_jwt": JWT_BEARER}


class Wrong(Clock):
    """This machine's clock, some seconds off."""

    def __init__(self, off: float) -> None:
        self.off = off

    def wall(self) -> float:
        return super().wall() + self.off


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox.start(tmp_path / "sandbox") as running:
        yield running


def settings(box: Sandbox, way: str) -> ServiceNowSettings:
    """The section `servicenow` that signs in this way."""
    files = {file.name: {"file": str(file)} for file in (box.directory / "credentials").iterdir()}
    client = {"client_id": OAUTH_CLIENT, "client_secret": files["servicenow_client"]}
    user = {"username": USER, "password": files["servicenow_password"]}
    tls: dict[str, Any] = {"ca_file": str(box.ca_file)}
    auth: dict[str, Any] = {}
    match way:
        case "basic":
            auth = {"basic": user}
        case "oauth_client":
            auth = {"oauth_client": client}
        case "oauth_password":
            auth = {"oauth_password": {**client, **user}}
        case "oauth_jwt":
            key = {"file": str(offer_key(box))}
            auth = {"oauth_jwt": {**client, "key": key, "key_id": KEY_ID, "subject": USER}}
        case "certificate":
            shown = offer_certificate(box)
            demand_certificate(box)
            auth = {"certificate": True}
            tls |= {"client_certificate": str(shown.certificate), "client_key": {"file": str(shown.key)}}
    return ServiceNowSettings.model_validate({"url": box.servicenow.url, "auth": auth, "tls": tls})


@asynccontextmanager
async def connected(box: Sandbox, way: str, clock: Clock | None = None) -> AsyncIterator[Instance]:
    instance = Instance.connect(settings(box, way), "relay01", SecretReader({}), clock or Clock())
    try:
        yield instance
    finally:
        await instance.aclose()


async def poll(instance: Instance) -> None:
    await instance.queue.poll(10, [])


async def failure(instance: Instance) -> ServiceNowError:
    with pytest.raises(ServiceNowError) as caught:
        await poll(instance)
    assert not caught.value.maybe_sent
    return caught.value


@pytest.mark.parametrize("way", WAYS)
async def test_all_lanes_sign_in(box: Sandbox, way: str) -> None:
    """Each way signs in on every lane; where there are tokens, one serves all of them."""
    async with connected(box, way) as instance:
        await asyncio.gather(poll(instance), instance.queue.processing(1, []), instance.queue.find(["a" * 32]))
        await instance.agent.refresh("Up")
    (row,) = [row for row in box.servicenow.tables.rows("ecc_agent") if row["name"] == "relay01"]
    assert row["sys_created_by"] == USER
    assert dict(box.servicenow.access.grants) == ({GRANTS[way]: 1} if way in GRANTS else {})
    assert not [status for _, _, status in box.servicenow.log if status not in {200, 201}]


@pytest.mark.parametrize("way", WAYS)
async def test_everything_was_revoked(box: Sandbox, way: str) -> None:
    """After a clone of the instance, when no token and no session counts any more, the next request signs in anew."""
    async with connected(box, way) as instance:
        await poll(instance)
        box.servicenow.access.revoke()
        await poll(instance)
        await instance.queue.processing(1, [])
    assert dict(box.servicenow.access.grants) == ({GRANTS[way]: 2} if way in GRANTS else {})


async def test_the_password_is_sent_rarely(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expired tokens are renewed by refresh token; the password goes out again only when that is refused."""
    monkeypatch.setattr(auth_oauth, "SHORTEST_LIFE", 0.0)
    access = box.servicenow.access
    access.token_life = 0.2  # type: ignore[assignment] # a life shorter than any real one
    async with connected(box, "oauth_password") as instance:
        for _ in range(3):
            await poll(instance)
            await asyncio.sleep(0.25)
        assert dict(access.grants) == {"password": 1, "refresh_token": 2}
        access.revoke_refresh()
        await poll(instance)
        assert dict(access.grants) == {"password": 2, "refresh_token": 2}


@pytest.mark.parametrize("hours", [-30.0, -6.0, 0.07, 6.0, 30.0])
async def test_an_assertion_with_a_wrong_clock_here(box: Sandbox, hours: float) -> None:
    """However wrong this machine's clock is, the token is there: the first refusal tells the time."""
    async with connected(box, "oauth_jwt", Wrong(hours * 3600)) as instance:
        await poll(instance)
        refused = 0 if abs(hours) < 300 / 3600 else 1
        assert instance.requests == {"token": 1 + refused, "poll": 1}
        box.servicenow.access.revoke()
        await poll(instance)
        assert instance.requests == {"token": 2 + refused, "poll": 3}


async def test_an_assertion_with_a_wrong_clock_there(box: Sandbox) -> None:
    """The instance's clock is the one that counts, right or not."""
    box.servicenow.knobs.clock_offset = 86400.0
    async with connected(box, "oauth_jwt") as instance:
        await poll(instance)


async def test_an_assertion_is_used_once(box: Sandbox) -> None:
    """The instance refuses an assertion that it has seen; ours are new each time."""
    assertions = box.servicenow.access.assertions
    async with connected(box, "oauth_jwt") as instance:
        for _ in range(3):
            await poll(instance)
            box.servicenow.access.revoke()
        fields = instance._auth._grant.fields()  # type: ignore[attr-defined]
    assert assertions.subject(OAUTH_CLIENT, fields["assertion"].reveal()) == USER
    assert assertions.subject(OAUTH_CLIENT, fields["assertion"].reveal()) is None
    assert "used before" in assertions.refused


def _alter(assertion: str, number: int) -> str:
    parts = assertion.split(".")
    parts[number] = parts[number][:-2] + ("AA" if parts[number][-2:] != "AA" else "BB")
    return ".".join(parts)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: _alter(it, 1),
        lambda it: _alter(it, 2),
        lambda it: it.rpartition(".")[0] + ".",
        lambda it: it + "=",
        lambda _: "a.b",
        lambda _: "",
    ],
)
async def test_the_sandbox_verifies(box: Sandbox, spoil: Callable[[str], str]) -> None:
    """The stand-in takes no assertion that was altered: else the tests above would prove nothing."""
    async with connected(box, "oauth_jwt") as instance:
        fields = instance._auth._grant.fields()  # type: ignore[attr-defined]
    assertions = box.servicenow.access.assertions
    assert assertions.subject(OAUTH_CLIENT, spoil(fields["assertion"].reveal())) is None
    assert assertions.subject("another application", fields["assertion"].reveal()) is None
    assertions.keys[KEY_ID] = load_pem_private_key(offer_key(box, "k2").read_bytes(), None).public_key()  # type: ignore[assignment]
    assert assertions.subject(OAUTH_CLIENT, fields["assertion"].reveal()) is None


async def test_a_key_that_the_instance_does_not_know(box: Sandbox) -> None:
    """A refused assertion is BSR-2017, and asked for again only after a pause."""
    async with connected(box, "oauth_jwt") as instance:
        box.servicenow.access.assertions.keys.clear()
        assert (await failure(instance)).number == 2017
        assert (await failure(instance)).after is not None
        assert instance.requests == {"token": 1}


async def test_a_certificate_that_stands_for_nobody(box: Sandbox) -> None:
    """A 401 to the certificate alone says what to look at."""
    async with connected(box, "certificate") as instance:
        box.servicenow.access.certificates.clear()
        error = await failure(instance)
    assert error.number == 2005
    assert "maps it to an active user" in error.text


async def test_an_instance_that_takes_cookies_for_a_browser_s(box: Sandbox) -> None:
    """Where cookies without a header are refused, a session learns from the first refusal to keep none."""
    box.servicenow.access.wants_token = True
    async with connected(box, "certificate") as instance:
        for _ in range(4):
            await poll(instance)
        assert [status for _, _, status in box.servicenow.log] == [200, 401, 200, 200, 200]


async def test_a_session_that_ended_is_begun_anew_with_cookies(box: Sandbox) -> None:
    """A session of a certificate that ends after some requests is no reason to keep no cookies."""
    async with connected(box, "certificate") as instance:
        for _ in range(3):
            await poll(instance)
        box.servicenow.access.wants_token = True
        await poll(instance)
        box.servicenow.access.wants_token = False
        before = len(box.servicenow.access.sessions)
        for _ in range(3):
            await poll(instance)
        assert len(box.servicenow.access.sessions) == before


async def test_no_certificate_where_one_is_demanded(box: Sandbox) -> None:
    """Without the certificate the handshake fails, which is a fault of TLS and not of the password."""
    async with connected(box, "basic") as instance:
        demand_certificate(box)
        with pytest.raises(ServiceNowError) as caught:
            await poll(instance)
    assert caught.value.number in {2002, 2004}  # TLS 1.3 tells the client after its request; asyncio's servers hang up


@pytest.mark.parametrize("way", WAYS)
async def test_a_secret_is_rotated(box: Sandbox, way: str) -> None:
    """A secret that was changed there and here is used after the 401 that it brings, without anybody's help."""
    access, credentials = box.servicenow.access, box.directory / "credentials"
    async with connected(box, way) as instance:
        await poll(instance)
        if way in {"basic", "oauth_password"}:
            access.add(type(access.users[USER])(USER, "another password", frozenset({"mid_server"})))
            write_private(credentials / "servicenow_password", "another password")
        if way in {"oauth_client", "oauth_password", "oauth_jwt"}:
            access.clients[OAUTH_CLIENT] = type(access.clients[OAUTH_CLIENT])(OAUTH_CLIENT, "another secret", USER)
            write_private(credentials / "servicenow_client", "another secret")
        if way == "oauth_jwt":
            offer_key(box)
        if way == "certificate":
            access.certificates.clear()
            offer_certificate(box)
        access.revoke()
        await poll(instance)
        await instance.queue.processing(1, [])


async def test_a_new_password_ends_the_pause_after_a_refusal(box: Sandbox) -> None:
    """After a refusal nobody asks for a while; a password that was changed since is tried at once."""
    access, file = box.servicenow.access, box.directory / "credentials" / "servicenow_password"
    access.add(dataclasses.replace(access.users[USER], password="another password"))
    async with connected(box, "basic") as instance:
        assert (await failure(instance)).number == 2005
        assert "waiting" in (await failure(instance)).text
        assert list(instance.renew()) == []
        assert "waiting" in (await failure(instance)).text
        write_private(file, "another password")
        assert list(instance.renew()) == []
        await poll(instance)


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_secret_is_taken_over(box: Sandbox, way: str) -> None:
    """`renew` takes changed files over before anybody is refused; unreadable ones are told and change nothing."""
    async with connected(box, way) as instance:
        await poll(instance)
        assert list(instance.renew()) == []
        files = list((box.directory / "credentials").iterdir()) + list(box.directory.glob("servicenow_client.*"))
        kept = {file: file.read_text() for file in files}
        for file in files:
            write_private(file, kept[file][: len(kept[file]) // 2] if "BEGIN" in kept[file] else "")
        problems = list(instance.renew())
        # A grant goes on with the text that it read last; that a file cannot be read is told by who watches it.
        assert bool(problems) == (way not in {"oauth_client", "oauth_password"})
        assert all(isinstance(problem, ConfigError) for problem in problems)
        await poll(instance)
        for file, text in kept.items():
            write_private(file, text)
        assert list(instance.renew()) == []
        await poll(instance)
    assert not [status for _, _, status in box.servicenow.log if status == 401]


@pytest.mark.parametrize("way", ["oauth_client", "oauth_password", "oauth_jwt"])
async def test_a_credential_needs_a_restart(box: Sandbox, way: str) -> None:
    """Where a systemd credential was refused, the error says that a new one needs a restart."""
    given = settings(box, way)
    folder = str(box.directory / "credentials")
    section = getattr(given.auth, way)
    refs = {name: type(ref)("credential", Path(ref.name).name) for name, ref in section if hasattr(ref, "kind")}
    auth = given.auth.model_copy(update={way: section.model_copy(update=refs)})
    reader = SecretReader({"CREDENTIALS_DIRECTORY": folder})
    instance = Instance.connect(given.model_copy(update={"auth": auth}), "relay01", reader, Clock())
    box.servicenow.access.clients.clear()
    assert ROTATION in (await failure(instance)).text
    await instance.aclose()
