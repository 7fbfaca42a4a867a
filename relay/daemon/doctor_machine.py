"""This machine: the configuration's warnings, the state folder, the disk, the storage key, the process, the clock."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from relay.config.load import Loaded
from relay.core.doctor import Check, Folder, Sheet, folder_trouble, room, was_set
from relay.core.errors import ConfigError, StorageError
from relay.core.jobs import Json
from relay.daemon.report import moment
from relay.daemon.storage_key import SELF_MADE
from relay.host.clock import Clock
from relay.host.files import free_bytes
from relay.host.folders import Folders
from relay.host.hardening import AS_ROOT
from relay.host.secrets import SecretReader
from relay.storage.key import KEY_FILE, MasterKey

NAMES = ("configuration", "relay", "state folder", "disk", "storage key", "process", "clock")
UNUSABLE, FULL, CLOCK, EXPOSED = 5001, 5004, 2021, 1029


@dataclass(slots=True)
class MachineDoctor:
    """Looks at this machine. It takes no lock and writes nothing.

    Args:
        loaded: the configuration.
        folders: where state and keys are.
        secrets: reads the storage key.
        clock: this machine's.
        status: what the running relay says of itself, None without one.
        away: why there is no status.
        exposed: what others on this machine could do to a process of ours.

    """

    loaded: Loaded
    folders: Folders
    secrets: SecretReader
    clock: Clock
    status: Json
    away: str
    exposed: Sequence[str] = ()

    def look(self) -> tuple[Check, ...]:
        """Make every check."""
        sheet = Sheet(
            "this machine", ("configuration", "relay", "state folder", "disk", "storage key", "process", "clock")
        )
        for problem in self.loaded.warnings:
            if problem.mark is None:  # of the environment, which changes nothing
                sheet.ok("configuration", problem.text)
            else:
                told = f"{problem.mark}: {problem.where}: {problem.text}"
                sheet.wrong("configuration", problem.number, told, result="warning")
        if not self.loaded.warnings:
            sheet.ok("configuration", "nothing in it is without effect")
        self._relay(sheet)
        self._folder(sheet)
        self._key(sheet)
        self._process(sheet)
        now = self.clock.wall()
        if was_set(now):
            sheet.ok("clock", moment(now))
        else:
            sheet.wrong("clock", CLOCK, f"it says {moment(now)}", result="error")
        return sheet.end()

    def _relay(self, sheet: Sheet) -> None:
        if self.status is None:
            sheet.ok("relay", self.away)
            return
        wrong = len(self.status["conditions"])
        more = f"; {wrong} condition(s), see 'bseries-relay status'" if wrong else ""
        sheet.ok("relay", f"{self.status['state']}, version {self.status['version']}{more}")

    def _folder(self, sheet: Sheet) -> None:
        folder = self.folders.state
        try:
            there = next(one for one in (folder, *folder.parents) if one.exists())
            found = there.stat()
            free = free_bytes(there)
        except OSError as error:
            sheet.wrong("state folder", UNUSABLE, f"{folder}: {error.strerror}")
            return
        seen = Folder(str(there), found.st_mode, found.st_uid, writable=os.access(there, os.W_OK | os.X_OK))
        trouble = folder_trouble(str(folder), seen, os.geteuid())
        if trouble:
            sheet.wrong("state folder", UNUSABLE, trouble)
        elif there != folder:
            sheet.ok("state folder", f"{folder}: made at the first start")
        else:
            sheet.ok("state folder", f"{folder}: mode {stat.S_IMODE(found.st_mode):04o}")
        told = f"{free >> 20} MiB are free"
        if room(free) == "ok":
            sheet.ok("disk", told)
        else:
            sheet.wrong("disk", FULL, f"{folder}: {told}", result=room(free))

    def _key(self, sheet: Sheet) -> None:
        storage = self.loaded.settings.storage
        if storage.key is None:
            sheet.wrong("storage key", SELF_MADE, str(self.folders.key / KEY_FILE))
            return
        try:
            for key in (storage.key, storage.former_key):
                if key is not None:
                    MasterKey.of(self.secrets.read(key))
        except (ConfigError, StorageError) as error:
            sheet.wrong("storage key", error.number, error.detail)
        else:
            sheet.ok("storage key", f"{storage.key}")

    def _process(self, sheet: Sheet) -> None:
        """What guards a process of ours here. Who runs this command need not be who runs the relay: root may."""
        found = [one for one in self.exposed if one != AS_ROOT]
        if found:
            sheet.wrong("process", EXPOSED, "; ".join(found))
        else:
            sheet.ok("process", "no core file, and nobody else of its user can read its memory")
