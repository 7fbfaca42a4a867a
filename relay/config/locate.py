"""Where the configuration is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import platformdirs

from relay.config.files import MAIN_FILE

SYSTEM = Path("/etc/bseries-relay") / MAIN_FILE


def locate(explicit: Path | None, environ: Mapping[str, str], *, root: bool, system: Path = SYSTEM) -> Path:
    """The main file: the one that is named, systemd's, the system's, or the user's own.

    Args:
        explicit: the file of `--config`.
        environ: the environment; `CONFIGURATION_DIRECTORY` is set by systemd and may name several folders.
        root: whether the process runs as root, for whom there is no user's own configuration.
        system: the system's file.

    """
    if explicit is not None:
        return explicit
    folder = environ.get("CONFIGURATION_DIRECTORY", "").partition(":")[0]
    if folder:
        return Path(folder) / MAIN_FILE
    if root or _is_there(system):
        return system
    return platformdirs.user_config_path("bseries-relay") / MAIN_FILE


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except PermissionError:
        return True  # its folder is the service's; reading the file tells the user that it is not theirs
