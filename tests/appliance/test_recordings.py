"""Recordings, as an appliance sends them or says why it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from support.account import Bench, FakeAppliance
from support.server import HttpsServer, Reply, Response, Truncate
from support.tls import Authority, Certificate

from relay.appliance.client import Appliance
from relay.appliance.fleet import Fleet
from relay.appliance.recordings import Fetched, Origin, RecordingSource
from relay.core.errors import ApplianceError
from relay.core.recordings import shell_name
from relay.host.download import PIECE
from relay.sandbox.reporting import EXPIRED, NOTHING_FOUND, WRONG_LSID

LSID = "e9e99aeb9ad54fb381634498502c5a1b"
FILM = b"FLV\x01" + bytes(range(256)) * 1024
VIDEO = {"content-type": "video/x-flv"}
NAMESPACE = 'xmlns="http://www.beyondtrust.com/sra/namespaces/API/reporting"'


class Place:
    """An appliance that gives one answer, and the relay's source of its recordings."""

    def __init__(self, fake: FakeAppliance, appliance: Appliance, product: str, most: int) -> None:
        self.fake = fake
        fleet = Fleet({"default": appliance})
        self.source = RecordingSource(fleet, {"default": Origin(product, most)})

    async def whole(self, name: str = "screen") -> bytes:
        async with self.source.open("default", LSID, name) as fetched:
            return await drained(fetched)

    async def refusal(self, name: str = "screen") -> ApplianceError:
        with pytest.raises(ApplianceError) as caught:
            await self.whole(name)
        return caught.value


async def drained(fetched: Fetched) -> bytes:
    return b"".join([piece async for piece in fetched.pieces()])


Makes = Callable[..., AbstractAsyncContextManager[Place]]


@pytest.fixture
def place(authority: Authority, certificate: Certificate, tmp_path: Path) -> Makes:
    """Makes an appliance that gives one answer."""

    @asynccontextmanager
    async def make(reply: Reply, *, product: str = "pra", most: int = 1 << 30) -> AsyncIterator[Place]:
        fake = FakeAppliance(answer=lambda _: reply)
        async with HttpsServer(fake, certificate) as server:
            appliance = Bench(authority, tmp_path).make(server.url, timeout=0.5, response_bytes=100)
            yield Place(fake, appliance, product, most)
            await appliance.aclose()

    return make


@pytest.mark.parametrize(
    ("product", "name", "query"),
    [
        ("pra", "screen", {"generate_report": "AccessSessionRecording"}),
        ("rs", "screen", {"generate_report": "SupportSessionRecording"}),
        ("rs", shell_name("a&b 1"), {"generate_report": "CommandShellRecording", "recording_id": "a&b 1"}),
    ],
)
async def test_what_is_asked_for(place: Makes, product: str, name: str, query: dict[str, str]) -> None:
    """The report's name depends on the product, a shell's recording has an id; its bytes arrive whole."""
    reply = Response(200, FILM, VIDEO)
    async with place(reply, product=product) as one, one.source.open("default", LSID, name) as fetched:
        assert (fetched.size, fetched.kind.ext, fetched.kind.content_type) == (len(FILM), "flv", "video/x-flv")
        assert await drained(fetched) == FILM
        with pytest.raises(ApplianceError, match="must be fetched anew") as caught:
            await drained(fetched)
    assert caught.value.retryable
    assert [(call.method, call.path, call.query) for call in one.fake.calls] == [
        ("GET", "/api/reporting", {**query, "lsid": LSID})
    ]


def error(text: str) -> Response:
    """As the appliance writes it: status 200."""
    return Response(200, f"<error {NAMESPACE}>{text}</error>".encode(), {"content-type": "text/xml; charset=UTF-8"})


@pytest.mark.parametrize(
    ("reply", "number", "shown"),
    [
        *((error(text), 3021, text[:20]) for text in EXPIRED.values()),
        (error(WRONG_LSID["en"]), 3019, "Invalid lsid."),
        (error(NOTHING_FOUND["en"]), 3019, "No Support report"),
        (error("bell\x07 &amp; more"), 3019, "bell"),
        (error(""), 3019, "without a word"),
        (Response(200, b"\xef\xbb\xbf\n <r><error>Login failed</error></r>", {}), 3019, "Login failed"),
        (Response(200, b"<r><a><error>x</error></a></r>", {"content-type": "text/xml"}), 3013, "text/xml"),
        (Response(200, b"<!DOCTYPE html><p>Log in", {"content-type": "text/html"}), 3013, "text/html"),
        (Response(200, b"<html>" + b"x" * PIECE, {"content-type": "text/html"}), 3013, "text/html"),
        (Response(200, b"", VIDEO), 3013, "nothing where a recording belongs"),
        (Response(404, b"?"), 3019, "status 404 for AccessSessionRecording"),
        (Response(503, b"?"), 3004, "status 503 for AccessSessionRecording"),
        (Response(429, b""), 3007, "HTTP 429"),
        (Response(401, b""), 3005, "HTTP 401"),
        (Response(200, b"x" * 1001, VIDEO), 3022, "1001 bytes; sessions.recording_bytes allows 1000"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
            3022,
            "more bytes; sessions.recording_bytes allows 1000",
        ),
    ],
)
async def test_answers_that_are_no_recording(place: Makes, reply: Reply, number: int, shown: str) -> None:
    """Each has its code and the appliance's words; those that say so were not executed."""
    most = 1000 if number == 3022 else 1 << 30
    async with place(reply, most=most) as one:
        refusal = await one.refusal()
    assert refusal.number == number
    assert shown in refusal.text
    assert not refusal.maybe_sent or number not in {3005, 3007}


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        (Truncate(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 150_000), 3004),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 150_000, 3003),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 10, 3003),
    ],
    ids=["cut", "stalled", "stalled at once"],
)
async def test_recordings_that_end_early(place: Makes, reply: Reply, number: int) -> None:
    """A connection that ends or falls silent is an error that passes, also after the first pieces."""
    async with place(reply) as one:
        refusal = await one.refusal()
    assert (refusal.number, refusal.retryable) == (number, True)


async def test_a_shell_may_hold_anything(place: Makes) -> None:
    """What was typed may look like an element, even like the appliance's, without being its error."""
    for typed in (
        b"<a href=x>",
        b"< error",
        b"<!DOCTYPE error [<!ENTITY a 'b'>]><error>a</error>",
        b"<r><a><error>x</error></a></r>",
    ):
        reply = Response(200, typed, {"content-type": "text/plain"})
        async with place(reply) as one:
            assert await one.whole(shell_name("0")) == typed
