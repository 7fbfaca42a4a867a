"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "relay").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 60

# Put together here, so that this file does not hold them itself.
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"work/",  # a path of one machine
            r"(?<![\w.])/" + r"root/",
            "/opt/" + "(wheels|pypi)",
            "python" + "hosted",  # a registry's hosts: lock files and scripts must work with any mirror
            r"\bpypi\." + "org",
            "registry\\." + "npmjs",
            "deb\\." + "debian",
            "anth" + "ropic",
            "cl" + "aude",
        )
    ),
    re.IGNORECASE,
)


def tree(file: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(file.read_text("utf-8"), str(file))


def place(file: Path, node: ast.AST) -> str:
    """Where a reader finds it."""
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods too."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def tracked() -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, and what belongs to the project is not known")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_every_test_states_its_fact() -> None:
    """Each test function has a docstring: the fact that it proves."""
    missing = [
        place(file, node)
        for file in TESTS
        for node in functions(file)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert missing == []


def test_no_file_is_long() -> None:
    """No file of the relay has over 400 lines."""
    long = [str(file.relative_to(ROOT)) for file in SOURCES if len(file.read_text("utf-8").splitlines()) > LONGEST_FILE]
    assert long == []


def test_no_function_is_long() -> None:
    """No function of the relay has over 60 lines, its docstring included."""
    long = [
        place(file, node)
        for file in SOURCES
        for node in functions(file)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert long == []


def test_exceptions_from_the_linter_have_a_reason() -> None:
    """Each `noqa` names its rule and says why, each `type: ignore` names its rule."""
    right = re.compile(r"# noqa: [A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*(  # | - )\S")
    bare = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in (*SOURCES, *TESTS)
        if file != Path(__file__)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if ("noqa" in line and not right.search(line)) or re.search(r"# type: ignore(?!\[)", line)
    ]
    assert bare == []


def test_nothing_is_left_for_later() -> None:
    """No file of the relay holds a note about work to be done."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK|for now)\b")
    assert [str(file.relative_to(ROOT)) for file in SOURCES if marks.search(file.read_text("utf-8"))] == []


def test_systemd_python_is_imported_in_two_files() -> None:
    """Only the words to the manager and the log stream know the compiled library, each with its way around it."""
    found = {
        str(file.relative_to(ROOT))
        for file in SOURCES
        for node in ast.walk(tree(file))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "systemd")
        or (isinstance(node, ast.Import) and any(name.name.split(".")[0] == "systemd" for name in node.names))
    }
    assert found == {"relay/host/systemd.py", "relay/host/logs.py"}


def test_no_file_names_what_does_not_belong_to_the_project() -> None:
    """No file holds a path of somebody's machine, or a package registry's host."""
    found = []
    for file in tracked():
        text = file.read_bytes().decode("utf-8", "replace")
        found += [f"{file.relative_to(ROOT)}: {match[0]}" for match in FOREIGN.finditer(text)]
    assert found == []
