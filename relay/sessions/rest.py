"""A whole side that fails is not asked for one session after the other: all of them wait together.

Why: thousands of sessions may wait, each for its own next try. An appliance or instance that is away would be asked as
often, the log would tell of each, and each would be stored anew.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.core.errors import RelayError
from relay.core.session_job import of_the_side
from relay.jobs.ports import Clock
from relay.sessions.parts import TROUBLE

IN_A_ROW = 3
"""Sessions that fail in a row until a stage rests: one session has waits of its own, and two may be luck."""


class Rest:
    """The rests of one stage.

    Args:
        clock: this machine's clocks.
        jitter: a random number in [0, 1).

    """

    def __init__(self, clock: Clock, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._failed: set[str] = set()
        self._rests = 0
        self._until = float("-inf")

    def over(self) -> bool:
        """Whether the stage may take work. The runner asks again after a minute at most."""
        return self._clock.monotonic() >= self._until

    def worked(self) -> None:
        """The side answered."""
        self._failed.clear()
        self._rests = 0

    def failed(self, job: str, error: RelayError) -> None:
        """The step of a session failed. What fails during a rest was begun before it."""
        if not of_the_side(error) or not self.over():
            return
        if len(self._failed) < IN_A_ROW:
            self._failed.add(job)
        if len(self._failed) >= IN_A_ROW:
            self._rests += 1
            wait = TROUBLE.delay(self._rests, self._jitter(), error.after)
            self._until = self._clock.monotonic() + wait
