"""The same sentence for bytes on a connection: answers of either side, of a proxy, requests to the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.daemon import world
from support.mutations import EXAMPLES, json_texts, mutated
from support.tls import Authority, Certificate

from relay.appliance.faults import translate
from relay.config.model import ServiceNowSettings
from relay.core.errors import RelayError
from relay.host.clock import Clock
from relay.host.http import BodyLimit, HttpClient, HttpFault, HttpRequest, Proxy, Target
from relay.host.secrets import SecretReader
from relay.host.tls import TlsOptions, client_context
from relay.servicenow.instance import Instance

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

GZIP = gzip.compress(b'{"result":[]}')
ANSWERS = (
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
        b"Date: Sun, 22 Nov 2026 06:00:00 GMT"
        b"\r\nSet-Cookie: JSESSIONID=abc; Path=/; Secure; HttpOnly; expires=Sun, 22-Nov-2026 06:00:00 GMT\r\n\r\n"
        b'{"result":[]}'
    ),
    (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\n\r\n"
        b'3;x=y\r\n{"r\r\n0a\r\nesult":[]}\r\n0\r\nTrailer: x\r\n\r\n'
    ),
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n%b"
    % (len(GZIP), GZIP),
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 5\r\nConnection: close\r\n\r\nwait",
    b"HTTP/1.0 401 Who\r\nWWW-Authenticate: Basic realm=x\r\nX-RateLimit-Limit: 15000\r\n\r\n",
    b"HTTP/1.1 302 There\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
)
TUNNELS = (b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno")


@dataclass
class Wire:
    """A server that answers every request head with `answer` and closes; the loop runs while somebody asks."""

    runner: asyncio.Runner
    port: int = 0
    answer: bytes = b""
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until the other side goes."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
        self.tasks.discard(task)
        writer.close()

    def run(self, awaitable: Callable[[], Awaitable[object]]) -> None:
        """Wait for something; a RelayError is as good as a value."""

        async def bounded() -> None:
            with contextlib.suppress(RelayError):
                await awaitable()

        self.runner.run(bounded())


@contextlib.contextmanager
def wire(certificate: Certificate | None) -> Iterator[Wire]:
    """A running `Wire`, over TLS with a certificate."""
    with asyncio.Runner() as runner:
        made = Wire(runner)
        context = certificate.context if certificate else None
        server = runner.run(asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context, limit=2**20))
        made.port = server.sockets[0].getsockname()[1]
        yield made
        server.close()

        async def end() -> None:
            for task in made.tasks:
                task.cancel()
            await asyncio.gather(*made.tasks, return_exceptions=True)
            await asyncio.sleep(0.01)

        runner.run(end())


def test_any_bytes_that_servicenow_answers(authority: Authority, certificate: Certificate, tmp_path: Path) -> None:
    """Whatever bytes come for an answer, a poll gives rows or a RelayError, and so does the next one."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    with wire(certificate) as made:
        values = {
            "url": f"https://localhost:{made.port}",
            "auth": {"basic": {"username": "svc", "password": {"file": str(secret)}}},
            "tls": {"ca_file": str(authority.ca_file)},
            "timeout": "1s",
        }
        model = ServiceNowSettings.model_validate(values)

        @settings(max_examples=EXAMPLES)
        @given(mutated(*ANSWERS))
        def check(answer: bytes) -> None:
            made.answer = answer

            async def poll() -> None:
                instance = Instance.connect(model, "relay01", SecretReader({}), Clock(), host_name="h")
                try:
                    for _ in range(2):
                        with contextlib.suppress(RelayError):
                            await instance.queue.poll(10, [])
                finally:
                    await instance.aclose()

            made.run(poll)

        check()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_any_bytes_that_an_appliance_answers(authority: Authority, certificate: Certificate, method: str) -> None:
    """Whatever bytes come for an answer, a call gives a bounded reply or a RelayError."""
    with wire(certificate) as made:
        target = Target("test", f"https://localhost:{made.port}", client_context(TlsOptions(ca_file=authority.ca_file)))
        limit = BodyLimit(2000, 10_000)

        async def call() -> None:
            client = HttpClient(target, keep_alive=False, cookies=False)
            try:
                response = await client.send(HttpRequest(method, target.origin + "/", timeout=1, limit=limit))
                assert len(response.body) <= limit.keep
            except HttpFault as fault:
                raise translate(fault, name="default") from None
            finally:
                await client.aclose()

        @settings(max_examples=EXAMPLES)
        @given(mutated(*ANSWERS))
        def check(answer: bytes) -> None:
            made.answer = answer
            made.run(call)

        check()


def test_any_bytes_that_a_proxy_answers(authority: Authority) -> None:
    """Whatever a proxy says to CONNECT, a call gives a RelayError and was not sent."""
    with wire(None) as made:
        context = client_context(TlsOptions(ca_file=authority.ca_file))
        proxy = Proxy(f"http://127.0.0.1:{made.port}")
        target = Target("test", "https://localhost:1", context, proxy, connect_timeout=1)

        async def call() -> None:
            client = HttpClient(target, keep_alive=False, cookies=False)
            try:
                await client.send(HttpRequest("GET", target.origin + "/", timeout=1))
            except HttpFault as fault:
                error = translate(fault, name="default")
                assert not error.maybe_sent
            finally:
                await client.aclose()

        @settings(max_examples=EXAMPLES)
        @given(mutated(*TUNNELS))
        def check(answer: bytes) -> None:
            made.answer = answer
            made.run(call)

        check()


REQUESTS = (
    {"command": "status", "arguments": {}, "state": "STATE"},
    {"command": "pause", "arguments": {"reason": "maintenance"}, "state": "STATE"},
    {"command": "jobs list", "arguments": {"state": "CLAIMED", "limit": 10}, "state": "STATE"},
    {"command": "jobs show", "arguments": {"id": "a" * 32}, "state": "STATE"},
    {"command": "jobs retry", "arguments": {"id": "a" * 32}, "state": "STATE"},
    {"command": "jobs discard", "arguments": {"id": "a" * 32, "reason": "x"}, "state": "STATE"},
    {"command": "audit checkpoint", "arguments": {}, "state": "STATE"},
)


async def test_any_bytes_that_an_administrator_sends(tmp_path: Path) -> None:
    """Whatever stands in a request to the control socket, the answer is a result, an error with a code, or silence."""
    async with world(tmp_path, products=("pra",)) as made:
        state = made.state.resolve()
        seeds = [json.loads(json.dumps(one).replace("STATE", str(state))) for one in REQUESTS]

        @settings(max_examples=EXAMPLES)
        @given(json_texts(*seeds), st.booleans())
        def check(line: bytes, ended: bool) -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(state / "control.sock"))
                received = b""
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(line + b"\n" * ended)
                    client.shutdown(socket.SHUT_WR)
                    while more := client.recv(65536):
                        received += more
            if received:
                answer = json.loads(received)
                assert answer["ok"] is True or answer["code"].startswith("BSR-")
                assert answer.get("code") != "BSR-9001", answer

        await asyncio.to_thread(check)  # the instance that the daemon polls goes on here
        assert made.daemon.alive
        assert await made.daemon.stop() == 0
