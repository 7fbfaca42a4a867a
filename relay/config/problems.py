"""What is wrong with a configuration, as a person reads it: place, code, key, what to write; the line and a caret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.config.tree import Map, Mark, Node
from relay.core.codes import code_of
from relay.core.errors import ConfigError
from relay.core.secret import Secret

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
MOST_SHOWN = 500
"""A file can hold hundreds of thousands of mistakes; nobody reads more than this."""

_WIDEST = 160
_LONGEST_LINE = 4000
_SECRET_KEYS = frozenset({"password", "client_secret", "client_key", "key", "event_token"})
_SECRET_LIKE = re.compile(r"pass|pwd|secr|token|key|cred|auth", re.IGNORECASE)
_NO_SECRETS = frozenset({"credential", "client_id", "key_id"})
_LONGEST_MISSPELLING = 24
_KEY_LINE = re.compile(r"""\s*(?:-\s+)*["']?([\w.-]+)["']?\s*:(?:\s|$)""")
_COMMENT = re.compile(r"\s#.*$")
_USER_INFO = re.compile(r"(?<=//)[^/\s@]*@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem.

    Attributes:
        number: a code of the registry.
        mark: where it is; None for what stands in no file.
        where: the dotted path of the key, "" for the document as a whole.
        text: what is wrong, what to write.
        excerpt: the source line and the caret, secrets masked; "" when there is none.
        warning: the configuration can be used nevertheless.

    """

    number: int
    mark: Mark | None
    where: str
    text: str
    excerpt: str = ""
    warning: bool = False

    @property
    def headline(self) -> str:
        """`FILE:LINE:COL: error[BSR-1003]: servicenow.pol: unknown key; did you mean 'poll'?`."""
        kind = "warning" if self.warning else "error"
        place = f"{self.mark}: " if self.mark else ""
        where = f"{self.where}: " if self.where else ""
        return f"{place}{kind}[{code_of(self.number).name}]: {where}{self.text}"

    def __str__(self) -> str:
        return f"{self.headline}\n{self.excerpt}" if self.excerpt else self.headline


class ConfigProblems(ConfigError):  # noqa: N818  # it is all of them
    """The configuration cannot be used; `problems` holds every reason, in the order of the files."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems[0].number, self.problems[0].headline)

    @property
    def hint(self) -> str:
        """What a person can do: the one problem's own fix, or where all keys are explained."""
        several = "mend what is shown; 'bseries-relay config reference' explains every key"
        return super().hint if len({problem.number for problem in self.problems}) == 1 else several

    def __str__(self) -> str:
        return report(self.problems)


def report(problems: Sequence[Problem]) -> str:
    """The problems one after the other, ready to be shown."""
    lines = [str(problem) for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        lines.append(f"... and {len(problems) - MOST_SHOWN} more")
    return "\n".join(lines)


def dotted(path: Sequence[str | int]) -> str:
    """`appliances.default.url`, `policy.allow[0]`; what cannot be printed is replaced."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return printable(text if len(text) <= _WIDEST else text[:_WIDEST] + "...")


def printable(text: str) -> str:
    """Text that cannot steer a terminal; every other character keeps its place."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in text)


class Source:
    """The lines of one file, for showing them without the secrets that stand in them.

    Why masks by place and not only by the problem: the line of any problem may hold a password that somebody wrote
    where a reference belongs.
    """

    def __init__(self, text: str) -> None:
        self.lines = LINE_BREAK.split(text)
        self._masks: dict[int, list[tuple[int, int]]] = {}
        self._known = False

    def learn(self, pairs: Iterable[tuple[str, Node]]) -> None:
        """Mask whatever stands at a key that is for secrets, or looks like it, and is no reference.

        `pairs` are all keys of the file with their values, also those that are refused.
        """
        self._known = True
        for key, value in pairs:
            reference = isinstance(value, Map) and (value.is_reference or key not in _SECRET_KEYS)
            if not reference and _is_secret_like(key):
                self.hide(value)

    def hide(self, node: Node) -> None:
        """Mask one value."""
        for line in range(node.mark.line, node.end.line + 1):
            start = node.mark.column - 1 if line == node.mark.line else 0
            stop = node.end.column - 1 if line == node.end.line else len(self._line(line))
            self._masks.setdefault(line, []).append((start, stop))

    def inside(self, mark: Mark) -> Mark:
        """The place itself, or the file's end where the parser counts a line that is not there."""
        last = len(self.lines)
        return mark if mark.line <= last else Mark(mark.file, last, len(self.lines[-1]) + 1)

    def excerpt(self, line: int, column: int) -> str:
        """The line, and beneath it a caret at the column (both from 1); nothing of a line that nobody wrote by hand."""
        text, caret = self._line(line), column - 1
        if len(text) > _LONGEST_LINE:
            return ""
        spans = sorted(self._masks.get(line, [])) if self._known else self._guessed(line)
        spans += [found.span() for found in _USER_INFO.finditer(text)]
        spans += [found.span() for found in _COMMENT.finditer(text) if _SECRET_LIKE.search(found[0])]
        for start, stop in sorted(_joined(spans), reverse=True):
            shown = Secret.MASK + text[stop:]
            caret = (
                start if start <= caret < stop else caret + len(shown) - len(text[start:]) if caret >= stop else caret
            )
            text = text[:start] + shown
        cut = max(0, caret - _WIDEST // 2) if len(text) > _WIDEST else 0
        text = printable(text[cut : cut + _WIDEST])
        return f"    {text.rstrip()}\n    {' ' * (caret - cut)}^"

    def _line(self, line: int) -> str:
        return self.lines[line - 1] if 0 < line <= len(self.lines) else ""

    def _guessed(self, line: int) -> list[tuple[int, int]]:
        """Masks of a file that could not be read to its end: values of keys that look secret, and bare text."""
        text = self._line(line)
        found = _KEY_LINE.match(text)
        if found and not _SECRET_LIKE.search(text):
            return []
        start = found.end() if found else len(text) - len(text.lstrip())
        return [(start, len(text))] if start < len(text) else []


def _is_secret_like(key: str) -> bool:
    """Whether a key may be meant for a secret, misspelled ones included."""
    if key in _NO_SECRETS:
        return False
    if _SECRET_LIKE.search(key):
        return True
    start = key[:_LONGEST_MISSPELLING].lower()
    return bool(difflib.get_close_matches(start, _SECRET_KEYS, n=1, cutoff=0.75))


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans as one."""
    result: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(stop, result[-1][1]))
        elif start < stop:
            result.append((start, stop))
    return result
