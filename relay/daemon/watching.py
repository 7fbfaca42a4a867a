"""Says when the configuration on disk is another than the one in use.

Why it never reloads by itself: a file is saved in pieces, a roll-out writes several files one after the other, and an
editor's slip would change what the relay may do with nobody looking. A reload is an order of a person, or of a program
that waits for its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from relay.config.files import DROP_INS, is_drop_in
from relay.config.load import load
from relay.config.model import Settings
from relay.config.problems import ConfigProblems
from relay.core.errors import ConfigError
from relay.host.watch import FolderWatch
from relay.jobs.conditions import Conditions

SUBJECT = "configuration"
DIFFERS = 1019


class ConfigWatch:
    """Watches the main file and `conf.d` beside it, and keeps the condition.

    Args:
        main: the main file.
        environ: the environment, as `load` takes it.
        conditions: where the difference is told.
        in_use: gives the settings that the relay works with.

    """

    def __init__(
        self, main: Path, environ: Mapping[str, str], conditions: Conditions, in_use: Callable[[], Settings]
    ) -> None:
        self._main = main.absolute()
        self._environ = environ
        self._conditions = conditions
        self._in_use = in_use
        self._said = ""

    async def run(self) -> None:
        """Watch until cancelled."""
        drop_ins = self._main.parent / DROP_INS
        watch = FolderWatch([self._main.parent, drop_ins], self._wanted, self._look)
        try:
            await watch.start()
            await self._look(frozenset())  # what changed between the start's reading and now
            await watch.run()
        finally:
            await watch.aclose()

    def _wanted(self, path: Path) -> bool:
        return path == self._main or (path.parent.name == DROP_INS and is_drop_in(path.name))

    async def _look(self, _changed: frozenset[Path]) -> None:
        found = await asyncio.to_thread(self._read)
        difference = found if isinstance(found, str) else self._difference(found)
        if difference != self._said:
            self._conditions.clear(SUBJECT)
        self._said = difference
        if difference:
            self._conditions.fail(SUBJECT, ConfigError(DIFFERS, difference))

    def forget(self) -> None:
        """The configuration on disk has just been taken into use."""
        self._said = ""
        self._conditions.clear(SUBJECT)

    def _read(self) -> Settings | str:
        """What the files say, or why they cannot be used."""
        try:
            return load(self._main, self._environ).settings
        except ConfigProblems as problems:
            number = len(problems.problems)
            return f"it has {number} problem{'s' if number > 1 else ''}, and a reload would be refused"

    def _difference(self, found: Settings) -> str:
        """Where the files differ from what is in use, "" when they say the same."""
        in_use = self._in_use()
        sections = [name for name in Settings.model_fields if getattr(found, name) != getattr(in_use, name)]
        return f"in {', '.join(sections)}" if sections else ""
