"""The page on signed work: its script, run by real JavaScript engines, signs what the relay accepts."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.configuration import SMALLEST, loaded
from support.signing import signature

from relay.config.rules import policy_of
from relay.core.policy_values import Allowed
from relay.core.record import HttpCall, Record, TypedCall
from relay.core.signature import Signed, check, parse, sign, text_of
from relay.servicenow.payload import PayloadCodec

PAGE = (Path(__file__).parents[2] / "docs" / "signed-work.md").read_text()
SCRIPTS = "\n".join(re.findall(r"<!-- script: \w+ -->\n```js\n(.*?)```", PAGE, re.DOTALL))
LSID = "e9e99aeb9ad54fb381634498502c5a1b"
KEY = "Zk3o4Jq0pB1mW8uYx2c7nR5tV9aL6sDhEfGiKjMlNoQ="
NOW = 1_795_330_000
POLICY = "policy: {allow: [read-only, session-integration, session-control]}\n"

INSTANCE = """
var made = [];
function GlideRecord() {
    this.initialize = function () {};
    this.insert = function () { made.push(this); return 'id'; };
}
function GlideDateTime() { this.getNumericValue = function () { return given.now * 1000 + 999; }; }
var gs = {generateGUID: function () { return given.nonce; }, getUserName: function () { return given.by; }};
var sn_cc = {StandardCredentialsProvider: function () {
    this.getCredentialByID = function (id) {
        if (id != RELAY_KEY) throw new Error('no such credential');
        return {getAttribute: function (name) { return {user_name: given.key_id, password: given.key}[name]; }};
    };
}};
function fields(row) {
    var found = {};
    for (var name in row) if (typeof row[name] == 'string') found[name] = row[name];
    return found;
}
"""
"""What the scripts use of an instance, but for its cryptography."""

NODE = """
var crypto = require('crypto');
var GlideStringUtil = {base64Encode: function (text) { return Buffer.from(text, 'utf8').toString('base64'); }};
function GlideCertificateEncryption() {
    this.generateMac = function (key, algorithm, text) {
        if (algorithm != 'HmacSHA256') throw new Error(algorithm);
        return crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(text, 'utf8').digest('base64');
    };
}
function load(name) { return JSON.parse(require('fs').readFileSync(name, 'utf8')); }
function tell(value) { process.stdout.write(JSON.stringify(value)); }
"""
RHINO = """
var bytes = function (text) { return new java.lang.String(text).getBytes('UTF-8'); };
var GlideStringUtil = {
    base64Encode: function (text) { return java.util.Base64.getMimeEncoder().encodeToString(bytes(text)); }
};
function GlideCertificateEncryption() {
    this.generateMac = function (key, algorithm, text) {
        var mac = javax.crypto.Mac.getInstance(algorithm);
        mac.init(new javax.crypto.spec.SecretKeySpec(java.util.Base64.getMimeDecoder().decode(key), algorithm));
        return java.util.Base64.getEncoder().encodeToString(mac.doFinal(bytes(text)));
    };
}
function load(name) {
    var content = java.nio.file.Files.readAllBytes(java.nio.file.Paths.get(name));
    return JSON.parse(String(new java.lang.String(content, 'UTF-8')));
}
function tell(value) { new java.io.PrintStream(java.lang.System.out, true, 'UTF-8').print(JSON.stringify(value)); }
"""
ENGINES = {"node": (NODE, ["node"]), "rhino": (RHINO, ["rhino", "-opt", "-1"])}
"""Rhino is what an instance runs."""

engines = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
        for name in ENGINES
    ],
)


def run(engine: str, folder: Path, given: dict[str, Any], program: str) -> Any:
    """Run the page's scripts and a program after them; gives what it tells."""
    shim, command = ENGINES[engine]
    (folder / "given.json").write_text(json.dumps({"key": KEY, "key_id": "2026-11", "now": NOW, **given}))
    text = f"{shim}\nvar given = load({json.dumps(str(folder / 'given.json'))});\n{INSTANCE}\n{SCRIPTS}\n{program}"
    (folder / "program.js").write_text(text)
    done = subprocess.run([*command, str(folder / "program.js")], capture_output=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode())


def example() -> dict[str, str]:
    """The page's example: key, text and signature."""
    table = PAGE.partition("<!-- signed: example -->")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| `(.+)` \|$", table, re.MULTILINE)
    return {name.partition(",")[0].strip(" `"): value for name, value in rows}


def test_the_example_is_right() -> None:
    """Key, text and signature of the example belong together, by the product and by the tests' own signer."""
    shown = example()
    members = json.loads(shown["text"])
    work = Signed(**{name: value for name, value in members.items() if name not in {"time", "nonce"}})
    assert text_of(work, members["time"], members["nonce"]).decode() == shown["text"]
    assert sign("2026-11", shown["key"].encode(), work, members["time"], members["nonce"]) == shown["relay_signature"]
    assert signature(**members, key=shown["key"], key_id="2026-11") == shown["relay_signature"]


