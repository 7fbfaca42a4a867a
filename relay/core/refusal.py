"""How a part of the policy says no, and how hostile text is shown to people."""

from __future__ import annotations

from typing import Final

SHOWN: Final = 80
"""Characters of foreign text that a message repeats at most: enough to find the fault, too little to carry a load."""


class Refusal(Exception):  # noqa: N818  # a decision on its way to `Policy.decide`, which makes a value of it
    """The call is refused. `number` is a code of the registry, `rule` names what refused."""

    def __init__(self, number: int, detail: str, rule: str = "") -> None:
        self.number = number
        self.detail = detail
        self.rule = rule
        super().__init__(detail)


def shown(text: str) -> str:
    """Foreign text for a message: one line of printable ASCII, cut short."""
    safe = "".join(char if char.isascii() and char.isprintable() else "?" for char in text[:SHOWN])
    return f"{safe}..." if len(text) > SHOWN else safe
