"""The list of dependencies, their licences, and the comparison with known vulnerabilities."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts/sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("licence", "accepted"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_licences_are_judged(sbom: ModuleType, licence: str, accepted: bool) -> None:
    """Of alternatives one must be accepted, of licences that hold together all."""
    assert sbom.accepted(licence) is accepted


def test_a_licence_that_is_not_accepted_fails(sbom: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with another licence ends the making of the list, and so the gate, with its name."""
    monkeypatch.setattr(sbom, "ACCEPTED", sbom.ACCEPTED - {"MPL-2.0"})
    with pytest.raises(SystemExit, match=r"certifi: MPL-2\.0"):
        sbom.packages()


def test_another_version_than_the_locked_one_fails(sbom: ModuleType) -> None:
    """The list is never made of what happens to be installed."""
    with pytest.raises(SystemExit, match=r"click .* is installed and 0\.1 is locked"):
        sbom._facts("click", "0.1", set(), {})


def test_what_is_not_installed_here_keeps_its_entry(sbom: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that only another Python needs stays in the list as it was; one that nobody knows fails."""
    whole = sbom.sbom()
    there = sbom.metadata.distribution

    def absent(name: str) -> object:
        if name == "click":
            raise sbom.metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(sbom.metadata, "distribution", absent)
    assert sbom.sbom() == whole
    monkeypatch.setattr(sbom, "_before", dict)
    with pytest.raises(SystemExit, match="click: it tells none"):
        sbom.sbom()


def test_without_the_internet_the_comparison_says_so() -> None:
    """The script that compares with known vulnerabilities fails in words and with 69 where it cannot ask."""
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | nowhere
    done = subprocess.run(
        [ROOT / "scripts/audit-dependencies"], env=environ, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 69
    assert "needs the internet" in done.stderr
