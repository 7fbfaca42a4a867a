"""Callers that drip, flood, lie and speak other languages."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.listening import (
    ELSEWHERE,
    FORM,
    PATH,
    QUICK,
    TOKEN,
    Caller,
    Running,
    known,
    request_of,
    running,
    status,
)
from support.tls import Authority

from relay.config.values import Endpoint
from relay.core.addresses import read_address
from relay.core.errors import ListenerError
from relay.listener import entrance
from relay.listener.connection import Connection, Limits, Places
from relay.listener.station import Station

DRIPPED = replace(QUICK, request=1.2)
LOCAL = (ip_network("127.0.0.1/32"),)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.fixture
async def one(authority: Authority) -> AsyncIterator[Running]:
    """A listener for one appliance, known by address and token."""
    async with running(authority) as made:
        yield made


async def drip(caller: Caller, data: bytes) -> tuple[bytes, float]:
    """Send a byte every 20 ms; what was answered, and after how many seconds the connection ended."""
    begun = asyncio.get_running_loop().time()
    reading = asyncio.create_task(caller.rest())
    for position in range(len(data)):
        if reading.done() or caller.writer.transport.is_closing():
            break
        with contextlib.suppress(ConnectionError):
            caller.writer.write(data[position : position + 1])
            await caller.writer.drain()
        await asyncio.sleep(0.02)
    return await reading, asyncio.get_running_loop().time() - begun


# ---- time


@pytest.mark.parametrize("begins", [0, len(request_of()) - len(FORM) + 2])
async def test_a_drip_is_ended(authority: Authority, begins: int) -> None:
    """A header, or a body, that comes byte by byte has the same time as any other, and leaves nothing."""
    async with running(authority, limits=DRIPPED) as one:
        caller = await one.call()
        caller.writer.write(request_of()[:begins])
        with capture_logs() as logs:
            answer, seconds = await drip(caller, request_of()[begins:] + b"x" * 500)
        assert (answer, one.inbox.posts) == (b"", [])
        assert 0.5 < seconds < 5
        await one.until(0)
        assert [line["code"] for line in logs] == ["BSR-6009"]


async def test_silence_is_ended(authority: Authority) -> None:
    """Before TLS, within it and after it, who says nothing is left after the same time."""
    async with running(authority, limits=DRIPPED) as one:
        silent, hello, after = await one.raw(), await one.raw(), await one.call()
        hello.writer.write(b"\x16\x03\x01\x02\x00")
        await one.until(3)
        assert await asyncio.wait_for(asyncio.gather(silent.rest(), hello.rest(), after.rest()), 5) == [b"", b"", b""]
        await one.until(0)


async def test_a_proxy_header_that_drips_is_ended(authority: Authority) -> None:
    """The time begins with the connection, whatever comes first on it."""
    async with running(authority, balancers=LOCAL, limits=DRIPPED) as one:
        caller = await one.raw()
        answer, seconds = await drip(caller, SIGNATURE + b"\x21\x11\x01\x00" + bytes(256))
        assert answer == b""
        assert seconds < 5
        await one.until(0)


async def test_who_does_not_close_is_closed(authority: Authority) -> None:
    """After the answer a connection lives only as long as a goodbye takes."""
    async with running(authority, limits=replace(QUICK, goodbye=0.2)) as one:
        with contextlib.closing(socket.create_connection(("127.0.0.1", one.port))) as plain:
            stubborn = await asyncio.to_thread(one.trust.wrap_socket, plain, server_hostname="localhost")
            with stubborn:
                stubborn.sendall(request_of())
                await one.until(0)
                assert status(await asyncio.to_thread(stubborn.recv, 1000)) == 200


async def test_a_slow_store_has_its_own_time(authority: Authority) -> None:
    """The time of the request ends with the request: a slow disk does not cut the answer off."""
    async with running(authority, limits=replace(QUICK, request=1.0)) as one:
        one.inbox.open.clear()
        asking = asyncio.create_task(one.post())
        await one.inbox.entered.wait()
        await asyncio.sleep(1.2)
        one.inbox.open.set()
        assert await asking == 200


# ---- number


async def test_one_address_has_only_so_many(one: Running) -> None:
    """More connections of one address are ended at once, and told with their code; others are served."""
    with capture_logs() as logs:
        held = [await one.raw() for _ in range(QUICK.of_one)]
        await one.until(QUICK.of_one)
        assert await (await one.raw()).rest() == b""
    assert [line["code"] for line in logs] == ["BSR-6007"]
    for caller in held:
        await caller.leave()
    await one.until(0)
    assert await one.post() == 200
    await one.until(0)
    assert one.listener._entrance._places._now == {}


async def test_strangers_leave_room_for_appliances(authority: Authority) -> None:
    """Addresses that no appliance posts from share a few places, so that they cannot take all."""
    async with running(authority, known(ip_network("127.0.0.1/32"))) as one:
        held = []
        for number in range(2, 10):
            plain = socket.create_connection(("127.0.0.1", one.port), source_address=(f"127.0.0.{number}", 0))
            held.append(Caller(*await asyncio.open_connection(sock=plain)))
        await one.until(QUICK.strangers)
        assert await one.post() == 200
        for caller in held:
            await caller.leave()


async def test_all_together_have_only_so_many(authority: Authority) -> None:
    """Beyond the limit a connection is ended before anything is read."""
    async with running(authority, limits=replace(QUICK, connections=2)) as one:
        held = [await one.raw(), await one.raw()]
        await one.until(2)
        with capture_logs() as logs:
            assert await (await one.raw()).rest() == b""
        assert [(line["code"], line["source"]) for line in logs] == [("BSR-6007", "127.0.0.1")]
        for caller in held:
            await caller.leave()


async def test_who_calls_too_often_waits(authority: Authority) -> None:
    """More calls of one caller than may begin in a second are served in the next one, and none is refused."""
    async with running(authority, limits=replace(QUICK, per_second=2)) as one:
        begun = asyncio.get_running_loop().time()
        assert [await one.post() for _ in range(8)] == [200] * 8
        assert asyncio.get_running_loop().time() - begun > 1


async def test_turns_are_counted_for_each_caller() -> None:
    """Each caller has its own turns, strangers share theirs, and a new second begins with none taken."""
    station = Station(Endpoint("::", 0), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), (known(ip_network("10.0.0.0/8")),))
    places = Places(replace(QUICK, per_second=2))

    def waits(*sources: str, now: float = 7.25) -> list[float]:
        return [places.wait(Connection(station, read_address(source)), now) for source in sources]

    assert waits("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2") == [0, 0, 0.75, 0]
    assert waits("192.0.2.1", "2001:db8::1", "192.0.2.3") == [0, 0, 0.75]
    assert waits("10.0.0.1", "192.0.2.1", now=8.0) == [0, 0]


async def test_addresses_of_one_network_are_one_caller() -> None:
    """Who holds an IPv6 network has no more places than who holds one address."""
    station = Station(Endpoint("::", 0), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), (known(ip_network("2001:db8::/32")),))
    places = Places(replace(QUICK, of_one=1))
    with (
        places.taken(Connection(station, read_address("2001:db8::1"))),
        places.taken(Connection(station, read_address("2001:db8:0:1::1"))),
        pytest.raises(ListenerError) as caught,
        places.taken(Connection(station, read_address("2001:db8::2"))),
    ):
        pass
    assert caught.value.number == 6007
    assert places._now == {}


async def test_no_descriptor_left_is_survived(
    one: Running, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    """When the system has no room, the listener waits and goes on; who hung up meanwhile is no matter."""
    assert authority
    monkeypatch.setattr(entrance, "_PAUSE", 0.01)
    faults = [OSError(errno.EMFILE, "Too many open files"), ConnectionAbortedError(), BlockingIOError()]
    accept = socket.socket.accept

    def failing(self: socket.socket) -> tuple[socket.socket, object]:
        if faults:
            raise faults.pop(0)
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with capture_logs() as logs:
        assert await one.post() == 200
    assert faults == []
    assert [line["event"] for line in logs] == ["listener.no_room", "listener.post"]


async def test_a_flood_of_refusals_is_told_once(one: Running) -> None:
    """The same refusal of the same caller has one line a minute."""
    with capture_logs() as logs:
        for _ in range(5):
            assert await one.post("/events") == 403
    assert [line["code"] for line in logs] == ["BSR-6003"]


# ---- other languages


@pytest.mark.parametrize(
    "first", [b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x00" * 100, b"SSH-2.0-x\r\n"]
)
async def test_who_speaks_no_tls_is_left(one: Running, first: bytes) -> None:
    """Anything but TLS ends the connection with a code, and without a byte of HTTP."""
    with capture_logs() as logs:
        answer = await (await one.raw()).ask(first)
    assert not answer.startswith(b"HTTP")
    await one.until(0)
    assert [line["code"] for line in logs] == ["BSR-6010"]


async def test_old_tls_is_refused(one: Running) -> None:
    """Nothing below TLS 1.2 gets through the handshake."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", one.port, ssl=old, server_hostname="localhost")
    await one.until(0)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        b"POST /events\r\n\r\n",
        b"POST /events HTTP/1.1\r\n\r\n",
        b"POST /ev ents HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\n broken\x00: y\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost : x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        request_of().replace(b"HTTP/1.1", b"HTTP/1.9"),
        request_of().replace(b"HTTP/1.1", b"HTTP/0.9"),
        request_of().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Content-Length: 62", b"Transfer-Encoding: chunked"),
        b"POST /events HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000,
        b"POST /" + b"y" * 20_000,
        b"\x00" * 100_000,
        request_of(PATH, FORM, "Content-Length: 7"),
        request_of(PATH, FORM, "Content-Length: +5").replace(f"Content-Length: {len(FORM)}\r\n".encode(), b""),
        request_of(PATH, FORM, "Transfer-Encoding: chunked"),
        request_of(PATH, FORM, "Transfer-Encoding: identity, chunked"),
        request_of(PATH, FORM, "Transfer-Encoding:\x0bchunked"),
        request_of(PATH, b"5\r\nhello\r\nzz\r\n", "Transfer-Encoding: chunked"),
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n".encode(),
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".encode(),
    ],
)
async def test_requests_of_more_than_one_meaning_are_refused(one: Running, request_bytes: bytes) -> None:
    """What is no HTTP/1.1, or has a body of two lengths, is answered 4xx or 501 or not at all, and nothing is kept."""
    with capture_logs() as logs:
        answer = await one.ask(request_bytes)
    assert status(answer) in {0, 400, 431, 501}, answer
    assert one.inbox.posts == []
    await one.until(0)
    assert {line["code"] for line in logs} == {"BSR-6010"}


