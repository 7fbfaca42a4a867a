r"""Patterns for arguments: a small regular language over ASCII, matched in time linear in the value.

Why not `re`: a site writes the pattern, ServiceNow the value, and a backtracking matcher lets the one turn the other
into minutes of CPU. This language has no construct that needs backtracking: characters, `.`, classes (`[a-z0-9_]`,
`[^/]`), `\d \w \s` and their opposites, groups `( )` and `(?: )`, `|`, `* + ? {n} {n,} {n,m}`. A pattern always
stands for the whole value; `^` at its start and `$` at its end are accepted and change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_PATTERN: Final = 200
"""Characters of a pattern: room for any identifier's shape."""

MAX_STATES: Final = 5000
"""States after counted repeats are written out: bounds the work per character of a value."""

_ALL: Final = (1 << 128) - 1
_NEWLINE: Final = 1 << 10


class PatternProblem(ValueError):  # noqa: N818  # the site's, not a fault of ours
    """The pattern is not of this language. The text says what and where."""


def _mask(chars: str) -> int:
    mask = 0
    for char in chars:
        mask |= 1 << ord(char)
    return mask


_DIGIT = _mask("0123456789")
_WORD = _DIGIT | _mask("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_SPACE = _mask(" \t\n\r\f\v")
_CLASSES = {"d": _DIGIT, "D": _ALL ^ _DIGIT, "w": _WORD, "W": _ALL ^ _WORD, "s": _SPACE, "S": _ALL ^ _SPACE}
_ESCAPES = {"n": 1 << 10, "r": 1 << 13, "t": 1 << 9}
_SPECIAL = frozenset("()[]{}*+?|^$")


@dataclass(frozen=True, slots=True)
class _Char:
    mask: int


@dataclass(frozen=True, slots=True)
class _Seq:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Alt:
    options: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    body: _Node
    low: int
    high: int | None


_Node = _Char | _Seq | _Alt | _Repeat

# A program is a list of steps: (mask, next) reads a character; (0, next, other) goes both ways without reading.
_Step = tuple[int, int, int]


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def problem(self, what: str) -> PatternProblem:
        return PatternProblem(f"{what} at character {self.at + 1} of the pattern")

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, token: str) -> bool:
        if self.text.startswith(token, self.at):
            self.at += len(token)
            return True
        return False

    def whole(self) -> _Node:
        node = self.alternatives()
        if self.at < len(self.text):
            raise self.problem(f"unexpected '{self.peek()}'")
        return node

    def alternatives(self) -> _Node:
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        return options[0] if len(options) == 1 else _Alt(tuple(options))

    def sequence(self) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.repeated())
        return _Seq(tuple(parts))

    def repeated(self) -> _Node:
        node = self.atom()
        bounds = self.bounds()
        if bounds is None:
            return node
        if self.peek() in {"*", "+", "?", "{"}:
            raise self.problem("a repeat of a repeat (lazy and possessive repeats included)")
        return _Repeat(node, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        for token, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(token):
                return bounds
        if not self.take("{"):
            return None
        low = self.number()
        high: int | None = low
        if self.take(","):
            high = None if self.peek() == "}" else self.number()
        if not self.take("}"):
            raise self.problem("a count is written {n}, {n,} or {n,m}")
        if high is not None and high < low:
            raise self.problem("the count's end lies before its start")
        return low, high

    def number(self) -> int:
        digits = ""
        while self.peek() and self.peek() in "0123456789":
            digits += self.peek()
            self.at += 1
        if not digits or len(digits) > 4:  # noqa: PLR2004  # a count over 9999 exceeds MAX_STATES anyway
            raise self.problem("a count of one to four digits is missing")
        return int(digits)

    def atom(self) -> _Node:
        if self.take("("):
            if self.peek() == "?" and not self.take("?:"):
                raise self.problem("only plain groups ( ) and (?: ) are known, not (?...)")
            node = self.alternatives()
            if not self.take(")"):
                raise self.problem("a group is not closed")
            return node
        if self.take("["):
            return _Char(self.char_class())
        if self.take("."):
            return _Char(_ALL ^ _NEWLINE)
        if self.take("\\"):
            return _Char(self.escape())
        if self.peek() in _SPECIAL:
            raise self.problem(f"unexpected '{self.peek()}' (write '\\{self.peek()}' for the character)")
        return _Char(self.char())

    def char(self) -> int:
        char = self.peek()
        if not char:
            raise self.problem("the pattern ends too early")
        self.at += 1
        return 1 << ord(char)

    def escape(self) -> int:
        char = self.peek()
        known = _CLASSES.get(char) or _ESCAPES.get(char)
        if known is None and char.isalnum():
            raise self.problem(f"unknown escape '\\{char}'")
        self.at += known is not None
        return known if known is not None else self.char()

    def char_class(self) -> int:
        negated = self.take("^")
        mask = 0
        first = True
        while first or self.peek() != "]":
            first = False
            mask |= self.class_item()
        self.at += 1
        return _ALL ^ mask if negated else mask

    def class_item(self) -> int:
        low = self.class_char()
        if self.peek() != "-" or self.text[self.at + 1 : self.at + 2] in {"", "]"}:
            return low
        self.at += 1
        high = self.class_char()
        if low.bit_count() != 1 or high.bit_count() != 1 or high < low:
            raise self.problem("a range goes from one character to a later one")
        return (high << 1) - low

    def class_char(self) -> int:
        return self.escape() if self.take("\\") else self.char()


def _size(node: _Node) -> int:
    """States that the node takes once its repeats are written out."""
    if isinstance(node, _Char):
        return 1
    if isinstance(node, _Repeat):
        return (_size(node.body) + 1) * (max(node.low, 1) if node.high is None else node.high) + 1
    parts = node.parts if isinstance(node, _Seq) else node.options
    return sum(_size(part) + 1 for part in parts)


class _Builder:
    """Writes a node as steps, from its end to its start, so that each step knows what follows it."""

    def __init__(self) -> None:
        self.steps: list[_Step] = [(0, 0, 0)]  # step 0 is the end

    def add(self, step: _Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def build(self, node: _Node, after: int) -> int:
        if isinstance(node, _Char):
            return self.add((node.mask, after, after))
        if isinstance(node, _Seq):
            for part in reversed(node.parts):
                after = self.build(part, after)
            return after
        if isinstance(node, _Alt):
            start = self.build(node.options[-1], after)
            for option in node.options[-2::-1]:
                start = self.add((0, self.build(option, after), start))
            return start
        return self.repeat(node, after)

    def repeat(self, node: _Repeat, after: int) -> int:
        if node.high is None:
            loop = self.add((0, after, after))
            self.steps[loop] = (0, self.build(node.body, loop), after)
            start = loop
        else:
            start = after
            for _ in range(node.high - node.low):
                start = self.add((0, self.build(node.body, start), after))
        for _ in range(node.low):
            start = self.build(node.body, start)
        return start


@lru_cache(maxsize=1024)
def _program(pattern: str) -> tuple[int, tuple[_Step, ...]]:
    if len(pattern) > MAX_PATTERN:
        raise PatternProblem(f"the pattern has more than {MAX_PATTERN} characters")
    if not pattern.isascii():
        raise PatternProblem("the pattern is not ASCII")
    text = pattern.removeprefix("^")
    if text.endswith("$") and (len(text) - len(text[:-1].rstrip("\\"))) % 2:
        text = text[:-1]
    node = _Parser(text).whole()
    if _size(node) > MAX_STATES:
        raise PatternProblem("the pattern's counts make it too large")
    builder = _Builder()
    start = builder.build(node, 0)
    return start, tuple(builder.steps)


def check(pattern: str) -> None:
    """Accept a pattern.

    Raises:
        PatternProblem: it is not of this language, or too large.

    """
    _program(pattern)


def matches(pattern: str, value: str) -> bool:
    """Whether the pattern matches the whole value; a value that is not ASCII never matches."""
    if not value.isascii():
        return False
    start, steps = _program(pattern)
    states = _reach(steps, {start})
    for char in value:
        bit = 1 << ord(char)
        states = _reach(steps, {steps[state][1] for state in states if steps[state][0] & bit})
        if not states:
            return False
    return 0 in states


def _reach(steps: tuple[_Step, ...], start: set[int]) -> set[int]:
    """The reading steps (and the end) that can be reached without reading."""
    found: set[int] = set()
    seen = set(start)
    todo = list(start)
    while todo:
        state = todo.pop()
        mask, one, other = steps[state]
        if mask or state == 0:
            found.add(state)
            continue
        for target in (one, other):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return found
