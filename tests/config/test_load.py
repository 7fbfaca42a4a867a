from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.configuration import SMALLEST, headlines, loaded, problems, write_files

from relay.config.load import IGNORED_VARIABLES, load
from relay.config.locate import locate
from relay.config.problems import ConfigProblems, report


def test_an_unknown_key_is_shown_as_people_need_it(tmp_path: Path) -> None:
    """File, line, column, code, key and what was meant; the source line and a caret beneath the key."""
    text = SMALLEST.replace("  auth:", "  pol: {interval: 5s}\n  auth:", 1)
    (problem,) = problems(tmp_path, text)
    assert str(problem) == (
        f"{tmp_path}/relay.yaml:4:3: error[BSR-1003]: servicenow.pol: unknown key; did you mean 'poll'?\n"
        "      pol: {interval: 5s}\n"
        "      ^"
    )


def test_a_key_of_a_section_below_is_found(tmp_path: Path) -> None:
    """A key that stands one level too high is recognised."""
    text = SMALLEST.replace("  auth:", "  interval: 5s\n  auth:", 1)
    assert headlines(tmp_path, text)[0].endswith("unknown key; did you mean 'poll.interval'?")


def test_an_unknown_key_without_a_value_is_unknown_too(tmp_path: Path) -> None:
    """A key without a value counts as absent only if it exists."""
    assert headlines(tmp_path, SMALLEST + "xyz:\n") == ["relay.yaml:10:1: error[BSR-1003]: xyz: unknown key"]


def test_a_missing_key_points_at_its_parent(tmp_path: Path) -> None:
    """What is not there is shown where it belongs; at the top, at the file's beginning."""
    text = SMALLEST.replace("    product: pra\n", "").replace("relay: {name: relay01}\n", "")
    assert headlines(tmp_path, text) == [
        "relay.yaml:1:1: error[BSR-1007]: relay: the key is required",
        "relay.yaml:5:3: error[BSR-1007]: appliances.default.product: the key is required",
    ]


def test_all_problems_of_all_files_come_at_once_in_order(tmp_path: Path) -> None:
    """Syntax aside, one run shows every mistake, file by file from the top, each once."""
    found = headlines(
        tmp_path,
        SMALLEST + "wake: off\nlogging: {level: loud}\n",
        **{"20": "servicenow: {timeout: 5}\nmetrics: {}\n", "10": "x: 1\ny: 2\nrelay: {name: 5}\n"},
    )
    assert [line.partition(": error")[0] for line in found] == [
        "relay.yaml:10:1",
        "relay.yaml:11:18",
        "conf.d/10.yaml:1:1",
        "conf.d/10.yaml:2:1",
        "conf.d/20.yaml:1:23",
        "conf.d/20.yaml:2:1",
    ]


def test_a_mistake_that_a_drop_in_replaces_is_still_a_mistake(tmp_path: Path) -> None:
    """The main file is judged by itself too: removing the drop-in must not bring a surprise."""
    assert headlines(tmp_path, SMALLEST + "logging: {level: loud}\n", a="logging: {level: info}\n") == [
        "relay.yaml:10:18: error[BSR-1006]: logging.level: write one of debug, info, warning, error"
    ]


def test_drop_ins_merge_maps_and_replace_lists_in_byte_order(tmp_path: Path) -> None:
    """The last file in byte order wins, key by key; a list is replaced whole."""
    drop_ins = {
        "a": "sessions: {events: [c], recordings: none}\n",
        "Z": "sessions: {sweep: 2m, recordings: store}\n",
        "\u00e4": "sessions: {import_external: false}\n",
    }
    main = SMALLEST + "sessions: {events: [a, b], sweep: 1m}\n"
    settings = loaded(tmp_path, main, **drop_ins).settings.sessions
    assert (settings.events, settings.sweep, settings.recordings) == (("c",), 120.0, "none")
    assert settings.import_external is False


def test_a_drop_in_takes_a_key_away(tmp_path: Path) -> None:
    """A key without a value counts as absent: the default holds, a section is gone."""
    text = SMALLEST + "metrics: {listen: '127.0.0.1:1'}\nlogging: {level: debug}\n"
    settings = loaded(tmp_path, text, a="metrics: null\nlogging:\n").settings
    assert (settings.metrics, settings.logging.level) == (None, "info")
    taken = headlines(tmp_path, text, a="servicenow: {url: ~}\n")
    assert taken == ["conf.d/a.yaml:1:19: error[BSR-1007]: servicenow.url: the key is required"]


def test_a_reference_to_a_secret_is_replaced_whole(tmp_path: Path) -> None:
    """A file over a credential is a file, not both."""
    over = "servicenow: {auth: {basic: {password: {file: /run/p}}}}\n"
    basic = loaded(tmp_path, SMALLEST, a=over).settings.servicenow.auth.basic
    assert basic is not None
    assert str(basic.password) == "{file: /run/p}"


def test_what_is_no_drop_in_is_not_read(tmp_path: Path) -> None:
    """Editors' copies and other files beside the drop-ins have no effect."""
    main = write_files(tmp_path, SMALLEST, a="")
    for name in ("b.yml", "c.yaml~", ".d.yaml", "e.yaml.rpmnew"):
        (tmp_path / "conf.d" / name).write_text("bad: [\n")
    assert load(main, {}).settings.relay.name == "relay01"


