"""The whole product at work with marked secrets, through every trouble that could make it speak: none gets out.

Where a secret may be: in the files that hold it, in the requests that carry it, and bodies also in the sealed store and
in ServiceNow. Everything else that the daemon and the commands write or show is searched, see `support.canary`.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from support.canary import files
from support.proxy import ConnectProxy
from support.tls import Authority
from support.watched import COMMANDS, Watched, learn_what_was_issued, set_password, watched

from relay.sandbox import scripts
from relay.sandbox.box import USER
from relay.sandbox.configured import write_private
from relay.sandbox.faults import Fault
from relay.sandbox.signin import KEY_ID, offer_certificate, offer_key

pytestmark = pytest.mark.timeout(180)  # whole lives of the daemon, one after the other
SABOTAGE = Path(__file__).parent / "sabotage"


def records(one: Watched) -> list[dict[str, str]]:
    """Work that carries secrets where work can carry something."""
    make, agent, url = one.marks.make, one.world.box.agent, one.world.box.appliance.url
    enc = f"enc:{make('an enc value', special=False)}=="
    headers = [
        ("Authorization", f"Bearer {make('a header of work', special=False)}"),
        ("Cookie", make("a cookie of work")),
    ]
    private = [
        ("username", make("a user name of work")),
        ("password", make("a password of work")),
        ("rest_password", enc),
        ("soap_password", make("a SOAP password of work")),
        ("authorization", make("an authorization parameter")),
    ]
    api = f"{url}/api/command"
    body = make("a body of work")
    return [
        scripts.rest_message(
            agent, "get", f"{api}?action=get_logged_in_reps", headers=headers, extra=private, user="u"
        ),
        scripts.rest_message_v2(agent, "post", api, headers=headers, extra=private, content=f"action=x&a={body}"),
        scripts.rest_message_v2(agent, "get", f"{url}/nowhere/{make('a path of work', special=False)}", extra=private),
        scripts.rest_message(agent, "get", f"https://{make('a host of work', special=False)}.example/"),
        scripts.rest_message(agent, "get", f"{api}?action=x&password={make('a password in a URL', special=False)}"),
        scripts.rest_message(
            agent, "get", api.replace("://", f"://u:{make('a password before a host', special=False)}@")
        ),
        scripts.typed(agent, make("an operation of work"), [("lsid", make("an argument of work")), *private]),
        scripts.typed(agent, "health", [(make("a name of an argument"), "x")]),
        scripts.soap_message(agent, api, make("a SOAP action"), f"<a>{make('an envelope')}</a>", user="u"),
        scripts.system_command(agent, make("a system command")),
        scripts.command(agent, f"sudo {make('a command line')}"),
        {**scripts.typed(agent, "health"), "payload": f"<broken {make('a broken payload')}"},
        {**scripts.typed(agent, "health"), "source": make("a source"), "agent_correlator": "c"},
    ]


NOT_ECHOED = {
    "a password in a URL",
    "a password before a host",
    "an enc value",
    "a header of work",
    "a cookie of work",
    "a password of work",
    "a SOAP password of work",
}
"""Of what work carries, this must not even go back to ServiceNow; the rest it may see again, as it wrote it."""


async def faults(one: Watched) -> None:
    """Both sides answer with marked bodies, broken ones, and refusals."""
    make, box = one.marks.make, one.world.box
    page = f"<html>{make('a page')}</html>"
    detail = json.dumps({"error": {"message": "no", "detail": make("an error of ServiceNow")}, "status": "failure"})
    for lane in ("poll", "claim", "push"):
        box.servicenow.faults.add(Fault("status", lane=lane, status=500, body=detail))
        box.servicenow.faults.add(Fault("status", lane=lane, status=403, body=page))
    for action in ("truncate", "bad gzip", "page", "cut", "content type"):
        box.servicenow.faults.add(
            Fault(action, headers={"Content-Type": f"text/{make('a content type', special=False)}"})
        )
    for status in (500, 401, 400, 200):
        header = {
            "X-Secret": make("a header of the appliance", special=False),
            "Set-Cookie": f"a={make('a cookie', special=False)}",
        }
        box.appliance.faults.add(Fault("status", status=status, body=make("a body of the appliance"), headers=header))
    await one.work(2)
    box.servicenow.faults.clear()
    box.appliance.faults.clear()


async def troubles(one: Watched, proxy: ConnectProxy) -> None:
    """What an administrator meets in a bad year."""
    box, marks = one.world.box, one.marks
    set_password(one, marks.make("a new password"))
    await one.until_wrong("BSR-2005")
    write_private(one.credential("servicenow_password"), marks.texts["a new password"])
    await one.until_right()
    assert proxy.account is not None
    proxy.account = (proxy.account[0], "another")
    proxy.drop()
    await one.until_wrong("BSR-2024")
    proxy.account = (proxy.account[0], marks.texts["proxy password"])
    await one.until_right()
    for account in box.appliance.accounts.by_id.values():
        account.secret = marks.make("an unknown secret")
        account.revoke()
    one.world.put(1, ["typed report"], seed=4)
    await one.until_wrong("BSR-3005")
    for account in box.appliance.accounts.by_id.values():
        account.secret, account.failed = marks.texts["appliance secret"], 0
    await one.until_right()
    stranger = Authority(box.directory.parent / "stranger")
    one.world.configure(f"servicenow: {{tls: {{ca_file: {stranger.ca_file}}}}}\n", "wrong.yaml")
    await one.run("reload")
    await one.until_wrong("BSR-2002")
    (box.directory / "conf.d" / "wrong.yaml").unlink()
    literal = marks.make("a literal password")
    one.world.configure(
        f"servicenow: {{auth: {{basic: {{password: '{literal}'}}}}}}\nmetrics: {{listn: x}}\n", "literal.yaml"
    )
    assert (await one.run("reload"))[0] == 78
    assert (await one.run("config", "check"))[0] == 78
    assert (await one.run("config", "show"))[0] == 78
    (box.directory / "conf.d" / "literal.yaml").unlink()
    await one.run("reload")
    await one.until_right()


async def crash(one: Watched) -> None:
    """The daemon is aborted with calls under way, and started again."""
    box = one.world.box
    box.appliance.latency, before = 5.0, len(one.world.log())
    one.world.put(4, ["report"], seed=3)
    async with asyncio.timeout(30):
        while "queue.sending" not in one.world.events()[before:]:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.05)
    await one.world.daemon._end(signal.SIGABRT)
    box.appliance.latency = 0.0
    await one.world.daemon.start()
    await one.world.processed()


async def test_work_and_answers_tell_no_secret(tmp_path: Path) -> None:
    """Through work of every kind, wrong answers of both sides and a crash, no output holds a marked secret."""
    async with watched(tmp_path) as one:
        port = 20_000 + one.world.manager.path.stat().st_ino % 10_000
        one.world.configure(f"metrics: {{listen: '127.0.0.1:{port}'}}\n", "more.yaml")
        await one.world.daemon.start()
        await one.work(1)
        one.put(*records(one))
        await one.world.processed()
        await faults(one)
        learn_what_was_issued(one)
        await crash(one)
        one.see("metrics", await scraped(port))
        await one.look(COMMANDS)
        learn_what_was_issued(one)
        assert await one.world.daemon.stop() == 0
        known = {event["event"] for event in one.world.log()}
        assert {"forward.refused", "queue.seen", "servicenow.request", "recover.crashed"} <= known
        at_rest = one.at_rest()
        assert len(at_rest) > 40
        assert one.marks.search(at_rest) == {}
        leaks = {name.partition(" (")[0] for found in one.marks.search(one.at_servicenow()).values() for name in found}
        configured = {"password", "appliance secret", "storage key", "servicenow_client", "signature_key"}
        assert leaks & (NOT_ECHOED | configured | {name for name in leaks if name.startswith("token")}) == set()
        plant(one)


async def test_troubles_tell_no_secret(tmp_path: Path) -> None:
    """Through refused passwords, rotation, a 407, a wrong CA and bad configuration, no output holds a secret."""
    async with ConnectProxy(("relay", "")) as proxy, watched(tmp_path) as one:
        password = one.marks.make("proxy password")
        proxy.account = ("relay", password)
        write_private(one.credential("proxy_password"), password)
        account = f"username: relay, password: {one.place('proxy_password')}"
        one.world.configure(f"servicenow: {{proxy: {{url: '{proxy.url}', {account}}}}}\n", "more.yaml")
        await one.world.daemon.start()
        await one.world.manager.until("READY", "1")
        await one.work(1)
        await troubles(one, proxy)
        await one.look()
        learn_what_was_issued(one)
        await one.world.daemon.stop()
        assert one.marks.search(one.at_rest()) == {}
        assert one.marks.search(one.at_servicenow()) == {}
        plant(one)


def plant(one: Watched) -> None:
    """Put each secret into the log once: the search finds it there."""
    log = one.world.daemon.log
    before = log.read_bytes()
    for name, text in one.marks.texts.items():
        log.write_bytes(before + b"\n" + text.encode())
        assert one.marks.search(files([log.parent], [log.parent / "credentials"])), name


async def scraped(port: int) -> bytes:
    """The page of figures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    page = await reader.read()
    writer.close()
    assert b"bseries_relay_" in page
    return page


