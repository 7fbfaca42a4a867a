"""The dependencies: a CycloneDX list with hashes, licences and who needs whom, and the licences that we accept.

Made of requirements.lock and of what the packages of this environment say of themselves; scripts/docs writes it. A
package that is not installed here (another Python needs it) keeps what the list said of it before.

Why not the usual tool: it brings thirty packages into the environment that builds, to write one file from two that are
here. Its own validator was used on the result.
"""  # noqa: INP001  # a script, no package

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LIST = ROOT / "packaging/sbom.cdx.json"
OURS = "bseries-relay"

ACCEPTED = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "LGPL-2.1-or-later",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
    }
)
"""SPDX names. The two with conditions on the library's own sources (LGPL, MPL) are used unchanged and not copied."""

_SPELLINGS = {
    "LGPLv2+": "LGPL-2.1-or-later",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""What older packages write instead of an SPDX expression."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package."""

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    needs: tuple[str, ...]

    @property
    def ref(self) -> str:
        """Its package URL, which is its name in the list."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages() -> list[Package]:
    """Every package of requirements.lock.

    Raises:
        SystemExit: one has a licence that is not accepted, or does not tell it.

    """
    text = (ROOT / "requirements.lock").read_text()
    pins = list(_PIN.finditer(text))
    names = {str(canonicalize_name(pin[1])) for pin in pins}
    before = _before()
    found = []
    for pin, end in zip(pins, [*(pin.start() for pin in pins[1:]), len(text)], strict=True):
        hashes = tuple(sorted(re.findall(r"sha256:([0-9a-f]{64})", text[pin.start() : end])))
        licence, needs = _facts(pin[1], pin[2], names, before)
        found.append(Package(canonicalize_name(pin[1]), pin[2], hashes, licence, needs))
    refused = [f"{one.name}: {one.licence or 'it tells none'}" for one in found if not accepted(one.licence)]
    if refused:
        raise SystemExit("licences that scripts/sbom.py does not accept: " + "; ".join(refused))
    return found


def accepted(licence: str) -> bool:
    """Whether an SPDX expression of `AND` and `OR` leaves us with accepted licences only."""
    ways = (re.split(r" AND ", way.strip("() ")) for way in licence.split(" OR "))
    return any(all(part.strip("() ") in ACCEPTED for part in way) for way in ways)


def _facts(name: str, version: str, names: set[str], before: Mapping[str, Package]) -> tuple[str, tuple[str, ...]]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        known = before.get(canonicalize_name(name))
        return (known.licence, known.needs) if known else ("", ())
    if found.version != version:
        raise SystemExit(f"{name} {found.version} is installed and {version} is locked: run scripts/test")
    return _licence(found.metadata), _needs(found.requires or (), names)


def _licence(facts: metadata.PackageMetadata) -> str:
    told: list[str] = [value for key in ("License-Expression", "License") for value in facts.get_all(key) or ()]
    told += [line for line in facts.get_all("Classifier") or () if line in _SPELLINGS]
    return _SPELLINGS.get(told[0], told[0]) if told else ""


def _needs(requires: list[str] | tuple[str, ...], names: set[str]) -> tuple[str, ...]:
    wanted = (Requirement(line) for line in requires)
    return tuple(sorted({canonicalize_name(one.name) for one in wanted if "extra" not in str(one.marker)} & names))


def _before() -> dict[str, Package]:
    if not LIST.exists():
        return {}
    held = json.loads(LIST.read_text())
    names = {one["bom-ref"]: one["name"] for one in held["components"]}
    needs = {one["ref"]: tuple(sorted(names[ref] for ref in one["dependsOn"])) for one in held["dependencies"]}
    return {
        one["name"]: Package(one["name"], one["version"], (), _told(one["licenses"][0]), needs[one["bom-ref"]])
        for one in held["components"]
    }


def _told(licence: Mapping[str, Any]) -> str:
    return str(licence["expression"] if "expression" in licence else licence["license"]["id"])


def sbom() -> str:
    """The list, CycloneDX 1.6. The same lock gives the same bytes: it has no date, and its number is made of it."""
    found = packages()
    refs = {one.name: one.ref for one in found}
    components = [_component(one) for one in found]
    direct = _needs(metadata.requires(OURS) or (), set(refs))
    dependencies = [{"ref": OURS, "dependsOn": [refs[name] for name in direct]}]
    dependencies += [{"ref": one.ref, "dependsOn": [refs[name] for name in one.needs]} for one in found]
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([components, dependencies]))
    return (
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "serialNumber": f"urn:uuid:{serial}",
                "version": 1,
                "metadata": {"component": _ourselves()},
                "components": components,
                "dependencies": dependencies,
            },
            indent=1,
        )
        + "\n"
    )


def _ourselves() -> dict[str, Any]:
    version = metadata.version(OURS)
    return {
        "type": "application",
        "bom-ref": OURS,
        "name": OURS,
        "version": version,
        "purl": f"pkg:pypi/{OURS}@{version}",
        **_expression("Apache-2.0"),
    }


def _component(one: Package) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": one.ref,
        "name": one.name,
        "version": one.version,
        "purl": one.ref,
        # of every file of the release that the lock accepts: the sources, and one wheel for each platform
        "hashes": [{"alg": "SHA-256", "content": each} for each in one.hashes],
        **_expression(one.licence),
    }


def _expression(licence: str) -> dict[str, Any]:
    single = re.fullmatch(r"[A-Za-z0-9.-]+", licence)
    return {"licenses": [{"license": {"id": licence}} if single else {"expression": licence}]}


def table() -> str:
    """The licences as a table."""
    direct = set(_needs(metadata.requires(OURS) or (), {one.name for one in packages()}))
    lines = ["| package | version | licence | needed by |", "|---|---|---|---|"]
    for one in packages():
        by = [other.name for other in packages() if one.name in other.needs]
        needed = ", ".join([*(["the relay"] if one.name in direct else []), *by])
        lines.append(f"| {one.name} | {one.version} | {one.licence} | {needed} |")
    return "\n".join(lines)