@pytest.mark.parametrize("between", [b"", b"\r\n", b"0\r\n\r\n"])
async def test_what_follows_a_request_is_never_read(one: Running, between: bytes) -> None:
    """A second request on the connection, hidden or open, is not served: there is one answer, and one post."""
    second = request_of(PATH, b"event=smuggled")
    answer = await one.ask(request_of() + between + second)
    assert answer.count(b"HTTP/1.1") == 1
    assert [post.fields.get("event") for post in one.inbox.posts] == ["access_session_end"]


async def test_a_chunked_body_is_read_as_any(one: Running) -> None:
    """One length in chunks is one meaning."""
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (FORM[:10], FORM[10:]))
    assert status(await one.ask(head + chunks + b"0\r\n\r\n" + request_of(PATH, b"event=smuggled"))) == 200
    assert [post.fields["event"] for post in one.inbox.posts] == ["access_session_end"]


async def test_a_caller_may_ask_whether_it_may_go_on(one: Running) -> None:
    """`Expect: 100-continue` is answered, then the body is read."""
    head, _, body = request_of(PATH, FORM, "Expect: 100-continue").partition(b"\r\n\r\n")
    caller = await one.call()
    caller.writer.write(head + b"\r\n\r\n")
    assert (await caller.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
    assert status(await caller.ask(body)) == 200


async def test_an_upgrade_is_not_made(one: Running) -> None:
    """The wish for a web socket or HTTP/2 is passed over."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    assert status(await one.ask(request_of(PATH, FORM, *upgrade))) == 200
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    assert status(await one.ask(request_of(PATH, FORM, *upgrade))) == 200


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(
        st.one_of(
            st.binary(max_size=60), st.sampled_from([b"\r\n", b"\r\n\r\n", request_of()[:80], b"POST ", b" HTTP/1.1"])
        ),
        max_size=8,
    )
)
async def test_no_garbage_is_a_post(authority: Authority, data: list[bytes]) -> None:
    """Whatever comes after the handshake, nothing without the token is kept, and the listener goes on."""
    async with running(authority) as one:
        caller = await one.call()
        answer = b""
        with contextlib.suppress(TimeoutError):  # of what is not complete the listener waits for the rest
            answer = await asyncio.wait_for(caller.ask(b"".join(data).replace(TOKEN.encode(), b"")), 0.2)
        await caller.leave()
        assert status(answer) in {0, 400, 403, 404, 431, 501}
        assert one.inbox.posts == []
        assert not one.task.done()


# ---- the PROXY protocol


def second_version(address: bytes) -> bytes:
    """A header of version 2 for an IPv4 address."""
    return SIGNATURE + b"\x21\x11\x00\x0c" + address + b"\x7f\x00\x00\x01\x00\x01\x20\xfb"


async def test_a_named_load_balancer_says_who_calls(authority: Authority) -> None:
    """Of both versions the address in the header is the one that counts, and no longer the balancer's own."""
    async with running(authority, known(*ELSEWHERE), balancers=LOCAL) as one:
        assert await one.post(first=b"PROXY TCP4 192.0.2.9 127.0.0.1 50000 8443\r\n") == 200
        assert await one.post(first=second_version(bytes((192, 0, 2, 9)))) == 200
        assert await one.post(first=b"PROXY TCP4 198.51.100.1 127.0.0.1 50000 8443\r\n") == 403
        assert await one.post(first=second_version(bytes((127, 0, 0, 1)))) == 403
        assert await one.post(first=b"PROXY UNKNOWN\r\n") == 403
        assert len(one.inbox.posts) == 2


async def test_a_named_load_balancer_must_say_who_calls(authority: Authority) -> None:
    """TLS at once, half a header, or a wrong one ends the connection: its own address never stands for the caller's."""
    async with running(authority, balancers=LOCAL) as one:
        with capture_logs() as logs, pytest.raises((ssl.SSLError, ConnectionError)):
            await one.call()
        assert [line["code"] for line in logs] == ["BSR-6006"]
        for first in (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 99999\r\n", SIGNATURE + b"\x31\x11\x00\x00"):
            assert await (await one.raw()).ask(first) == b""
        caller = await one.raw()
        caller.writer.write(b"PROXY TCP4 1")
        await one.until(1)
        await caller.leave()
        await one.until(0)
        assert one.inbox.posts == []


@pytest.mark.parametrize("first", [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", second_version(bytes((127, 0, 0, 1)))])
async def test_nobody_else_may_say_who_calls(one: Running, first: bytes) -> None:
    """The PROXY protocol from an address that is not named is an error with a code of its own."""
    with capture_logs() as logs:
        assert await (await one.raw()).ask(first) == b""
        await one.until(0)
    assert [(line["event"], line["code"]) for line in logs] == [("listener.refused", "BSR-6006")]
    assert one.inbox.posts == []


async def test_limits_count_the_caller_and_not_the_balancer(authority: Authority) -> None:
    """Many callers behind one load balancer are many."""
    async with running(authority, known(), balancers=LOCAL, limits=replace(QUICK, of_one=1)) as one:
        calls = [one.call(first=f"PROXY TCP4 127.0.1.{number} 127.0.0.1 1 2\r\n".encode()) for number in range(1, 5)]
        held = await asyncio.gather(*calls)
        await one.until(4)
        assert {status(await caller.ask(request_of())) for caller in held} == {200}


def test_the_defaults_are_what_an_appliance_needs() -> None:
    """Time for a slow network, and an answer before callers commonly give up."""
    limits = Limits()
    assert limits.request + limits.answer + limits.goodbye <= 60
    assert limits.strangers < limits.of_one < limits.connections
