"""The work note on a session's task: a small template language that administrators can read, and its one safe way out.

    BeyondTrust session {sequence} on {endpoint}
    Duration: {duration}
    User: {representatives}

- `{name}` is a value of the session; `{{` and `}}` are braces. There is nothing else: no conditions, no code.
- A line whose values are all empty is left out. A line without values always stays.
- A line with a list (`{representatives}`) is repeated for each of its items; one list to a line.

Every note ends in a line `[session <lsid>]`, which the template cannot leave out: by it the note is found again when
nobody knows whether it was written. Whoever looks for it compares the text that comes back, exactly.

What the values hold was typed by anybody. It is put in once and never read as a template again; it stays on its line;
control and invisible characters are shown as escapes. ServiceNow renders what stands between `[code]` tags as HTML, and
the mark is trusted: wherever a tag or a mark would come about, its brackets become round ones. For the same reason a
template cannot hold a `[code]` tag: it would make HTML of the values in it.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay.core.note_values import LISTS, SINGLE, note_values
from relay.core.plain import clean
from relay.core.session_report import SessionReport
from relay.core.session_texts import information_lines

DEFAULT_TEMPLATE: Final = """\
BeyondTrust session {sequence} on {endpoint}
Appliance: {appliance}
Start: {start} UTC
End: {end} UTC
Duration: {duration}
User: {representatives}
Customer: {customers}
File: {files}
Note: {notes}
Survey: {surveys}
Chat: {chat}
Recording: {recording}
Shell recording: {shell_recordings}
"""

LONGEST_TEMPLATE: Final = 10_000
LONGEST_NOTE: Final = 4_000
"""Characters; what a journal field takes unless its limit was raised."""
LONGEST_VALUE: Final = 1_000
MOST_ITEMS: Final = 20
SHORTENED: Final = "(shortened; the session's record holds the rest)"
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_CODE: Final = re.compile(r"\[\s*/?\s*code\b", re.IGNORECASE)
_TAG: Final = re.compile(r"\[\s*(?:/?\s*code|session)\b[^\[\]\n]*\]?", re.IGNORECASE)
_LSID: Final = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_SHOWN: Final = 80
_ROUND: Final = str.maketrans("[]", "()")


class TemplateError(ValueError):
    """The template cannot be read. The message names the line and what is wrong with it.

    Attributes:
        text: what is wrong.
        line: in which line, from 1; 0 where it is the whole.
        column: where in it, in characters from 1.

    """

    def __init__(self, text: str, line: int = 0, column: int = 1) -> None:
        super().__init__(f"line {line}: {text}" if line else text)
        self.text = text
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read: for each line its parts, each a text or, with True, a value's name."""

    lines: tuple[tuple[tuple[str, bool], ...], ...]


def read_template(text: str) -> Template:
    """Read a template.

    Raises:
        TemplateError: a brace without its other half, an unknown name, two lists on a line, a `[code]` tag, too long.

    """
    if len(text) > LONGEST_TEMPLATE:
        raise TemplateError(f"a template has at most {LONGEST_TEMPLATE} characters")
    return Template(tuple(_read_line(line, number) for number, line in enumerate(text.splitlines(), 1)))


def mark(lsid: str) -> str:
    """The line that a session's note ends in. An lsid of unusual characters is replaced by its digest."""
    usual = _LSID.fullmatch(lsid) is not None
    return f"[session {lsid if usual else hashlib.sha256(lsid.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}]"


def note_of(template: Template, report: SessionReport, appliance: str) -> str:
    """The note: at most `LONGEST_NOTE` characters, the mark at its end always among them."""
    values = {
        name: [_plain(item) for item in found] if isinstance(found, tuple) else [_plain(found)]
        for name, found in note_values(report, appliance).items()
    }
    text = ""
    for line in template.lines:
        text += "".join(f"{one}\n" for one in _rendered(line, values))
        if len(text) > LONGEST_NOTE:
            break
    return _closed(text, report.lsid)


def information_of(report: SessionReport) -> str:
    """The endpoint's system information as an entry for the configuration item, bounded and ended as a note is.

    "" when the session has none.
    """
    lines: list[str] = []
    for line in information_lines(report):
        lines += (f"{'  ' if part.startswith(' ') else ''}{_plain(part)}" for part in line.splitlines())
    return _closed("\n".join(lines), report.lsid) if lines else ""


def _closed(text: str, lsid: str) -> str:
    """The text made harmless, cut where it is too long, and its mark."""
    end = mark(lsid)
    room = LONGEST_NOTE - len(end) - len(SHORTENED) - 2
    whole = text.rstrip()
    if len(whole) > room:
        whole = f"{whole[:room].rstrip()}\n{SHORTENED}"
    # After the cut, which could make a tag of a longer word.
    whole = _TAG.sub(lambda match: match[0].translate(_ROUND), whole)
    return f"{whole}\n{end}" if whole else end


def _read_line(line: str, number: int) -> tuple[tuple[str, bool], ...]:
    if found := _CODE.search(line):
        raise TemplateError("a [code] tag would make HTML of what others typed", number, found.start() + 1)
    parts: list[tuple[str, bool]] = []
    lists = 0
    for token in _TOKEN.finditer(line):
        column = token.start() + 1
        if (name := token[1]) is not None:
            name = name.strip()
            if name not in SINGLE and name not in LISTS:
                raise TemplateError(f"there is no value '{clean(name[:_SHOWN])}'{_meant(name)}", number, column)
            lists += name in LISTS
            if lists > 1:
                raise TemplateError("two lists on one line", number, column)
            parts.append((name, True))
        elif token[0] in {"{", "}"}:
            text = f"a '{token[0]}' alone; write it twice to have one in the note"
            raise TemplateError(text, number, column)
        else:
            parts.append((token[0][:1] if token[0] in {"{{", "}}"} else token[0], False))
    return tuple(parts)


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name[:LONGEST_VALUE], [*SINGLE, *LISTS], 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _rendered(line: Sequence[tuple[str, bool]], values: Mapping[str, list[str]]) -> list[str]:
    """The lines that one line of the template becomes."""
    names = [text for text, is_name in line if is_name]
    if names and not any(item for name in names for item in values[name]):
        return []
    repeated = next((name for name in names if name in LISTS), None)
    made: list[str] = []
    for item in values[repeated][:MOST_ITEMS] if repeated is not None else [""]:
        single = {name: item if name == repeated else values[name][0] for name in names}
        made.append("".join(single[text] if is_name else text for text, is_name in line))
    if repeated is not None and (more := len(values[repeated]) - MOST_ITEMS) > 0:
        made.append(f"... and {more} more")
    return made


def _plain(value: str) -> str:
    """A value on one line, of bounded length, with nothing in it that cannot be seen."""
    shown = clean(" ".join(value[: 2 * LONGEST_VALUE].split()))
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}..."
