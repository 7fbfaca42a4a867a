"""The commands that ask the running daemon: what they print and how they end."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result
from support.configuration import SMALLEST

from relay.cli import asking, status
from relay.cli.asking import folders_of
from relay.cli.main import main
from relay.config.locate import SYSTEM
from relay.core.codes import code_of
from relay.daemon import client

STATUS = {
    "state": "degraded",
    "name": "relay01",
    "servicenow": "https://example.service-now.com",
    "version": "1.0",
    "appliances": {"default": "https://access.example.com"},
    "holds": {"local": {"reason": "maint\x1b[2Jenance", "author": "root", "since": "2026-01-01T00:00:00Z"}},
    "conditions": [
        {
            "severity": "error",
            "subject": "servicenow",
            "error": "BSR-2001: away",
            "since": "2026-01-01T00:00:00Z",
            "fix": "check DNS",
        }
    ],
    "jobs": {"CLAIMED": 2, "DEAD": 1},
    "kinds": {"queue": {"open": 2, "dead": 1}, "session": {"open": 0, "dead": 0}},
    "dead": 1,
}
JOB = {
    "id": "a" * 32,
    "kind": "queue",
    "state": "CLAIMED",
    "priority": 1,
    "appliance": "",
    "attempts": 2,
    "updated": "2026-01-01T00:00:00Z",
    "data": {"tries": 1},
}


def configured(tmp_path: Path, text: str = SMALLEST) -> Path:
    """A configuration whose state folder, and so the socket, is in the test's folder."""
    main_file = tmp_path / "relay.yaml"
    main_file.write_text(text + f"storage: {{directory: {tmp_path}/s}}\n")
    main_file.chmod(0o600)
    (tmp_path / "s").mkdir(exist_ok=True)
    return main_file


@contextmanager
def daemon(tmp_path: Path, answer: bytes) -> Iterator[list[dict[str, Any]]]:
    """Answers each question with the same bytes; gives the questions."""
    asked: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "s" / "control.sock"))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    channel, _ = listening.accept()
                except OSError:
                    return
                with channel, channel.makefile("rb") as lines:
                    line = lines.readline()
                    if not line:
                        return
                    asked.append(json.loads(line))
                    channel.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
                last.connect(str(tmp_path / "s" / "control.sock"))
            thread.join(10)


def ok(result: object) -> bytes:
    """A good answer."""
    return json.dumps({"ok": True, "result": result}).encode() + b"\n"


def refusal(number: int, text: str) -> bytes:
    """A refusal."""
    return json.dumps({"ok": False, "code": "x", "number": number, "error": text, "fix": "mend it"}).encode() + b"\n"


def run(tmp_path: Path, *arguments: str) -> Result:
    """Run a command with the test's configuration."""
    return CliRunner().invoke(main, [*arguments, "--config", str(configured(tmp_path))], env={"RUNTIME_DIRECTORY": ""})


def test_status_in_plain_text(tmp_path: Path) -> None:
    """The plain status tells state, sides, holds, what is wrong, and jobs; nothing in it steers a terminal."""
    configured(tmp_path)
    with daemon(tmp_path, ok(STATUS)):
        done = run(tmp_path, "status")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "degraded: mid.server.relay01 at https://example.service-now.com, version 1.0",
        "appliance default: https://access.example.com",
        "hold local: maint?[2Jenance (root, since 2026-01-01T00:00:00Z)",
        "error servicenow: BSR-2001: away (since 2026-01-01T00:00:00Z)",
        "  fix: check DNS",
        "state    jobs",
        "CLAIMED  2",
        "DEAD     1",
        "kind   open  dead",
        "queue  2     1",
        "dead: 1, which wait for an administrator; see 'bseries-relay jobs list --dead'",
    ]


def test_status_without_jobs(tmp_path: Path) -> None:
    """With nothing to do the status says so instead of an empty table."""
    configured(tmp_path)
    with daemon(tmp_path, ok({**STATUS, "jobs": {}})):
        assert run(tmp_path, "status").stdout.endswith("no open jobs\n")


def test_status_while_the_store_cannot_be_read(tmp_path: Path) -> None:
    """Jobs that cannot be counted are not said to be none."""
    configured(tmp_path)
    closed = {"subject": "store", "severity": "critical", "error": "BSR-5008", "since": "now", "fix": "give it back"}
    with daemon(tmp_path, ok({**STATUS, "state": "starting", "jobs": {}, "conditions": [closed]})):
        assert run(tmp_path, "status").stdout.endswith("jobs: not known until the store can be read\n")


