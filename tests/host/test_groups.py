"""The thread that serves requests in groups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from relay.host.groups import MOST, GroupThread


def double(group: Sequence[int]) -> list[int | Exception]:
    return [number * 2 if number >= 0 else ValueError(number) for number in group]


async def test_each_request_gets_its_own_result() -> None:
    """Results and errors come back to the request that they belong to, from another thread."""
    threads = set()

    def serve(group: Sequence[int]) -> list[int | Exception]:
        threads.add(threading.current_thread().name)
        return double(group)

    thread = GroupThread("test", serve)
    results = await asyncio.gather(*map(thread.ask, [1, -1, 3]), return_exceptions=True)
    await thread.close()
    assert results[0::2] == [2, 6]
    assert isinstance(results[1], ValueError)
    assert threads == {"test"}


async def test_requests_of_one_turn_are_one_group_up_to_a_limit() -> None:
    """What is asked in one turn of the loop is served together, in groups of bounded size."""
    sizes: list[int] = []

    def serve(group: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(group))
        return double(group)

    thread = GroupThread("test", serve)
    await asyncio.gather(*map(thread.ask, range(3)))
    await asyncio.gather(*map(thread.ask, range(MOST + 1)))
    await thread.close()
    assert sizes == [3, MOST, 1]


async def test_what_comes_while_the_thread_is_busy_is_served_together() -> None:
    """Requests of several turns that arrive during a slow group share the next one; then `rest` runs."""
    sizes: list[int] = []
    rests: list[int] = []
    gate = threading.Event()
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def serve(group: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(group))
        loop.call_soon_threadsafe(began.set)
        gate.wait()
        return double(group)

    thread = GroupThread("test", serve, lambda: rests.append(len(sizes)))
    asked = [asyncio.create_task(thread.ask(1))]
    await began.wait()
    for _ in range(3):
        asked.append(asyncio.create_task(thread.ask(1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    closing = asyncio.create_task(thread.close())
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asked) == [2, 2, 2, 2]
    await closing
    assert sizes == [1, 3]
    assert rests == [1, 2]


async def test_a_group_that_fails_as_a_whole_fails_each_request() -> None:
    """What the serving function itself raises is raised for every request, and the thread goes on."""
    faults = [RuntimeError("once")]

    def serve(group: Sequence[int]) -> list[int | Exception]:
        if faults:
            raise faults.pop()
        return double(group)

    thread = GroupThread("test", serve)
    failed = await asyncio.gather(thread.ask(1), thread.ask(2), return_exceptions=True)
    assert [type(one) for one in failed] == [RuntimeError, RuntimeError]
    assert await thread.ask(2) == 4
    await thread.close()


async def test_nothing_can_be_asked_after_close() -> None:
    """Close serves what was asked, may be called twice, and ends the thread."""
    thread = GroupThread("test", double)
    asked = asyncio.create_task(thread.ask(1))
    await asyncio.sleep(0)
    await asyncio.gather(thread.close(), thread.close())
    assert await asked == 2
    assert thread.closed
    assert not thread._thread.is_alive()
    with pytest.raises(RuntimeError):
        await thread.ask(1)


async def test_a_caller_that_went_away_is_left_alone() -> None:
    """A cancelled request is served, and its result is dropped."""
    thread = GroupThread("test", double)
    gone = asyncio.create_task(thread.ask(1))
    kept = asyncio.create_task(thread.ask(2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await kept == 4
    assert gone.cancelled()
    await thread.close()


def test_a_loop_that_ended_is_not_called() -> None:
    """Results for a loop that is closed are dropped without a trace."""
    gate = threading.Event()
    threads = []

    def serve(group: Sequence[int]) -> list[int | Exception]:
        gate.wait()
        return double(group)

    async def leave() -> None:
        thread = GroupThread("test", serve)
        threads.append(thread._thread)
        asked = asyncio.create_task(thread.ask(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        thread._handed.put(None)
        asked.cancel()

    asyncio.run(leave())
    gate.set()
    threads[0].join(10)
    assert not threads[0].is_alive()
