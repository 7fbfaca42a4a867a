"""From a name to a connected socket."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from relay.host import dialing
from relay.host.dialing import MOST_ADDRESSES, Address, dial, look_up

REFUSED: Address = (socket.AF_INET, ("127.0.0.1", 1))
V4, V6 = socket.AF_INET, socket.AF_INET6


@contextmanager
def listening() -> Iterator[Address]:
    """Somebody who takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield V4, server.getsockname()


def answers(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> None:
    """Let the C library answer so."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: make())


def info(family: socket.AddressFamily, address: str) -> tuple[object, ...]:
    return family, socket.SOCK_STREAM, 6, "", (address, 443)


async def test_families_take_turns_and_each_address_stands_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library's first choice is first, then one of the other family, and so on, up to a number."""
    found = [info(V6, "2001:db8::1"), info(V6, "2001:db8::2"), info(V4, "192.0.2.1"), info(V4, "192.0.2.1")]
    answers(monkeypatch, lambda: found)
    assert [where[0] for _, where in await look_up("a.example", 443)] == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]
    answers(monkeypatch, lambda: [info(V4, f"192.0.2.{number}") for number in range(200)])
    assert len(await look_up("a.example", 443)) == MOST_ADDRESSES


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_no_question(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """An address starts no thread and asks nobody."""
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a look-up"))
    ((_, where),) = await look_up(host, 443)
    assert where[:2] == (host, 443)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
async def test_a_name_without_address_is_an_oserror(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Whatever the C library or Python's encoding of names says, it is one kind of error."""

    def fail() -> None:
        raise error

    answers(monkeypatch, fail)
    with pytest.raises(OSError, match="not"):
        await look_up("x" * 300, 443)


async def test_a_look_up_that_nobody_waits_for_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer after the call was given up is dropped, and so is one after the loop has gone."""
    release, asked = threading.Event(), threading.Semaphore(0)

    def late() -> list[object]:
        asked.release()
        release.wait(10)
        return [info(V4, "192.0.2.1")]

    answers(monkeypatch, late)
    waiting = asyncio.create_task(look_up("a.example", 443))
    await asyncio.to_thread(asked.acquire)

    async def gone() -> None:
        task = asyncio.create_task(look_up("b.example", 443))
        await asyncio.to_thread(asked.acquire)
        task.cancel()

    await asyncio.to_thread(lambda: asyncio.run(gone()))
    waiting.cancel()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("look up")]
    assert len(threads) == 2
    release.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_many_look_ups_that_hang_hold_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups have threads of their own: with dozens of them stuck, other work of the process goes on."""
    release = threading.Event()
    answers(monkeypatch, lambda: release.wait(10) and [])
    stuck = [asyncio.create_task(look_up(f"{number}.example", 443)) for number in range(40)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(lambda: 7) == 7
    release.set()
    assert await asyncio.gather(*stuck) == [[]] * 40


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    """A refused address costs no wait."""
    with listening() as good:
        (await dial([REFUSED, REFUSED, good])).close()


async def test_the_first_refusal_is_the_reason() -> None:
    """When no address answers, the error is that of the first choice; without addresses it says so."""
    with pytest.raises(ConnectionRefusedError, match=rf"Connection refused: 127\.0\.0\.1 port {REFUSED[1][1]}$"):
        await dial([REFUSED, (V4, ("255.255.255.255", 1))])
    with pytest.raises(OSError, match="no address"):
        await dial([])


async def test_a_silent_address_has_a_head_start_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first address is silent the second is tried; what answers later is closed."""
    monkeypatch.setattr(dialing, "HEAD_START", 0.01)
    release = asyncio.Event()
    late: list[socket.socket] = []
    real = dialing._connect

    async def connect(address: Address) -> socket.socket:
        made = await real(address)
        if not late:
            late.append(made)
            await asyncio.shield(release.wait())
        return made

    async def stubborn(address: Address) -> socket.socket:
        inner = asyncio.ensure_future(connect(address))
        while not inner.done():
            try:
                await asyncio.shield(inner)
            except asyncio.CancelledError:
                continue
        return inner.result()

    monkeypatch.setattr(dialing, "_connect", stubborn)
    with listening() as good:
        won = await dial([good, good])
        release.set()
        while late[0].fileno() >= 0:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert won.fileno() >= 0
        won.close()


async def test_of_two_that_answer_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two addresses may answer in the same moment: one socket is handed out, the other closed."""
    monkeypatch.setattr(dialing, "HEAD_START", 0.0)
    both = asyncio.Barrier(2)
    made: list[socket.socket] = []
    real = dialing._connect

    async def connect(address: Address) -> socket.socket:
        one = await real(address)
        made.append(one)
        await both.wait()
        return one

    monkeypatch.setattr(dialing, "_connect", connect)
    with listening() as good:
        won = await dial([good, good])
        while sum(one.fileno() >= 0 for one in made) > 1:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert won.fileno() >= 0
        won.close()


async def test_a_cancel_at_any_moment_leaves_no_socket() -> None:
    """However far it had come, a call that is given up leaves nothing open: an unclosed socket would fail this test."""
    with listening() as good:
        for _ in range(200):
            task = asyncio.create_task(dial([REFUSED, good]))
            for _ in range(random.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(done, socket.socket):
                done.close()
            await asyncio.sleep(0)
    gc.collect()
