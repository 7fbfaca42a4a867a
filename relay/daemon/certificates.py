"""Tells in time that a certificate ends: of the servers and proxies that were connected to, and the relay's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from relay.core.errors import ApplianceError, ConfigError, RelayError, ServiceNowError
from relay.core.expiry import Certificate, ending
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.daemon.report import moment
from relay.host.certificates import Held, held, held_by_us

OURS = frozenset({"client", "listener"})
LOOK = 60.0
"""Seconds between looks: a certificate is first seen in a handshake, whenever that is."""
_ERRORS: dict[Certificate, type[RelayError]] = {
    "own": ConfigError,
    "servicenow": ServiceNowError,
    "appliance": ApplianceError,
}


def all_held(plan: Plan) -> list[Held]:
    """The certificates that connections are made with, as far as they are known by now."""
    station = plan.stations.now
    ours = held_by_us(station.certificate) if station is not None else ()
    return [*(one for target in plan.targets for one in held(target)), *ours]


class CertificateWatch:
    """Keeps a condition for each certificate that ends soon.

    Args:
        process: its clock and conditions.
        plan: gives the plan at work.

    """

    def __init__(self, process: Process, plan: Callable[[], Plan]) -> None:
        self._process = process
        self._plan = plan
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Look from time to time, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK)

    def look(self) -> None:
        """Look at every certificate once."""
        now, conditions = self._process.clock.wall(), self._process.conditions
        found = {f"{one.certificate} certificate, {one.target}": one for one in all_held(self._plan())}
        errors = {subject: error for subject, one in found.items() if (error := _error(one, now)) is not None}
        for subject in self._said.keys() - errors.keys():
            conditions.clear(subject)
        for subject, error in errors.items():
            if error.text != self._said.get(subject):
                conditions.clear(subject)  # a certificate that was renewed, and ends soon as well
            conditions.fail(subject, error)
        self._said = {subject: error.text for subject, error in errors.items()}


def _error(one: Held, now: float) -> RelayError | None:
    whose: Certificate = (
        "own" if one.certificate in OURS else "servicenow" if one.target == "servicenow" else "appliance"
    )
    number = ending(whose, one.ends - now)
    return _ERRORS[whose](number, f"the {one.certificate}'s, on {moment(one.ends)}") if number is not None else None
