"""`bseries-relay audit`, as a program."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.auditlog import rewrite, whole, written
from support.store import StillClock

from relay.audit.log import AuditLog
from relay.audit.segments import FIRST, FOLDER
from relay.cli import audit as audit_module
from relay.cli.main import main
from relay.core.jobs import Json

CONFIGURATION = """
version: 1
relay: {{name: relay01}}
servicenow:
  url: https://example.service-now.com
  auth:
    basic: {{username: user, password: {{credential: password}}}}
appliances:
  default:
    product: pra
    url: https://access.example.com
    auth: {{client_id: id, client_secret: {{credential: secret}}}}
policy: {{allow: [read-only]}}
storage: {{directory: {}}}
"""


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A state folder with a log of five lines."""
    log = await AuditLog.open(tmp_path, StillClock())
    await log.append([{"event": "sent", "job": f"{number}", "attempt": 1} for number in range(5)])
    await log.close()
    return tmp_path


def run(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return audit("verify", *words, **environ)


def audit(*words: object, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    program = "from relay.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "audit", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        input=typed,
        env={**os.environ, **environ},
    )


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A state folder with a log of several segments that two keys signed, and its checkpoints from elsewhere."""
    folder = tmp_path_factory.mktemp("signed") / "state"
    return folder, asyncio.run(written(folder))


@pytest.fixture
def sealed(signed: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it to change."""
    shutil.copytree(signed[0], tmp_path / "sealed")
    return tmp_path / "sealed"


def test_a_sound_log_is_ok(state: Path) -> None:
    """A sound log exits 0, tells its last seq on stdout, and says on stderr that truncation was not checked."""
    done = run("--directory", state)
    assert done.returncode == 0
    assert done.stdout.startswith("OK: 5 lines")
    assert "Not checked" in done.stderr
    assert "no signed checkpoint" in done.stderr


def test_a_changed_log_is_bad(state: Path) -> None:
    """An edit exits 1 and names the first bad seq."""
    path = state / FOLDER / FIRST
    path.write_bytes(path.read_bytes().replace(b'"job":"2"', b'"job":"9"'))
    done = run("--directory", state)
    assert done.returncode == 1
    assert done.stdout.startswith("BAD: seq 3 ")


def test_json_has_a_schema(state: Path) -> None:
    """`--json` is one object with `schema`, the verdict, the chain's end and the torn bytes."""
    path = state / FOLDER / FIRST
    with path.open("ab") as file:
        file.write(b"{")
    sound = json.loads(run("--directory", state, "--json").stdout)
    assert sound["schema"] == "bseries-relay/audit-verify/1"
    assert (sound["ok"], sound["lines"], sound["torn_bytes"], sound["bad"]) == (True, 5, 1, None)
    assert "torn by a crash" in run("--directory", state).stderr
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    done = run("--directory", state, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["bad"]["seq"] == 1


def test_a_missing_log_is_not_sound(tmp_path: Path) -> None:
    """No folder, or a folder without a log, exits 1."""
    assert run("--directory", tmp_path).returncode == 1
    (tmp_path / FOLDER).mkdir()
    done = run("--directory", tmp_path)
    assert done.returncode == 1
    assert "no audit log" in done.stderr


def test_a_log_that_cannot_be_read_is_told_apart(tmp_path: Path) -> None:
    """Something else in the log's place exits 77."""
    (tmp_path / FOLDER).write_text("")
    assert run("--directory", tmp_path).returncode == 77


def test_the_state_folder_is_found(state: Path, tmp_path: Path) -> None:
    """Without `--directory` the log is that of systemd's state folder, or of the configuration's."""
    empty = tmp_path / "config"
    empty.mkdir()
    assert run(STATE_DIRECTORY=str(state), CONFIGURATION_DIRECTORY=str(empty)).returncode == 0
    assert run(STATE_DIRECTORY=str(empty), CONFIGURATION_DIRECTORY=str(empty)).returncode == 1
    main = empty / "relay.yaml"
    main.write_text(CONFIGURATION.format(state))
    assert run(STATE_DIRECTORY=str(empty), CONFIGURATION_DIRECTORY=str(empty)).returncode == 0
    done = run("--config", tmp_path / "relay.yaml")
    assert done.returncode == 78
    assert "--directory" in done.stderr
    partly = tmp_path / "partly.yaml"
    partly.write_text(f"version: 1\nstorage: {{directory: {state}}}\n")
    done = run("--config", partly)
    assert done.returncode == 0
    assert "config check" in done.stderr


def test_a_signed_log_is_ok(signed: tuple[Path, list[str]], tmp_path: Path) -> None:
    """With a key and a checkpoint from elsewhere a sound log is proven, and nothing is left to be said."""
    key = audit("key", "--directory", signed[0])
    assert key.returncode == 0
    note = tmp_path / "note"
    note.write_text(signed[1][0])
    done = audit("verify", "--directory", signed[0], "--key", "-", "--checkpoint", note, typed=key.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "OK: 22 lines" in done.stdout
    assert "signed checkpoints; the newest covers 22 lines" in done.stdout
    plain = audit("verify", "--directory", signed[0])
    assert "could replace them" in plain.stderr
    told = json.loads(audit("verify", "--directory", signed[0], "--checkpoint", note, "--json").stdout)
    assert (told["ok"], told["truncation"], len(told["keys"])) == (True, "checked", 2)
    assert told["checkpoints"] == {"verified": 6, "newest": 22, "problems": []}


@pytest.mark.parametrize(
    "form",
    [
        'Nov 22 07:46:52 host bseries-relay[285]: audit.checkpoint size=22 root="x" note="{two}"',
        '{{"BSR_EVENT":"audit.checkpoint","BSR_NOTE":"\\"{four}\\"","MESSAGE":"audit.checkpoint note=\\"{four}\\""}}',
        '{{"event":"audit.checkpoint","note":"{two}","size":22}}',
        "an older line\n{note}\n{note}\n",
    ],
)
def test_a_line_of_the_journal_is_a_checkpoint(signed: tuple[Path, list[str]], form: str) -> None:
    """A whole line, in whatever form the journal printed it, does as well as the checkpoint alone."""
    note = signed[1][0]
    copied = form.format(note=note, two=note.replace("\n", r"\\n"), four=note.replace("\n", r"\\\\n"))
    done = audit("verify", "--directory", signed[0], "--checkpoint", "-", typed=copied)
    assert done.returncode == 0, done.stderr
    assert "Not checked" not in done.stderr
    done = audit("verify", "--directory", signed[0], "--checkpoint", "-", typed=copied.replace(" ", "-"))
    assert done.returncode == 2


def test_a_cut_end_is_bad(signed: tuple[Path, list[str]], sealed: Path, tmp_path: Path) -> None:
    """Lines and checkpoints that were cut off together are found with a checkpoint from elsewhere."""
    *_, (last, raw) = whole(sealed)
    last.write_bytes(b"".join(raw[:-2]))
    done = run("--directory", sealed)
    assert done.returncode == 1
    assert done.stdout.startswith("BAD: seq 21 is missing")
    for path in (sealed / FOLDER / "checkpoints").iterdir():
        path.unlink()
    assert run("--directory", sealed).returncode == 0
    note = tmp_path / "note"
    note.write_text(signed[1][-1].replace("\n", "\\n"))  # as it stands in a line of the log stream
    done = run("--directory", sealed, "--checkpoint", note)
    assert done.returncode == 1
    assert done.stdout.startswith("BAD: seq 21 is missing")
    found = json.loads(run("--directory", sealed, "--checkpoint", note, "--json").stdout)
    assert found["bad"]["seq"] == 21


def test_an_edit_of_a_compressed_segment_is_bad(sealed: Path) -> None:
    """A line in a compressed file is named as any other."""
    content = whole(sealed)
    content[1][1][1] = content[1][1][1].replace(b"admin", b"other")
    rewrite(content)
    done = run("--directory", sealed)
    assert done.returncode == 1
    assert done.stdout.startswith(f"BAD: seq {len(content[0][1]) + 2} was changed")


def test_a_strangers_signature_is_bad(signed: tuple[Path, list[str]], sealed: Path, tmp_path: Path) -> None:
    """Checkpoints that the named key did not sign are no proof, nor is a log without any."""
    other = tmp_path / "other"
    asyncio.run(written(other))
    key = audit("key", "--directory", other).stdout
    done = audit("verify", "--directory", sealed, "--key", "-", typed=key)
    assert done.returncode == 1
    assert "BAD: checkpoint 000000000006.note: no known key signed it" in done.stdout
    shutil.rmtree(sealed / FOLDER / "checkpoints")
    done = audit("verify", "--directory", sealed, "--key", "-", typed=key)
    assert done.returncode == 1
    assert "no checkpoint that this key signed" in done.stdout
    assert audit("verify", "--directory", signed[0], "--key", "-", typed="nonsense").returncode == 2
    assert audit("verify", "--directory", signed[0], "--checkpoint", tmp_path / "none").returncode == 2


def test_lines_are_shown(signed: tuple[Path, list[str]]) -> None:
    """The newest lines come last; time, job, event and number choose; JSON has a schema."""
    at = ("--directory", signed[0])
    shown = audit("show", *at, "-n", "3").stdout.splitlines()
    assert shown[0].split() == ["SEQ", "TIME", "EVENT", "JOB", "OPERATION", "BY", "MORE"]
    assert [line.split()[0] for line in shown[1:]] == ["20", "21", "22"]
    found = json.loads(audit("show", *at, "--event", "key", "--json").stdout)
    assert found["schema"] == "bseries-relay/audit-lines/1"
    assert [line["seq"] for line in found["lines"]] == [6, 13]
    assert [line["seq"] for line in json.loads(audit("show", *at, "--job", "17", "--json").stdout)["lines"]] == [20]
    everything = json.loads(audit("show", *at, "-n", "100", "--json").stdout)["lines"]
    assert [line["seq"] for line in everything] == list(range(1, 23))
    for since, number in (("2027-01-15", 22), ("2027-01-15T08:00:00.001Z", 0), ("2027-01-15T09:00:00+01:00", 22)):
        assert len(audit("show", *at, "--since", since).stdout.splitlines()) == number + 1
        assert len(audit("export", *at, "--until", since).stdout.splitlines()) == (22 if not number else 0)
    assert audit("show", *at, "--until", "1000d", "--json").returncode == 0
    assert audit("show", *at, "--since", "yesterday").returncode == 2
    assert audit("show", *at, "--since", "9999999999d").returncode == 2


def test_what_others_wrote_into_the_folder_is_shown_safely(state: Path) -> None:
    """No line, whatever is in it, ends the command or reaches the terminal as anything but text."""
    with (state / FOLDER / FIRST).open("ab") as file:
        file.write(b'{"event":["a"]}\n{"event":"sent","job":"\\ud800\\u009b31m","by":"\xe2\x80\xae"}\n')
    shown = audit("show", "--directory", state, "--event", "sent", "--json")
    assert json.loads(shown.stdout)["lines"][-1] == {"event": "sent", "job": "\ud800\x9b31m", "by": "\u202e"}
    for done in (shown, audit("show", "--directory", state)):
        assert done.returncode == 0
        assert done.stdout.replace("\n", "").isprintable()


def test_only_what_is_needed_is_read(signed: tuple[Path, list[str]], sealed: Path) -> None:
    """The newest lines, and those since a time, are found without reading the older files."""
    first = whole(sealed)[0][0]
    first.write_bytes(b"nothing that could be read")
    done = audit("show", "--directory", sealed, "-n", "2", "--json")
    assert [line["seq"] for line in json.loads(done.stdout)["lines"]] == [21, 22]
    done = audit("show", "--directory", sealed, "--since", "2027-01-15T08:00:01Z", "--json")
    assert json.loads(done.stdout)["lines"] == []
    assert len(audit("show", "--directory", sealed, "-n", "100").stdout.splitlines()) < 23
    assert len(audit("show", "--directory", signed[0], "-n", "100").stdout.splitlines()) == 23


def test_an_export_is_the_log_itself(signed: tuple[Path, list[str]], sealed: Path) -> None:
    """JSON lines come byte for byte, so that the chain can be followed in them; a torn end is left out."""
    expected = b"".join(raw for _, lines in whole(sealed) for raw in lines).decode()
    *_, (last, _) = whole(sealed)
    with last.open("ab") as file:
        file.write(b'{"torn')
    assert audit("export", "--directory", sealed).stdout == expected
    assert audit("export", "--directory", signed[0]).stdout == expected


async def test_a_csv_export_is_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    """Every line is a row with known columns, the rest is JSON, and no text of others becomes a formula."""
    log = await AuditLog.open(tmp_path, StillClock())
    await log.append([{"event": "intent", "job": "1", "attempt": 1, "by": "=cmd()", "safe": True, "more": 'a,"b\nc'}])
    await log.append([{"event": "intent", "job": "2", "attempt": 1, "by": "-x", "answer_bytes": -5, "code": None}])
    await log.append([{"event": "hold", "job": "", "attempt": 0, "reason": "\uff1dx"}])
    await log.close()
    rows = csv.DictReader(audit("export", "--directory", tmp_path, "--format", "csv").stdout.splitlines())
    first, second, third = rows
    assert (first["by"], first["safe"], first["seq"], first["code"]) == ("'=cmd()", "true", "1", "")
    assert json.loads(first["more"]) == {"more": 'a,"b\\nc'}
    assert (second["by"], second["answer_bytes"], second["more"]) == ("'-x", "-5", "")
    assert third["reason"] == "'\uff1dx"


def test_a_log_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Without a log there is nothing to show or export, and no key; something else in its place is told apart."""
    for words in (("show",), ("export",), ("export", "--format", "csv"), ("key",)):
        done = audit(*words, "--directory", tmp_path)
        assert (done.returncode, done.stdout.count("\n") <= 1) == (1, True)
        assert done.stderr
    (tmp_path / FOLDER).write_text("")
    for words in (("show",), ("export",), ("key",)):
        assert audit(*words, "--directory", tmp_path).returncode == 77
    (tmp_path / FOLDER).unlink()
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "keys.vkey").write_text("nonsense")
    assert audit("key", "--directory", tmp_path).returncode == 1


def test_keys_are_printed(signed: tuple[Path, list[str]]) -> None:
    """The current key is one line that other tools read; JSON has the former ones too."""
    found = json.loads(audit("key", "--directory", signed[0], "--json").stdout)
    (line,) = audit("key", "--directory", signed[0]).stdout.splitlines()
    assert found["schema"] == "bseries-relay/audit-key/1"
    assert found["key"] == line
    assert len(found["former"]) == 1
    assert audit("key", "--rotate", "--directory", signed[0]).returncode == 2
    assert audit("key", "--rotate", STATE_DIRECTORY="/nonexistent").returncode == 69


def asked(monkeypatch: pytest.MonkeyPatch, answer: Json, *words: str) -> Result:
    """Run a command that asks the daemon, which gives this answer."""
    monkeypatch.setattr(audit_module, "ask_daemon", lambda *_: answer)
    return CliRunner().invoke(main, ["audit", *words])


def test_a_fresh_checkpoint_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The note comes byte for byte, so that it can go to a file; JSON has size and root beside it."""
    answer = {"note": "origin\n1\nroot=\n\n\u2014 origin sig=\n", "size": 1, "root": "00"}
    assert asked(monkeypatch, answer, "checkpoint").stdout == answer["note"]
    told = json.loads(asked(monkeypatch, answer, "checkpoint", "--json").stdout)
    assert told == {"schema": "bseries-relay/audit-checkpoint/1", **answer}


def test_a_new_key_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation prints the new public key, and says that it is to be kept elsewhere."""
    done = asked(monkeypatch, {"key": "name+id+key"}, "key", "--rotate")
    assert done.stdout == "name+id+key\n"
    assert "elsewhere" in done.stderr
    assert json.loads(asked(monkeypatch, {"key": "k"}, "key", "--rotate", "--json").stdout)["key"] == "k"


def test_an_export_that_cannot_be_written_is_told(signed: tuple[Path, list[str]]) -> None:
    """An export onto a full disk exits 74, and is not taken for a log that cannot be read."""
    program = "from relay.cli.main import main; main()"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, "audit", "export", "--directory", str(signed[0])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 74
