"""The kinds of single values that keys take: how each is read, described in the schema and written back.

Why not pydantic's own types: a plain YAML scalar has no type of its own here (`NO` is a word, `010` is no number), so
the key decides what it means, and the error can say in an administrator's words what to write instead.
"""

from __future__ import annotations

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, NoReturn

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from relay.config.values import Plain, SecretRef, parse_duration, parse_size, write_duration, write_size
from relay.core.jobs import Json

WRONG_KIND = 1006
NOT_BOOLEAN = 1012
LITERAL_SECRET = 1008

_WORDS = ("yes", "no", "on", "off")
_BOOLEAN_WORDS = frozenset(
    {form for word in (*_WORDS, "true", "false") for form in (word, word.capitalize(), word.upper())},
)
_TRUE_LIKE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE_LIKE = frozenset({"false", "no", "off", "n", "0"})
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,9})?", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def bad(number: int, text: str, at: tuple[int, int] = (1, 1)) -> NoReturn:
    """Refuse a value with a code of the registry and a text that never repeats the value of a secret.

    `at`: line and column of a longer text, from 1, where it is wrong.
    """
    raise PydanticCustomError("relay", "{text}", {"number": number, "text": text, "at": at})  # its type


class Leaf(ABC):
    """One kind of single value.

    Attributes:
        words: what an administrator calls it, as in "write ...".
        example: one value as it is written in YAML; "" when the words say it all.
        like: examples for a message; "" means the one example.

    """

    words: str = "a value"
    example: Json = ""
    like: str = ""

    @abstractmethod
    def parse(self, value: Any) -> Any:  # noqa: ANN401  # whatever the YAML holds comes in, each kind gives its own
        """The value that settings hold.

        Raises:
            PydanticCustomError: with `number` and `text`, see `bad`.

        """

    def schema(self) -> dict[str, Json]:
        """The value as it is written, described in JSON Schema (draft-07)."""
        return {"type": "string"}

    def write(self, value: Any) -> Json:  # noqa: ANN401  # the inverse of `parse`
        """The value as it is written in YAML."""
        return str(value)

    def refuse(self) -> NoReturn:
        """Say what to write instead."""
        like = self.like or str(self.example)
        bad(WRONG_KIND, f"write {self.words}, like {like}" if like else f"write {self.words}")

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


def plain_text(value: object, words: str = "text") -> str:
    """Text of a scalar; a plain word that other YAML readers take for a boolean must be quoted."""
    if not isinstance(value, str):
        bad(WRONG_KIND, f"write {words}")
    if isinstance(value, Plain) and value in _BOOLEAN_WORDS:
        bad(NOT_BOOLEAN, f'this key takes {words}, not a boolean; if the word is meant, write it in quotes: "{value}"')
    return str(value)


