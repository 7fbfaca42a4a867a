"""A row of the table of parsers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Parser:
    """One parser: what it is given, and how it is called. What it returns is checked by `read` itself."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]
