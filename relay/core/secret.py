"""A secret that cannot be shown by accident."""

from __future__ import annotations

from typing import Final, NoReturn


class Secret:
    """Text that `repr`, `str`, `format`, pickle and tracebacks never show.

    `reveal` is the only way to the text; it is called where the text leaves for its purpose and nowhere else.
    """

    __slots__ = ("_text",)
    MASK: Final = "********"

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(********)"

    def __str__(self) -> str:
        return self.MASK

    def __format__(self, spec: str) -> str:
        return format(self.MASK, spec)

    def __reduce__(self) -> NoReturn:
        msg = "a secret is not pickled"
        raise TypeError(msg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))
