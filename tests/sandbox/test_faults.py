"""Every misbehaviour, seen from the client's side, and whether the request took effect."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable

import httpx
import pytest

from relay.sandbox.behave import Behaviour
from relay.sandbox.box import Sandbox
from relay.sandbox.faults import Fault, Faults
from relay.sandbox.web import Request, Response

QUEUE = "/api/now/table/ecc_queue"
Connect = Callable[..., httpx.AsyncClient]


def inserted(box: Sandbox) -> int:
    return len(box.servicenow.tables.find("ecc_queue", ""))


async def insert(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post(QUEUE, json={"name": "x", "payload": "p" * 300}, headers={"Accept-Encoding": "identity"})


async def test_latency(box: Sandbox, client: httpx.AsyncClient) -> None:
    """`latency` and `stall` delay an answer that is otherwise right."""
    box.servicenow.faults.add(Fault("latency", seconds=0.05))
    box.servicenow.faults.add(Fault("stall", seconds=0.05))
    started = time.monotonic()
    assert (await insert(client)).status_code == 201
    assert time.monotonic() - started >= 0.1


async def test_every_request_can_be_slow(box: Sandbox, client: httpx.AsyncClient) -> None:
    """The latency knob delays each request."""
    box.servicenow.knobs.latency = 0.05
    started = time.monotonic()
    await insert(client)
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize(("action", "effect"), [("reset", 0), ("reset after", 1)])
async def test_reset(box: Sandbox, client: httpx.AsyncClient, action: str, effect: int) -> None:
    """A reset comes without an answer, before or after the request took effect."""
    fault = box.servicenow.faults.add(Fault(action))  # type: ignore[arg-type]
    with pytest.raises(httpx.TransportError):
        await insert(client)
    assert (inserted(box), fault.fired) == (effect, 1)
    assert (await insert(client)).status_code == 201


@pytest.mark.parametrize(("action", "effect"), [("hang", 0), ("hang after", 1)])
async def test_hang(box: Sandbox, client: httpx.AsyncClient, action: str, effect: int) -> None:
    """A hang lasts until the client goes."""
    box.servicenow.faults.add(Fault(action))  # type: ignore[arg-type]
    with pytest.raises(httpx.ReadTimeout):
        await client.post(QUEUE, json={}, timeout=httpx.Timeout(10, read=0.1))
    assert inserted(box) == effect


@pytest.mark.parametrize(("action", "effect"), [("status", 0), ("status after", 1)])
async def test_status(box: Sandbox, client: httpx.AsyncClient, action: str, effect: int) -> None:
    """Any status can be answered instead, before or after the request took effect."""
    headers = {"Retry-After": "7"}
    box.servicenow.faults.add(Fault(action, status=503, headers=headers))  # type: ignore[arg-type]
    box.servicenow.faults.add(Fault(action, status=500, body="<html/>", skip=1))  # type: ignore[arg-type]
    answer = await insert(client)
    assert (answer.status_code, answer.headers["retry-after"], inserted(box)) == (503, "7", effect)
    assert answer.json()["status"] == "failure"
    answer = await insert(client)
    assert (answer.status_code, answer.text) == (500, "<html/>")


async def test_hibernation_page(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A hibernating instance answers 200 with a page."""
    box.servicenow.faults.add(Fault("page", times=None))
    for _ in range(2):
        answer = await insert(client)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html;charset=UTF-8")
        assert "Instance Hibernating page" in answer.text
    box.servicenow.faults.clear()
    assert (await insert(client)).status_code == 201


