"""Talk with systemd: readiness, status, watchdog, reload, stop.

Nothing here raises: a manager that cannot be told is no reason to stop work. Without systemd-python, or when it fails,
the same datagram is sent by hand (sd_notify(3)), so that readiness never depends on a compiled package.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from relay.core.plain import clean
from relay.host.clock import Clock

try:
    from systemd import daemon as _library
except ImportError:  # a wheel cannot bring it: it is compiled against the host's libsystemd
    _library = None

_MICROSECONDS: Final = 1_000_000
_LONGEST_STATUS: Final = 512  # `systemctl status` shows one line


class Notifier:
    """Messages of this process to its service manager. Each method tells whether the message was sent."""

    __slots__ = ("_clock",)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def ready(self, status: str = "") -> bool:
        """Say that start, or a reload, is finished."""
        return _notify("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """Set the line that `systemctl status` shows."""
        return _notify(*_status(text))

    def watchdog(self) -> bool:
        """Say that every loop is alive."""
        return _notify("WATCHDOG=1")

    def reloading(self, status: str = "") -> bool:
        """Say that a reload begins; `ready` ends it.

        The time goes in the same datagram: systemd ignores a reload without it (`Type=notify-reload`, version 253).
        """
        now = int(self._clock.monotonic() * _MICROSECONDS)
        return _notify("RELOADING=1", f"MONOTONIC_USEC={now}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """Say that the stop has begun."""
        return _notify("STOPPING=1", *_status(status))


def watchdog_interval(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Seconds after which systemd takes a silent process for dead; None when it does not watch this process."""
    for_pid = environ.get("WATCHDOG_PID", "")
    if for_pid and for_pid != str(os.getpid() if pid is None else pid):
        return None
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / _MICROSECONDS if microseconds > 0 else None


def _status(text: str) -> tuple[str, ...]:
    """One line: a line break inside would begin another assignment."""
    return (f"STATUS={clean(text)[:_LONGEST_STATUS]}",) if text else ()


def _notify(*assignments: str) -> bool:
    message = "\n".join(assignments)
    if not os.environ.get("NOTIFY_SOCKET"):
        return False
    if _library is not None:
        try:
            return bool(_library.notify(message))
        except (OSError, RuntimeError, ValueError):
            pass
    return _datagram(os.environ["NOTIFY_SOCKET"], message)


def _datagram(address: str, message: str) -> bool:
    # A leading @ stands for the NUL byte of an abstract socket.
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)  # noqa: FBT003  # a stuck manager must not stop the relay
            channel.sendto(message.encode(), target)
    except OSError:
        return False
    return True
