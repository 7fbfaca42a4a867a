"""Secrets and certificates that change while the daemon works."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.daemon import world
from support.lives import eventually
from support.living import QUICK, Living, end, living, make, write_drop_in
from support.proxy import ConnectProxy

from relay.config.load import load
from relay.core import lockout
from relay.daemon import rotation
from relay.daemon.rotation import Named
from relay.host import watch
from relay.sandbox.box import OAUTH_CLIENT, USER, Sandbox
from relay.sandbox.certificates import Authority
from relay.sandbox.configured import write_private
from relay.sandbox.signin import KEY_ID, demand_certificate, offer_certificate, offer_key

HEALTH = ["typed health"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon after a change, and again soon."""
    monkeypatch.setattr(watch.FolderWatch.__init__, "__kwdefaults__", {"settle": 0.02, "look": 0.2})
    monkeypatch.setattr(rotation, "AGAIN", 0.1)


def credential(box: Sandbox, name: str) -> Path:
    return box.directory / "credentials" / name


def secret(box: Sandbox, name: str) -> str:
    return f"{{file: {credential(box, name)}}}"


def taken_over(made: Living) -> Any:
    """Counts how often files were taken over from now on."""
    seen: list[int] = []
    take = made.supervisor._rotation._renewed

    def noted() -> None:
        seen.append(1)
        take()

    made.supervisor._rotation._renewed = noted
    return seen


def said(made: Living) -> str:
    """What the health says of secrets."""
    return next((one.error.text for one in made.process.conditions.all() if one.subject == "secrets"), "")


async def work_goes_on(made: Living, seed: int) -> None:
    """A job that is put in now is answered, and nothing is wrong."""
    (job,) = made.put(1, HEALTH, seed=seed)
    await served(made, job)


async def served(made: Living, job: str) -> None:
    """This job has an answer, and no error."""
    await made.until(lambda: job in made.box.servicenow.answered)
    assert "BSR-" not in made.answer(job)


async def test_the_servicenow_password(tmp_path: Path) -> None:
    """The password is changed there and here: the daemon goes on with the new one, and every record is answered."""
    async with living(tmp_path) as made:
        await work_goes_on(made, 1)
        access = made.box.servicenow.access
        access.add(dataclasses.replace(access.users[USER], password="another password"))
        access.revoke()
        await made.until(lambda: made.codes().get("servicenow") == "BSR-2005")
        made.put(5, HEALTH, seed=2)
        write_private(credential(made.box, "servicenow_password"), "another password")
        await made.answered(6)
        await made.until(lambda: not made.codes())
        assert made.manager.count("reloading") == 0
        made.box.check(final=True)


async def test_a_change_is_taken_over_before_anybody_is_refused(tmp_path: Path) -> None:
    """Both passwords are good for a while: after the file's change requests carry the new one, without any 401."""
    async with living(tmp_path) as made:
        await work_goes_on(made, 1)
        count = taken_over(made)
        access = made.box.servicenow.access
        write_private(credential(made.box, "servicenow_password"), "another password")
        users = {"old": access.users[USER], "new": dataclasses.replace(access.users[USER], password="another password")}
        seen: list[str] = []

        def authenticate(request: Any) -> Any:
            for name, user in users.items():
                access.users[USER] = user
                found = type(access).authenticate(access, request)
                if found is not None:
                    seen.append(name)
                    return found
            return None

        access.authenticate = authenticate  # type: ignore[method-assign]
        await made.until(lambda: count)
        await made.until(lambda: "new" in seen)
        first = len(seen)
        await work_goes_on(made, 2)
        assert "old" not in seen[first:]
        assert not [status for _, _, status in made.box.servicenow.log if status == 401]


@pytest.mark.parametrize("way", ["oauth_client", "oauth_password", "oauth_jwt"])
async def test_oauth_secrets(tmp_path: Path, way: str) -> None:
    """Client secret, password and signing key are changed there and here, and all tokens end: the work goes on."""
    async with Sandbox.start(tmp_path / "box") as box:
        offer_key(box)
        client = f"client_id: {OAUTH_CLIENT}, client_secret: {secret(box, 'servicenow_client')}"
        more = {
            "oauth_client": "",
            "oauth_password": f", username: {USER}, password: {secret(box, 'servicenow_password')}",
            "oauth_jwt": f", key: {secret(box, 'servicenow_jwt_key')}, key_id: {KEY_ID}, subject: {USER}",
        }[way]
        write_drop_in(box, f"{QUICK}  auth: {{basic: null, {way}: {{{client}{more}}}}}\n")
        made = make(box)
        try:
            made.start()
            await work_goes_on(made, 1)
            access = box.servicenow.access
            access.add(dataclasses.replace(access.users[USER], password="another password"))
            access.clients[OAUTH_CLIENT] = dataclasses.replace(access.clients[OAUTH_CLIENT], secret="another secret")
            access.assertions.keys.clear()
            access.revoke()
            await made.until(lambda: made.codes().get("servicenow") == "BSR-2017")
            write_private(credential(box, "servicenow_client"), "another secret")
            write_private(credential(box, "servicenow_password"), "another password")
            offer_key(box)
            await work_goes_on(made, 2)
            await made.until(lambda: not made.codes())
        finally:
            await end(made)


