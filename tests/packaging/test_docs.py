"""The documentation says what is so: each claim that a program can check is checked here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner
from lxml import etree

from relay.appliance.values import JsonShaper
from relay.cli import output
from relay.cli.main import main
from relay.config.load import load
from relay.config.rules import policy_of
from relay.core.codes import REGISTRY
from relay.core.errors import ApplianceError
from relay.core.policy_values import Allowed
from relay.core.record import Failure, HttpCall, Record, Reply, TypedCall
from relay.sandbox import control, playing
from relay.servicenow.payload import PayloadCodec

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md")]
)
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
OUTPUT = "5f08b46b6cea4fbe8b1d53713123e29e"


def blocks(language: str, mark: str = "") -> Iterator[tuple[str, str, str]]:
    """Every code block of a language: its page, the rest of the comment `mark` before it, its text."""
    before = rf"<!-- {mark}: ([^>]*) -->\n" if mark else "()"
    for name, text in TEXTS.items():
        for match in re.finditer(rf"{before}```{language}\n(.*?)```", text, re.DOTALL):
            yield name, match[1], match[2]


def configured(folder: Path, *drop_ins: str) -> Path:
    """The least configuration of the page on installing, with drop-ins; returns its main file."""
    ((_, _, text),) = [block for block in blocks("yaml", "install") if block[1] == "configuration"]
    (folder / "conf.d").mkdir()
    paths = [folder / "relay.yaml", *(folder / f"conf.d/{number}.yaml" for number in range(len(drop_ins)))]
    for path, content in zip(paths, (text, *drop_ins), strict=True):
        path.write_text(content)
        path.chmod(0o600)
    return paths[0]


# ---- generated pages, links, names


def test_generated_pages_are_current() -> None:
    """Every generated page is what scripts/docs would write, and every log event has a description."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/pages.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def anchors(text: str) -> set[str]:
    """What a link into a page may name: its headings and its explicit anchors."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


def test_links_resolve() -> None:
    """Every link leads to a file of the repository and, where it names one, to a heading in it."""
    broken = []
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            path, _, anchor = target.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
                broken.append(f"{name}: {target}")
    assert broken == []


def test_files_that_are_named_exist() -> None:
    """Every path of the repository that a page names is there."""
    named = {
        (name, path)
        for name, text in TEXTS.items()
        for path in re.findall(r"(?<![\w./-])((?:scripts|relay|packaging|config|tests)/[\w./-]*\w)", text)
    }
    assert sorted(where for where in named if not (ROOT / where[1]).exists()) == []


def test_codes_that_are_named_exist() -> None:
    """Every code that a page names is in the registry."""
    named = {(name, int(code)) for name, text in TEXTS.items() for code in re.findall(r"BSR-(\d{4})", text)}
    assert sorted(where for where in named if where[1] not in REGISTRY) == []


def test_every_dependency_has_its_reason() -> None:
    """The design notes name each dependency of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=]", one)[0] for one in project["dependencies"]}
    section = TEXTS["docs/design.md"].partition("## Dependencies")[2].partition("\n## ")[0]
    assert {one for one in wanted if not re.search(rf"\b{re.escape(one)}\b", section)} == set()


# ---- commands


def problem_of(words: list[str]) -> str | None:
    """What is wrong with a command line of the product; None when its command and options exist."""
    found: click.Command = main
    rest = list(words)
    while isinstance(found, click.Group) and rest and re.fullmatch(r"[a-z]+", rest[0]):
        nested = found.get_command(click.Context(found), rest.pop(0))
        if nested is None:
            return "no such command"
        found = nested
    known = {option for parameter in found.params for option in parameter.opts}
    wrong = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no such option: {wrong[0]}" if wrong else None


def test_commands_that_are_shown_exist() -> None:
    """Every command line of the product that a page shows has a command and options that exist."""
    wrong = []
    for name, text in TEXTS.items():
        for line in re.findall(r"(?<![\w/-])bseries-relay ([a-z]+(?: [^`'\n|#;&]*)?)", text):
            problem = problem_of(line.split())
            if problem and line.split()[0] != "is":
                wrong.append(f"{name}: bseries-relay {line}: {problem}")
    assert wrong == []


def test_the_check_of_commands_can_fail() -> None:
    """The check above finds a command, a subcommand and an option that do not exist."""
    assert problem_of(["surgeon"]) == "no such command"
    assert problem_of(["jobs", "kill"]) == "no such command"
    assert problem_of(["jobs", "list", "--all"]) == "no such option: --all"
    assert problem_of(["jobs", "list", "--state", "DEAD"]) is None


