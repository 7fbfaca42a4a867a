"""The command `sessions`: what it takes, how it asks, waits and ends."""

from __future__ import annotations

import json
import os
import pty
import sys
from itertools import pairwise
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from relay.cli import sessions_import
from relay.cli.main import main
from relay.cli.moments import read_moment
from relay.cli.sessions_import import MOST, MOST_BYTES, Order, _portions, run
from relay.cli.sessions_show import print_session

ONE = "ab" * 16
TWO = "cd" * 16


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["sessions", *arguments])


def stands(lsid: str, standing: str, was: str = "unknown", code: str | None = None) -> dict[str, Any]:
    """A session as the running relay tells it."""
    told = {"code": code, "cause": code and "it broke", "fix": code and "mend it"}
    return {"lsid": lsid, "appliance": "default", "job": lsid[:8], "standing": standing, "was": was, **told}


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]:
    """A relay that answers each command by a function or with what is next in a list; and what it was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []
    answers: dict[str, Any] = {}

    def ask(_config: object, command: str, arguments: dict[str, Any], **_: Any) -> Any:
        asked.append((command, arguments))
        answer = answers[command]
        if callable(answer):
            return answer(arguments)
        return answer.pop(0) if len(answer) > 1 else answer[0]

    monkeypatch.setattr(sessions_import, "ask_daemon", ask)
    monkeypatch.setattr(sessions_import.time, "sleep", lambda _: None)
    return asked, answers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name sessions by their LSID, or give --since"),
        ((ONE, "--since", "2h"), "name sessions by their LSID, or give --since"),
        ((ONE, "--again"), "go with --since"),
        ((ONE, "--until", "2h"), "go with --since"),
        (("--since", "2h", "--until", "3h"), "--until must be later"),
        (("--since", "2999-01-01"), "lies in the future"),
        (("--since", "yesterday"), "is no time; write 2026-01-31"),
        (("--since", "2026-02-30"), "is no time"),
        (("--since", "4000d"), ""),
        (("--since", "99999d"), "is no time"),
        (("--since", "2h", "--wait", "long"), "is no duration"),
        (("abc",), "is no session's id: 32 hexadecimal digits"),
        ((ONE[:-1] + "\u0661",), "is no session's id"),
    ],
)
def test_wrong_usage_is_told(relay: Any, arguments: tuple[str, ...], words: str) -> None:
    """What cannot be meant ends as wrong usage, before anything is asked."""
    relay[1]["sessions listed"] = [{"lsids": [], "appliance": "default"}]
    done = called("import", *arguments)
    assert (done.exit_code, words in done.stderr) == ((2, True) if words else (0, True))
    assert bool(relay[0]) == (not words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", 1_769_817_600.0),
        ("2026-01-31T12:00:00Z", 1_769_860_800.0),
        ("2026-01-31t12:00:00.5z", 1_769_860_800.0),
        ("2026-01-31 13:00:00+01:00", 1_769_860_800.0),
        ("2h", 1_800_000_000.0 - 7_200),
        ("7d", 1_800_000_000.0 - 7 * 86_400),
        ("0s", 1_800_000_000.0),
    ],
)
def test_moments_as_people_write_them(text: str, expected: float) -> None:
    """A date is its beginning in UTC, a time has its offset, a duration is how long ago."""
    assert read_moment(text, 1_800_000_000.0) == expected


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00", "2026-1-1", "0000-01-01", "1969-12-31", "9999-12-31T23:59:59-23:59"]
)
def test_what_is_no_moment(text: str) -> None:
    """A time without its offset could mean anything, and what is before 1970 or after 9999 no clock of ours tells."""
    with pytest.raises(click.BadParameter):
        read_moment(text, 0.0)


def test_a_long_time_is_asked_for_in_pieces(relay: Any) -> None:
    """Each piece begins where the one before ended; it grows where there is little and shrinks where it is too much."""
    asked, answers = relay
    ends: list[tuple[int, int]] = []

    def listed(arguments: dict[str, Any]) -> Any:
        since, seconds = arguments["since"], arguments["seconds"]
        if len(ends) == 1 and seconds > 86_400:
            return None  # more than an answer may hold
        ends.append((since, since + seconds))
        return {"lsids": [f"{since}"], "appliance": "default"}

    answers["sessions listed"] = listed
    answers["sessions standing"] = [{"sessions": [], "open": True}]
    done = called("import", "--since", "2025-01-01", "--until", "2025-06-01", "--dry-run")
    assert done.exit_code == 0
    assert ends[0][0] == 1_735_689_600
    assert ends[-1][1] == 1_748_736_000
    assert all(before[1] == after[0] for before, after in pairwise(ends))
    assert [end - start for start, end in ends[:3]] == [86_400, 43_200, 86_400]
    assert max(end - start for start, end in ends) == 32 * 86_400
    assert [len(arguments["lsids"]) for command, arguments in asked if command == "sessions standing"] == [len(ends)]


def test_until_now_is_the_appliances_now(relay: Any) -> None:
    """An open time ends when the appliance says so: 0 seconds, by its clock."""
    asked, answers = relay
    answers["sessions listed"] = [{"lsids": [], "appliance": "default"}]
    assert called("import", "--since", "1h").exit_code == 0
    assert called("import", "--since", "1h", "--until", "2999-01-01").exit_code == 0
    assert [arguments["seconds"] for _, arguments in asked[:1] + asked[-1:]] == [0, 0]


def test_where_there_is_much_the_pieces_stay_short(relay: Any) -> None:
    """After an answer with many sessions the next question is for no longer a time; long ids make short requests."""
    asked, answers = relay
    many = [f"{number:0250x}" for number in range(1_000)]
    answers["sessions listed"] = [{"lsids": many, "appliance": "default"}]
    answers["sessions standing"] = [{"sessions": [], "open": True}]
    assert called("import", "--since", "2025-01-01", "--until", "2025-01-04", "--dry-run").exit_code == 0
    assert [arguments["seconds"] for command, arguments in asked if command == "sessions listed"] == [86_400] * 3
    assert sum(command == "sessions standing" for command, _ in asked) == 7


@given(st.lists(st.text(min_size=1, max_size=255), unique=True, max_size=1_200))
def test_requests_are_bounded(lsids: list[str]) -> None:
    """Every id is in exactly one request, in order, and no request is longer than the relay reads."""
    portions = list(_portions(lsids))
    assert [one for some in portions for one in some] == lsids
    assert all(0 < len(some) <= MOST for some in portions)
    assert all(len(json.dumps(some)) <= MOST_BYTES + 2_000 for some in portions)


@pytest.mark.parametrize(
    ("session", "told", "exit_code"),
    [
        (stands(ONE, "home"), "imported: 1", 0),
        (stands(ONE, "home", "home"), "already there: 1", 0),
        (stands(ONE, "left out"), "left out: 1", 0),
        (stands(ONE, "discarded", "discarded"), "given up: 1", 0),
        (stands(ONE, "running"), "still running: 1", 75),
        (stands(ONE, "under way", code="BSR-3001"), "on its way: 1", 75),
        (stands(ONE, "failed", code="BSR-3009"), "failed: 1", 1),
    ],
)
def test_how_it_ends(relay: Any, session: dict[str, Any], told: str, exit_code: int) -> None:
    """The summary counts what became of each; the exit code tells whether all are home."""
    relay[1]["sessions import"] = [{"sessions": [session], "open": False}]
    done = called("import", ONE, "--wait", "0s")
    assert (done.exit_code, told in done.stdout.splitlines()) == (exit_code, True)
    assert "paused with --all" in done.stderr
    assert ("the relay goes on" in done.stderr) == (exit_code == 75)
    assert session["code"] is None or f"{session['code']}: it broke" in done.stdout
    helped = "fix: mend it; 'bseries-relay jobs show abababab' tells more" in done.stdout
    assert helped == (session["standing"] == "failed")


def test_failure_counts_more_than_waiting(relay: Any) -> None:
    """Where one failed and another waits the exit code is that of failure, which is sure."""
    told = [stands(ONE, "failed"), stands(TWO, "running")]
    relay[1]["sessions import"] = [{"sessions": told, "open": True}]
    assert called("import", ONE, TWO, "--wait", "0s").exit_code == 1


def test_it_waits_as_long_as_something_comes_home(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --wait five minutes without news end it; with it so long a time in all."""
    asked, answers = relay
    now = iter(range(0, 1_000_000, 20))
    monkeypatch.setattr(sessions_import.time, "monotonic", lambda: next(now))
    answers["sessions import"] = [{"sessions": [stands(ONE, "under way"), stands(TWO, "under way")], "open": True}]
    news = [stands(ONE, "under way"), stands(TWO, "home")]
    answers["sessions standing"] = lambda arguments: {
        "sessions": [one for one in news if one["lsid"] in arguments["lsids"]]
    }
    done = called("import", ONE, TWO)
    assert done.exit_code == 75
    assert "1 of 2 sessions done" in done.stderr
    without = len(asked)
    asked.clear()
    assert called("import", ONE, TWO, "--wait", "1m").exit_code == 75
    assert 2 <= len(asked) < without


