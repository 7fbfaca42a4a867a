"""What the relay reads in lifelike sessions is what happened in them: two readings of the protocol agree."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import pytest

from relay.appliance.reports import read_listing, read_sessions, read_surveys
from relay.core.errors import ApplianceError
from relay.core.session_report import SessionReport, writable
from relay.core.session_rows import EVENT_COLUMNS, LINKS, SESSION_COLUMNS, RowSettings, event_rows, session_row
from relay.core.session_surveys import REPORTS, with_surveys
from relay.sandbox import scenes
from relay.sandbox.box import Sandbox
from relay.sandbox.films import Film
from relay.sandbox.happenings import Participant
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.livesessions import Session
from relay.sandbox.schema import EVENT, SESSION, TABLES
from relay.sandbox.sessionoracle import Terms, check_sessions
from relay.sandbox.sessionreport import people, story
from relay.sandbox.xml import NAMESPACES

SCRIPT = Script(events=len(scenes.REPEATED), film=10, shells=(5, 6), attributes={"snow_cmdb_ci_id": "é&<>", "x": ""})


async def fetch(client: httpx.AsyncClient, kind: str, **query: object) -> bytes:
    answer = await client.get("/api/reporting", params={"generate_report": kind, **query})  # type: ignore[dict-item]
    return answer.content


def shown(text: str) -> str:
    """A text as it comes out of XML, in one kind of line end."""
    return writable(text).replace("\r\n", "\n")


def compare(session: Session, report: SessionReport) -> None:
    """Everything that happened is in the report."""
    happened = list(story(session, session.end))
    assert [(event.at.seconds, event.type, event.body.replace("\r\n", "\n")) for event in report.events] == [
        (event.timestamp, event.kind, shown(event.body) if not event.raw else "hello") for event in happened
    ]
    for told, event in zip(report.events, happened, strict=True):
        files = [pair for pair in event.data if pair[0] == "filename"] + [("filename", name) for name, _ in event.files]
        names = [name for _, name in files] or ([event.filename] if event.filename else [])
        assert [one.name for one in told.files] == names
        assert [one.name for one in told.system_information] == [one.name for one in event.system]
        assert (told.performed_by.name if told.performed_by else None) == (event.by.name if event.by else None)
    assert (report.lsid, report.started and report.started.seconds) == (session.lsid, session.start)
    assert (report.ended.seconds if report.ended else None) == session.end
    for told_people, there in zip((report.customers, report.representatives), people(session), strict=True):
        compare_people(told_people, there)
    assert [one.code_name for one in report.attributes] == list(session.attributes)
    assert len(report.shell_recordings) == (len(session.shells) if session.end else 0)


def compare_people(told: Sequence[object], there: Sequence[Participant]) -> None:
    names = ("username", "public_ip", "private_ip", "hostname", "os", "owner", "invited")
    assert [[getattr(one, name) for name in names] for one in told] == [
        [getattr(one, name) or (False if name in {"owner", "invited"} else "") for name in names] for one in there
    ]


@pytest.mark.parametrize("dialect", list(NAMESPACES))
@pytest.mark.parametrize("product", ["pra", "rs"])
async def test_what_happened_is_read_and_comes_home(
    box: Sandbox, pra: httpx.AsyncClient, rs: httpx.AsyncClient, product: str, dialect: str
) -> None:
    """Lifelike sessions of either product, in any namespace, are read whole; their rows are what the oracle wants."""
    name, client, family = ("default", pra, "Access") if product == "pra" else ("appliance2", rs, "Support")
    device = box.appliances[name]
    device.dialect, device.language = dialect, "fr"  # type: ignore[assignment]
    lives = Lives(device, seed=5)
    made = [lives.ended(SCRIPT) for _ in range(12)] + [lives.ended(Script(damaged=True)), lives.begin(SCRIPT)]
    asked = {"lsids": ",".join(one.lsid for one in made)}
    content = await fetch(client, f"{family}Session", **asked)
    reported = REPORTS if product == "rs" else {}
    told = {by: await fetch(client, kind, report_type="rep", **asked) for by, kind in reported.items()}
    settings = RowSettings(name)
    reports = list(read_sessions(content))
    for session, report in zip(made, reports, strict=True):
        compare(session, report)
        for by, content in told.items():
            report = with_surveys(report, by, read_surveys(content, by))  # noqa: PLW2901  # the same, with more in it
        assert [one.questions != () for one in report.surveys] == [True] * len(session.surveys)
        for row in (session_row(report, settings), *event_rows(report, settings)):
            box.servicenow.insert(row.table, {**row.values, "sys_id": row.sys_id})
    summary = check_sessions(box.servicenow, [device], Terms(), final=True)
    assert summary.violations == ()
    assert (summary.sessions, summary.running, summary.imported) == (13, 1, 13)


async def test_listings_surveys_and_errors(box: Sandbox, pra: httpx.AsyncClient, rs: httpx.AsyncClient) -> None:
    """Listings and surveys are read; "nothing found" is no error in any language, an expired recording is one."""
    lives = Lives(box.appliances["appliance2"])
    film, plain = lives.ended(Script(film=5)), lives.ended()
    listed = list(read_listing(await fetch(rs, "SupportSessionListing", end_time=1, duration=0)))
    assert [(one.lsid, one.has_recording) for one in listed] == [(film.lsid, True), (plain.lsid, False)]
    content = await fetch(rs, "SupportRepExitSurvey", lsid=film.lsid, report_type="rep")
    surveys = list(read_surveys(content, "representative"))
    assert [one.lsid for one in surveys] == [film.lsid]
    for language in ("en", "fr", "de"):
        box.appliance.language = language  # type: ignore[assignment]
        assert list(read_sessions(await fetch(pra, "AccessSession", end_time=4_000_000_000, duration=0))) == []
        box.appliance.sessions.begin("ab" * 16, recording=Film(3), expired=True)
        with pytest.raises(ApplianceError) as caught:
            list(read_sessions(await fetch(pra, "AccessSessionRecording", lsid="ab" * 16)))
        assert caught.value.code == "BSR-3019"


def test_the_tables_have_the_columns_that_the_relay_writes() -> None:
    """The session tables of the stand-in are those of the relay's own application."""
    assert set(SESSION_COLUMNS) | set(LINKS) <= TABLES[SESSION].columns
    assert set(EVENT_COLUMNS) <= TABLES[EVENT].columns
