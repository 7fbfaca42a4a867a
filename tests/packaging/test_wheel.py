"""The wheel: the same bytes each time, everything in it, and a command that works where nothing else of ours is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCH = "1767225600"


def build(checkout: Path, target: Path) -> Path:
    """Build the wheel of a checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(
        command,
        cwd=checkout,
        env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH},
        check=True,
        capture_output=True,
        timeout=50,
    )
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_same_sources_give_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """A copy in another folder, with other times and under another umask, gives the wheel byte for byte."""
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for name in ("relay", "packaging", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, copy / name)
    for file in copy.rglob("*"):
        os.utime(file, (1, 1))
    before = os.umask(0o077)
    try:
        again = build(copy, tmp_path / "dist")
    finally:
        os.umask(before)
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_the_wheel_holds_the_package_and_its_data(wheel: Path) -> None:
    """Every file of the package that is no leftover is in the wheel, the types' marker and the SQL too."""
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "relay").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in held if ".dist-info/" not in name} == wanted
    assert "relay/py.typed" in held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


def test_the_wheel_tells_its_dependencies(wheel: Path) -> None:
    """In the wheel lies the CycloneDX list of every locked package, each with hashes, a licence and what it needs."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/sboms/sbom.cdx.json"))
    held = json.loads(archive.read(name))
    assert (held["bomFormat"], held["specVersion"]) == ("CycloneDX", "1.6")
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {one["name"]: one["version"] for one in held["components"]} == locked
    assert all(one["hashes"] and one["licenses"] for one in held["components"])
    refs = {one["bom-ref"] for one in held["components"]}
    assert {one["ref"] for one in held["dependencies"]} == {"bseries-relay", *refs}
    assert {ref for one in held["dependencies"] for ref in one["dependsOn"]} == refs


def test_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Installed in an environment of its own the command and `python -m relay` show their help, from any folder."""
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, timeout=50)
    python = home / "bin/python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    # What the wheel depends on is borrowed from here. An editable install here is not: its hook does not run there.
    (site,) = (home / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = [str(python), "-c", "import relay; print(relay.__file__)"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    found = subprocess.run(where, check=True, capture_output=True, text=True, cwd="/", env=environ, timeout=50)
    assert found.stdout.startswith(str(home))
    for program in ([str(home / "bin/bseries-relay")], [str(python), "-m", "relay"]):
        shown = subprocess.run(
            [*program, "--help"], capture_output=True, text=True, cwd="/", env=environ, timeout=50, check=False
        )
        assert shown.returncode == 0, shown.stderr
        assert "run" in shown.stdout
