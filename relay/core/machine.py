"""State tables: a job's life as one literal, and the only function that moves along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class ImpossibleTransition(Exception):  # noqa: N818  # a fault of the caller, not an error of the product
    """The table has no row for this event in this state."""


@dataclass(frozen=True, slots=True)
class StateTable:
    """The life of one kind of job.

    `rows` maps state to event to next state. A state with an empty row is final: nothing moves it but the sweep.
    """

    kind: str
    initial: str
    rows: Mapping[str, Mapping[str, str]]

    def advance(self, state: str, event: str) -> str:
        """The state after an event.

        Raises:
            ImpossibleTransition: what is not in the table does not happen.

        """
        target = self.rows.get(state, {}).get(event)
        if target is None:
            msg = f"{self.kind}: no '{event}' in state '{state}'"
            raise ImpossibleTransition(msg)
        return target

    @property
    def states(self) -> frozenset[str]:
        """Every state of the table."""
        return frozenset(self.rows)

    @property
    def final(self) -> frozenset[str]:
        """States that nothing leads out of."""
        return frozenset(state for state, row in self.rows.items() if not row)
