"""The part of the demonstration that comes from the appliances: sessions that end, and come home to ServiceNow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.sandbox.box import Sandbox
    from relay.sandbox.lifelike import Lives, Script
    from relay.sandbox.sessionoracle import SessionSummary

DROP_IN = "sessions: {sweep: 1s}\n"


class Sessions:
    """Sessions of some appliances of a sandbox, each for an incident of its own.

    Args:
        box: the sandbox.
        names: the appliances.
        number: how many sessions end with an event that tells of them, and how many without one.

    """

    def __init__(self, box: Sandbox, names: Sequence[str], number: tuple[int, int]) -> None:
        from relay.sandbox.lifelike import Lives  # noqa: PLC0415  # `--help` stays light

        self._box = box
        self._told, self._untold = number
        self._lives = [Lives(box.appliances[name]) for name in names]
        self._running = [
            (lives, lives.begin(self._script(events))) for events, lives in self._places(self._told, beginning=20)
        ]
        self.ended = False

    @property
    def number(self) -> int:
        """How many there will be in all."""
        return self._told + self._untold

    def end(self) -> None:
        """They end; the appliances post it, of some of them they do not."""
        self.ended = True
        for lives, session in self._running:
            lives.end(session)
        for events, lives in self._places(self._untold, beginning=50):
            lives.ended(self._script(events))

    def judge(self, *, final: bool = False) -> SessionSummary:
        """What came of them."""
        from relay.config.flows import SessionSettings  # noqa: PLC0415  # as above
        from relay.sandbox.sessionoracle import Terms, check_sessions  # noqa: PLC0415  # as above

        terms = Terms(events=frozenset(SessionSettings().events))
        return check_sessions(self._box.servicenow, self._box.appliances.values(), terms, final=final)

    def home(self) -> bool:
        """Whether all are imported, with everything that goes with it, also those that the records' calls ended."""
        return self.ended and not self.judge(final=True).violations

    def _places(self, number: int, *, beginning: int) -> list[tuple[int, Lives]]:
        return [(beginning + place, self._lives[place % len(self._lives)]) for place in range(number)]

    def _script(self, events: int) -> Script:
        from relay.sandbox.lifelike import Script  # noqa: PLC0415  # as above

        task = self._box.servicenow.insert("incident", {"short_description": "a demonstration"})["sys_id"]
        return Script(events=events, film=1000, attributes={"snow_task_id": task})