async def test_the_appliances_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API account's secret is changed there and here: calls use it, the one that was refused after its wait."""
    monkeypatch.setattr(lockout, "PAUSES", (1.0,))
    async with living(tmp_path) as made:
        await work_goes_on(made, 1)
        account = made.box.appliance.accounts.by_id["relay-api-client"]
        account.secret = "another secret"
        account.revoke()
        (job,) = made.put(1, ["terminate"], seed=2)
        await made.until(lambda: account.failed)
        write_private(credential(made.box, "appliance_secret"), "another secret")
        await work_goes_on(made, 3)
        await served(made, job)
        await made.until(lambda: not made.codes())
        made.box.check(final=True)


async def test_our_certificate(tmp_path: Path) -> None:
    """Certificate and key are replaced, and the former stands for nobody any more: the work goes on."""
    async with Sandbox.start(tmp_path / "box") as box:
        shown = offer_certificate(box)
        demand_certificate(box)
        tls = f"tls: {{client_certificate: {shown.certificate}, client_key: {{file: {shown.key}}}}}"
        write_drop_in(box, f"{QUICK}  auth: {{basic: null, certificate: true}}\n  {tls}\n")
        made = make(box)
        try:
            made.start()
            await work_goes_on(made, 1)
            box.servicenow.access.certificates.clear()
            offer_certificate(box)
            await work_goes_on(made, 2)
            await made.until(lambda: not made.codes())
        finally:
            await end(made)


async def test_the_authority(tmp_path: Path) -> None:
    """The servers' authority is replaced, and then the CA file: new connections trust the new one."""
    async with living(tmp_path) as made:
        await work_goes_on(made, 1)
        other = Authority(tmp_path)
        for name, door in made.box.doors.items():
            await door.close()
            door.context = other.server(name)
            await door.open()
        await made.until(lambda: made.codes().get("servicenow") == "BSR-2002")
        made.put(3, HEALTH, seed=2)
        shutil.copy(other.ca_file, made.box.ca_file)
        await made.answered(4)
        await made.until(lambda: not made.codes())
        made.box.check(final=True)


@pytest.mark.parametrize("side", ["servicenow", "appliance"])
async def test_the_proxys_password(tmp_path: Path, side: str) -> None:
    """The proxy's password is changed there and here: the work goes on through the proxy."""
    async with Sandbox.start(tmp_path / "box") as box, ConnectProxy(account=("relay", "first secret")) as proxy:
        write_private(credential(box, "proxy"), "first secret")
        section = f"proxy: {{url: '{proxy.url}', username: relay, password: {secret(box, 'proxy')}}}"
        more = f"  {section}\n" if side == "servicenow" else f"appliances:\n  default:\n    {section}\n"
        write_drop_in(box, QUICK + more)
        made = make(box)
        try:
            made.start()
            await work_goes_on(made, 1)
            assert proxy.asked
            proxy.account = ("relay", "another secret")
            proxy.drop()
            if side == "servicenow":
                await made.until(lambda: made.codes().get("servicenow") == "BSR-2024")
            (job,) = made.put(1, HEALTH, seed=2)
            if side == "appliance":
                await made.until(lambda: "BSR-3018" in made.codes().values())
            write_private(credential(box, "proxy"), "another secret")
            await served(made, job)
            await made.until(lambda: not made.codes())
        finally:
            await end(made)