async def test_faults_of_the_relay_itself_tell_no_secret(tmp_path: Path) -> None:
    """Errors that quote work, answers or a password, in a task, a thread or the main loop, are told without them."""
    sabotage = tmp_path / "sabotage"
    async with watched(tmp_path, PYTHONPATH=str(SABOTAGE), SABOTAGE=str(sabotage)) as one:
        marks, box = one.marks, one.world.box
        await one.world.daemon.start()
        agent = box.agent
        box.appliance.faults.add(Fault("status", status=500, body=f"<sabotage>{marks.make('a body')}</sabotage>"))
        one.put(scripts.typed(agent, "health", [("sabotage", marks.make("a payload"))]))
        one.world.put(1, ["typed report"])
        await one.world.processed()
        await one.look()
        password = marks.texts["password"]
        sabotage.with_name("new").write_text(f"cannot use {password} {json.dumps(password)}")
        sabotage.with_name("new").rename(sabotage)
        assert await one.world.daemon.ended() == 70
        sabotage.unlink()
        learn_what_was_issued(one)
        told = {line["event"] for line in one.world.log()}
        assert {"forward.unreadable", "uncaught.task", "uncaught.thread", "daemon.failed", "library.message"} <= told
        (failed,) = [line for line in one.world.log() if line["event"] == "daemon.failed"]
        assert "cannot use ********" in failed["traceback"]
        assert one.marks.search(one.at_rest()) == {}