@engines
def test_the_script_makes_the_example(engine: str, tmp_path: Path) -> None:
    """The page's script signs the page's example as the page says."""
    shown = example()
    members = json.loads(shown["text"])
    made = run(
        engine,
        tmp_path,
        members,
        "tell(relaySignature('relay01', given.appliance, given.operation, given.arguments, given.correlator));",
    )
    assert made == shown["relay_signature"]


@engines
def test_the_script_signs_any_text(engine: str, tmp_path: Path) -> None:
    """For names and values of any characters the script's signature is what two other implementations make."""
    chance = random.Random(7)
    pool = "aZ0 \"\\/<>&'{}:,.\t\n\r\b\f\x00\x1f\x7f\u00e9\u2028\u20ac\ue000\uffff\U0001f600\U0010ffff"

    def text() -> str:
        return "".join(chance.choice(pool) for _ in range(chance.randrange(8)))

    works = [
        {
            "appliance": text(),
            "operation": text(),
            "arguments": {text(): text() for _ in range(chance.randrange(5))},
            "correlator": text(),
        }
        for _ in range(200)
    ]
    program = (
        "tell(given.works.map(function (work) { return relaySignature('relay01', work.appliance, work.operation, "
        "work.arguments, work.correlator); }));"
    )
    made = run(engine, tmp_path, {"works": works, "nonce": "nonce-of-the-test", "by": "J\u00f6rg"}, program)
    for work, found in zip(works, made, strict=True):
        signed = Signed(agent="mid.server.relay01", by="J\u00f6rg", **work)
        assert found == sign("2026-11", KEY.encode(), signed, NOW, "nonce-of-the-test")
        assert check(parse(found), KEY.encode(), signed, now=NOW, oldest=1).key_id == "2026-11"


@engines
def test_the_scripts_write_records_that_the_relay_accepts(engine: str, tmp_path: Path) -> None:
    """A record of the page's script is read, allowed and found signed, also with hostile text in its values."""
    policy = policy_of(loaded(tmp_path, SMALLEST + POLICY).settings)
    value = "<\"&'>\t\u00fc \U0001f600"
    calls = [
        ["terminate", {"lsid": LSID}, "change.CHG0030001"],
        ["session-attributes-set", {"lsid": LSID, "session.custom.external_key": "<\"&'> \u00fc \U0001f600"}, value],
        ["report-access-session", {"lsid": LSID}, ""],
        ["health", {}, "c"],
    ]
    program = (
        "given.calls.forEach(function (call) { signedProbe('relay01', 'default', call[0], call[1], call[2]); });"
        "tell(made.map(fields));"
    )
    rows = run(engine, tmp_path, {"calls": calls, "nonce": "nonce-of-the-test", "by": "admin"}, program)
    assert len(rows) == len(calls)
    for row in rows:
        record = Record({**row, "sys_created_by": "admin"})
        request = PayloadCodec().read(record)
        assert isinstance(request.work, HttpCall | TypedCall)
        ruling = policy.decide(request.work)
        assert isinstance(ruling, Allowed), ruling
        assert request.signature is not None
        signed = Signed(
            agent=record["agent"],
            appliance=ruling.request.appliance,
            operation=ruling.request.operation,
            arguments=ruling.arguments,
            correlator=record["agent_correlator"],
            by=record["sys_created_by"],
        )
        assert check(parse(request.signature), KEY.encode(), signed, now=NOW, oldest=1)
        assert "relay_signature" not in dict(request.parameters)


def test_what_the_page_says_of_defaults_is_so(tmp_path: Path) -> None:
    """The built-in operations whose arguments have defaults are those that the page names, with these defaults."""
    policy = policy_of(loaded(tmp_path, SMALLEST).settings)
    found = {
        (operation.name, argument.name, argument.default)
        for operation in policy.operations
        for argument in operation.arguments
        if argument.default is not None
    }
    assert found == {("session-key", "type", "support"), ("session-key", "queue_id", "general")}
    told = PAGE.partition("default for are there")[2].partition(";")[0]
    assert [f"`{word}`" in told for word in ("session-key", "type", "support", "queue_id", "general")] == [True] * 5


def test_the_codes_of_signatures_are_all_told() -> None:
    """The table of what is checked names each code that a signature can be refused with."""
    section = PAGE.partition("## What the relay checks")[2].partition("\n- **Clock")[0]
    assert set(re.findall(r"BSR-(\d{4})", section)) == {"4017", "4018", "4019", "4020", "4021", "4022"}