def test_origins(tmp_path: Path) -> None:
    """Each value says where it comes from: the file that won, or the model's default."""
    origins = loaded(tmp_path, SMALLEST, a="logging: {level: debug}\nappliances: {default: {timeout: 1s}}\n").origins
    assert origins["relay.name"] == f"{tmp_path}/relay.yaml:1:15"
    assert origins["logging.level"] == f"{tmp_path}/conf.d/a.yaml:1:18"
    assert origins["appliances.default.timeout"] == f"{tmp_path}/conf.d/a.yaml:2:33"
    assert origins["appliances.default.url"] == f"{tmp_path}/relay.yaml:8:10"
    assert origins["logging.format"] == "default"
    assert "metrics.listen" not in origins


def test_the_environment_changes_nothing_and_is_mentioned(tmp_path: Path) -> None:
    """Variables that steer other programs raise one warning and have no effect."""
    names = [form for name in IGNORED_VARIABLES for form in (name, name.lower())]
    found = loaded(tmp_path, SMALLEST, dict.fromkeys(names, "http://evil"))
    assert found.settings == loaded(tmp_path, SMALLEST).settings
    (warning,) = found.warnings
    assert (warning.number, warning.mark, warning.warning) == (1018, None, True)
    assert all(name in warning.text for name in names)
    assert "evil" not in str(warning)
    assert loaded(tmp_path, SMALLEST, {"HTTPS_PROXY": "", "PATH": "/bin"}).warnings == ()


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666])
def test_files_that_others_can_change_are_refused(tmp_path: Path, mode: int) -> None:
    """Whoever can write a configuration file can have any call made."""
    main = write_files(tmp_path, SMALLEST, a="# nothing\n")
    (tmp_path / "conf.d" / "a.yaml").chmod(mode)
    with pytest.raises(ConfigProblems) as caught:
        load(main, {})
    assert [problem.number for problem in caught.value.problems] == [1010]
    assert "chmod go-w" in str(caught.value)


def test_a_folder_of_drop_ins_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """A new drop-in is as good as a changed one."""
    main = write_files(tmp_path, SMALLEST, a="# nothing\n")
    (tmp_path / "conf.d").chmod(0o777)
    with pytest.raises(ConfigProblems) as caught:
        load(main, {})
    told = [problem.headline for problem in caught.value.problems]
    start = f"{tmp_path}/conf.d:1:1: error[BSR-1010]: others than its owner may add drop-ins here"
    assert any(line.startswith(start) for line in told)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, a folder and a pipe end in BSR-1001, and nothing waits for a writer."""
    os.mkfifo(tmp_path / "pipe")
    for path, text in (
        (tmp_path / "x", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "pipe", "not a file"),
    ):
        with pytest.raises(ConfigProblems) as caught:
            load(path, {})
        assert caught.value.number == 1001
        assert text in str(caught.value)


def test_drop_ins_that_are_no_folder(tmp_path: Path) -> None:
    """A file called `conf.d` is a mistake to be told, not ignored."""
    (tmp_path / "conf.d").write_text("")
    (problem,) = problems(tmp_path, SMALLEST)
    assert (problem.number, problem.text) == (1001, "Not a directory")


def test_names_of_files_cannot_steer_a_terminal(tmp_path: Path) -> None:
    """A file's name is shown with its control characters replaced."""
    (found,) = headlines(tmp_path, SMALLEST, **{"a\x1b[2J": "x: 1\n"})
    assert found == "conf.d/a?[2J.yaml:1:1: error[BSR-1003]: x: unknown key"


def test_the_error_as_one_text(tmp_path: Path) -> None:
    """The exception's text is the whole report; its hint helps with one problem, or points to the reference."""
    with pytest.raises(ConfigProblems) as caught:
        loaded(tmp_path, SMALLEST + "x: 1\ny: 1\n")
    assert str(caught.value) == report(caught.value.problems)
    assert caught.value.hint.startswith("remove the key or correct its spelling")
    with pytest.raises(ConfigProblems) as caught:
        loaded(tmp_path, SMALLEST + "x: 1\nlogging: 5\n")
    assert "config reference" in caught.value.hint


def test_a_flood_of_problems_is_cut(tmp_path: Path) -> None:
    """Thousands of mistakes are counted, the first 500 are shown."""
    found = problems(tmp_path, SMALLEST + "".join(f"k{i}: 1\n" for i in range(5000)))
    assert len(found) == 5000
    assert report(found).endswith("... and 4500 more")


def test_where_the_configuration_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--config` first, then systemd's folder, then the system's file, then the user's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    system = tmp_path / "system.yaml"
    given = {"CONFIGURATION_DIRECTORY": "/a:/b"}
    assert locate(Path("x.yaml"), given, root=True) == Path("x.yaml")
    assert locate(None, given, root=False) == Path("/a/relay.yaml")
    assert locate(None, {}, root=True, system=system) == system
    assert locate(None, {}, root=False, system=system) == tmp_path / "user/bseries-relay/relay.yaml"
    system.write_text("")
    assert locate(None, {}, root=False, system=system) == system


def test_a_folder_that_may_not_be_looked_into_has_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is not of the service's group is told so by the file, not by a fault of the relay."""

    def refused(_: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refused)
    assert locate(None, {}, root=False, system=tmp_path / "system.yaml") == tmp_path / "system.yaml"
