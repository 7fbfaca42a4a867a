"""One run shows every mistake, and each at the place where it was made."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, problems, write_files

from relay.config.describe import leaves
from relay.config.known import known_part
from relay.config.load import examine, load
from relay.config.model import Settings
from relay.config.problems import ConfigProblems
from relay.config.section import NotKnownError
from relay.config.tree import data
from relay.core.jobs import Json

from .test_model import EVERYTHING

BASIC = "auth: {basic: {username: svc.relay, password: {credential: servicenow_password}}}"
TWO_WAYS = BASIC[:-1] + ", oauth_client: {client_id: a, client_secret: {credential: b}}}"
LISTENER = "listener: {listen: '[::]:1', tls: {certificate: /c.pem, key: {credential: key}}}\n"


def codes(lines: list[str]) -> list[str]:
    return [line.partition("[BSR-")[2][:4] for line in lines]


def test_mistakes_of_every_kind_come_in_one_run(tmp_path: Path) -> None:
    """Form, contradictions in a section and between sections, the policy: none hides another."""
    text = (
        SMALLEST.replace(BASIC, TWO_WAYS)
        .replace("  auth: {basic", "  pol: {interval: 5s}\n  require_signature: true\n  auth: {basic", 1)
        .replace("product: pra", "product: xyz")
    )
    second = "  second:\n    product: rs\n    url: https://access.example.com\n    auth: {client_id: 5}\n"
    found = headlines(tmp_path, text + second + "policy: {allow: [no-such]}\n" + LISTENER + "storage: {key: x}\n")
    assert [(line.split(":")[1], code) for line, code in zip(found, codes(found), strict=True)] == [
        ("4", "1003"),
        ("5", "1016"),
        ("6", "1016"),
        ("9", "1006"),
        ("12", "1016"),
        ("15", "1007"),
        ("16", "1014"),
        ("17", "1016"),
        ("17", "1016"),
        ("18", "1008"),
    ]


def test_a_syntax_error_hides_only_its_own_file(tmp_path: Path) -> None:
    """What contradicts itself in the other files is told; what the broken file may bring is not called missing."""
    text = SMALLEST.replace(BASIC, TWO_WAYS) + "policy: {allow: [no-such]}\nmetrics: {}\n" + LISTENER
    assert codes(headlines(tmp_path, text, a="x: [\n")) == ["1016", "1014", "1002"]
    assert codes(headlines(tmp_path, SMALLEST.replace(BASIC, "auth: {}"), a="x: [\n")) == ["1002"]


def test_a_file_that_others_can_change_is_read_nevertheless(tmp_path: Path) -> None:
    """Its mode is one of its problems and hides none of the others."""
    main = write_files(tmp_path, SMALLEST + "x: 1\n")
    main.chmod(0o666)
    with pytest.raises(ConfigProblems) as caught:
        load(main, {})
    assert [problem.number for problem in caught.value.problems] == [1010, 1003]


def test_what_one_file_spoils_is_judged_in_the_other(tmp_path: Path) -> None:
    """A refused value of a drop-in does not hide the mistake of the same key in the main file."""
    found = headlines(tmp_path, SMALLEST + "logging: {level: loud}\n", a="logging: {level: *x}\n")
    assert [line.partition(": ")[0] for line in found] == ["relay.yaml:10:18", "conf.d/a.yaml:1:18"]


def test_a_warning_stands_beside_the_errors(tmp_path: Path) -> None:
    """Whoever mends the errors need not come back for the warnings."""
    main = write_files(tmp_path, SMALLEST.replace("  auth", "  wake: amb\n  pol: 1\n  auth", 1))
    found = examine(main, {"HTTPS_PROXY": "x"})
    assert [(problem.number, problem.warning) for problem in found.problems] == [
        (1017, True),
        (1003, False),
        (1018, True),
    ]
    assert (len(found.errors), len(found.warnings)) == (1, 2)


PASSWORD = "servicenow: {auth: {basic: {password: %s}}}\n"


def test_a_secret_of_a_drop_in_is_shown_there(tmp_path: Path) -> None:
    """What is found out later about an overridden secret stands at the reference that holds."""
    main = write_files(tmp_path, SMALLEST, a=PASSWORD % "{file: /run/p}")
    problem = examine(main, {}).judge.problem(1009, ("servicenow", "auth", "basic", "password"), "no such file")
    assert problem.headline.startswith(f"{tmp_path}/conf.d/a.yaml:1:29: ")
    assert "/run/p" in problem.excerpt


def test_a_bad_reference_of_a_drop_in_blames_nobody_else(tmp_path: Path) -> None:
    """A map that is no reference replaces the former reference, so that only its own line is shown."""
    found = headlines(tmp_path, SMALLEST, a=PASSWORD % "{value: hunter2}")
    assert [line.partition(": ")[0] for line in found] == ["conf.d/a.yaml:1:29"]
    assert "hunter2" not in str(problems(tmp_path, SMALLEST, a=PASSWORD % "{value: hunter2}")[0])


def test_what_is_wrong_is_not_known() -> None:
    """Of settings with mistakes the right values hold; asking for a wrong one is told from asking for nonsense."""
    values = {
        "relay": {"name": "-"},
        "logging": 5,
        "sessions": {"tables": {"session": {"table": "u_x"}}, "events": ["a", ["b"]]},
        "approvals": {"overrides": [{"field": "state"}], "mode": "off"},
        "appliances": {"a": {"url": "https://a.example", "timeout": "x"}},
    }
    settings = known_part({**values})
    assert settings.appliances["a"].url == "https://a.example"
    assert (settings.approvals.mode, settings.approvals.overrides[0].field, settings.metrics) == ("off", "state", None)
    for ask in (
        lambda: settings.relay.name,
        lambda: settings.logging,
        lambda: settings.servicenow,
        lambda: settings.sessions.events,
        lambda: settings.appliances["a"].timeout,
    ):
        with pytest.raises(NotKnownError):
            ask()
    with pytest.raises(AttributeError):
        settings.nonsense  # type: ignore[attr-defined]  # noqa: B018  # that is what is tested
    known = {path for path, _ in leaves(Settings, settings)}
    assert ("sessions", "tables", "session", "table") in known
    assert ("appliances", "a", "url") in known
    assert ("relay", "name") not in known


def test_only_what_is_no_map_keeps_a_table_from_being_known() -> None:
    """Of a list or a single value where a map belongs nothing is known."""
    values: list[Json] = [5, [], {"a": 5}, {"a b": {}}]
    for value in values:
        with pytest.raises(NotKnownError):
            known_part({"appliances": value}).appliances  # noqa: B018  # as above
    with pytest.raises(NotKnownError):
        known_part(None).relay  # noqa: B018  # as above


def test_a_good_configuration_is_known_whole(tmp_path: Path) -> None:
    """Both ways of reading agree where nothing is wrong."""
    main = write_files(tmp_path, EVERYTHING)
    found = examine(main, {})
    assert known_part(data(found.judge.root)) == found.settings