def by_client(one: Watched) -> str:
    """Client credentials."""
    return f"oauth_client: {{client_id: relay-oauth-client, client_secret: {one.place('servicenow_client')}}}"


def by_password(one: Watched) -> str:
    """A password, and with it a refresh token."""
    return (
        f"oauth_password: {{client_id: relay-oauth-client, client_secret: {one.place('servicenow_client')}, "
        f"username: {USER}, password: {one.place('servicenow_password')}}}"
    )


def by_key(one: Watched) -> str:
    """A signed assertion."""
    one.marks.add("key", offer_key(one.world.box).read_text())
    return (
        f"oauth_jwt: {{client_id: relay-oauth-client, client_secret: {one.place('servicenow_client')}, "
        f"key: {one.place('servicenow_jwt_key')}, key_id: {KEY_ID}, subject: {USER}}}"
    )


def by_certificate(one: Watched) -> str:
    """A client certificate alone."""
    shown = offer_certificate(one.world.box)
    one.marks.add("key", shown.key.read_text())
    return f"certificate: true}}, tls: {{client_certificate: {shown.certificate}, client_key: {{file: {shown.key}}}"


@pytest.mark.parametrize("way", [by_client, by_password, by_key, by_certificate])
async def test_no_way_to_sign_in_tells_its_secrets(tmp_path: Path, way: Callable[[Watched], str]) -> None:
    """Keys, assertions, tokens: none is told, also when the instance takes back what it gave or refuses it."""
    async with watched(tmp_path) as one:
        box = one.world.box
        one.world.configure(f"servicenow: {{auth: {{basic: null, {way(one)}}}}}\n", "way.yaml")
        await one.world.daemon.start()
        await one.work(1)
        learn_what_was_issued(one)
        box.servicenow.access.revoke()
        await one.work(2)
        learn_what_was_issued(one)
        box.servicenow.faults.add(Fault("status", status=401, times=20))
        await one.look()
        await one.world.daemon.stop()
        assert one.marks.search(one.at_rest()) == {}
        assert one.marks.search(one.at_servicenow()) == {}