def test_exit_codes_are_all_told() -> None:
    """The page on operating lists exactly the exit codes that the commands use."""
    section = TEXTS["docs/operating.md"].partition("## Exit codes")[2].partition("\n## ")[0]
    names = ("DONE", "FAILED", "USAGE", "WARNINGS", "UNAVAILABLE", "INTERNAL", "DISK", "TRY_AGAIN", "PERMISSION")
    wanted = {getattr(output, name) for name in (*names, "CONFIGURATION", "INTERRUPTED", "READER_GONE")}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == wanted


def test_policy_tests_that_are_shown_pass(tmp_path: Path) -> None:
    """Every `policy test` with its arguments written out is a call that some operation fits."""
    config = configured(tmp_path, "policy: {allow: [read-only, session-integration, session-control]}\n")
    shown = re.findall(r"^bseries-relay policy test (.*[^.])$", "\n".join(TEXTS.values()), re.MULTILINE)
    assert shown
    for line in shown:
        arguments = [word.strip('"') for word in line.split()]
        done = CliRunner().invoke(main, ["policy", "test", *arguments, "--config", str(config)])
        assert done.exit_code == 0, f"{line}\n{done.output}"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_filters_work() -> None:
    """Every jq filter that a page shows is one that jq takes, on a line of the log."""
    line = json.dumps(
        {
            "time": "2026-11-22T02:55:53.238Z",
            "level": "info",
            "event": "forward.responded",
            "job": OUTPUT,
            "status": 200,
            "milliseconds": 58,
            "code": "BSR-4001",
            "decision": "deny",
            "by": "admin",
            "operation": "health",
            "appliance": "default",
            "conditions": [],
            "jobs": [],
            "checks": [],
        }
    )
    filters = re.findall(r"jq (?:-\w+ )?'([^']+)'", "\n".join(TEXTS.values()))
    assert filters
    for one in filters:
        done = subprocess.run(["jq", one], input=line, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), one


# ---- configuration


def test_the_first_configuration_is_good(tmp_path: Path) -> None:
    """`config check` takes the least configuration of the page on installing."""
    done = CliRunner().invoke(main, ["config", "check", "--config", str(configured(tmp_path))])
    assert done.exit_code == 0, done.output


def test_configurations_that_are_shown_are_good(tmp_path: Path) -> None:
    """Every YAML block is a configuration, or a drop-in over the first one."""
    for number, (name, _, text) in enumerate(blocks("yaml")):
        folder = tmp_path / str(number)
        folder.mkdir()
        drop_ins = () if text.startswith("version:") else (text,)
        loaded = load(configured(folder, *drop_ins), {})
        assert loaded.warnings == (), name


# ---- records


def record(topic: str, name: str, payload: str, source: str = "") -> Record:
    """An output record."""
    fields = {"sys_id": OUTPUT, "agent": "mid.server.relay01", "topic": topic, "name": name, "source": source}
    return Record({**fields, "queue": "output", "state": "ready", "payload": payload})


def payloads() -> Iterator[tuple[str, Record]]:
    """Every payload that a page shows, as the record that would hold it, with the page's name."""
    for page, mark, text in blocks("xml", "payload"):
        topic, name, *source = mark.split()
        yield page, record(topic, name, text, *source)
    for page, _, script in blocks("js"):
        made = re.search(r"probe\.payload = ((?:'[^']*'[\s+]*)+);", script)
        if made:
            named = re.search(r"probe\.name = '([^']+)'", script)
            assert named
            yield page, record("BSeriesProbe", named[1], "".join(re.findall(r"'([^']*)'", made[1])))


def test_payloads_that_are_shown_pass(tmp_path: Path) -> None:
    """Every payload is read, fits an operation, asks the appliance for something, and is echoed with `skip_sensor`."""
    config = configured(tmp_path, "policy: {allow: [read-only, session-integration]}\n")
    policy = policy_of(load(config, {}).settings)
    seen = []
    for page, asked in payloads():
        request = PayloadCodec().read(asked)
        assert isinstance(request.work, HttpCall | TypedCall), page
        decision = policy.decide(request.work)
        assert isinstance(decision, Allowed), f"{page}: {asked['name']}: {decision}"
        assert ("skip_sensor", "true") in request.parameters, page
        seen.append(decision.request.operation)
    assert {"health", "report-access-session", "session-attributes-set"} <= set(seen)


def test_the_first_question_passes_with_the_first_configuration(tmp_path: Path) -> None:
    """What the page on installing asks first is allowed by the configuration that it shows."""
    policy = policy_of(load(configured(tmp_path), {}).settings)
    ((_, asked),) = [(page, each) for page, each in payloads() if page == "docs/install.md"]
    work = PayloadCodec().read(asked).work
    assert isinstance(work, TypedCall)
    assert isinstance(policy.decide(work), Allowed)