async def test_late(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A late request breaks at once and takes effect afterwards."""
    box.servicenow.faults.add(Fault("late", seconds=0.5))
    with pytest.raises(httpx.TransportError):
        await insert(client)
    assert inserted(box) == 0
    await box.servicenow.behaviour.settle()
    assert inserted(box) == 1


async def test_a_request_outlives_its_client(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A slow insert commits though its client has given up."""
    box.servicenow.knobs.write_cost = 0.1
    with pytest.raises(httpx.ReadTimeout):
        await client.post(QUEUE, json={}, timeout=httpx.Timeout(10, read=0.05))
    await box.servicenow.tables.until(lambda: inserted(box) == 1)


async def test_late_requests_end_with_the_sandbox() -> None:
    """What would run late is forgotten when the stand-in is closed."""
    behaviour, ran = Behaviour(), []

    async def handle(request: Request) -> Response:
        ran.append(request)
        return Response(200)

    with pytest.raises(Exception, match=r"^$"):
        await behaviour.run([Fault("late", seconds=60)], Request("GET", "/"), handle)
    await behaviour.close()
    assert ran == []


async def test_failure_within_200(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A 200 can end with the failure of a cancelled transaction, whatever stands before it."""
    box.servicenow.faults.add(Fault("failure", times=2))
    answer = (await client.get(QUEUE)).json()
    assert (answer["status"], answer["result"]) == ("failure", [])
    assert (await client.request("OPTIONS", QUEUE)).json()["error"]["message"].startswith("Transaction cancelled")


async def test_truncated(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A truncated answer is complete for HTTP and half a document."""
    box.servicenow.faults.add(Fault("truncate"))
    answer = await insert(client)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert inserted(box) == 1


async def test_cut(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A cut answer ends within the body it announced."""
    box.servicenow.faults.add(Fault("cut"))
    with pytest.raises(httpx.RemoteProtocolError):
        await insert(client)
    assert inserted(box) == 1


async def test_drip(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A dripping answer is right and slow."""
    box.servicenow.faults.add(Fault("drip", seconds=0.01))
    started = time.monotonic()
    assert (await insert(client)).json()["result"]["name"] == "x"
    assert time.monotonic() - started >= 0.1


async def test_bad_gzip(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An answer can claim to be gzip and be none."""
    box.servicenow.faults.add(Fault("bad gzip"))
    with pytest.raises(httpx.DecodingError):
        await insert(client)


async def test_gzip_bomb(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A small answer can unpack to any size."""
    box.servicenow.faults.add(Fault("gzip bomb", size=50_000_000))
    wire = b""
    async with client.stream("GET", QUEUE) as answer:
        async for piece in answer.aiter_raw():
            wire += piece
    assert len(wire) < 100_000
    assert len(gzip.decompress(wire)) >= 50_000_000


async def test_large_body(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An answer can be of any size."""
    box.servicenow.faults.add(Fault("large body", size=5_000_001))
    assert len((await client.get(QUEUE)).content) == 5_000_001


async def test_content_type(box: Sandbox, client: httpx.AsyncClient) -> None:
    """An answer can come under a wrong content type, or under none."""
    box.servicenow.faults.add(Fault("content type", headers={"Content-Type": "image/png"}))
    box.servicenow.faults.add(Fault("content type", skip=1))
    assert (await insert(client)).headers["content-type"] == "image/png"
    assert "content-type" not in (await insert(client)).headers


async def test_refused_connections(box: Sandbox, connect: Connect) -> None:
    """A closed door refuses connections and breaks open ones, and opens again at the same port."""
    door = box.doors["servicenow"]
    port, client = door.port, connect()
    await insert(client)
    came = asyncio.Event()
    box.servicenow.faults.add(Fault("hang", when=lambda _: came.set() is None))
    waiting = asyncio.create_task(insert(client))
    await came.wait()
    await door.close()
    with pytest.raises(httpx.TransportError):
        await waiting
    with pytest.raises(httpx.ConnectError):
        await insert(client)
    assert not door.is_open
    await door.close()
    await door.open()
    await door.open()
    assert (door.is_open, door.port) == (True, port)
    assert (await insert(client)).status_code == 201


async def test_half_a_request_takes_no_effect(box: Sandbox, connect: Connect) -> None:
    """A client that goes within its request is not served."""

    async def body() -> object:
        yield b'{"name":'
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await connect().post(QUEUE, content=body(), headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    assert (await insert(connect())).status_code == 201
    assert inserted(box) == 1


async def test_the_sandbox_owns_up(box: Sandbox, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault of the stand-in itself is recorded and shown, not taken for a planned one."""
    box.servicenow.faults.add(Fault("status", when=lambda _: 1 / 0))  # type: ignore[arg-type, return-value]
    answer = await client.get(QUEUE)
    assert (answer.status_code, "the sandbox itself failed" in answer.text) == (500, True)
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert len(box.doors["servicenow"].errors) == 1
    box.doors["servicenow"].errors.clear()


def test_which_requests_a_fault_befalls() -> None:
    """A fault fits by method, path, lane, condition and being part of a batch, and only so often."""
    request = Request("GET", "/api/x", lanes=frozenset({"poll"}))
    fitting = [Fault("reset", method="GET"), Fault("reset", path="/x$"), Fault("reset", lane="poll")]
    foreign = [
        Fault("reset", method="POST"),
        Fault("reset", path="/y"),
        Fault("reset", lane="push"),
        Fault("reset", sub=True),
        Fault("reset", when=lambda _: False),
    ]
    faults = Faults()
    for fault in (*fitting, *foreign):
        faults.add(fault)
    assert faults.take(request) == fitting
    assert faults.take(request) == []
    assert [fault.facts()["fired"] for fault in faults.all()] == [1, 1, 1, 0, 0, 0, 0, 0]


def test_unknown_actions_are_refused() -> None:
    """A misspelt action is an error, not a fault that never comes."""
    with pytest.raises(ValueError, match="no such action"):
        Fault("explode")  # type: ignore[arg-type]


async def test_a_streamed_answer_can_drip(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A report that is streamed piece by piece can drip as well."""
    box.appliance.faults.add(Fault("drip", lane="AccessSession", seconds=0.001))
    lsid = box.appliance.sessions.begin().lsid
    answer = await pra.get("/api/reporting", params={"generate_report": "AccessSession", "lsid": lsid})
    assert lsid in answer.text
