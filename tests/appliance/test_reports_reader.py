"""The reader of reports, as the import of sessions uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.sessionreports import ACCESS, LSID, document, long_session

from relay.appliance import reports_reader
from relay.appliance.reports_reader import LARGE, THREADS, ReportReader
from relay.core.errors import ApplianceError
from relay.sandbox.reporting import NOTHING_FOUND
from relay.sessions.ports import Reader


@pytest.fixture
def reader() -> Iterator[ReportReader]:
    """A reader that is closed in the end."""
    reader = ReportReader()
    yield reader
    reader.close()


def error_document(text: str) -> bytes:
    return f"<error>{text}</error>".encode()


async def test_sessions_surveys_and_listings(reader: Reader) -> None:
    """It is what the flow of sessions asks for, and reads all three kinds of documents."""
    report = await reader.session(document(ACCESS), LSID.upper())
    assert report is not None
    assert (report.lsid, report.external_key) == (LSID, "INC0010001")
    listing = b'<session_summary_list><session_summary lsid="a" has_recording="1"/></session_summary_list>'
    assert [(one.lsid, one.has_recording) for one in await reader.listing(listing)] == [("a", True)]
    survey = b'<exit_survey_list><exit_survey gsnumber="3"/></exit_survey_list>'
    assert [one.by for one in await reader.surveys(survey, "customer")] == ["customer"]


@pytest.mark.parametrize("odd", ["", "x" * 256, "a&#10;b", "a&#x9b;"])
async def test_a_line_that_names_no_session_does_not_hold_up_the_others(reader: ReportReader, odd: str) -> None:
    """The sweep goes on with what it can use; a listing that names none at all is a fault."""
    line, other = f'<session_summary lsid="{odd}"/>', f'<session_summary lsid="{LSID}"/>'
    listing = f"<session_summary_list>{line}{other}{line}</session_summary_list>".encode()
    assert [one.lsid for one in await reader.listing(listing)] == [LSID]
    with pytest.raises(ApplianceError, match="BSR-3009"):
        await reader.listing(f"<session_summary_list>{line}</session_summary_list>".encode())


@pytest.mark.parametrize("text", NOTHING_FOUND.values())
async def test_nothing_found_is_none(reader: ReportReader, text: str) -> None:
    """The appliance's word for "nothing" is no error, whichever language it has."""
    assert await reader.session(error_document(text), LSID) is None
    assert await reader.listing(error_document(text)) == []
    assert await reader.surveys(error_document(text), "customer") == []


async def test_nothing_found_in_a_language_of_its_own() -> None:
    """What the configuration says means it too, and no more than that."""
    reader = ReportReader(["選択した条件に一致する情報はありません。"])
    assert await reader.session(error_document(" 選択した条件に一致する情報はありません。"), LSID) is None
    assert await reader.listing(error_document("選択した条件に一致する情報はありません。")) == []
    assert await reader.surveys(error_document("選択した条件に一致する情報はありません。"), "customer") == []
    with pytest.raises(ApplianceError, match="BSR-3019"):
        await reader.listing(error_document("ログインに失敗しました。"))
    reader.close()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (error_document("Invalid lsid."), "BSR-3019"),
        (b"<session_list><session lsid=", "BSR-3009"),
        (document(ACCESS), "BSR-3009"),
        (b" " * (LARGE + 1), "BSR-3009"),
    ],
)
async def test_what_cannot_be_read_has_its_code(reader: ReportReader, content: bytes, code: str) -> None:
    """Other words for an error, a torn document, another session and a long page of nothing, each by its code."""
    with pytest.raises(ApplianceError) as found:
        await reader.session(content, "f" * 32)
    assert found.value.code == code


async def test_long_documents_are_read_in_two_threads(reader: ReportReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three long documents two are read at a time, outside of the loop; a short one does not wait for them."""
    main = threading.get_ident()
    begun, together, go = [0], threading.Semaphore(0), threading.Event()

    def read(content: bytes, *_: Any) -> Any:
        if len(content) <= LARGE:
            assert threading.get_ident() == main
            return "short"
        assert threading.get_ident() != main
        begun[0] += 1
        together.release()
        assert go.wait(10)
        return "long"

    monkeypatch.setattr(reports_reader, "read_session", read)
    long: list[asyncio.Task[Any]] = [
        asyncio.create_task(reader.session(b"x" * (LARGE + 1), LSID)) for _ in range(THREADS + 1)
    ]
    for _ in range(THREADS):
        assert await asyncio.to_thread(together.acquire, timeout=10)
    short: Any = await reader.session(b"x" * LARGE, LSID)
    assert short == "short"
    assert begun == [THREADS]
    go.set()
    assert [*await asyncio.gather(*long)] == ["long"] * 3


async def test_the_loop_goes_on_while_a_long_report_is_read(reader: ReportReader) -> None:
    """Others run while some megabytes are parsed, and the report is whole."""
    content = document(long_session(1, 20_000))
    assert len(content) > LARGE
    reading = asyncio.create_task(reader.session(content, f"{1:032x}"))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1
    report = reading.result()
    assert report is not None
    assert len(report.events) == 20_000
    assert turns > 3