async def test_everything_in_the_real_process(tmp_path: Path) -> None:
    """Both sides' secrets and authority change under a process at work: it does all of it, without a reload."""
    async with world(tmp_path, products=("pra",)) as made:
        box, pid = made.box, made.daemon.pid
        made.put(10, ["terminate", "typed health"])
        await made.answered(10)
        access, account = box.servicenow.access, box.appliance.accounts.by_id["relay-api-client"]
        other = Authority(tmp_path)
        for name, door in box.doors.items():
            await door.close()
            door.context = other.server(name)
            await door.open()
        access.add(dataclasses.replace(access.users[USER], password="another password"))
        access.revoke()
        account.secret = "another secret"
        account.revoke()
        made.put(30, ["terminate", "typed health"], seed=2)
        await eventually(lambda: "health.fail" in made.events())
        write_private(credential(box, "appliance_secret"), "another secret")
        write_private(credential(box, "servicenow_password"), "another password")
        shutil.copy(other.ca_file, box.ca_file)
        await made.answered(40)
        await made.processed()
        box.check(final=True)
        assert "secrets.changed" in made.events()
        assert "daemon.reloaded" not in made.events()
        assert "another secret" not in made.daemon.log.read_text()
        assert (made.daemon.pid, await made.daemon.stop()) == (pid, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: write_private(file, ""),
        lambda file: file.chmod(0o644),
        lambda file: file.unlink(),
    ],
    ids=["empty", "open to others", "gone"],
)
async def test_a_secret_that_cannot_be_used(tmp_path: Path, spoil: Any) -> None:
    """A new secret that cannot be read is told in the health, the former stays in use, and the end of it is seen."""
    async with living(tmp_path) as made:
        await work_goes_on(made, 1)
        files = [credential(made.box, name) for name in ("servicenow_password", "appliance_secret")]
        kept = {file: file.read_text() for file in files}
        for file in files:
            spoil(file)
        await made.until(lambda: all(str(file) in said(made) for file in files))
        assert made.codes() == {"secrets": "BSR-1025"}
        made.box.servicenow.access.revoke()
        made.box.appliance.accounts.by_id["relay-api-client"].revoke()
        await work_goes_on(made, 2)
        for file, text in kept.items():
            write_private(file, text)
        await made.until(lambda: not made.codes())
        await work_goes_on(made, 3)


async def test_half_a_certificate(tmp_path: Path) -> None:
    """A CA file that is written in pieces is told until it is whole; connections are made with the former."""
    async with living(tmp_path) as made:
        text = made.box.ca_file.read_text()
        made.box.ca_file.write_text(text[:200])
        await made.until(lambda: made.codes() == {"secrets": "BSR-1025"})
        made.box.servicenow.access.revoke()
        for door in made.box.doors.values():
            await door.close()
            await door.open()
        await work_goes_on(made, 1)
        made.box.ca_file.write_text(text)
        await made.until(lambda: not made.codes())


async def test_a_reload_with_other_files(tmp_path: Path) -> None:
    """After a reload the files that it names are the ones that are watched."""
    async with living(tmp_path) as made:
        other = tmp_path / "elsewhere"
        other.mkdir()
        moved = other / "password"
        write_private(moved, made.box.secrets["servicenow_password"])
        made.configure(f"servicenow: {{auth: {{basic: {{password: {{file: {moved}}}}}}}}}\n", "zz.yaml")
        await made.ask("reload")
        count = taken_over(made)
        write_private(credential(made.box, "servicenow_password"), "")
        moved.write_text("")
        await made.until(lambda: made.codes() == {"secrets": "BSR-1025"})
        assert str(moved) in said(made)
        assert "credentials" not in said(made)
        write_private(moved, made.box.secrets["servicenow_password"])
        await made.until(lambda: not made.codes())
        assert count


def test_what_is_watched(tmp_path: Path) -> None:
    """Secrets and certificates in files, of both sides and enabled appliances; neither credentials nor folders."""
    main = tmp_path / "relay.yaml"
    side = "tls: {{ca_file: /{0}/ca, client_certificate: /{0}/crt, client_key: {{file: /{0}/key}}}}"
    proxy = "proxy: {{url: 'https://p:1', username: u, password: {{file: /{0}/proxy}}, ca_file: /{0}/proxy-ca}}"
    appliance = (
        "  {0}:\n    product: pra\n    url: https://{0}.example\n    enabled: {1}\n    event_token: {{file: /no}}\n"
    )
    appliance += "    auth: {{client_id: i, client_secret: {{file: /{0}/secret}}}}\n"
    text = "relay: {name: r}\nstorage: {directory: /state, key: {file: /no}}\nservicenow:\n  url: https://s.example\n"
    text += "  auth: {basic: {username: u, password: {credential: c}}}\n"
    text += f"  {side.format('s')}\n  {proxy.format('s')}\nappliances:\n"
    text += appliance.format("a", "true") + f"    {side.format('a')}\n" + appliance.format("b", "false")
    main.write_text(text)
    main.chmod(0o600)
    named = Named.in_settings(load(main, {}).settings)
    of_s = {"/s/ca", "/s/crt", "/s/key", "/s/proxy", "/s/proxy-ca"}
    assert {str(file) for file in named.files} == {*of_s, "/a/ca", "/a/crt", "/a/key", "/a/secret"}
    assert {ref.name for ref in named.secrets} == {"/s/key", "/s/proxy", "/a/key", "/a/secret"}
