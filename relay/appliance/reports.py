"""The appliance's session reports, read as they stream: one session in memory at a time, its events as they come by.

    with body.open() as file:
        for report in read_sessions(file): ...

An answer with nothing in it is no error: an empty list, or an `<error>` that says so (`core.report_answers`); every
other `<error>`, alone or within a list, is BSR-3019 with the appliance's words. A document that is not well-formed is
tried once more, repaired; the sessions that were read before are not given twice. What is still not well-formed, is no
session report or goes beyond a limit, is BSR-3009. Either way, sessions that came before the fault were given.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Generic, TypeVar, cast

from lxml import etree

from relay.appliance.elements import Allowance, Parts, leaves, local
from relay.appliance.repair import Repaired
from relay.appliance.report_values import event_of, listed_of, session_of, survey_of
from relay.core.errors import ApplianceError
from relay.core.plain import clean
from relay.core.report_answers import says_nothing_found
from relay.core.session_report import Event, Listed, SessionReport, Survey
from relay.host.xml import XmlError, XmlSource, forget, walk_xml

T = TypeVar("T")
Source = bytes | BinaryIO
"""A whole document, or a file that can be read from its start twice."""

MOST_NODES: Final = 600_000
"""Elements and attributes of one session; a chat message has ten."""
MOST_OUTSIDE: Final = 50_000
"""Those outside its details, which stay in memory until the session ends; someone who took part has twenty."""
MOST_OF_A_DETAIL: Final = 100_000
"""Those of one event, which stay in memory until it ends. Most have some dozens; an endpoint's system information has
some ten thousand, with each of its programs and services."""
LONGEST_OUTSIDE: Final = 4_000_000
"""Characters outside its details: much of it is written several times, as columns and as the rest of the row."""
LONGEST_LSID: Final = 255
_SHOWN: Final = 200
_ITEM: Final = 2
_DETAIL: Final = 4
_DETAILS: Final = "session_details"


class NamelessError(ApplianceError):
    """Sessions of a report cannot be told apart, and never will be; all others were given."""


def read_sessions(source: Source, nothing: Collection[str] = ()) -> Iterator[SessionReport]:
    """Every session of a SupportSession or AccessSession report.

    Args:
        source: the answer.
        nothing: further texts that mean "nothing found" on this appliance.

    Raises:
        ApplianceError: BSR-3009 or BSR-3019, see the file.

    """
    return _checked(_each(source, _Shape("session_list", "session", _session), nothing))


def read_session(source: Source, lsid: str, nothing: Collection[str] = ()) -> SessionReport | None:
    """The one session that was asked for; None when the appliance says that there is none.

    Raises:
        ApplianceError: as `read_sessions`; BSR-3009 also when the answer holds other sessions only.

    """
    others = 0
    for report in read_sessions(source, nothing):
        if report.lsid.lower() == lsid.lower():
            return report
        others += 1
    if others:
        raise ApplianceError(3009, "the report holds another session than the one asked for")
    return None


def read_surveys(source: Source, by: str, nothing: Collection[str] = ()) -> Iterator[Survey]:
    """Every survey of a SupportCustExitSurvey (`by` customer) or SupportRepExitSurvey (`by` representative) report.

    Raises:
        ApplianceError: as `read_sessions`.

    """
    shape = _Shape("exit_survey_list", "exit_survey", lambda parts, _gathered: survey_of(parts, by), together=True)
    return _each(source, shape, nothing)


def read_listing(source: Source, nothing: Collection[str] = ()) -> Iterator[Listed]:
    """Every line of a SupportSessionListing or AccessSessionListing report.

    Raises:
        ApplianceError: as `read_sessions`.

    """
    shape = _Shape("session_summary_list", "session_summary", lambda parts, _gathered: listed_of(parts))
    return _checked(_each(source, shape, nothing))


@dataclass(slots=True)
class _Gathered:
    """What was read of a session before its end."""

    events: list[Event] = field(default_factory=list)
    extra: list[tuple[str, str]] = field(default_factory=list)
    allowance: Allowance = field(default_factory=Allowance)


@dataclass(slots=True)
class _Nodes:
    """Elements and attributes of the item that is being read."""

    all: int = 0
    outside: int = 0
    detail: int = 0

    def count(self, nodes: int, depth: int, *, inside: bool) -> None:
        """Count an element that begins at a depth, and its attributes; `inside` the details of a session.

        Raises:
            ApplianceError: BSR-3009, there are too many.

        """
        self.all += nodes
        if not inside:
            self.outside += nodes
        else:
            self.detail = nodes if depth == _DETAIL else self.detail + nodes
        for number, most, where in (
            (self.all, MOST_NODES, "one item of the report"),
            (self.outside, MOST_OUTSIDE, "one item of the report, without its events,"),
            (self.detail, MOST_OF_A_DETAIL, "one event of the report"),
        ):
            if number > most:
                raise ApplianceError(3009, f"{where} has more than {most} elements and attributes")


@dataclass(frozen=True, slots=True)
class _Shape(Generic[T]):
    """A list document: its root, its items, and what makes a value of one.

    `together`: the limits of one item hold for all of them, since whoever reads them keeps them.
    """

    root: str
    item: str
    read: Callable[[Parts, _Gathered], T]
    together: bool = False


def _session(parts: Parts, gathered: _Gathered) -> SessionReport:
    return session_of(parts, tuple(gathered.events), tuple(gathered.extra))


HasLsid = TypeVar("HasLsid", SessionReport, Listed)


def _checked(found: Iterator[HasLsid]) -> Iterator[HasLsid]:
    """Those that can be told apart; one that cannot is a fault, but not of the others."""
    nameless = 0
    for one in found:
        if 0 < len(one.lsid) <= LONGEST_LSID and one.lsid.isprintable():
            yield one
        else:
            nameless += 1
    if nameless:
        raise NamelessError(3009, f"{nameless} sessions of the report have no usable lsid")


def _each(source: Source, shape: _Shape[T], nothing: Collection[str]) -> Iterator[T]:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    given = 0
    try:
        for one in _pass(file, None, shape, nothing):
            given += 1
            yield one
    except XmlError as error:
        if not error.malformed:
            raise ApplianceError(3009, f"XML: {error}") from None
    else:
        return
    file.seek(0)
    try:
        again = _pass(cast("BinaryIO", Repaired(file)), "utf-8", shape, nothing)
        for number, one in enumerate(again):
            if number >= given:
                yield one
    except XmlError as error:
        raise ApplianceError(3009, f"XML: {error}") from None


def _pass(file: BinaryIO, encoding: str | None, shape: _Shape[T], nothing: Collection[str]) -> Iterator[T]:
    path: list[str] = []
    gathered, nodes = _Gathered(), _Nodes()
    for event, element in walk_xml(file, XmlSource(None, encoding)):
        if event == "start":
            path.append(local(element.tag))
            inside = len(path) >= _DETAIL and path[1:3] == [shape.item, _DETAILS]
            nodes.count(1 + len(element.attrib), len(path), inside=inside)
            if path[0] not in {shape.root, "error"}:
                raise ApplianceError(3009, f"a document '{_shown(path[0])}' where '{shape.root}' belongs")
            continue
        if path[-1] == "error" and len(path) <= _ITEM:
            _refuse(element, nothing)
        elif path[1:3] == [shape.item, _DETAILS] and len(path) == _DETAIL:
            _gather(element, path[-1], gathered)
            forget(element)
        elif len(path) == _ITEM and path[0] != "error":
            if path[-1] == shape.item:
                _measure(element)
                yield shape.read(Parts(element, allowance=gathered.allowance), gathered)
            forget(element)
            if not shape.together:
                gathered, nodes = _Gathered(), _Nodes()
        path.pop()


def _gather(element: etree._Element, name: str, gathered: _Gathered) -> None:
    for elder in element.itersiblings(preceding=True):
        if (elder.tail or "").strip():
            gathered.extra.append(gathered.allowance.spend(_DETAILS, str(elder.tail).strip()))
    if name == "event":
        gathered.events.append(event_of(Parts(element, allowance=gathered.allowance)))
    else:
        gathered.extra += leaves(element, f"{_DETAILS}/{name}", gathered.allowance)


def _measure(element: etree._Element) -> None:
    """Refuse an item that has too much text outside its events, which were forgotten as they ended."""
    characters = sum(len(str(text)) for text in element.itertext())
    characters += sum(len(str(value)) for one in element.iter() for value in one.attrib.values())
    if characters > LONGEST_OUTSIDE:
        raise ApplianceError(
            3009, f"one item of the report, without its events, has more than {LONGEST_OUTSIDE} characters"
        )


def _refuse(element: etree._Element, nothing: Collection[str]) -> None:
    text = " ".join("".join(str(piece) for piece in element.itertext()).split())
    if not says_nothing_found(text, nothing):
        raise ApplianceError(3019, _shown(text) or "without a word")


def _shown(text: str) -> str:
    shown = clean(text[:_SHOWN])
    return shown if len(text) <= _SHOWN else f"{shown}..."
