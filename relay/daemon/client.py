"""The other end of the control socket: asks the running daemon one thing."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

from relay.core.jobs import Json

PATIENCE = 60.0
"""Seconds. A reload waits for calls that are under way."""


ANOTHER = 1023


class DaemonAway(Exception):  # noqa: N818  # says where the daemon is, not what broke
    """No daemon answers on the control socket."""


class DaemonDenied(Exception):  # noqa: N818  # as above
    """The control socket may not be used by this user."""


class DaemonError(Exception):
    """The daemon refused, with a code, a text and a fix."""

    def __init__(self, number: int, text: str, fix: str) -> None:
        self.number, self.text, self.fix = number, text, fix
        super().__init__(text)


def ask(
    sockets: Sequence[Path],
    state: Path,
    command: str,
    arguments: dict[str, Json] | None = None,
    within: float = PATIENCE,
) -> Json:
    """The answer of the daemon that works in the folder `state`; another one that listens there is passed over.

    `within`: seconds that it may take.

    Raises:
        DaemonAway: nobody listens there.
        DaemonError: the daemon refused.
        DaemonDenied: the socket may not be used by this user.

    """
    asked = {"command": command, "arguments": arguments or {}, "state": str(state.resolve())}
    answer = _exchange(sockets, json.dumps(asked).encode() + b"\n", within)
    if not answer["ok"]:
        raise DaemonError(answer["number"], answer["error"], answer["fix"])
    return answer["result"]


def _exchange(sockets: Sequence[Path], request: bytes, within: float) -> Json:
    denied: Path | None = None
    for path in sockets:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(within)
            try:
                channel.connect(str(path))
            except PermissionError:
                denied = path
                continue
            except OSError:
                continue
            try:
                channel.sendall(request)
                answer = b"".join(iter(lambda: channel.recv(65536), b""))
            except OSError as error:
                raise DaemonAway(f"{path}: {error.strerror or error}") from error
            if not answer:
                raise DaemonAway(f"{path}: it hung up")
            read = json.loads(answer)
            if read["ok"] or read["number"] != ANOTHER:
                return read
    if denied is not None:
        raise DaemonDenied(str(denied))
    raise DaemonAway(", ".join(map(str, sockets)))
