"""Listening sockets: those that we bind, and those that systemd bound and handed to us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from relay.config.values import Endpoint

_FIRST_PASSED: Final = 3  # sd_listen_fds(3)
_BACKLOG: Final = 128


async def bound(endpoint: Endpoint, *, listens: bool = True) -> list[socket.socket]:
    """Listen at every address of an endpoint; `::` takes IPv4 as well.

    `listens` False only takes the addresses: nobody can connect.

    Raises:
        OSError: one of the addresses cannot be had, or the host name has none; nothing listens then.

    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as stack:
        made = []
        for family, _, _, _, address in dict.fromkeys(found):
            one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            one.setblocking(False)  # noqa: FBT003  # as socket has it
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, endpoint.host != "::")
            one.bind(address)
            if listens:
                one.listen(_BACKLOG)
            made.append(one)
        stack.pop_all()
        return made


def passed(environ: Mapping[str, str], pid: int | None = None) -> list[socket.socket]:
    """The listening TCP sockets that systemd handed to this process; whatever else it handed over is left alone.

    To be called once, at start: the sockets are the caller's from then on.
    """
    if environ.get("LISTEN_PID") != str(os.getpid() if pid is None else pid):
        return []
    try:
        count = int(environ.get("LISTEN_FDS", ""))
    except ValueError:
        return []
    return [one for fd in range(_FIRST_PASSED, _FIRST_PASSED + count) if (one := _taken(fd)) is not None]


def _taken(fd: int) -> socket.socket | None:
    try:
        one = socket.socket(fileno=fd)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and one.type == socket.SOCK_STREAM and one.family in {socket.AF_INET, socket.AF_INET6}:
            one.set_inheritable(False)
            one.setblocking(False)  # noqa: FBT003  # as socket has it
            return one
    one.detach()
    return None
