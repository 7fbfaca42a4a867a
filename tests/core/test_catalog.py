"""The built-in catalog: complete, consistent, and documented as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from support.policies import APPLIANCE, EVERYTHING, LSID, SUPPORT

from relay.core import templates
from relay.core.arguments import ARGUMENT_NAME, canonical
from relay.core.catalog import CATALOG
from relay.core.catalog_page import markdown
from relay.core.operations import GROUPS, OPERATION_NAME, Operation
from relay.core.patterns import check
from relay.core.policy import Policy
from relay.core.policy_values import Allowed, Denied
from relay.core.record import HttpCall, TypedCall

ids = pytest.mark.parametrize("operation", CATALOG, ids=lambda operation: operation.name)
ROOT = Path(__file__).parents[2]


def test_names_are_unique() -> None:
    """A name means one operation, and nothing but that operation or a group; the one shared alias is meant."""
    counts = Counter(name for operation in CATALOG for name in operation.names)
    assert [name for name, count in counts.items() if count > 1] == ["session-attributes"]
    assert not set(counts) & set(GROUPS)


@ids
def test_each_row_is_well_formed(operation: Operation) -> None:
    """Each row has a name, a group, a plain path and arguments whose defaults and patterns are good."""
    assert OPERATION_NAME.fullmatch(operation.name)
    assert operation.builtin
    assert operation.description
    assert operation.groups
    assert set(operation.groups) <= set(GROUPS)
    assert templates.problem(operation.path) is None
    assert set(templates.holes(operation.path)) == {each.name for each in operation.arguments if each.place == "path"}
    assert len({argument.name for argument in operation.arguments}) == len(operation.arguments)
    for argument in operation.arguments:
        assert ARGUMENT_NAME.fullmatch(argument.name)
        assert argument.description
        assert not (argument.required and argument.default is not None)
        assert argument.place != "path" or argument.required
        assert argument.default is None or canonical(argument, argument.default) == argument.default
        for pattern in argument.patterns:
            check(pattern)


UNSAFE = {"session-key", "join", "leave", "transfer", "terminate", "jump-shortcut-import", "failover-role"}


def test_what_is_safe_to_repeat() -> None:
    """Reads and the setting of attributes are safe; what makes, moves or ends something is not, and is no read."""
    assert {operation.name for operation in CATALOG if not operation.safe} == UNSAFE
    assert {operation.name for operation in CATALOG if operation.reserved} == {"session-key"}
    writes = {operation.name for operation in CATALOG if operation.methods[0] != "GET"}
    assert writes == UNSAFE | {"session-attributes-set", "approval-response"}


@pytest.mark.parametrize(
    ("group", "inside", "outside"),
    [
        (
            "read-only",
            ["api-info", "liveness", "report-access-session-listing", "user-list"],
            ["report-access-session", "session-key"],
        ),
        (
            "session-integration",
            [
                "session-key",
                "session-attributes-set",
                "report-access-session",
                "report-support-session-listing",
                "approval-response",
            ],
            [
                "terminate",
                "report-access-session-recording",
                "report-vault-account-activity",
                "report-team",
                "failover-role",
            ],
        ),
        (
            "recordings",
            ["report-command-shell-recording", "report-support-session-recording"],
            ["report-access-session"],
        ),
        ("session-control", ["terminate", "join", "transfer"], ["session-key"]),
        ("full-command", ["failover-role", "jump-shortcut-import", "report-vault-account-activity"], ["terminate"]),
    ],
)
def test_groups(group: str, inside: list[str], outside: list[str]) -> None:
    """A group allows what it holds and nothing else."""
    policy = Policy((APPLIANCE, SUPPORT), CATALOG, (group,))
    allowed = {operation.name for operation in CATALOG if policy.rule(operation)}
    assert set(inside) <= allowed
    assert not set(outside) & allowed
    read_only = {operation.name for operation in CATALOG if "read-only" in operation.groups}
    assert not read_only & UNSAFE


ACTIONS = (
    "get_api_info check_health get_logged_in_reps generate_session_key set_session_attributes get_session_attributes"
    " join_session leave_session terminate_session transfer_session import_jump_shortcut get_connected_client_list"
    " get_connected_clients set_failover_role get_support_teams get_appliances"
)
REPORTS = (
    "AccessSession AccessSessionListing AccessSessionSummary AccessSessionRecording SupportSession"
    " SupportSessionListing SupportSessionSummary SupportSessionRecording CommandShellRecording Team SupportTeam"
    " JumpItem VaultAccountActivity LicenseUsage EndpointLicenseUsage SupportCustExitSurvey SupportRepExitSurvey"
)
NEEDED = {
    "lsid": LSID,
    "session.custom.external_key": "INC0010001",
    "role": "backup",
    "name": "n",
    "group": "g",
    "kind": "shell-jump",
    "id": "5",
}


def needed(operation: Operation) -> dict[str, str]:
    return {
        name: value
        for name, value in NEEDED.items()
        for argument in [operation.argument(name)]
        if argument is not None and argument.required
    }


@pytest.mark.parametrize("action", ACTIONS.split())
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("suffix", ["", ".ns"])
def test_every_action_passes_both_ways(action: str, method: str, suffix: str) -> None:
    """Every action of the Command API passes by GET and by form, at both spellings, and under its vendor's name."""
    (operation,) = [each for each in CATALOG if action in each.aliases]
    pairs = {"action": action, **needed(operation)}
    text = "&".join(f"{name}={value}" for name, value in pairs.items())
    url = f"https://support.example.com/api/command{suffix}"
    call = HttpCall("GET", f"{url}?{text}") if method == "GET" else HttpCall("POST", url, body=text)
    policy = Policy((SUPPORT,), CATALOG, (action,))
    decision = policy.decide(call)
    assert isinstance(decision, Allowed)
    assert decision.request.method == method
    typed = policy.decide(TypedCall(action, needed(operation)))
    assert isinstance(typed, Allowed)
    assert typed.arguments == decision.arguments


@pytest.mark.parametrize("report", REPORTS.split())
def test_every_report_passes(report: str) -> None:
    """Every report of the Reporting API passes on a product that has it."""
    (operation,) = [each for each in CATALOG if report in each.aliases]
    appliance = APPLIANCE if "pra" in operation.products else SUPPORT
    (host,) = [host for host, port in appliance.origins if port == 443]
    text = "&".join(f"{name}={value}" for name, value in {"generate_report": report, **needed(operation)}.items())
    decision = Policy((appliance,), CATALOG, EVERYTHING).decide(HttpCall("GET", f"https://{host}/api/reporting?{text}"))
    assert isinstance(decision, Allowed)
    assert decision.request.operation == operation.name


def test_the_configuration_api_is_read_only() -> None:
    """Nothing below the Configuration API takes another method than GET."""
    policy = Policy((APPLIANCE,), CATALOG, EVERYTHING)
    for method in ("POST", "PUT", "PATCH", "DELETE", "HEAD"):
        decision = policy.decide(HttpCall(method, "https://access.example.com/api/config/v1/user/5"))
        assert isinstance(decision, Denied)
        assert decision.number == 4003


def test_the_page_is_current() -> None:
    """`docs/operations.md` is what `bseries-relay policy list --markdown` prints."""
    assert (ROOT / "docs" / "operations.md").read_text(encoding="utf-8") == markdown()
