from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from relay.cli import main as cli
from relay.cli.main import COMMANDS, main
from relay.cli.output import exit_code
from relay.core.codes import REGISTRY
from relay.core.errors import (
    ApplianceError,
    ConfigError,
    InternalError,
    ListenerError,
    RelayError,
    ServiceNowError,
    StorageError,
    WorkError,
)

HEAVY = ("httpx", "pydantic", "cryptography", "lxml", "rich", "yaml", "starlette", "uvicorn")
LOADED = """
import sys
from relay.cli.main import main
try:
    main({arguments!r}, prog_name="bseries-relay")
except SystemExit as end:
    assert not end.code, end.code
print(*(name for name in {heavy!r} if name in sys.modules), sep=",", file=sys.stderr)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "relay", *arguments], capture_output=True, text=True, check=False)


def test_the_package_is_the_command() -> None:
    """`python -m relay` calls itself bseries-relay and tells the installed version."""
    assert run("--version").stdout == f"bseries-relay {version('bseries-relay')}\n"
    assert run("--help").stdout.startswith("Usage: bseries-relay ")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_light(arguments: list[str]) -> None:
    """Asking for help loads no network stack, no validation, no cryptography and no XML."""
    script = LOADED.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: bseries-relay ")
    assert done.stderr == "\n"


def test_help_lists_every_command_with_a_line() -> None:
    """Each command of the table has a module with a command, and its line stands in the help."""
    result = CliRunner().invoke(main, ["--help"])
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in result.output
        assert line.split()[0] in result.output
        command = main.get_command(click.Context(main), name)
        assert isinstance(command, click.Command)


def test_a_command_without_a_module_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this installation does not have is neither listed nor called."""
    monkeypatch.setitem(COMMANDS, "absent", ("no_such_module", "Not here."))
    assert "absent" not in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, ["absent"])
    assert (result.exit_code, "No such command 'absent'" in result.stderr) == (2, True)


def test_wrong_usage_exits_2() -> None:
    """An option that does not exist is usage, on stderr."""
    done = run("config", "check", "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option" in done.stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command `fail` that raises what its module holds as `error`."""
    module = ModuleType("relay.cli.fail")

    @click.command()
    def command() -> None:
        click.echo("data")
        raise module.error

    module.command = command  # type: ignore[attr-defined]  # made here
    monkeypatch.setitem(sys.modules, "relay.cli.fail", module)
    monkeypatch.setitem(COMMANDS, "fail", ("fail", "Fails."))
    monkeypatch.setattr(cli, "find_spec", lambda _name: True)
    return module


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError(1003), 78),
        (ServiceNowError(2001), 69),
        (ServiceNowError(2005), 77),
        (ServiceNowError(2006), 77),
        (ServiceNowError(2017), 77),
        (ApplianceError(3001), 69),
        (ApplianceError(3005), 77),
        (WorkError(4002), 1),
        (StorageError(5005), 74),
        (StorageError(5006), 75),
        (InternalError(9001), 70),
    ],
)
def test_an_error_ends_in_its_code_its_fix_and_its_exit_code(failing: ModuleType, error: RelayError, code: int) -> None:
    """A person reads the code, the cause and the fix; a script reads the exit code; stdout holds data only."""
    failing.error = error  # type: ignore[attr-defined]  # made in the fixture
    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == code
    assert result.stdout == "data\n"
    assert result.stderr == f"{error.text}\n  fix: {error.hint}\n"


def test_every_code_has_an_exit_code() -> None:
    """No code of the registry is left without an exit code of the documented list."""
    families = (ConfigError, ServiceNowError, ApplianceError, WorkError, StorageError, ListenerError, InternalError)
    for number in REGISTRY:
        family = next(each for each in families if number in each.family)
        assert exit_code(family(number)) in {1, 69, 70, 74, 75, 77, 78}


def test_an_error_cannot_steer_the_terminal(failing: ModuleType) -> None:
    """What an error took over from elsewhere is stripped of control characters."""
    failing.error = ServiceNowError(2015, "bad\x1b[2Jtext")  # type: ignore[attr-defined]  # made in the fixture
    assert "bad?[2Jtext" in CliRunner().invoke(main, ["fail"]).stderr


def test_a_fault_is_no_failed_check(failing: ModuleType) -> None:
    """What nobody expected ends with its kind, its place and exit code 70, which no check uses, and quotes no value."""
    failing.error = ValueError("hunter2")  # type: ignore[attr-defined]  # made in the fixture
    result = CliRunner().invoke(main, ["fail"])
    assert result.exit_code == 70
    assert "ValueError" in result.stderr
    assert "test_main.py:" in result.stderr
    assert "hunter2" not in result.stderr
    assert "BSR-9001" in result.stderr


def test_an_interrupt_exits_130(failing: ModuleType) -> None:
    """Control-C ends a command without a traceback."""
    failing.error = KeyboardInterrupt()  # type: ignore[attr-defined]  # made in the fixture
    result = CliRunner().invoke(main, ["fail"])
    assert (result.exit_code, result.stderr) == (130, "")


@pytest.mark.parametrize("error", [click.UsageError("x"), click.exceptions.Exit(5), click.Abort()])
def test_click_keeps_its_own(failing: ModuleType, error: Exception) -> None:
    """Usage errors, exits and aborts mean what click means by them."""
    failing.error = error  # type: ignore[attr-defined]  # made in the fixture
    expected = {click.UsageError: 2, click.exceptions.Exit: 5, click.Abort: 1}[type(error)]
    assert CliRunner().invoke(main, ["fail"]).exit_code == expected


@pytest.mark.parametrize("arguments", [["config", "schema"], ["--help"], ["config", "--help"]])
def test_a_reader_that_goes_away_is_no_error(arguments: list[str]) -> None:
    """`bseries-relay config schema | head -1` says nothing on stderr and ends as SIGPIPE would end it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "relay", *arguments], stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["config", "schema"], ["policy", "list", "--markdown"], ["--version"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    """Output that cannot be written ends in one line and exit code 74, not in a traceback."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "relay", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (74, "cannot write: No space left on device\n")


def test_a_fault_before_the_command_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another error of the system while the command line is read stays what it is."""

    def refused(*_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(cli.Commands, "format_commands", refused)
    assert isinstance(CliRunner().invoke(main, ["--help"]).exception, PermissionError)


def test_the_schema_is_json() -> None:
    """The whole of stdout is one JSON document."""
    assert json.loads(run("config", "schema").stdout)["$schema"].startswith("http://json-schema.org/draft-07")
