from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from support.configuration import SMALLEST, write_files

from relay.cli.main import main
from relay.config.load import IGNORED_VARIABLES
from relay.config.reference import reference
from relay.config.sample import sample
from relay.config.schema import schema


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without what the configuration looks at."""
    for name in ("CREDENTIALS_DIRECTORY", "CONFIGURATION_DIRECTORY", *IGNORED_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["config", *map(str, arguments)])


def test_a_good_configuration(tmp_path: Path) -> None:
    """Exit 0 and one line; credentials that only the service can read are named on stderr and no failure."""
    path = write_files(tmp_path, SMALLEST)
    result = run("check", "--config", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}: the configuration is good\n")
    assert result.stderr == (
        "only the service can read these credentials, they are not checked: appliance_secret, servicenow_password\n"
    )


def test_problems_are_the_data(tmp_path: Path) -> None:
    """Exit 78; every problem on stdout with its place, nothing on stderr."""
    path = write_files(tmp_path, SMALLEST + "x: 1\n", a="y: 2\n")
    result = run("check", "--config", path)
    assert (result.exit_code, result.stderr) == (78, "")
    assert [line for line in result.stdout.splitlines() if "error[" in line] == [
        f"{path}:10:1: error[BSR-1003]: x: unknown key",
        f"{tmp_path}/conf.d/a.yaml:1:1: error[BSR-1003]: y: unknown key",
    ]


def test_problems_as_json(tmp_path: Path) -> None:
    """The same for programs."""
    path = write_files(tmp_path, SMALLEST + "x: 1\n")
    result = run("check", "--json", "--config", path)
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["schema"], answer["ok"]) == (78, "bseries-relay/config-check/1", False)
    (problem,) = answer["problems"]
    assert problem["fix"].startswith("remove the key")
    assert {key: problem[key] for key in ("code", "severity", "file", "line", "column", "key", "text")} == {
        "code": "BSR-1003",
        "severity": "error",
        "file": str(path),
        "line": 10,
        "column": 1,
        "key": "x",
        "text": "unknown key",
    }


def test_warnings_of_the_environment_do_not_fail(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """Variables that are ignored are no matter of the files: exit 0, the warning on stderr, in JSON beside the rest."""
    environment.setenv("https_proxy", "http://evil:1")
    path = write_files(tmp_path, SMALLEST)
    result = run("check", "--config", path)
    assert (result.exit_code, result.stderr.startswith("warning[BSR-1018]: https_proxy: set in the")) == (0, True)
    answer = json.loads(run("check", "--json", "--config", path).stdout)
    assert (answer["ok"], answer["problems"], answer["unchecked"]) == (
        True,
        [],
        ["appliance_secret", "servicenow_password"],
    )
    assert [(each["severity"], each["file"], each["line"]) for each in answer["warnings"]] == [("warning", None, None)]
    assert run("show", "--config", path).stderr.startswith("warning[BSR-1018]")


def test_warnings_of_the_files_have_an_exit_code(tmp_path: Path) -> None:
    """What a file asks for and this version has not is exit 3: the configuration can be used, but not all of it."""
    path = write_files(tmp_path, SMALLEST.replace("  auth", "  wake: amb\n  auth", 1))
    result = run("check", "--config", path)
    assert (result.exit_code, result.stdout) == (3, f"{path}: the configuration is good\n")
    assert result.stderr.startswith(f"{path}:4:3: warning[BSR-1017]: servicenow.wake: this version")
    answer = json.loads(run("check", "--json", "--config", path).stdout)
    assert (answer["ok"], len(answer["warnings"])) == (True, 1)
    assert run("show", "--config", path).exit_code == 0


def test_files_are_checked_whatever_else_is_wrong(tmp_path: Path) -> None:
    """A secret that others can read is told beside a misspelled key, an unknown name and a syntax error."""
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    text = SMALLEST.replace("{credential: servicenow_password}", f"{{file: {tmp_path}/open}}")
    path = write_files(tmp_path, text + "x: 1\npolicy: {allow: [no-such]}\n", a="y: [\n")
    result = run("check", "--config", path)
    found = [line for line in result.stdout.splitlines() if ": error[" in line]
    assert [line.partition("error[")[2][:8] for line in found] == ["BSR-1010", "BSR-1003", "BSR-1014", "BSR-1002"]
    assert found[0].startswith(f"{path}:4:")


def test_credentials_are_checked_inside_the_service(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """With a credentials' folder, as the unit has it, a missing credential is a problem at its reference."""
    path = write_files(tmp_path, SMALLEST)
    (tmp_path / "servicenow_password").write_text("x\n")
    environment.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    result = run("check", "--config", path)
    assert (result.exit_code, result.stderr) == (78, "")
    assert result.stdout.startswith(f"{path}:9:28: error[BSR-1009]: appliances.default.auth.client_secret: ")
    (tmp_path / "appliance_secret").write_text("y\n")
    assert run("check", "--config", path).exit_code == 0


