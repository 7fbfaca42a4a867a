"""What all sections of the configuration share: their base class and the kinds of values that several use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, model_validator

from relay.config.leaves import Duration, FilePath, Flag, SecretAt, Text, bad
from relay.config.network import Network, NetworkOf
from relay.config.values import SecretRef

CONTRADICTION = 1016

Name = Annotated[
    str, Text("a name of letters, digits, '.', '_' and '-'", r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "default")
]
Account = Annotated[str, Text("a name", example="svc.relay", longest=256)]
Column = Annotated[str, Text("a column's name", r"[a-z][a-z0-9_]{0,79}", "user_name")]
DottedColumn = Annotated[str, Text("a column, dots lead on", r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){0,4}", "state")]
Boolean = Annotated[bool, Flag()]
Secret = Annotated[SecretRef, SecretAt()]
File = Annotated[Path, FilePath()]
Networks = tuple[Annotated[Network, NetworkOf()], ...]
Timeout = Annotated[float, Duration("50ms", "1h")]


class Section(BaseModel):
    """A map of the YAML: unknown keys are errors, nothing changes after it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, data: Any) -> Any:  # noqa: ANN401  # whatever the YAML holds comes in
        """Leave out known keys without a value, so that their defaults hold."""
        if not isinstance(data, Mapping):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


def need_both(one: object, other: object, names: str) -> None:
    """Refuse one of two keys without the other."""
    if (one is None) != (other is None):
        bad(CONTRADICTION, f"{names} belong together")
