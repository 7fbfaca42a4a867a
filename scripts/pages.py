"""The generated pages: which there are, and what makes them. `scripts/docs` runs this.

Some pages are made whole by a command of the product. The others are written by hand around blocks that are made here:

    <!-- made by scripts/docs: NAME -->
    ...
    <!-- end -->
"""  # noqa: INP001  # a script, no package

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import leaves
import sbom
import session_page
from log_events import EVENTS, FIELDS

import relay.core
from relay.cli.output import exit_code
from relay.core.codes import REGISTRY
from relay.core.errors import RelayError
from relay.core.machine import StateTable
from relay.core.posts import PATHS
from relay.daemon.kinds import KINDS
from relay.daemon.metrics import FIGURES
from relay.host.metrics import PREFIX, Metrics

ROOT = Path(__file__).parent.parent

WHOLE = {
    "config/relay.yaml": ("config", "reference", "--sample"),
    "docs/configuration.md": ("config", "reference"),
    "docs/operations.md": ("policy", "list", "--markdown"),
}
"""Pages that a command prints."""

FAMILIES = {
    1: ("1xxx: configuration", "At start, by `config check`, and by `reload`."),
    2: ("2xxx: the ServiceNow side", "In the log and in `status`."),
    3: ("3xxx: the appliance side", "In answers to ServiceNow, in the log and in `status`."),
    4: ("4xxx: policy, and work that cannot be done as it is written", "In answers to ServiceNow and in the log."),
    5: ("5xxx: storage and audit", "In the log and in `status`."),
    6: ("6xxx: listener", "In the log and in `status`; of what was kept in `jobs list --state DEAD`."),
    9: ("9xxx: a fault of the relay itself", "In answers to ServiceNow and in the log."),
}


# ---- codes


def codes() -> str:
    """The tables of all codes, one a family."""
    lines: list[str] = []
    for family, (title, where) in FAMILIES.items():
        rows = [code for number, code in sorted(REGISTRY.items()) if number // 1000 == family]
        if not rows:
            continue
        lines += [f"## {title}", "", where, "", "| code | severity | cause | fix | passes by itself | exit code |"]
        lines.append("|---|---|---|---|---|---|")
        for code in rows:
            anchor = f'<a id="{code.name.lower()}"></a>{code.name}'
            again = "may" if code.retryable else "no"
            status = exit_code(RelayError(code.number))
            lines.append(f"| {anchor} | {code.severity} | {code.cause} | {_cell(code.fix)} | {again} | {status} |")
        lines.append("")
    return "\n".join(lines).rstrip()


# ---- states


@dataclass(frozen=True)
class Life:
    """A state table and what its file says of each state."""

    table: StateTable
    meanings: dict[str, str]


def lives() -> Iterator[Life]:
    """Every state table of the core."""
    for found in pkgutil.iter_modules(relay.core.__path__):
        module = importlib.import_module(f"relay.core.{found.name}")
        for value in vars(module).values():
            if isinstance(value, StateTable):
                yield Life(value, dict(re.findall(r"^([A-Z]+) {2,}(.+)$", module.__doc__ or "", re.MULTILINE)))


def states() -> str:
    """For each table: the diagram, the states, the events."""
    lines: list[str] = []
    for life in lives():
        lines += [f"## Jobs of kind `{life.table.kind}`", ""]
        lines += ["```mermaid", *_diagram(life.table), "```", "", "| state | means |", "|---|---|"]
        lines += [f"| {state} | {_cell(life.meanings[state])} |" for state in life.table.rows]
        lines += ["", "| in state | event | leads to |", "|---|---|---|"]
        for state, row in life.table.rows.items():
            lines += [f"| {state} | {event} | {target} |" for event, target in row.items()]
        lines.append("")
    return "\n".join(lines).rstrip()


def _diagram(table: StateTable) -> Iterator[str]:
    yield "stateDiagram-v2"
    yield f"    [*] --> {table.initial}"
    # An end that an administrator may have a job leave is an end all the same.
    finished = KINDS[table.kind].finished if table.kind in KINDS else table.final
    for state, row in table.rows.items():
        events: dict[str, list[str]] = defaultdict(list)
        for event, target in row.items():
            events[target].append(event)
        for target, names in events.items():
            yield f"    {state} --> {target}: {' / '.join(names)}"
        if state in finished:
            yield f"    {state} --> [*]"


# ---- log events


@dataclass
class Event:
    """What the code says of one log event."""

    levels: set[str] = field(default_factory=set)
    loggers: set[str] = field(default_factory=set)
    fields: dict[str, None] = field(default_factory=dict)


LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "critical": "critical"}
CALLS = {**LEVELS, "exception": "error"}
LEDGER = "relay/jobs/ledger.py"
"""Names its events after the state tables; nobody else may log a name that is no literal."""
BORN = {"queue": ("UNCERTAIN",), "session": ("DEAD",), "approval": ("UNREADABLE",)}
"""States other than the initial one in which a job may begin, by kind."""
SPREAD = {"facts": ("topic", "by", "created_on"), "_about": ("post", "kind", "appliance", "path")}
"""Functions whose mapping is spread into a log call, and the names in it."""