def test_a_signing_key_that_is_too_short_is_told(tmp_path: Path) -> None:
    """A key of `signature_keys` that could be guessed is a problem at its reference."""
    for name, text in (("short", "x" * 31), ("long", "x" * 32)):
        (tmp_path / name).write_text(f"{text}\n")
        (tmp_path / name).chmod(0o600)
    keys = f"  signature_keys: {{a: {{file: {tmp_path}/long}}, b: {{file: {tmp_path}/short}}}}\n  auth:"
    path = write_files(tmp_path, SMALLEST.replace("  auth:", keys, 1))
    result = run("check", "--config", path)
    (found,) = [line for line in result.stdout.splitlines() if ": error[" in line]
    assert found.startswith(f"{path}:4:")
    assert "error[BSR-1028]: servicenow.signature_keys.b: " in found
    assert "xxx" not in result.output


def test_an_assertion_s_key_that_is_none_is_told(tmp_path: Path) -> None:
    """A key of `oauth_jwt` that cannot sign is a problem at its reference."""
    for name in ("key", "secret"):
        (tmp_path / name).write_text("no key at all")
        (tmp_path / name).chmod(0o600)
    basic = "{basic: {username: svc.relay, password: {credential: servicenow_password}}}"
    files = f"client_secret: {{file: {tmp_path}/secret}}, key: {{file: {tmp_path}/key}}"
    assert basic in SMALLEST
    jwt = f"{{oauth_jwt: {{client_id: a, {files}, key_id: k, subject: s}}}}"
    found = run("check", "--config", write_files(tmp_path, SMALLEST.replace(basic, jwt))).stdout
    assert found.count("error[") == 1
    assert "error[BSR-1024]: servicenow.auth.oauth_jwt.key: " in found


def test_the_folder_of_recordings_is_checked(tmp_path: Path) -> None:
    """A folder is good; one that is not there, and a file in its place, are problems at their key."""
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    text = SMALLEST + f"sessions: {{recordings: store, recording_folder: {tmp_path}/NAME}}\n"
    said = []
    for name in ("there", "file", "absent"):
        result = run("check", "--config", write_files(tmp_path, text.replace("NAME", name)))
        said.append((result.exit_code, result.stdout.partition("\n")[0].partition("sessions.")[2]))
    assert said == [
        (0, ""),
        (78, f"recording_folder: {tmp_path}/file: not a folder"),
        (78, f"recording_folder: {tmp_path}/absent: No such file or directory"),
    ]


