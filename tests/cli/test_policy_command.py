"""`bseries-relay policy list` and `policy test`, run as a person runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.policies import LSID

from relay.cli.main import main
from relay.core.catalog import CATALOG
from relay.core.catalog_page import markdown

CONFIGURATION = """\
version: 1
relay: {name: relay01}
servicenow:
  url: https://example.service-now.com
  auth: {basic: {username: svc.relay, password: {credential: servicenow_password}}}
appliances:
  default:
    product: rs
    url: https://access.example.com
    also_known_as: [support.example.com]
    auth: {client_id: id, client_secret: {credential: appliance_secret}}
policy:
  allow: [session-integration, vault_report]
  operations:
    vault_report:
      description: Vault activity for the weekly review
      method: GET
      path: /api/reporting
      arguments:
        generate_report: {in: query, type: enum, values: [VaultAccountActivity], required: true}
        duration: {in: query, type: integer, min: 0, max: 366, default: 7}
      safe: true
      per_minute: 6
      response: {types: [text/xml], max_bytes: 5MiB}
    session-key: {per_minute: 30}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with an operation of the site's own and a narrowed one."""
    file = tmp_path / "relay.yaml"
    file.write_text(CONFIGURATION)
    return file


def run(*arguments: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(main, ["policy", *arguments], input=stdin)


def run_test(config: Path, *arguments: str, stdin: str | bytes = "") -> tuple[int, dict[str, Any]]:
    result = run("test", "--config", str(config), "--json", *arguments, stdin=stdin)
    value = json.loads(result.stdout)
    assert value["schema"] == "bseries-relay/policy-test/1"
    return result.exit_code, value


def test_list_as_a_table(config: Path) -> None:
    """The table has every operation, what allows each, and the site's own first."""
    result = run("list", "--config", str(config))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 1 + len(CATALOG)
    assert lines[1].split()[:3] == ["vault_report", "vault_report", "(site)"]
    assert next(line for line in lines if line.startswith("terminate ")).split()[1] == "-"
    assert next(line for line in lines if line.startswith("session-key ")).split()[1] == "session-integration"


def test_list_as_json(config: Path) -> None:
    """The JSON has every operation with its rule, its limits and its arguments' grammar."""
    value = json.loads(run("list", "--config", str(config), "--json").stdout)
    assert value["schema"] == "bseries-relay/policy-list/1"
    by_name = {operation["name"]: operation for operation in value["operations"]}
    assert set(by_name) == {"vault_report", *(operation.name for operation in CATALOG)}
    assert by_name["vault_report"]["response"] == {"types": ["text/xml"], "max_bytes": 5 * 1024 * 1024}
    assert by_name["session-key"]["per_minute"] == 30
    assert by_name["terminate"]["rule"] is None
    assert by_name["terminate"]["arguments"] == [
        {
            "name": "lsid",
            "in": "query or form",
            "type": "id",
            "takes": "32 hexadecimal digits",
            "required": True,
            "default": None,
            "description": "the session's id",
        }
    ]


def test_list_as_a_page() -> None:
    """The page of the built-in operations needs no configuration."""
    result = run("list", "--markdown", "--config", "/does/not/exist")
    assert (result.exit_code, result.stdout) == (0, markdown())


def test_an_allowed_call(config: Path) -> None:
    """An allowed call shows its operation, the entry that allows it, and what is sent; exit code 0."""
    url = "https://ACCESS.example.com/api/reporting.ns?generate_report=VaultAccountActivity"
    result = run("test", "--config", str(config), "--url", url, "--header", "Accept=text/xml")
    assert result.exit_code == 0
    assert "allowed: operation vault_report, by 'vault_report' of policy.allow" in result.stdout
    assert "GET /api/reporting?generate_report=VaultAccountActivity&duration=7" in result.stdout
    code, value = run_test(config, "--url", url)
    assert code == 0
    assert value["request"]["target"] == "/api/reporting?generate_report=VaultAccountActivity&duration=7"
    assert (value["per_minute"], value["safe"], value["appliance"]) == (6, True, "default")


def test_a_body_from_a_file_or_stdin(config: Path, tmp_path: Path) -> None:
    """A body comes from a file or from stdin, without the line break at its end."""
    file = tmp_path / "body"
    file.write_text(f"action=get_session_attributes&lsid={LSID}\r\n")
    common = ("--method", "POST", "--url", "https://support.example.com/api/command")
    code, value = run_test(config, *common, "--body", str(file))
    assert code == 0
    assert value["request"]["body"] == f"action=get_session_attributes&lsid={LSID}"
    assert run_test(config, *common, "--body", "-", stdin=file.read_bytes())[1] == value
    shown = run("test", "--config", str(config), *common, "--body", str(file))
    assert f"body:      action=get_session_attributes&lsid={LSID}" in shown.stdout
    assert run("test", "--config", str(config), *common, "--body", "-", stdin=b"\xff").exit_code == 2


def test_credentials_in_a_call_change_nothing(config: Path) -> None:
    """What holds credentials is dropped from a call before it is judged, as it is from ServiceNow's work."""
    url = "https://access.example.com/api/command?username=u&password=p&action=get_api_info"
    code, value = run_test(config, "--url", url, "--header", "Authorization=Basic x")
    assert (code, value["request"]["target"]) == (0, "/api/command?action=get_api_info")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--url", "https://access.example.com/api/../command?action=get_api_info"), "BSR-4003"),
        (("--url", "https://evil.example.com/api/command?action=get_api_info"), "BSR-4008"),
        (("--url", "https://access.example.com/api/command?action=terminate_session"), "BSR-4002"),
        (("--url", "https://access.example.com/api/command?action=get_api_info&x=1"), "BSR-4005"),
        (("--operation", "session-attributes", "--argument", "lsid=x"), "BSR-4004"),
        (("--operation", "session-key", "--appliance", "other"), "BSR-4008"),
        (("--url", "https://access.example.com/api/command", "--soap-action", "x"), "BSR-4001"),
    ],
)
def test_a_refused_call(config: Path, arguments: tuple[str, ...], code: str) -> None:
    """A refused call shows its code, its cause and what can be done; exit code 1."""
    status, value = run_test(config, *arguments)
    assert (status, value["decision"], value["code"]) == (1, "denied", code)
    result = run("test", "--config", str(config), *arguments)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"denied: {code}: ")
    assert "fix: " in result.stderr
    if value["operation"]:
        assert f"nearest operation: {value['operation']}" in result.stdout