@pytest.mark.parametrize(("mark", "module"), [("actions", control), ("sessions", playing)])
def test_the_actions_of_the_sandbox_are_all_told(mark: str, module: ModuleType) -> None:
    """The developer's page lists what the sandbox's control endpoint takes, and nothing else."""
    table = TEXTS["docs/servicenow.md"].partition(f"<!-- sandbox: {mark} -->\n\n")[2].partition("\n\n")[0]
    told = re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `")))
    known = re.findall(r"^\| (\w+) \|", module.__doc__ or "", re.MULTILINE)
    assert sorted(told) == sorted(known)


def test_answers_that_are_shown_are_what_is_written() -> None:
    """Every answer on a page is, but for parameters left out, what the relay writes for its outcome."""
    shown = list(blocks("xml", "answer"))
    assert len(shown) == 2
    for _, mark, text in shown:
        wanted = etree.fromstring(text.encode())
        error, body = wanted.get("error"), wanted.findtext("result/output") or ""
        given = [(row.get("name", ""), row.get("value", "")) for row in wanted.iterfind("httpHeaders/httpHeader")]
        echoed = [(row.get("name", ""), row.get("value", "")) for row in wanted.iterfind("parameters/parameter")]
        outcome = Failure(error) if error else Reply(int(mark), tuple(given), body.encode())
        asked = record("BSeriesProbe", "health", "")
        written = PayloadCodec().write(asked, (("skip_sensor", "true"),), outcome, int(wanted.get("probe_time", "")))
        made = etree.fromstring(written.encode())
        assert dict(made.attrib) == dict(wanted.attrib)
        for path in ("result/output", "result/error"):
            assert (made.findtext(path) or "") == (wanted.findtext(path) or "")
        assert mark == (error.partition(":")[0] if error else "200")
        assert set(echoed) <= {(row.get("name"), row.get("value")) for row in made.iterfind("parameters/parameter")}
        assert given == [(row.get("name"), row.get("value")) for row in made.iterfind("httpHeaders/httpHeader")]


def test_json_that_is_shown_is_what_is_made() -> None:
    """The JSON of a report is what its XML gives; every other JSON block is JSON."""
    report = (
        b'<session_list xmlns="urn:x"><session lsid="e9e99aeb9ad54fb381634498502c5a1b"><lseq>8</lseq>'
        b'<start_time timestamp="1733239565">2024-12-03T15:26:05+00:00</start_time></session></session_list>'
    )
    ((_, _, text),) = list(blocks("json", "json"))
    assert json.loads(text) == json.loads(JsonShaper().to_json(Reply(200, (), report)).body)
    assert all(json.loads(text) for _, _, text in blocks("json"))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_scripts_that_are_shown_are_javascript() -> None:
    """Every script parses, and the function of the developer's page writes a payload that the relay reads as meant."""
    scripts = [text for _, _, text in blocks("js")]
    (asking,) = [text for text in scripts if "function askRelay" in text]
    program = """
        const scripts = JSON.parse(require("fs").readFileSync(0));
        for (const script of scripts.all) new Function(script);
        class GlideRecord { initialize() {} insert() { process.stdout.write(this.name + " " + this.payload) } }
        new Function("GlideRecord", "given", scripts.asking + "askRelay('r', 'x', given)")(GlideRecord, scripts.given);
    """
    given = {"a": '<"&\n>'}
    told = json.dumps({"all": scripts, "asking": asking.partition("var output")[0], "given": given})
    done = subprocess.run(["node", "-e", program], input=told, capture_output=True, text=True, check=True)
    name, _, payload = done.stdout.partition(" ")
    work = PayloadCodec().read(record("BSeriesProbe", name, payload)).work
    assert work == TypedCall("x", given)


# ---- whether a call was executed


def test_whether_a_call_was_executed_is_told_of_every_code() -> None:
    """Each code that an answer may carry stands once in the table that says whether the call was executed."""
    section = TEXTS["docs/servicenow.md"].partition("## Was it executed?")[2].partition("\n## ")[0]
    told: dict[str, list[int]] = {}
    for codes, executed in re.findall(r"^\| (BSR-[^|]+) \| ([^|]+) \|", section, re.MULTILINE):
        numbers = [int(number) for number in re.findall(r"\d{4}", codes)]
        for first, last in re.findall(r"(\d{4}) to (\d{4})", codes):
            numbers += range(int(first) + 1, int(last))
        told.setdefault(executed.split(",")[0], []).extend(numbers)
    listed = sorted(number for numbers in told.values() for number in numbers)
    assert listed == [number for number in sorted(REGISTRY) if number // 1000 in {3, 4, 9}]
    executed = {number for number in REGISTRY if number // 1000 == 3 and ApplianceError(number).executed}
    assert executed <= set(told["yes"])