def test_files_of_secrets_and_certificates_are_checked(tmp_path: Path) -> None:
    """A secret that others can read and certificates that are not there or are none are problems at their keys."""
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "good.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "good.pem").chmod(0o644)
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "shared.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "shared.pem").chmod(0o666)
    text = SMALLEST.replace("{credential: servicenow_password}", f"{{file: {tmp_path}/open}}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o777)
    (tmp_path / "folder" / "good.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    files = "".join(
        f"  a{index}: {{product: pra, url: 'https://a{index}', tls: {{ca_file: {tmp_path}/{name}}}, "
        "auth: {client_id: a, client_secret: {credential: b}}}\n"
        for index, name in enumerate(["good.pem", "key.pem", "shared.pem", "missing.pem", "folder/good.pem"])
    )
    path = write_files(tmp_path, text + files + f"storage: {{directory: {tmp_path}/not-yet}}\n")
    result = run("check", "--config", path)
    found = [line.partition(": error")[2] for line in result.stdout.splitlines() if ": error[" in line]
    assert [line.partition(f": {tmp_path}")[0].partition(": {file")[0] for line in found] == [
        "[BSR-1010]: servicenow.auth.basic.password",
        "[BSR-1009]: appliances.a1.tls.ca_file",
        "[BSR-1010]: appliances.a2.tls.ca_file",
        "[BSR-1009]: appliances.a3.tls.ca_file",
        "[BSR-1010]: appliances.a4.tls.ca_file",
    ]


def test_a_configuration_that_is_not_there(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    """The file that was looked for is named; `show` fails the same way, on stderr."""
    environment.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    result = run("check")
    assert result.exit_code == 78
    assert result.stdout.startswith(f"{tmp_path}/relay.yaml:1:1: error[BSR-1001]: No such file or directory")
    shown = run("show")
    assert (shown.exit_code, shown.stdout) == (78, "")
    assert f"{tmp_path}/relay.yaml:1:1: error[BSR-1001]" in shown.stderr
    assert "fix: check that the file exists" in shown.stderr


COMMANDS = (
    ["config", "check"],
    ["config", "show"],
    ["run"],
    ["status"],
    ["reload"],
    ["pause", "--reason", "x"],
    ["resume"],
    ["jobs", "list"],
    ["policy", "list"],
    ["policy", "test", "--operation", "health"],
    ["audit", "verify"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_main_file_that_cannot_be_read(tmp_path: Path, environment: pytest.MonkeyPatch, command: list[str]) -> None:
    """Every command that is given a file that is missing, a folder, or not readable says BSR-1001 and exits 78."""
    (tmp_path / "closed").write_text(SMALLEST)
    refused = os.open

    def closed(path: object, *rest: Any, **more: Any) -> int:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return refused(path, *rest, **more)  # type: ignore[arg-type]

    environment.setattr(os, "open", closed)
    environment.setattr(os, "access", lambda *_, **__: False)
    for name, reason in (("missing", "No such file"), ("", "Is a directory"), ("closed", "Permission denied")):
        result = CliRunner().invoke(main, [*command, "--config", str(tmp_path / name)])
        assert result.exit_code == 78, result.output
        assert f"error[BSR-1001]: {reason}" in result.output


def test_show(tmp_path: Path) -> None:
    """The effective settings are YAML, secrets stand as references, origins beside the values."""
    path = write_files(tmp_path, SMALLEST)
    result = run("show", "--config", path)
    assert yaml.safe_load(result.stdout)["servicenow"]["auth"]["basic"]["password"] == {
        "credential": "servicenow_password"
    }
    assert f"# {path}:3:8\n" in result.stdout
    assert "# default\n" in result.stdout


def test_show_as_json(tmp_path: Path) -> None:
    """The same for programs: the settings as they are written, and the origin of each by its dotted path."""
    path = write_files(tmp_path, SMALLEST)
    answer = json.loads(run("show", "--json", "--config", path).stdout)
    assert answer["schema"] == "bseries-relay/config-show/1"
    assert answer["settings"]["servicenow"]["poll"] == {"interval": "5s", "batch": 100}
    assert answer["origins"]["servicenow.url"] == f"{path}:3:8"
    assert answer["origins"]["servicenow.poll.interval"] == "default"


def test_what_is_made_from_the_model() -> None:
    """Schema, reference and sample come out whole."""
    assert json.loads(run("schema").stdout) == schema()
    assert run("reference").stdout == reference()
    assert run("reference", "--sample").stdout == sample()