def test_status_is_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--watch` shows the status again and again until it is interrupted, which exits 130."""
    times = iter([None, None])

    def slept(seconds: float) -> None:
        assert seconds == status.EVERY
        if next(times, "over") == "over":
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", slept)
    configured(tmp_path)
    with daemon(tmp_path, ok(STATUS)) as asked:
        done = run(tmp_path, "status", "--json", "--watch")
    assert done.exit_code == 130
    assert len(asked) == 3
    assert done.stdout.count('"schema": "bseries-relay/status/1"') == 3


def test_jobs_in_plain_text(tmp_path: Path) -> None:
    """The list is a table, one job is shown line by line, and each command passes its arguments on."""
    configured(tmp_path)
    with daemon(tmp_path, ok({"jobs": [JOB]})) as asked:
        listed = run(tmp_path, "jobs", "list", "--state", "CLAIMED", "--limit", "5")
        shown = run(tmp_path, "jobs", "show", "a" * 32)
        retried = run(tmp_path, "jobs", "retry", "a" * 32)
        discarded = run(tmp_path, "jobs", "discard", "a" * 32, "--reason", "old")
        raw = run(tmp_path, "jobs", "list", "--json")
        one = run(tmp_path, "jobs", "show", "a" * 32, "--json")
    assert json.loads(raw.stdout) == json.loads(one.stdout) == {"schema": "bseries-relay/jobs/1", "jobs": [JOB]}
    assert listed.stdout.splitlines()[1].split() == [
        "a" * 32,
        *["queue", "CLAIMED", "1", "-", "-", "-", "2"],
        "2026-01-01T00:00:00Z",
    ]
    assert listed.stderr == ""
    assert f"id: {'a' * 32}" in shown.stdout
    assert "tries: 1" in retried.stdout
    assert retried.stderr == "the call is made now\n"
    assert discarded.stderr == "discarded\n"
    assert [(one["command"], one["arguments"]) for one in asked[:4]] == [
        ("jobs list", {"kind": None, "state": "CLAIMED", "dead": False, "limit": 5}),
        ("jobs show", {"id": "a" * 32}),
        ("jobs retry", {"id": "a" * 32}),
        ("jobs discard", {"id": "a" * 32, "reason": "old"}),
    ]


def test_a_job_is_a_fact_a_line(tmp_path: Path) -> None:
    """A job is shown as lines of text: codes with their cause, times as RFC 3339, nothing that is not known."""
    data = {
        "topic": "RESTProbe",
        "by": "admin\nstate: forged",
        "created_on": "2026-01-01 00:00:00",
        "trying_since": 1767225600.5,
        "safe": True,
        "changed": False,
        "code": 4001,
        "status": None,
    }
    configured(tmp_path)
    with daemon(tmp_path, ok({"jobs": [{**JOB, "not_before": None, "data": data}]})):
        done = run(tmp_path, "jobs", "show", "a" * 32)
    assert done.stdout.splitlines() == [
        f"id: {'a' * 32}",
        "kind: queue",
        "state: CLAIMED",
        "priority: 1",
        "attempts: 2",
        "updated: 2026-01-01T00:00:00Z",
        "topic: RESTProbe",
        "by: admin state: forged",
        "created on: 2026-01-01T00:00:00Z",
        "trying since: 2026-01-01T00:00:00Z",
        "safe: yes",
        "changed: no",
        f"code: BSR-4001: {code_of(4001).cause}; fix: {code_of(4001).fix}",
    ]
    (tmp_path / "s" / "control.sock").unlink()
    with daemon(tmp_path, ok({"jobs": [{**JOB, "state": "NEW", "data": {"code": 4999}}]})):
        done = run(tmp_path, "jobs", "retry", "a" * 32)
    assert done.stdout.splitlines()[-1] == "code: BSR-4999"
    assert done.stderr == "the next step is taken now\n"


def test_jobs_of_sessions(tmp_path: Path) -> None:
    """A session's job is listed by its lsid with its code; what it failed with, and lists, are shown as text."""
    data = {"lsid": "b" * 32, "failed": [3001, 4], "links": {"task": ["incident", "c" * 32]}}
    job = {**JOB, "kind": "session", "state": "NOTICED", "data": data}
    configured(tmp_path)
    with daemon(tmp_path, ok({"jobs": [job, {**job, "data": {"path": "/e" * 80, "code": 6004}}]})) as asked:
        listed = run(tmp_path, "jobs", "list", "--kind", "session", "--dead").stdout.splitlines()
        shown = run(tmp_path, "jobs", "show", "a" * 32).stdout.splitlines()
        retried = run(tmp_path, "jobs", "retry", "a" * 32)
    assert asked[0]["arguments"] == {"kind": "session", "state": None, "dead": True, "limit": 100}
    assert listed[1].split()[1:7] == ["session", "NOTICED", "1", "-", "b" * 32, "BSR-3001"]
    assert listed[2].split()[5:7] == ["/e" * 40 + "...", "BSR-6004"]
    assert f"failed: BSR-3001: {code_of(3001).cause}; fix: {code_of(3001).fix} (4 times in a row)" in shown
    assert f'links: {{"task": ["incident", "{"c" * 32}"]}}' in shown
    assert "imported from its beginning" in retried.stderr
    assert run(tmp_path, "jobs", "list", "--dead", "--state", "DEAD").exit_code == 2


def test_a_list_says_that_there_are_more(tmp_path: Path) -> None:
    """A list that is shorter than what the daemon has says so on stderr, with the way to the rest."""
    configured(tmp_path)
    with daemon(tmp_path, ok({"jobs": [JOB], "total": 250})):
        assert run(tmp_path, "jobs", "list", "--limit", "1").stderr.startswith("249 more; --limit ")


def test_orders_say_what_was_done(tmp_path: Path) -> None:
    """pause, resume and reload say on stderr what came of them."""
    configured(tmp_path)
    with daemon(tmp_path, ok({"lifted": []})) as asked:
        assert "resume" in run(tmp_path, "pause", "--reason", "maintenance", "--all").stderr
        assert run(tmp_path, "resume").stderr == "there was no hold\n"
        assert run(tmp_path, "reload").stderr == "reloaded\n"
    assert asked[0]["arguments"] == {"reason": "maintenance", "all": True}
    (tmp_path / "s" / "control.sock").unlink()
    with daemon(tmp_path, ok({"lifted": ["local", "guard"]})):
        assert run(tmp_path, "resume").stderr == "lifted: local, guard\n"


@pytest.mark.parametrize(("number", "code"), [(1022, 1), (1003, 78), (5002, 1), (1020, 1), (3001, 69), (3005, 77)])
def test_a_refusal_has_its_fix_and_exit_code(tmp_path: Path, number: int, code: int) -> None:
    """A refusal is told with its fix; a bad configuration exits 78, trouble of another side as always, the rest 1."""
    configured(tmp_path)
    with daemon(tmp_path, refusal(number, "BSR: no\x07")):
        done = run(tmp_path, "reload")
    assert done.exit_code == code
    assert done.stderr == "BSR: no?\n  fix: mend it\n"


def test_a_relay_that_is_started_anew_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has patience is answered once the relay is there again; a refusal that was expected is no end either."""
    main_file = configured(tmp_path)
    answers: list[object] = []
    waits: list[float] = []

    def ask(*_: object) -> object:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(client, "ask", ask)
    monkeypatch.setattr(asking.time, "sleep", waits.append)
    answers[:] = [client.DaemonAway("away"), client.DaemonError(asking.NOT_NOW, "no store", "wait"), "there"]
    assert asking.ask_daemon(main_file, "x", patience=60.0) == "there"
    assert waits == [asking.AGAIN, asking.AGAIN]
    answers[:] = [client.DaemonError(3008, "too large", "ask for less")]
    assert asking.ask_daemon(main_file, "x", expected=3008) is None
    with pytest.raises(SystemExit) as ended:
        asking.ask_daemon(main_file, "x", patience=60.0)
    assert ended.value.code == 69


def test_nobody_there_is_69(tmp_path: Path) -> None:
    """Without a daemon, and with one that hangs up, a command exits 69 and says how to start it."""
    configured(tmp_path)
    done = run(tmp_path, "status")
    assert done.exit_code == 69
    assert "fix: start it" in done.stderr
    with daemon(tmp_path, b""):
        done = run(tmp_path, "status")
    assert done.exit_code == 69
    assert "hung up" in done.stderr


def test_a_bad_configuration_that_is_named_is_the_answer(tmp_path: Path) -> None:
    """A named file that cannot be read ends the command; one with other problems, or none, still says where to ask."""
    main_file = tmp_path / "relay.yaml"
    main_file.write_text("relay: {nam: x}\n")
    main_file.chmod(0o600)
    result = CliRunner().invoke(main, ["status", "--config", str(main_file)])
    assert result.exit_code == 69
    assert "problem(s) in the configuration" in result.stderr
    main_file.write_text("relay: [\n")
    assert CliRunner().invoke(main, ["status", "--config", str(main_file)]).exit_code == 78
    places = {
        "CONFIGURATION_DIRECTORY": str(tmp_path),
        "RUNTIME_DIRECTORY": str(tmp_path),
        "STATE_DIRECTORY": str(tmp_path),
    }
    assert CliRunner().invoke(main, ["status"], env=places).exit_code == 69


def _denied(*_: object) -> None:
    raise client.DaemonDenied("there")


def test_a_socket_of_somebody_else_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the socket may not be used the error says so; one that breaks in between is nobody there."""

    class Refusing:
        def __init__(self, *_: object) -> None:
            self.sent = False

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def settimeout(self, _: float) -> None:
            pass

        def connect(self, path: str) -> None:
            if path.endswith("denied"):
                raise PermissionError

        def sendall(self, _: bytes) -> None:
            raise ConnectionResetError(104, "Connection reset by peer")

    ask = client.ask
    monkeypatch.setattr(client.socket, "socket", Refusing)
    with pytest.raises(client.DaemonDenied, match="denied"):
        client.ask([tmp_path / "denied"], tmp_path, "status")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "denied"))
    monkeypatch.setattr(client, "ask", _denied)
    assert CliRunner().invoke(main, ["status"]).exit_code == 77
    with pytest.raises(client.DaemonAway, match="reset"):
        ask([tmp_path / "denied", tmp_path / "broken"], tmp_path, "status")


def test_the_services_configuration_means_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of the service's group may use its socket and not its state folder: it is the service that is asked."""
    monkeypatch.setattr("relay.config.locate.locate", lambda *_, **__: SYSTEM)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = folders_of(None)
    assert found.state == Path("/var/lib/bseries-relay")
    assert found.socket == Path("/run/bseries-relay/control.sock")
