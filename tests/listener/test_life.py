"""The listener comes, changes and goes with the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from support.account import ManualClock
from support.listening import PATH, Desk, Health, Running, known, listening, running
from support.tls import Authority

from relay.config.values import Endpoint
from relay.core.addresses import read_address
from relay.core.errors import ListenerError
from relay.host.clock import Clock
from relay.listener import listener as module
from relay.listener.listener import SUBJECT, Listener
from relay.listener.refusals import MOST_LINES, SECONDS, Refusals


def refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


async def until_silent(one: Running) -> None:
    """Return when it listens nowhere."""
    async with asyncio.timeout(10):
        while one.listener.ports:  # noqa: ASYNC110 - the listener tells nobody
            await asyncio.sleep(0.01)


async def until_elsewhere(one: Running, before: tuple[int, ...]) -> None:
    """Return when it listens at other ports."""
    async with asyncio.timeout(10):
        while one.listener.ports in {(), before}:  # noqa: ASYNC110 - the listener tells nobody
            await asyncio.sleep(0.01)


async def until_wrong(one: Running) -> None:
    """Return when something is wrong with it."""
    async with asyncio.timeout(10):
        while SUBJECT not in one.health.wrong:
            one.health.changed.clear()
            await one.health.changed.wait()


async def test_without_a_configuration_nothing_listens() -> None:
    """It can be absent, from the start and after a reload."""
    health = Health()
    listener = Listener(Desk(), health, Clock())
    task = asyncio.create_task(listener.run())
    listener.listen(None)
    await asyncio.sleep(0.05)
    assert (listener.ports, health.wrong, task.done()) == ((), {}, False)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_goes_and_comes_back(authority: Authority) -> None:
    """A configuration without a listener ends it; the next one with a listener begins it again."""
    async with running(authority) as one:
        port = one.port
        one.listener.listen(None)
        await until_silent(one)
        assert refused(port)
        one.listener.listen(replace(one.station, endpoint=Endpoint("127.0.0.1", port)))
        await listening(one)
        assert one.port == port
        assert await one.post() == 200


async def test_another_address_replaces_the_first(authority: Authority) -> None:
    """Only the new address is served."""
    async with running(authority) as one:
        port = one.port
        before = one.listener.ports
        one.listener.listen(replace(one.station, endpoint=Endpoint("localhost", 0)))
        await until_elsewhere(one, before)
        assert refused(port)
        assert await one.post() == 200


async def test_at_the_same_address_nothing_is_interrupted(authority: Authority) -> None:
    """New tokens, senders or certificates count for the next call; a call under way ends as it began."""
    async with running(authority) as one:
        port = one.port
        under_way = await one.call()
        await one.until(1)
        one.listener.listen(replace(one.station, senders=(known(token="another-token"),)))
        await asyncio.sleep(0)
        assert one.port == port
        assert await one.post(PATH) == 403
        assert await one.post("/events?outbound_event_token=another-token") == 200
        assert (await under_way.ask(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).startswith(b"HTTP/1.1 200")


async def test_a_new_certificate_is_shown_to_the_next_caller(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is taken over without a new socket."""
    other = Authority(tmp_path_factory.mktemp("other"))
    async with running(authority) as one:
        assert await one.post() == 200
        one.listener.listen(replace(one.station, context=other.issue().context))
        one.trust = other.client_context()
        assert await one.post() == 200


