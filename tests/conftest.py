"""Fixtures that every area's tests may use."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from support import logs
from support.tls import Authority, Certificate

settings.register_profile(
    "relay", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", settings.get_profile("relay"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "relay"))


@pytest.fixture(autouse=True)
def _logging() -> None:
    """Each test begins with the same log settings, whatever one before it configured."""
    logs.plain()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The throw-away CA of this test run."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """A server certificate for localhost."""
    return authority.issue()
