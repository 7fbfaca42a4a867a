"""What `policy test` says of signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.configuration import SMALLEST
from support.policies import LSID
from support.signing import KEY, KEY_ID, signature

from relay.cli.main import main

NONCE = "5f08b46b6cea4fbe8b1d53713123e29e"
TERMINATE = ("--operation", "terminate", "--argument", f"lsid={LSID}")
GIVEN: dict[str, Any] = {
    "operation": "terminate",
    "arguments": {"lsid": LSID},
    "time": 1_795_330_000,
    "nonce": NONCE,
    "by": "admin",
    "correlator": "c1",
}


def configured(folder: Path, required: str = "false", operations: str = "{}", key: str = KEY) -> Path:
    """A configuration with a key."""
    (folder / "key").write_text(f"{key}\n")
    (folder / "key").chmod(0o600)
    keys = f"  signature_keys: {{{KEY_ID}: {{file: {folder}/key}}}}\n  require_signature: {required}\n  auth:"
    policy = f"policy: {{allow: [read-only, session-control], operations: {operations}}}\n"
    (folder / "relay.yaml").write_text(SMALLEST.replace("  auth:", keys, 1) + policy)
    return folder / "relay.yaml"


def run(config: Path, *arguments: str) -> tuple[int, str]:
    """The command, for people."""
    done = CliRunner().invoke(main, ["policy", "test", "--config", str(config), *arguments])
    return done.exit_code, done.output


def run_json(config: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The command, for programs."""
    code, out = run(config, "--json", *arguments)
    return code, json.loads(out)


@pytest.mark.parametrize(
    ("required", "operations", "health", "terminate"),
    [
        ("false", "{}", False, False),
        ("unsafe", "{}", False, True),
        ("true", "{}", True, True),
        ("false", "{health: {require_signature: true}}", True, False),
    ],
)
def test_it_says_whether_a_signature_is_needed(
    tmp_path: Path, required: str, operations: str, health: bool, terminate: bool
) -> None:
    """The global key and the operation's own are both looked at, and a call that needs one is still allowed."""
    config = configured(tmp_path, required, operations)
    for arguments, needed in ((("--operation", "health"), health), (TERMINATE, terminate)):
        code, out = run(config, *arguments)
        assert code == 0
        assert f"  signature: {'required' if needed else 'not required'}\n" in out
        code, found = run_json(config, *arguments)
        assert (code, found["require_signature"], found["signature"]["fits"]) == (0, needed, None)


def test_it_shows_what_is_to_be_signed(tmp_path: Path) -> None:
    """As JSON it gives the canonical text for the user and correlator that are given, with neither time nor nonce."""
    _, found = run_json(configured(tmp_path), *TERMINATE, "--by", "admin", "--correlator", "c1")
    assert found["signature"]["text"] == (
        f'{{"agent":"mid.server.relay01","appliance":"default","arguments":{{"lsid":"{LSID}"}},"by":"admin",'
        '"correlator":"c1","nonce":"","operation":"terminate","time":0}'
    )


def test_an_http_call_is_signed_as_what_it_is_taken_for(tmp_path: Path) -> None:
    """A URL and a typed call that mean the same have the same text."""
    config = configured(tmp_path)
    url = f"https://access.example.com/api/command.ns?action=terminate_session&lsid={LSID.upper()}"
    _, found = run_json(config, "--url", url)
    _, same = run_json(config, *TERMINATE)
    assert found["signature"] == same["signature"]


def test_a_signature_that_fits(tmp_path: Path) -> None:
    """It is judged with the configured key, whatever its age, and its text is shown."""
    config = configured(tmp_path, "true")
    row = ("--by", "admin", "--correlator", "c1", "--signature", signature(**GIVEN))
    code, out = run(config, *TERMINATE, *row)
    assert code == 0
    assert f"  signature: fits, made with key {KEY_ID}\n" in out
    assert f'"nonce":"{NONCE}","operation":"terminate","time":1795330000}}' in out
    code, found = run_json(config, *TERMINATE, *row)
    assert (code, found["signature"]["fits"], found["signature"]["key_id"]) == (0, True, KEY_ID)
    assert KEY not in out + str(found)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "BSR-4018"),
        ("v1.x", "BSR-4018"),
        (signature(**{**GIVEN, "key_id": "other"}), "BSR-4019"),
        (signature(**{**GIVEN, "by": "system"}), "BSR-4020"),
        (signature(**{**GIVEN, "key": KEY[::-1]}), "BSR-4020"),
    ],
)
def test_a_signature_that_does_not_fit(tmp_path: Path, text: str, code: str) -> None:
    """It is told why, with the text that would have to be signed where there is one, and the command fails."""
    config = configured(tmp_path)
    row = ("--by", "admin", "--correlator", "c1", "--signature", text)
    status, out = run(config, *TERMINATE, *row)
    assert status == 1
    assert f"  signature: {code}: " in out
    status, found = run_json(config, *TERMINATE, *row)
    assert (status, found["signature"]["fits"], found["signature"]["error"][:8]) == (1, False, code)
    assert (found["signature"]["text"] is None) == (code == "BSR-4018")


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """Whoever may not read the key is told so, and nothing is said of the signature."""
    config = configured(tmp_path, key="short")
    done = CliRunner().invoke(
        main, ["policy", "test", "--config", str(config), *TERMINATE, "--signature", signature(**GIVEN)]
    )
    assert done.exit_code != 0
    assert getattr(done.exception, "number", 1028) == 1028
    assert "fits" not in done.output


def test_a_value_that_is_no_unicode(tmp_path: Path) -> None:
    """Bytes of the command line that are no UTF-8 cannot be signed: there is no text, and no signature fits."""
    config = configured(tmp_path)
    code, found = run_json(config, *TERMINATE, "--by", "J\udcf6rg")
    assert (code, found["signature"]["text"]) == (0, None)
    code, found = run_json(config, *TERMINATE, "--by", "J\udcf6rg", "--signature", signature(**GIVEN))
    assert (code, found["signature"]["error"][:8]) == (1, "BSR-4020")


def test_a_refused_call_has_no_signature(tmp_path: Path) -> None:
    """Of a call that does not pass nothing is signed."""
    code, found = run_json(configured(tmp_path, "true"), "--operation", "no-such", "--signature", "x")
    assert (code, found["decision"], "signature" in found) == (1, "denied", False)