def test_a_typed_call(config: Path) -> None:
    """A typed call is tested by name and arguments."""
    code, value = run_test(
        config, "--operation", "session-key", "--argument", "queue_id=team:5", "--argument", "ttl=60"
    )
    assert (code, value["operation"], value["safe"]) == (0, "session-key", False)
    assert value["request"]["method"] == "POST"


def test_the_token_post(config: Path) -> None:
    """A vendor script's token request is answered by the relay itself."""
    arguments = ("--method", "POST", "--url", "https://access.example.com/oauth2/token")
    code, value = run_test(config, *arguments)
    assert (code, value["decision"]) == (0, "answered")
    assert "placeholder" in run("test", "--config", str(config), *arguments).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--url", "https://a/b", "--operation", "x"),
        ("--url", "https://a/b", "--argument", "a=b"),
        ("--url", "https://a/b", "--appliance", "a"),
        ("--url", "https://a/b", "--header", "a"),
        ("--operation", "x", "--argument", "=b"),
        ("--operation", "x", "--header", "a=b"),
        ("--operation", "x", "--body", "-"),
        ("--operation", "x", "--soap-action", "x"),
    ],
)
def test_wrong_use(config: Path, arguments: tuple[str, ...]) -> None:
    """Options that do not belong together are wrong use: exit code 2."""
    assert run("test", "--config", str(config), *arguments).exit_code == 2


def test_a_bad_configuration(tmp_path: Path) -> None:
    """A configuration whose policy widens or names what does not exist ends in exit code 78 and its places."""
    file = tmp_path / "relay.yaml"
    file.write_text(
        CONFIGURATION.replace("{per_minute: 30}", "{safe: true}").replace("[session-integration,", "[nothing,")
    )
    result = run("list", "--config", str(file))
    assert result.exit_code == 78
    assert "error[BSR-1015]: policy.operations.session-key.safe" in result.stderr
    assert "error[BSR-1014]: policy.allow" in result.stderr


def test_help_is_light() -> None:
    """`--help` of the commands loads neither the HTTP nor the model nor the XML library."""
    code = (
        "import sys; from relay.cli.main import main\n"
        "try: main(['policy', 'test', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'httpx', 'pydantic', 'cryptography', 'lxml'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_a_decision_is_shown_as_handed_over(config: Path) -> None:
    """Of a decision on a request for approval both forms say that nothing is sent for it; of other calls neither."""
    call = ("--operation", "approval-response", "--argument", "response_id=17", "--argument", "response=deny")
    code, value = run_test(config, *call)
    assert (code, value["decision"], value["handed_over"]) == (0, "allowed", True)
    assert "nothing is sent for it" in run("test", "--config", str(config), *call).stdout
    code, value = run_test(config, "--operation", "health")
    assert (code, value["handed_over"]) == (0, False)
    assert "nothing is sent" not in run("test", "--config", str(config), "--operation", "health").stdout
    listed = json.loads(run("list", "--config", str(config), "--json").stdout)
    (row,) = [row for row in listed["operations"] if row["name"] == "approval-response"]
    assert {argument["in"] for argument in row["arguments"]} == {"anywhere"}