def test_an_interrupted_command_tells_how_far_it_is(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the waiting, not the imports: the summary comes, and exit code 130."""
    relay[1]["sessions import"] = [{"sessions": [stands(ONE, "under way")], "open": True}]

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sessions_import.time, "sleep", interrupted)
    done = called("import", ONE)
    assert (done.exit_code, "on its way: 1" in done.stdout) == (130, True)
    assert "the relay goes on" in done.stderr


def test_of_many_only_some_are_shown(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary of a long time names those that are not home, and not more than can be read."""
    monkeypatch.setattr(sessions_import, "MOST_SHOWN", 3)
    lsids = [f"{number:032x}" for number in range(7)]
    told = [stands(lsid, "home" if number < 2 else "left out") for number, lsid in enumerate(lsids)]
    relay[1]["sessions listed"] = [{"lsids": lsids, "appliance": "default"}]
    relay[1]["sessions import"] = [{"sessions": told, "open": True}]
    monkeypatch.setattr(sessions_import, "_wait", lambda *_: None)
    for one, lsid in zip(told, lsids, strict=True):
        one["job"] = lsid
    done = called("import", "--since", "1h")
    assert [line for line in done.stdout.splitlines() if line.startswith("  ")] == [
        f"  {lsid} of default: left out" for lsid in lsids[2:5]
    ]
    assert "2 more; --json shows all" in done.stderr


def test_a_terminal_gets_a_bar(relay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a bar shows how far it is, on stderr; with NO_COLOR there are lines."""
    told = {"sessions": [stands(ONE, "under way")], "open": True}
    relay[1]["sessions import"] = lambda _: json.loads(json.dumps(told))
    relay[1]["sessions standing"] = [{"sessions": [stands(ONE, "home")]}]
    order = Order(None, (ONE,), None, None, None, again=False, wait=None)
    shown = {}
    for color in ("", "1"):
        master, slave = pty.openpty()
        monkeypatch.setenv("NO_COLOR", color)
        monkeypatch.setenv("TERM", "xterm")
        with os.fdopen(slave, "w") as terminal:
            monkeypatch.setattr(sys, "stderr", terminal)
            assert run(order, dry_run=False, as_json=True) == 0
        shown[color] = os.read(master, 65_536).decode()
        os.close(master)
    assert "1/1" in shown[""]
    assert shown["1"] == "0 of 1 sessions done\r\n1 of 1 sessions done\r\n"


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (False, "row in t: not written"),
        (None, "row in t, when ServiceNow has the table"),
        (True, "row in t (times in UTC)"),
    ],
)
def test_a_session_is_printed_whatever_it_holds(
    capsys: pytest.CaptureFixture[str], tables: bool | None, told: str
) -> None:
    """Texts of any origin stay on their lines, are bounded, and steer no terminal; what is missing is told."""
    print_session(
        {
            **stands(ONE, "failed", code="BSR-3009"),
            "running": False,
            "left_out": False,
            "tables": tables,
            "trouble": None,
            "links": {"task": {"table": None, "sys_id": None, "known": True, "asked": []}},
            "row": {
                "table": "t",
                "sys_id": "x",
                "values": {"chat": "a\x1b[2J\nb\u202e", "details": "{}", "long": "y" * 700},
            },
            "events": {
                "total": 70,
                "selected": 60,
                "types": {},
                "rows": [{"table": "e", "values": {"event_type": "Chat", "body": "line\nline", "key": "k"}}] * 60,
            },
            "entries": {"note": "note\n" + "z" * 2_000},
            "recordings": {"mode": "none", "links": []},
        }
    )
    shown = capsys.readouterr().out
    assert "could not be imported, BSR-3009: it broke" in shown
    assert "none: the session names none" in shown
    assert told in shown
    assert "  chat: a?[2J\n    b?\n" in shown
    assert "y" * 600 + "... (700 characters)" in shown
    assert "  - Chat -: body=line line\n" in shown
    assert "  ... and 10 more\n" in shown
    assert "z" * 2_000 in shown
    assert "no recordings" in shown
    assert "details" not in shown
