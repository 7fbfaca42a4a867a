"""The listener: its certificate, its address, and the folder that recordings go to."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.config.model import Settings
from relay.core.doctor import Check, Sheet
from relay.core.errors import ConfigError
from relay.core.jobs import Json
from relay.core.space import KEEPSAKES
from relay.daemon.doctor_connection import judge_end
from relay.host.certificates import held_by_us, names_in
from relay.host.clock import Clock
from relay.host.files import free_bytes
from relay.host.secrets import SecretReader
from relay.host.sockets import bound
from relay.listener.station import station_of

FOLDER, FULL, TAKEN = 5014, 5004, 6001


@dataclass(slots=True)
class ListenerDoctor:
    """Looks at what appliances call.

    Args:
        settings: the configuration.
        secrets: reads the key and the tokens.
        clock: this machine's.
        status: what the running relay says of itself, None without one.

    """

    settings: Settings
    secrets: SecretReader
    clock: Clock
    status: Json

    async def look(self) -> tuple[Check, ...]:
        """Make every check; none where nothing listens and no recording is stored."""
        listens = ("certificate", "names", "address") if self.settings.listener is not None else ()
        folders = self._folders()
        sheet = Sheet("listener", (*listens, *(("recordings",) if folders else ())))
        if listens:
            await self._listener(sheet)
        _recordings(sheet, folders)
        return sheet.end()

    def _folders(self) -> list[Path]:
        appliances = self.settings.appliances
        importing = [name for name, one in appliances.items() if one.enabled and self.settings.imports(name)]
        sections = [self.settings.sessions_of(name) for name in importing]
        found = [one.recording_folder for one in sections if one.recordings == "store"]
        return [*dict.fromkeys(folder for folder in found if folder is not None)]

    async def _listener(self, sheet: Sheet) -> None:
        try:
            station = station_of(self.settings, self.secrets.read)
        except ConfigError as error:
            sheet.wrong("certificate", error.number, error.detail)
            station = None
        if station is not None:
            for one in held_by_us(station.certificate):
                judge_end(sheet, "certificate", one, self.clock.wall(), "own")
            names = names_in(station.certificate)
            if names:
                sheet.ok("names", f"appliances must call it by one of {', '.join(names)}")
            else:
                told = "the certificate is for no name: no appliance will believe it"
                sheet.wrong("names", 1009, told, result="warning")
        await self._address(sheet)

    async def _address(self, sheet: Sheet) -> None:
        assert self.settings.listener is not None  # noqa: S101  # asked by the caller
        endpoint = self.settings.listener.listen
        told = [one for one in self.status["conditions"] if one["subject"] == "listener"] if self.status else []
        if told:
            sheet.wrong("address", TAKEN, str(told[0]["error"]))
            return
        try:
            sockets = await bound(endpoint, listens=False)
        except OSError as error:
            if self.status is not None and error.errno == errno.EADDRINUSE:
                sheet.ok("address", f"{endpoint}: the running relay has it")
                return
            why = f"{endpoint}: {error.strerror or error}"
            sheet.wrong("address", TAKEN, f"{why}; no relay answers here, but systemd may hold it for one")
            return
        for one in sockets:
            one.close()
        elsewhere = "; the running relay is not there: it needs a reload, or has its socket from systemd"
        sheet.ok("address", f"{endpoint} is free{elsewhere if self.status is not None else ''}")


def _recordings(sheet: Sheet, folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            sheet.wrong("recordings", FOLDER, f"{folder}: it is no folder, or not there")
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            sheet.wrong("recordings", FOLDER, f"{folder}: this user cannot write to it")
        elif free_bytes(folder) < KEEPSAKES:
            sheet.wrong("recordings", FULL, f"{folder}: {free_bytes(folder)} bytes are free", result="error")
        else:
            sheet.ok("recordings", f"{folder}: {free_bytes(folder) >> 20} MiB are free")
