"""When a certificate's end is worth telling, and by which code."""

from __future__ import annotations

from typing import Final, Literal

Certificate = Literal["own", "servicenow", "appliance"]
"""Whose certificate it is: the relay's own, or one that a server or proxy of that side shows."""

DAY: Final = 86_400.0
SOON: Final = 30 * DAY
URGENT: Final = 7 * DAY

_CODES: Final[dict[Certificate, tuple[int, int]]] = {
    "own": (1026, 1027),
    "servicenow": (2022, 2023),
    "appliance": (3016, 3017),
}


def ending(certificate: Certificate, seconds: float) -> int | None:
    """The code of a certificate that ends in so many seconds (or ended so long ago); None while there is time."""
    if seconds >= SOON:
        return None
    soon, urgent = _CODES[certificate]
    return soon if seconds >= URGENT else urgent
