"""From a name to a connected socket: one look-up, then its addresses, each with a head start over the next.

Why not `create_connection(happy_eyeballs_delay=...)`: when it is cancelled at the wrong moment, as every call that is
out of time may be, Python 3.11 loses a socket that is connected already. And asyncio looks names up in the few threads
that the whole process shares, where name servers that do not answer would hold up everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import threading
from collections.abc import Sequence
from typing import Final

from relay.core.egress import is_address

HEAD_START: Final = 0.25
"""Seconds until the next address is tried beside the one under way, as RFC 8305 recommends."""
MOST_ADDRESSES: Final = 10
"""Addresses of one name that are tried."""

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


async def look_up(host: str, port: int) -> list[Address]:
    """The addresses of a host, families in turn. Asks the C library once, whatever else happens.

    Raises:
        OSError: there is none.

    """
    if is_address(host):
        return _sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Address]] = loop.create_future()

    def tell(answer: list[Address] | Exception) -> None:
        if found.done():
            return
        if isinstance(answer, Exception):
            found.set_exception(answer)
        else:
            found.set_result(answer)

    def ask() -> None:
        answer: list[Address] | Exception
        try:
            answer = _sorted(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer = error if isinstance(error, OSError) else OSError(f"not a host name: {type(error).__name__}")
        with contextlib.suppress(RuntimeError):  # the loop has gone meanwhile
            loop.call_soon_threadsafe(tell, answer)

    # A thread of its own, left behind when nobody waits any more: the C library's look-up cannot be ended.
    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    return await found


async def dial(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to the first of these addresses that answers; every other one is closed, also when cancelled.

    Raises:
        OSError: none answers; what the first one said.

    """
    waiting = iter(addresses)
    tasks: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    winner: socket.socket | None = None
    try:
        while winner is None:
            following = next(waiting, None)
            if following is not None:
                tasks.add(asyncio.create_task(_connect(following)))
            elif not tasks:
                break
            seconds = HEAD_START if following is not None else None
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if winner is not None:
                    break  # the others are closed below
                tasks.discard(task)
                try:
                    winner = task.result()
                except OSError as error:
                    errors.append(error)
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(_close_result)
    if winner is None:
        raise errors[0] if errors else OSError("the name has no address")
    return winner


async def _connect(address: Address) -> socket.socket:
    family, where = address
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        await asyncio.get_running_loop().sock_connect(made, where)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:  # asyncio says it with a tuple
            error.strerror = f"{os.strerror(error.errno)}: {where[0]} port {where[1]}"
        made.close()
        raise
    return made


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    """A socket that nobody takes any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _sorted(found: Sequence[tuple[socket.AddressFamily, object, object, object, object]]) -> list[Address]:
    """Families in turn, in the order in which the C library prefers them; each address once."""
    families: dict[socket.AddressFamily, dict[Address, None]] = {}
    for family, _, _, _, where in found:
        address: Address = (family, where)  # type: ignore[assignment]  # what the two families have
        families.setdefault(family, {})[address] = None
    turns = itertools.zip_longest(*families.values())
    return [one for turn in turns for one in turn if one is not None][:MOST_ADDRESSES]