def events() -> dict[str, Event]:
    """Every event that the daemon may log, from the code itself."""
    found: dict[str, Event] = defaultdict(Event)
    for path in sorted((ROOT / "relay").rglob("*.py")):
        tree = ast.parse(path.read_text())
        logger = next((value for value in map(_logger, ast.walk(tree)) if value), None)
        named = dict(pair for pair in map(_named, ast.walk(tree)) if pair)
        for node in ast.walk(tree):
            if logger is not None and isinstance(node, ast.Call):
                _note(found, node, _levels(node.func, named), logger, str(path.relative_to(ROOT)))
    for life in lives():
        of_ledger = Event({"info", "debug"}, {"relay.jobs"}, dict.fromkeys(("state", "attempt")))
        for state in {life.table.initial, *BORN.get(life.table.kind, ())}:
            found[f"{life.table.kind}.{state.lower()}"] = Event({"info"}, {"relay.jobs"}, {"lane": None})
        for state, row in life.table.rows.items():
            for event, target in row.items():
                name = f"{life.table.kind}.{event.replace(' ', '_').replace(',', '')}"
                known = found[name]
                known.levels.add("debug" if state == target else "info")
                known.loggers |= of_ledger.loggers
                known.fields |= of_ledger.fields
        found[f"{life.table.kind}.stale"] = Event({"warning"}, {"relay.jobs"}, dict(of_ledger.fields))
    for name in ("uncaught.process", "uncaught.thread", "uncaught.object"):
        found[name] = Event({"critical"}, {"relay"}, dict.fromkeys(("exception", "traceback")))
    found["uncaught.task"] = Event({"error"}, {"relay"}, dict.fromkeys(("reason", "part", "exception", "traceback")))
    found["library.message"] = Event({"warning"}, {"the library's"}, {"message": None})
    found["log.failed"] = Event({"info"}, {"any"}, {"exception": None})
    return dict(found)


def _logger(node: ast.AST) -> str | None:
    match node:
        case ast.Assign(
            targets=[ast.Name("log")], value=ast.Call(func=ast.Attribute(attr="get_logger"), args=[ast.Constant(name)])
        ):
            return str(name)
    return None


def _named(node: ast.AST) -> tuple[str, set[str]] | None:
    """A method of the logger that got a name of its own, such as `say = log.debug if own else log.warning`."""
    match node:
        case ast.Assign(targets=[ast.Name(name)], value=ast.IfExp() as value) if levels := _levels(value, {}):
            return name, levels
    return None


def _levels(called: ast.expr, named: Mapping[str, set[str]]) -> set[str]:
    """The levels at which a call logs; none when it is no call of a logger."""
    match called:
        case ast.Name(name):
            return named.get(name, set())
        case ast.Attribute(value=ast.Name("log"), attr=level) if level in CALLS:
            return {level}
        case ast.IfExp(body=one, orelse=other):
            return _levels(one, named) | _levels(other, named)
    return set()


