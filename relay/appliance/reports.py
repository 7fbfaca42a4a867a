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

from relay.appliance.elements import leaves, local
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
    shape = _Shape("exit_survey_list", "exit_survey", lambda element, _gathered: survey_of(element, by))
    return _each(source, shape, nothing)


def read_listing(source: Source, nothing: Collection[str] = ()) -> Iterator[Listed]:
    """Every line of a SupportSessionListing or AccessSessionListing report.

    Raises:
        ApplianceError: as `read_sessions`.

    """
    shape = _Shape("session_summary_list", "session_summary", lambda element, _gathered: listed_of(element))
    return _checked(_each(source, shape, nothing))


@dataclass(slots=True)
class _Gathered:
    """What was read of a session before its end."""

    events: list[Event] = field(default_factory=list)
    extra: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Shape(Generic[T]):
    """A list document: its root, its items, and what makes a value of one."""

    root: str
    item: str
    read: Callable[[etree._Element, _Gathered], T]


def _session(element: etree._Element, gathered: _Gathered) -> SessionReport:
    return session_of(element, tuple(gathered.events), tuple(gathered.extra))


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
    gathered, nodes = _Gathered(), 0
    for event, element in walk_xml(file, XmlSource(None, encoding)):
        if event == "start":
            path.append(local(element.tag))
            nodes += 1 + len(element.attrib)
            if path[0] not in {shape.root, "error"}:
                raise ApplianceError(3009, f"a document '{_shown(path[0])}' where '{shape.root}' belongs")
            if nodes > MOST_NODES:
                raise ApplianceError(3009, f"one item of the report has more than {MOST_NODES} elements and attributes")
            continue
        if path[-1] == "error" and len(path) <= _ITEM:
            _refuse(element, nothing)
        elif path[1:3] == [shape.item, _DETAILS] and len(path) == _DETAIL:
            _gather(element, path[-1], gathered)
            forget(element)
        elif len(path) == _ITEM and path[0] != "error":
            if path[-1] == shape.item:
                yield shape.read(element, gathered)
            forget(element)
            gathered, nodes = _Gathered(), 0
        path.pop()


def _gather(element: etree._Element, name: str, gathered: _Gathered) -> None:
    for elder in element.itersiblings(preceding=True):
        if (elder.tail or "").strip():
            gathered.extra.append((_DETAILS, str(elder.tail).strip()))
    if name == "event":
        gathered.events.append(event_of(element))
    else:
        gathered.extra += leaves(element, f"{_DETAILS}/{name}")


def _refuse(element: etree._Element, nothing: Collection[str]) -> None:
    text = " ".join("".join(str(piece) for piece in element.itertext()).split())
    if not says_nothing_found(text, nothing):
        raise ApplianceError(3019, _shown(text) or "without a word")


def _shown(text: str) -> str:
    shown = clean(text[:_SHOWN])
    return shown if len(text) <= _SHOWN else f"{shown}..."
