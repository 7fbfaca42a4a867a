"""Tests in this folder break the machine beneath the relay; where that cannot be done they skip with a reason."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "faults: needs strace, FUSE or the right to mount")
