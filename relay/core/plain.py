"""Make one log line's values plain: bounded, printable, without secrets, and fit for JSON.

A line's values come from both sides of the relay and are not trusted: whatever they hold, the result is a flat mapping
of short texts, numbers, booleans, None, and small lists and mappings of these. Nothing here raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from relay.core.errors import RelayError
from relay.core.redact import Redactor
from relay.core.secret import Secret

LONGEST_TEXT: Final = 2_000  # characters; a page of traceback fits, a body does not
LONGEST_NAME: Final = 64
MOST_ITEMS: Final = 40  # of one list or mapping
DEEPEST: Final = 4
MOST_LEAVES: Final = 200  # of one line
MOST_TEXT: Final = 20_000  # characters of one line, before every further text is cut to a stub
_STUB: Final = 40
_WIDEST: Final = 2**63  # integers beyond are not exact in most readers of JSON
_FRAMES: Final = 12
_CAUSES: Final = 5

_TELLING: Final = frozenset(
    {
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        ModuleNotFoundError,
        NameError,
        NotImplementedError,
        RecursionError,
        RuntimeError,
        SystemError,
        TypeError,
        UnboundLocalError,
        ZeroDivisionError,
    }
)
"""Errors whose messages speak of the program. Those of others (`ValueError`, `KeyError`, a library's own) quote the
value that was wrong: a part of a body, a header, a password that no list of secrets knows."""
_FAMILIES: Final = (RelayError, OSError, BaseExceptionGroup, Warning)

_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters: terminal escapes, line breaks
    "\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi controls, invisible ones
    "\u2028\u2029"  # line separators
    "\ud800-\udfff"  # lone surrogates are not UTF-8
    "\U000e0000-\U000e007f]"  # invisible tags
)
_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")


def clean(text: str) -> str:
    """The text on one line; what a terminal would obey or hide is shown as the escape that Python writes for it."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


@dataclass(slots=True)
class Plain:
    """Makes the values of one line plain; holds how many leaves and characters the line may still have."""

    redactor: Redactor
    leaves: int = MOST_LEAVES
    room: int = MOST_TEXT

    def name(self, key: object) -> str:
        """A field's name: letters, digits and `_.-`."""
        return _NAME.sub("_", self.text(key)[:LONGEST_NAME]) or "_"

    def text(self, value: object) -> str:
        """Any object as clean text of bounded length."""
        whole = value if isinstance(value, str) else _words(value)
        limit = LONGEST_TEXT if self.room > 0 else _STUB
        scrubbed = self.redactor.scrub(whole, limit)
        shown = clean(scrubbed)
        if shown != scrubbed:
            shown = self.redactor.scrub(shown)  # an escape just made may have completed a form of a secret
        self.room -= len(shown)
        return shown if len(whole) <= limit else f"{shown}... [{len(whole)} characters]"

    def value(self, value: object, depth: int = 0) -> Any:  # noqa: ANN401  # JSON
        """Any object as a small JSON value."""
        self.leaves -= 1
        if self.leaves < 0:
            return "..."
        made: Any
        match value:
            case None | bool():
                made = value
            case int():
                made = int(value) if -_WIDEST < value < _WIDEST else self.text(hex(value))
            case float():
                made = float(value) if math.isfinite(value) else str(float(value))
            case Mapping() if depth < DEEPEST:
                made = self._bounded(lambda: self._mapping(value, depth), value)
            case list() | tuple() | set() | frozenset() if depth < DEEPEST:
                made = self._bounded(lambda: self._list(value, depth), value)
            case Mapping() | list() | tuple() | set() | frozenset():
                made = f"<{type(value).__name__}>"
            case _:
                made = self.text(value)
        return made

    def _bounded(self, make: Callable[[], Any], value: object) -> Any:  # noqa: ANN401  # JSON
        try:
            return make()
        except Exception:  # noqa: BLE001  # a mapping of somebody else may raise anything
            return f"<{type(value).__name__}>"

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, item in value.items():
            if len(made) >= MOST_ITEMS or self.leaves <= 0:
                made["..."] = len(value)
                break
            made[self.text(key)[:LONGEST_NAME]] = self.value(item, depth + 1)
        return made

    def _list(self, value: Iterable[Any], depth: int) -> list[Any]:
        made: list[Any] = []
        for item in value:
            if len(made) >= MOST_ITEMS or self.leaves <= 0:
                made.append("...")
                break
            made.append(self.value(item, depth + 1))
        return made


def _words(value: object) -> str:
    """`str` for what is text by nature, else `repr`. Never raises."""
    try:
        match value:
            case bytes() | bytearray():
                return bytes(value).decode("utf-8", "backslashreplace")
            case BaseException():
                return describe(value)
            case Secret() | PurePath():
                return str(value)
            case _:
                return repr(value)
    except Exception:  # noqa: BLE001  # foreign code may raise anything
        return f"<{type(value).__name__}>"


def describe(error: BaseException) -> str:
    """`OSError: its message`, or the kind alone where the message may quote what was read. Never raises."""
    name = type(error).__name__
    if type(error) not in _TELLING and not isinstance(error, _FAMILIES):
        return f"{name} (its text is left out: it may quote data)" if error.args else name
    try:
        message = str(error)
    except Exception:  # noqa: BLE001  # foreign code may raise anything
        message = "<no message>"
    return f"{name}: {message}" if message else name


def trace(error: BaseException, show: Callable[[object], str]) -> str:
    """Where an error and its causes were raised, innermost frame first: places, never a local or a line of source.

    Args:
        error: the error; its own message is not repeated.
        show: makes a cause's message fit to be shown.

    """
    told: list[str] = []
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen and len(told) < _CAUSES:
        seen.add(id(current))
        told.append((f"{show(current)} " if told else "") + f"at {_frames(current)}")
        if isinstance(current, BaseExceptionGroup):
            told += [f"{show(one)} at {_frames(one)}" for one in _members(current)]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "; from ".join(told)


def _members(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in a group, and in groups in it: what really happened lies deepest."""
    found: list[BaseException] = []
    waiting: list[BaseException] = list(group.exceptions)
    while waiting and len(found) < _CAUSES:
        one = waiting.pop(0)
        if isinstance(one, BaseExceptionGroup):
            waiting[:0] = one.exceptions
        else:
            found.append(one)
    return found


def _frames(error: BaseException) -> str:
    places: list[str] = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        name = "/".join(code.co_filename.split("/")[-2:])
        places.append(f"{name}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return " < ".join(reversed(places[-_FRAMES:])) or "nowhere"
