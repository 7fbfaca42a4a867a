"""The registry of codes."""

from __future__ import annotations

import re

import pytest

from relay.core import codes
from relay.core.codes import REGISTRY, code_of


def test_every_row_is_complete_and_stands_once() -> None:
    """A code has a severity, a one-line cause and a one-line fix, and no number is used twice."""
    assert len(REGISTRY) == len(codes._ROWS)
    for number, row in REGISTRY.items():
        assert code_of(number) is row
        assert row.name == f"BSR-{number}"
        assert re.fullmatch(r"[1-69]\d{3}", str(number))
        for text in (row.cause, row.fix):
            assert text
            assert "\n" not in text
            assert not text.endswith(".")


def test_an_unknown_code_is_the_callers_fault() -> None:
    """A number without a row raises."""
    with pytest.raises(KeyError):
        code_of(8000)
