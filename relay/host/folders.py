"""Where state, keys and the control socket live.

systemd's variables come first, then the configuration's own `storage.directory`, then the system's folders when this
user may use them, and platformdirs' user folders for an unprivileged run.

Why several places for the control socket: the daemon of a unit has `$RUNTIME_DIRECTORY`, the administrator's shell has
not, and both read the same configuration. The daemon binds the first place; a client tries them in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

NAME = "bseries-relay"
SOCKET = "control.sock"
KEY_SUFFIX = "-key"

_STATE = Path("/var/lib") / NAME
_RUNTIME = Path("/run") / NAME

Usable = Callable[[Path], bool]


@dataclass(frozen=True, slots=True)
class Folders:
    """Absolute places on this machine. Nothing is created.

    Attributes:
        state: the store and the audit log.
        key: holds the keys that the relay makes for itself. Why apart from the state: a copy or a backup of the
            state folder alone neither opens the bodies in it nor signs its audit log.
        socket: where the daemon binds the control socket.
        sockets: where a client looks for it, best first.

    """

    state: Path
    key: Path
    socket: Path
    sockets: tuple[Path, ...]


def find_folders(
    environ: Mapping[str, str],
    *,
    storage: Path | None = None,
    root: bool | None = None,
    usable: Usable | None = None,
) -> Folders:
    """The folders of this process.

    Args:
        environ: systemd's variables are read from here. Each may hold several paths, joined by colons.
        storage: `storage.directory` of the configuration; None before it is read, and when it is absent.
        root: whether the process runs as root; None asks the system.
        usable: whether a system folder serves this user; None asks the system.

    """
    root = os.geteuid() == 0 if root is None else root
    usable = usable or _usable
    states = _paths(environ, "STATE_DIRECTORY")
    runtimes = _paths(environ, "RUNTIME_DIRECTORY")
    system = _STATE if root or usable(_STATE) else platformdirs.user_state_path(NAME)
    default = states[0] if states else system
    state = storage.absolute() if storage else default
    places = [*runtimes[:1], *([state] if storage else []), _runtime(environ, state, root, usable), _RUNTIME]
    sockets = tuple(dict.fromkeys(place / SOCKET for place in places))
    return Folders(
        state=state,
        key=states[1] if len(states) > 1 else state.with_name(state.name + KEY_SUFFIX),
        socket=sockets[0],
        sockets=sockets,
    )


def _paths(environ: Mapping[str, str], name: str) -> list[Path]:
    """The absolute paths of a systemd variable. A relative one is no folder of ours and is left out."""
    return [Path(part) for part in environ.get(name, "").split(":") if part.startswith("/")]


def _runtime(environ: Mapping[str, str], state: Path, root: bool, usable: Usable) -> Path:  # noqa: FBT001  # private
    """Why not platformdirs here: without a session it answers a folder in /tmp, where anybody may be first."""
    if root or usable(_RUNTIME):
        return _RUNTIME
    sessions = _paths(environ, "XDG_RUNTIME_DIR")
    return sessions[0] / NAME if sessions else state


def _usable(folder: Path) -> bool:
    """Whoever may run the service may also write its state."""
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)