class Text(Leaf):
    """Text without control characters, optionally of one grammar."""

    def __init__(self, words: str = "text", pattern: str = "", example: str = "", longest: int = 1024) -> None:
        self.words = words
        self.example = example
        self.longest = longest
        self.pattern = re.compile(pattern, re.ASCII) if pattern else None

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The text."""
        text = plain_text(value, self.words)
        if not text or len(text) > self.longest or not text.isprintable():
            bad(WRONG_KIND, f"write {self.words} of 1 to {self.longest} printable characters")
        if self.pattern and not self.pattern.fullmatch(text):
            self.refuse()
        return text

    def schema(self) -> dict[str, Json]:
        """A string with its pattern."""
        limits: dict[str, Json] = {"type": "string", "minLength": 1, "maxLength": self.longest}
        return limits | ({"pattern": f"^(?:{self.pattern.pattern})$"} if self.pattern else {})


class Flag(Leaf):
    """`true` or `false`."""

    words = "true or false"
    example = True

    def parse(self, value: Any) -> bool:  # noqa: ANN401  # see Leaf
        """The boolean."""
        if isinstance(value, bool):
            return value
        if isinstance(value, Plain) and value in {"true", "false"}:
            return value == "true"
        if isinstance(value, str) and value.lower() in _TRUE_LIKE:
            bad(NOT_BOOLEAN, "write true")
        if isinstance(value, str) and value.lower() in _FALSE_LIKE:
            bad(NOT_BOOLEAN, "write false")
        bad(NOT_BOOLEAN, "write true or false")

    def schema(self) -> dict[str, Json]:
        """A boolean."""
        return {"type": "boolean"}

    def write(self, value: bool) -> Json:  # noqa: FBT001  # it is the value itself
        """The boolean."""
        return value


class Choice(Leaf):
    """One of a few words, as they are written; `true` and `false` among them are booleans."""

    def __init__(self, *words: str) -> None:
        self.choices: dict[str, str | bool] = {word: {"true": True, "false": False}.get(word, word) for word in words}
        self.words = "one of " + ", ".join(words) if len(words) > 1 else words[0]
        self.example = next(iter(self.choices.values()))

    def parse(self, value: Any) -> str | bool:  # noqa: ANN401  # see Leaf
        """The chosen one."""
        if isinstance(value, bool):
            value = Plain(str(value).lower())
        chosen = self.choices.get(value) if isinstance(value, str) else None
        if chosen is not None and (isinstance(chosen, str) or isinstance(value, Plain)):
            return chosen
        bad(NOT_BOOLEAN if isinstance(value, Plain) and value in _BOOLEAN_WORDS else WRONG_KIND, f"write {self.words}")

    def schema(self) -> dict[str, Json]:
        """An enumeration."""
        return {"enum": list(self.choices.values())}

    def write(self, value: str | bool) -> Json:  # noqa: FBT001  # it is the value itself
        """The word."""
        return value


class Known(Leaf):
    """One of many names; a mistyped one is told what may have been meant."""

    def __init__(self, words: str, *names: str) -> None:
        self.names = names
        self.words = words
        self.example = names[0]

    def parse(self, value: Any) -> str:  # noqa: ANN401  # see Leaf
        """The name."""
        text = plain_text(value, self.words)
        if text in self.names:
            return text
        near = difflib.get_close_matches(text[:80], self.names, n=1)
        meant = f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(self.names)}"
        bad(WRONG_KIND, f"not {self.words}; {meant}")

    def schema(self) -> dict[str, Json]:
        """An enumeration."""
        return {"enum": list(self.names)}


class WordOr(Choice):
    """One of a few words, or something else: a list, or a section."""

    IS_WORD: ClassVar[str] = "(word)"
    IS_OTHER: ClassVar[str] = "(other)"

    def __init__(self, *words: str, other: Any, called: str) -> None:  # noqa: ANN401  # a type as typing takes it
        super().__init__(*words)
        self.other = other
        self.words = f"{', '.join(words)} or {called}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.tagged_union_schema(
            {self.IS_WORD: super().__get_pydantic_core_schema__(source, handler), self.IS_OTHER: handler(self.other)},
            discriminator=self._kind,
        )

    def _kind(self, value: object) -> str:
        return self.IS_WORD if isinstance(value, str | bool | int) else self.IS_OTHER


class Whole(Leaf):
    """A whole number in bounds, both included."""

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.words = f"a whole number from {least} to {most}" if least < most else str(least)
        self.example = max(least, 1)

    def parse(self, value: Any) -> int:  # noqa: ANN401  # see Leaf
        """The number."""
        if isinstance(value, Plain) and _INTEGER.fullmatch(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= self.most:
            bad(WRONG_KIND, f"write {self.words}")
        return value

    def schema(self) -> dict[str, Json]:
        """An integer with its bounds."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def write(self, value: int) -> Json:
        """The number."""
        return value


class Number(Leaf):
    """A number in bounds, both included."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most
        self.words = f"a number from {least:g} to {most:g}"
        self.example = most

    def parse(self, value: Any) -> float:  # noqa: ANN401  # see Leaf
        """The number."""
        if isinstance(value, Plain) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.least <= value <= self.most:
            bad(WRONG_KIND, f"write {self.words}")
        return float(value)

    def schema(self) -> dict[str, Json]:
        """A number with its bounds."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}

    def write(self, value: float) -> Json:
        """The number, whole when it is."""
        return int(value) if value.is_integer() else value


