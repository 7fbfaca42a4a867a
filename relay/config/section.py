"""What all sections of the configuration share: their base class and the kinds of values that several use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, model_validator

from relay.config.leaves import Duration, FilePath, Flag, SecretAt, Text
from relay.config.network import Network, NetworkOf
from relay.config.values import SecretRef
from relay.core.signature import KEY_ID

CONTRADICTION = 1016

Name = Annotated[
    str, Text("a name of letters, digits, '.', '_' and '-'", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "default", 64)
]
Account = Annotated[str, Text("a name", example="svc.relay", longest=256)]
Table = Annotated[str, Text("a table's name", r"[a-z][a-z0-9_]{0,79}", "u_remote_session", 80)]
Column = Annotated[str, Text("a column's name", r"[a-z][a-z0-9_]{0,79}", "user_name", 80)]
DottedColumn = Annotated[str, Text("a column, dots lead on", r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){0,4}", "state")]
Boolean = Annotated[bool, Flag()]
Secret = Annotated[SecretRef, SecretAt()]
File = Annotated[Path, FilePath()]
Networks = tuple[Annotated[Network, NetworkOf()], ...]
KeyId = Annotated[str, Text("a key's id of letters, digits, '_' and '-'", KEY_ID.pattern, "2026-11", 32)]
Timeout = Annotated[float, Duration("50ms", "1h")]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Keys of a section that contradict each other.

    Attributes:
        text: what to write instead.
        at: leads from the section to the key that is meant.
        lacking: it is for want of something that another file may bring.

    """

    text: str
    at: tuple[str | int, ...] = ()
    lacking: bool = False


Check = Callable[[], Iterable[Conflict]]


class NotKnownError(Exception):
    """A value was asked for that is wrong in the configuration, see `relay.config.known`."""


class Section(BaseModel):
    """A map of the YAML: unknown keys are errors, nothing changes after it is made.

    Why `checks` and not pydantic's validators: those run only when every key of the section, and of all sections in
    it, is right, and would hide one mistake behind another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, data: Any) -> Any:  # noqa: ANN401  # whatever the YAML holds comes in
        """Leave out known keys without a value, so that their defaults hold."""
        if not isinstance(data, Mapping):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    def checks(self) -> tuple[Check, ...]:
        """What is to be looked at beyond the single keys. A check ends where it asks for a value that is wrong."""
        return ()

    def known(self, field: str) -> Any:  # noqa: ANN401  # any field's value
        """A field's value; None when it is absent or wrong."""
        return self.__dict__.get(field)

    if not TYPE_CHECKING:  # pragma: no branch  # mypy would take every attribute for known

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # only called for what is not there
            """Tell a key that is wrong from an attribute that does not exist."""
            if name in type(self).model_fields:
                raise NotKnownError(name)
            return super().__getattr__(name)


def need_both(one: object, other: object, names: str) -> Iterator[Conflict]:
    """One of two keys without the other is a mistake."""
    if (one is None) != (other is None):
        yield Conflict(f"{names} belong together", lacking=True)
