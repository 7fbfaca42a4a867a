"""A secret that cannot be shown by accident."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final, NoReturn, SupportsIndex

_NOT_PICKLED: Final = "a secret is neither pickled nor copied"


class Secret:
    """Text that `repr`, `str`, `format`, pickle, copies and tracebacks never show.

    `reveal` is the only way to the text; it is called where the text leaves for its purpose and nowhere else.

    Why the text lies in a closure and in no attribute: what walks the attributes of objects it does not know
    (encoders, inspectors, tracebacks with locals) finds a function there.
    """

    __slots__ = ("_reveal",)
    MASK: Final = "********"

    def __init__(self, text: str) -> None:
        self._reveal: Callable[[], str] = lambda: text

    def reveal(self) -> str:
        """The text itself."""
        return self._reveal()

    def __repr__(self) -> str:
        return "Secret(********)"

    def __str__(self) -> str:
        return self.MASK

    def __format__(self, spec: str) -> str:
        return format(self.MASK, spec)

    def __reduce_ex__(self, _: SupportsIndex) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    def __getstate__(self) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    def __eq__(self, other: object) -> bool:
        """In a time that tells nothing of where two secrets differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self), _bytes(other))

    def __hash__(self) -> int:
        return hash(("Secret", self.reveal()))


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