async def test_a_taken_address_is_a_condition_and_tried_again(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told with its code, tried again by itself, and cleared when it is had."""
    monkeypatch.setattr(module, "AGAIN", 0.05)
    async with running(authority) as one:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            one.listener.listen(replace(one.station, endpoint=Endpoint("127.0.0.1", port)))
            await until_wrong(one)
            assert one.health.wrong[SUBJECT].number == 6001
            assert f"127.0.0.1:{port}" in one.health.wrong[SUBJECT].text
            assert one.listener.ports == ()
        await listening(one)
        assert (one.port, one.health.wrong) == (port, {})
        assert await one.post() == 200


async def test_a_condition_ends_with_the_listener(authority: Authority) -> None:
    """Who takes the listener out of the configuration has no wrong address any more."""
    async with running(authority) as one:
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            one.listener.listen(replace(one.station, endpoint=Endpoint("127.0.0.1", taken.getsockname()[1])))
            await until_wrong(one)
            one.listener.listen(None)
            async with asyncio.timeout(10):
                while one.health.wrong:
                    one.health.changed.clear()
                    await one.health.changed.wait()


async def test_a_socket_that_fails_is_made_anew(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing can be accepted any more, the address is a condition until it is had again."""
    monkeypatch.setattr(module, "AGAIN", 0.05)
    async with running(authority) as one:
        before = one.listener.ports
        accept = socket.socket.accept
        faults = [OSError(errno.EINVAL, "Invalid argument")]
        monkeypatch.setattr(
            socket.socket, "accept", lambda self: accept(self) if not faults else (_ for _ in ()).throw(faults.pop())
        )
        socket.create_connection(("127.0.0.1", one.port)).close()
        await until_wrong(one)
        assert one.health.wrong[SUBJECT].number == 6001
        await until_elsewhere(one, before)
        assert one.health.wrong == {}
        assert await one.post() == 200


async def test_the_stop_ends_every_connection(authority: Authority) -> None:
    """Neither a silent caller nor one whose post is being stored holds the stop up, and neither gets a 200."""
    async with running(authority) as one:
        one.inbox.open.clear()
        silent = await one.raw()
        asking = asyncio.create_task(one.post())
        await one.inbox.entered.wait()
        await one.until(2)
        one.task.cancel()
        await asyncio.wait_for(asyncio.gather(one.task, return_exceptions=True), 5)
        assert await asyncio.wait_for(silent.rest(), 5) == b""
        assert await asyncio.wait_for(asking, 5) == 0
        assert one.connections == 0
        assert one.inbox.posts == []


async def test_a_socket_that_systemd_passed_is_served(authority: Authority) -> None:
    """It replaces the configured address, and stays open when the listener goes."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as given:
        given.setblocking(False)
        with capture_logs() as logs:
            async with running(authority, host="192.0.2.1", port=1, passed=[given]) as one:
                assert one.port == given.getsockname()[1]
                assert await one.post() == 200
                one.listener.listen(None)
                await until_silent(one)
                one.listener.listen(one.station)
                await listening(one)
                assert await one.post() == 200
        assert given.fileno() != -1
        assert [line["passed"] for line in logs if line["event"] == "listener.listening"] == [True, True]


async def test_a_call_between_two_configurations_is_not_served(authority: Authority) -> None:
    """Who is accepted in the moment that the listener goes is served by nobody."""
    async with running(authority) as one:
        one.listener._station = None
        assert await (await one.raw()).rest() == b""
        assert one.connections == 0


def test_refusals_are_told_rarely() -> None:
    """One line a minute for each reason and caller, of IPv6 for each network; so many in all; the rest is counted."""
    clock = ManualClock()
    refusals = Refusals(clock)
    with capture_logs() as logs:
        for text in ("10.1.2.3", "10.1.2.3", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            refusals.tell(ListenerError(6003), read_address(text))
        refusals.tell(ListenerError(6002), read_address("10.1.2.3"), "default")
        for number in range(100):
            refusals.tell(ListenerError(6003), read_address(f"10.9.9.{number}"))
        assert len(logs) == MOST_LINES
        clock.now += SECONDS
        refusals.tell(ListenerError(6003), read_address("10.1.2.3"))
    assert [line["source"] for line in logs[:4]] == ["10.1.2.3", "2001:db8::1", "2001:db8:0:1::1", "10.1.2.3"]
    assert [line["missed"] for line in logs[:4]] == [0, 1, 1, 0]
    assert (logs[3]["appliance"], logs[3]["code"]) == ("default", "BSR-6002")
    assert logs[-1]["missed"] == 106 - MOST_LINES - 2