def _note(found: dict[str, Event], call: ast.Call, levels: set[str], logger: str, path: str) -> None:
    if not levels:
        return
    match call.args:
        case [ast.Constant(str(name))]:
            event = found[name]
        case _ if path == LEDGER:
            return
        case _:
            msg = f"{path}:{call.lineno}: the name of a log event must be written out"
            raise SystemExit(msg)
    event.levels |= {CALLS[level] for level in levels}
    event.loggers.add(logger)
    for keyword in call.keywords:
        if keyword.arg == "exc_info":
            event.fields |= dict.fromkeys(("exception", "traceback"))
        elif keyword.arg is not None:
            event.fields[keyword.arg] = None
        elif isinstance(keyword.value, ast.Call) and isinstance(keyword.value.func, ast.Name):
            event.fields |= dict.fromkeys(SPREAD[keyword.value.func.id])
    if "exception" in levels:
        event.fields |= dict.fromkeys(("exception", "traceback"))


def log_events() -> str:
    """The table of all events."""
    lines = ["| event | level | means | fields |", "|---|---|---|---|"]
    for name, event in sorted(events().items()):
        levels = ", ".join(level for level in LEVELS if level in event.levels)
        fields = ", ".join(f"`{key}`" for key in event.fields if key not in {"job", "trace"})
        lines.append(f"| `{name}` | {levels} | {_cell(EVENTS.get(name, ''))} | {fields} |")
    return "\n".join(lines)


def log_fields() -> str:
    """The table of all fields."""
    lines = ["| field | means |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in FIELDS.items()]
    return "\n".join(lines)


def undescribed() -> list[str]:
    """Events and fields without a description, and descriptions without one."""
    found = events()
    fields = {key for event in found.values() for key in event.fields}
    pairs = (
        ("events that scripts/log_events.py does not describe", set(found) - set(EVENTS)),
        ("events that nothing logs", set(EVENTS) - set(found)),
        ("fields that scripts/log_events.py does not describe", fields - set(FIELDS)),
        ("fields that nothing logs", set(FIELDS) - fields - {"time", "level", "event", "logger", "trace", "lost"}),
    )
    return [f"{what}: {', '.join(sorted(names))}" for what, names in pairs if names]


# ---- metrics


def metrics() -> str:
    """The table of all figures."""
    lines = ["| name | kind | labels | tells |", "|---|---|---|---|"]
    for figure in FIGURES.values():
        name = f"{PREFIX}_{figure.name}{'_total' if figure.kind == 'counter' else ''}"
        labels = ", ".join(f"`{label}`" for label in figure.labels)
        lines.append(f"| `{name}` | {figure.kind} | {labels} | {_cell(figure.help)} |")
    for family in Metrics().registry.collect():
        name = f"{family.name}{'_total' if family.type == 'counter' else ''}"
        lines.append(f"| `{name}` | {family.type} |  | {_cell(family.documentation)} |")
    return "\n".join(lines)


# ---- pages


def paths() -> str:
    """Where the listener takes posts."""
    rows = [f"| `{path}` | {kind} |" for path, kind in PATHS.items()]
    return "\n".join(["| path | takes |", "|---|---|", *rows])


BLOCKS: dict[str, Callable[[], str]] = {
    "codes": codes,
    "states": states,
    "log events": log_events,
    "log fields": log_fields,
    "metrics": metrics,
    "dependencies": sbom.table,
    "paths": paths,
    "session columns": session_page.session_columns,
    "event columns": session_page.event_columns,
    "note template": session_page.note_template,
    "note values": session_page.note_values,
    "to servicenow": leaves.servicenow,
    "in an answer": leaves.answers,
    "to the appliance": leaves.appliance,
}
_BLOCK = re.compile(r"(<!-- made by scripts/docs: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is generated in whole or in part, with what it should hold."""
    for name, command in WHOLE.items():
        made = subprocess.run([sys.executable, "-m", "relay", *command], check=True, capture_output=True, text=True)  # noqa: S603  # our own command
        yield ROOT / name, made.stdout
    yield sbom.LIST, sbom.sbom()
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = path.read_text()
        if _BLOCK.search(text):
            yield path, _BLOCK.sub(lambda block: f"{block[1]}\n{BLOCKS[block[2]]()}\n\n{block[3]}", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages, or with `--check` tell which are out of date."""
    wrong = undescribed()
    stale = [(path, text) for path, text in pages() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        wrong += [f"{path.relative_to(ROOT)} is out of date: run scripts/docs" for path, _ in stale]
    else:
        for path, text in stale:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
