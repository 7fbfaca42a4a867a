from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, loaded

from relay.config.rules import policy_of
from relay.core.policy_values import Allowed, Denied
from relay.core.record import HttpCall

POLICY = """\
policy:
  allow: [session-integration, vault_report]
  operations:
    vault_report:
      description: Vault activity for the weekly review
      appliance: default
      method: GET
      path: /api/reporting
      arguments:
        generate_report: {in: query, type: enum, values: [VaultAccountActivity], required: true}
        start_date: {in: query, type: date}
        duration: {in: query, type: integer, min: 0, max: 366, default: 7}
      safe: true
      per_minute: 6
      response: {types: [text/xml], max_bytes: 5MiB}
"""


def found(tmp_path: Path, old: str, new: str) -> list[str]:
    assert old in POLICY
    return headlines(tmp_path, SMALLEST + POLICY.replace(old, new, 1))


def test_the_documented_operation(tmp_path: Path) -> None:
    """The site operation of the interface's page is accepted and lets its call pass, and no other."""
    policy = policy_of(loaded(tmp_path, SMALLEST + POLICY).settings)
    base = "https://access.example.com/api/reporting?start_date=2026-01-01&generate_report="
    allowed = policy.decide(HttpCall("GET", base + "VaultAccountActivity"))
    assert isinstance(allowed, Allowed)
    assert (allowed.request.operation, allowed.arguments["duration"]) == ("vault_report", "7")
    assert isinstance(policy.decide(HttpCall("GET", base + "Everything")), Denied)


@pytest.mark.parametrize(
    ("old", "new", "headline"),
    [
        (
            "[session-integration, vault_report]",
            "[sesion-integration]",
            "relay.yaml:11:11: error[BSR-1014]: policy.allow[0]: no operation or group has this name; did you",
        ),
        (
            "[session-integration, vault_report]",
            "[vault_report, no such]",
            "relay.yaml:11:25: error[BSR-1014]: policy.allow[1]: no operation or group has this name",
        ),
        (
            "appliance: default",
            "appliance: defalt",
            "relay.yaml:15:18: error[BSR-1013]: policy.operations.vault_report.appliance: there is",
        ),
        (
            "      method: GET\n",
            "",
            "relay.yaml:13:5: error[BSR-1013]: policy.operations.vault_report: method is missing",
        ),
        (
            "{in: query, type: date}",
            "{in: form, type: date}",
            "relay.yaml:20:26: error[BSR-1013]: policy.operations.vault_report.arguments.start_date.in: ",
        ),
        (
            "{in: query, type: date}",
            "{in: header, type: date}",
            "relay.yaml:20:26: error[BSR-1006]: policy.operations.vault_report.arguments.start_date.in: write one of",
        ),
        (
            "default: 7",
            "default: 400",
            "relay.yaml:21:73: error[BSR-1013]: policy.operations.vault_report.arguments.duration.default: ",
        ),
        (
            "    vault_report:\n      description: Vault activity for the weekly review\n",
            "    health: {safe: true, path: /x}\n    vault_report:\n",
            "relay.yaml:13:32: error[BSR-1015]: policy.operations.health.path: the path of 'health' is",
        ),
    ],
)
def test_what_the_policy_refuses_has_a_place(tmp_path: Path, old: str, new: str, headline: str) -> None:
    """What the core finds wrong is shown at the key that it is about."""
    lines = found(tmp_path, old, new)
    assert len(lines) == 1
    assert lines[0].startswith(headline)


def test_the_policy_is_judged_although_another_section_is_wrong(tmp_path: Path) -> None:
    """One run shows the policy's mistakes together with those of the rest."""
    text = SMALLEST.replace("relay01", "-") + POLICY.replace("[session-integration, vault_report]", "[x]")
    assert [line.partition("[")[2][:8] for line in headlines(tmp_path, text)] == ["BSR-1006", "BSR-1014"]


def test_a_policy_of_the_wrong_form_is_only_told_so(tmp_path: Path) -> None:
    """What has not the form of a policy is not judged as one; no appliances at all are not called unknown ones."""
    assert len(headlines(tmp_path, SMALLEST + "policy: [x]\n")) == 1
    text = SMALLEST.partition("appliances:")[0] + POLICY
    assert [line.partition(": ")[2] for line in headlines(tmp_path, text)] == [
        "error[BSR-1007]: appliances: the key is required"
    ]


def test_a_policy_without_a_value_lets_nothing_pass(tmp_path: Path) -> None:
    """Deny by default, however empty the section is."""
    for text in ("", "policy:\n", "policy: {}\n", "policy: {allow: }\n"):
        assert loaded(tmp_path, SMALLEST + text).settings.policy.allow == ()


def test_a_member_of_a_family_can_be_narrowed(tmp_path: Path) -> None:
    """A family of arguments is written with its star."""
    text = SMALLEST + "policy: {operations: {session-key: {arguments: {'session.custom.*': {max_length: 10}}}}}\n"
    lines = headlines(tmp_path, text)
    assert not any("BSR-1006" in line for line in lines)


def test_a_family_of_arguments_can_be_closed(tmp_path: Path) -> None:
    """`max_items: 0` lets no member of the family pass; the rest of the operation stays as it is."""
    closed = (
        "policy: {allow: [session-key], operations: {session-key: {arguments: {'session.custom.*': {max_items: 0}}}}}\n"
    )
    url = "https://access.example.com/api/command?action=generate_session_key&type=support&queue_id=general"
    for text, extra, passes in ((closed, "&session.custom.a=1", False), (closed, "", True)):
        decision = policy_of(loaded(tmp_path, SMALLEST.replace("pra", "rs") + text).settings).decide(
            HttpCall("GET", url + extra)
        )
        assert isinstance(decision, Allowed) is passes


def test_one_bad_operation_hides_nothing_else(tmp_path: Path) -> None:
    """An operation of the wrong form, and a name of the wrong kind, leave the others judged."""
    operations = "a: 5, b: {method: GET, pth: /x}, '9': {}, c: {method: GET}"
    text = SMALLEST + f"policy: {{allow: [no-such, [x], a, b], operations: {{{operations}}}}}\n"
    found = [(line.split("[")[1][:8], line.split("]: ", 1)[1].partition(":")[0]) for line in headlines(tmp_path, text)]
    assert found == [
        ("BSR-1014", "policy.allow[0]"),
        ("BSR-1006", "policy.allow[1]"),
        ("BSR-1006", "policy.operations.a"),
        ("BSR-1003", "policy.operations.b.pth"),
        ("BSR-1006", "policy.operations.9"),
        ("BSR-1013", "policy.operations.c"),
    ]


def test_an_endless_list_of_names_is_refused(tmp_path: Path) -> None:
    """Each name is compared with all others, so their number is bounded."""
    text = SMALLEST + f"policy: {{allow: [{', '.join(['x'] * 1001)}]}}\n"
    assert [line.partition(": ")[2] for line in headlines(tmp_path, text)] == [
        "error[BSR-1006]: policy.allow: these are too many"
    ]
