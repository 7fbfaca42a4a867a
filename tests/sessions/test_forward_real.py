"""Events posted on from a real store to a real server: what the disk holds meanwhile, and what arrives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlencode

from structlog.testing import capture_logs
from support.server import RESET, HttpsServer, Reply, Request, Response
from support.store import open_store
from support.tls import Authority, Certificate

from relay.config.model import ServiceNowSettings
from relay.core.forward_job import DONE, FORWARD
from relay.core.jobs import Job
from relay.core.posts import Content, Owner, post_of, read_form
from relay.core.secret import Secret
from relay.core.session_job import SESSION
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.runner import Runner
from relay.servicenow.instance import Instance
from relay.servicenow.vendor import VENDOR_PATHS, Forwarding, VendorEvents
from relay.sessions.forward import Forward, Forwarders
from relay.sessions.inbox import SessionInbox

FORM = "application/x-www-form-urlencoded"
NUMBER = 30


def connected(url: str, authority: Authority, folder: Path) -> Instance:
    """The relay's side of the server."""
    secret = folder / "password"
    secret.write_text("hunter2hunter2")
    secret.chmod(0o600)
    values = {
        "url": url,
        "auth": {"basic": {"username": "svc", "password": {"file": str(secret)}}},
        "tls": {"ca_file": str(authority.ca_file)},
        "timeout": "5s",
    }
    return Instance.connect(ServiceNowSettings.model_validate(values), "relay01", SecretReader({}), Clock())


async def test_events_go_through_the_store_to_the_server(
    tmp_path: Path, authority: Authority, certificate: Certificate
) -> None:
    """Each field arrives byte for byte and in order; the disk shows none in plain, and no log line fields or token."""
    down = True

    def answer(_request: Request) -> Reply:
        return RESET if down else Response()

    clock = Clock()
    conditions = Conditions(clock)
    store = await open_store(tmp_path / "state")
    ledger = Ledger(store, [SESSION, FORWARD], clock)
    done: set[str] = set()
    over = asyncio.Event()

    def hear(job: Job) -> None:
        if job.state == DONE:
            done.add(job.id)
            if len(done) == NUMBER:
                over.set()

    ledger.listen(hear)
    async with HttpsServer(answer, certificate) as server:
        instance = connected(server.url, authority, tmp_path)
        forward = Forward(
            Forwarders(
                ledger=ledger,
                store=store,
                events=VendorEvents(
                    instance.vendor, {"default": Forwarding(VENDOR_PATHS["pra"], lambda: Secret("t0ken+0123"))}
                ),
                appliances=["default"],
                holds=Holds(store, clock),
                conditions=conditions,
                jitter=lambda: 0.0,
                settle=0.2,
            )
        )
        runner = Runner(
            store=store, ledger=ledger, clock=clock, beats=Beats(clock), conditions=conditions, jitter=lambda: 0.0
        )
        forward.changed = runner.look_again
        inbox = SessionInbox(ledger, store, lambda _name: None, modes={"default": "forward"})
        sent = []
        with capture_logs() as logs:
            for number in range(NUMBER):
                fields = {"event": f"event {number}", "custom.note": f"hidden + 100 % é&={number}\0", "empty": ""}
                sent.append(fields)
                content = Content(FORM, urlencode(fields).encode())
                assert await inbox.put(post_of(Owner("default"), "/events", content, clock.wall()))
            await forward.recover()
            working = asyncio.create_task(runner.run(forward.stages()))
            await server.wait_for_requests(1)
            assert b"hidden" not in b"".join(one.read_bytes() for one in (tmp_path / "state").iterdir())
            down = False
            await over.wait()
            runner.stop()
            await working
        jobs = await store.select(FORWARD.kind, None, 100)
        assert await store.bodies([job.id for job in jobs], "event") == [None] * NUMBER
        await instance.aclose()
    await store.close()
    arrived = [read_form(Content(FORM, request.body)) for request in server.requests[-NUMBER:]]
    assert [list(one.items()) for one in arrived] == [list(one.items()) for one in sent]
    assert {request.query["outbound_event_token"] for request in server.requests} == {"t0ken+0123"}
    assert "hidden" not in repr(logs)
    assert "t0ken" not in repr(logs)
    assert not conditions.all()