class Duration(Leaf):
    """Seconds, written like `250ms`, `15s`, `5m`, `2h` or `7d`."""

    def __init__(self, least: str = "0s", most: str = "3650d") -> None:
        self.least, self.most = parse_duration(least) or 0.0, parse_duration(most) or 0.0
        self.words = f"a duration from {least} to {most}"
        self.example = least
        self.like = "250ms, 15s, 5m, 2h or 7d"

    def parse(self, value: Any) -> float:  # noqa: ANN401  # see Leaf
        """Seconds."""
        seconds = parse_duration(value) if isinstance(value, str) else value
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            self.refuse()
        if not self.least <= seconds <= self.most:
            bad(WRONG_KIND, f"write {self.words}")
        return float(seconds)

    def schema(self) -> dict[str, Json]:
        """Its written form."""
        return {"type": "string", "pattern": r"^[0-9]{1,12}(\.[0-9]{1,6})?(ms|s|m|h|d)$"}

    def write(self, value: float) -> Json:
        """Its shortest written form."""
        return write_duration(value)


class Size(Leaf):
    """Bytes, written like `512B`, `64KiB`, `20MiB` or `1GiB`."""

    def __init__(self, least: str = "1B", most: str = "64GiB") -> None:
        self.least, self.most = parse_size(least) or 0, parse_size(most) or 0
        self.words = f"a size from {least} to {most}"
        self.example = most
        self.like = "64KiB, 20MiB or 1GiB"

    def parse(self, value: Any) -> int:  # noqa: ANN401  # see Leaf
        """Bytes."""
        count = parse_size(value) if isinstance(value, str) else value
        if isinstance(count, bool) or not isinstance(count, int):
            self.refuse()
        if not self.least <= count <= self.most:
            bad(WRONG_KIND, f"write {self.words}")
        return count

    def schema(self) -> dict[str, Json]:
        """Its written form."""
        return {"type": "string", "pattern": r"^[0-9]{1,12}(B|KiB|MiB|GiB)$"}

    def write(self, value: int) -> Json:
        """Its shortest written form."""
        return write_size(value)


class FilePath(Leaf):
    """An absolute path."""

    words = "an absolute path"
    example = "/etc/bseries-relay/ca.pem"

    def parse(self, value: Any) -> Path:  # noqa: ANN401  # see Leaf
        """The path."""
        text = str(value) if isinstance(value, Path) else plain_text(value, self.words)
        if not PurePosixPath(text).is_absolute() or not text.isprintable():
            self.refuse()
        return Path(text)

    def schema(self) -> dict[str, Json]:
        """A string that starts with a slash."""
        return {"type": "string", "pattern": "^/"}


class SecretAt(Leaf):
    """Where a secret is kept. Why no literal: a configuration is copied, backed up, and pasted into tickets."""

    words = "a secret's place: {credential: NAME} or {file: PATH}"
    kinds: ClassVar[tuple[Literal["credential"], Literal["file"]]] = ("credential", "file")

    def parse(self, value: Any) -> SecretRef:  # noqa: ANN401  # see Leaf
        """The reference."""
        if isinstance(value, SecretRef):
            return value
        if not isinstance(value, Mapping):
            bad(LITERAL_SECRET, "a secret is never a literal; write {credential: NAME} or {file: PATH}")
        if len(value) != 1 or next(iter(value)) not in self.kinds:
            bad(WRONG_KIND, f"write {self.words}")
        if "credential" in value:
            name = plain_text(value["credential"], "the name of a credential")
            if not _CREDENTIAL.fullmatch(name):
                bad(WRONG_KIND, "write the name of a credential: letters, digits, '.', '_' and '-'")
            return SecretRef("credential", name)
        return SecretRef("file", str(FilePath().parse(value["file"])))

    def schema(self) -> dict[str, Json]:
        """One of two maps of one key."""
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"credential": {"type": "string", "pattern": f"^{_CREDENTIAL.pattern}$"}},
                    "required": ["credential"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"file": FilePath().schema()},
                    "required": ["file"],
                    "additionalProperties": False,
                },
            ],
        }

    def write(self, value: SecretRef) -> Json:
        """The map."""
        return {value.kind: value.name}
