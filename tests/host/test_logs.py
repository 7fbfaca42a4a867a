"""The log stream: one plain line an event, in every format, whoever wrote it."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import os
import pty
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.plain import clean
from relay.core.redact import Redactor
from relay.core.secret import Secret
from relay.host import logs as module
from relay.host.clock import Clock
from relay.host.logs import Format, Level, Logs

PASSWORD = "Canary/9f2c pass&word"
log = structlog.get_logger("relay.test")


class Fixed(Clock):
    """A clock that stands."""

    def wall(self) -> float:
        """A moment with milliseconds."""
        return 1_700_000_000.1234


class Journal:
    """Stands for systemd's journal module."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.broken = False

    def send(self, message: str, **fields: Any) -> None:
        """Keep, or fail."""
        if self.broken:
            raise OSError(105, "No buffer space available")
        self.lines.append({"MESSAGE": message, **fields})


class Sink:
    """A configured log whose lines can be read back."""

    def __init__(self, read: int, write: int) -> None:
        self.read_end, self.write_end = read, write
        self.redactor = Redactor()
        self.logs: Logs | None = None

    def start(self, form: Format = "json", level: Level = "info", environ: dict[str, str] | None = None) -> Logs:
        """Begin to log."""
        self.logs = Logs(Fixed(), self.redactor, environ or {}, self.write_end)
        return self.logs.start(level, form)

    def text(self) -> str:
        """Everything written since."""
        try:
            return os.read(self.read_end, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def lines(self) -> list[dict[str, Any]]:
        """Every JSON line written since."""
        return [json.loads(line) for line in self.text().splitlines()]

    def line(self) -> dict[str, Any]:
        """The one JSON line written since."""
        (line,) = self.lines()
        return line


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A log into a pipe."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    made = Sink(read, write)
    yield made
    if made.logs:
        made.logs.close()
    os.close(read)
    os.close(write)


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal that keeps what it is sent."""
    made = Journal()
    monkeypatch.setattr(module, "_journal", made)
    return made


def test_a_line_has_its_fields_in_order(sink: Sink) -> None:
    """Time, level, event and logger come first, then job and trace, then the event's own fields."""
    sink.start()
    with structlog.contextvars.bound_contextvars(trace="t1", job="j1"):
        log.info("poll.page", rows=3)
    assert sink.text() == (
        '{"time":"2023-11-14T22:13:20.123Z","level":"info","event":"poll.page","logger":"relay.test",'
        '"job":"j1","trace":"t1","rows":3}\n'
    )


def test_library_lines_pass_the_same_steps(sink: Sink) -> None:
    """A line of the standard library's logging has the same shape, the job it belongs to, and is redacted."""
    sink.redactor.add(Secret(PASSWORD))
    sink.start()
    with structlog.contextvars.bound_contextvars(job="j1"):
        logging.getLogger("some.package").warning("cannot use %s\n", PASSWORD)
    assert sink.line() == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "event": "library.message",
        "logger": "some.package",
        "job": "j1",
        "message": "cannot use ********\\n",
    }


def test_levels(sink: Sink) -> None:
    """Our lines follow the level at once when it changes; libraries stay at warning, and at info when ours is debug."""
    logs = sink.start()
    package = logging.getLogger("some.package")
    log.debug("quiet")
    package.info("quiet")
    logs.set_level("debug")
    log.debug("a")
    package.info("b")
    package.debug("quiet")
    logging.getLogger("httpcore.http11").debug("quiet: it would show cookies")
    logging.getLogger("httpx").info("quiet: it would show queries")
    logs.set_level("error")
    log.warning("quiet")
    package.warning("quiet")
    log.critical("c")
    package.log(5, "quiet")
    assert [(line["event"], line["level"]) for line in sink.lines()] == [
        ("a", "debug"),
        ("library.message", "info"),
        ("c", "critical"),
    ]


def test_exceptions_show_places_and_no_locals(sink: Sink) -> None:
    """An error is told with its type and frames, and with its message where that quotes no data; no variable is."""
    sink.start()
    hidden = "local-value-" + "1"
    try:
        int("x" + hidden[:0])
    except ValueError:
        log.exception("job.failed")
        log.warning("job.failed", exc_info=sys.exc_info())
        logging.getLogger("library").exception("it failed")
    log.error("job.failed", exc_info=OSError("given"))
    log.error("job.failed", exc_info=(None, None, None))
    log.error("job.failed", exc_info=1)  # noqa: LOG014  # a caller's mistake
    text = sink.text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert hidden not in text
    assert all("test_logs.py:" in line["traceback"] for line in lines[:3])
    assert all(line["exception"].startswith("ValueError (its text is left out") for line in lines[:3])
    assert lines[3]["exception"] == "OSError: given"
    assert all("exception" not in line for line in lines[4:])


def test_fields_cannot_replace_the_lines_own(sink: Sink) -> None:
    """A field that is named like a part of the line gets another name."""
    sink.start()
    log.info("poll.page", time="never", logger="other")
    line = sink.line()
    assert line["logger"] == "relay.test"
    assert line["time"].startswith("2023")
    assert (line["time_"], line["logger_"]) == ("never", "other")


def test_loggers_without_a_name(sink: Sink) -> None:
    """A logger made without a name is the relay's."""
    sink.start()
    structlog.get_logger().info("x")
    assert sink.line()["logger"] == "relay"


def test_console_is_one_readable_line(sink: Sink) -> None:
    """On a terminal a line shows time, level, event and fields; without a terminal there is no colour."""
    sink.start("console")
    log.warning("poll.page", rows=3, text="two words", empty="", list=[1, "a"], logger="x")
    assert sink.text() == '22:13:20.123 warning  poll.page rows=3 text="two words" empty="" list=[1,"a"] logger_=x\n'


@pytest.mark.parametrize("colour", [True, False])
def test_colour_is_for_terminals_that_want_it(sink: Sink, colour: bool) -> None:
    """A terminal gets the level in colour unless NO_COLOR is set, and gets no other control character."""
    read, write = pty.openpty()
    try:
        with Logs(Fixed(), sink.redactor, {} if colour else {"NO_COLOR": ""}, write) as logs:
            assert logs.start().form("auto") == "console"
            log.error("bad.thing", text="\x1b]0;title\x07")
        shown = os.read(read, 4096).decode()
    finally:
        os.close(read)
        os.close(write)
    assert shown.count("\x1b") == (2 if colour else 0)
    assert "\\x1b]0;title\\x07" in shown


def test_auto_finds_the_journal(sink: Sink, journal: Journal) -> None:
    """`auto` means the journal only when JOURNAL_STREAM names our own stream."""
    found = os.fstat(sink.write_end)
    sink.start("auto", environ={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    log.error("poll.failed", code="BSR-2001", **{"odd-name": 1.5}, none=None)
    assert journal.lines == [
        {
            "MESSAGE": "poll.failed code=BSR-2001 odd-name=1.5 none=null",
            "PRIORITY": "3",
            "SYSLOG_IDENTIFIER": "bseries-relay",
            "CODE_FUNC": "relay.test",
            "BSR_EVENT": "poll.failed",
            "BSR_LOGGER": "relay.test",
            "BSR_CODE": "BSR-2001",
            "BSR_ODD_NAME": "1.5",
            "BSR_NONE": "null",
        }
    ]
    assert sink.text() == ""
    sink.start("auto", environ={"JOURNAL_STREAM": "1:1"})
    log.error("poll.failed")
    assert len(journal.lines) == 1
    assert sink.line()["event"] == "poll.failed"


def test_a_broken_journal_gives_json(sink: Sink, journal: Journal) -> None:
    """A line that the journal does not take goes to the stream as JSON."""
    journal.broken = True
    sink.start("journal")
    log.info("poll.page")
    assert sink.line()["event"] == "poll.page"


def test_without_systemd_python_the_journal_gets_json(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal's library is missing, both `journal` and `auto` mean JSON lines on the stream."""
    monkeypatch.setattr(module, "_journal", None)
    found = os.fstat(sink.write_end)
    logs = sink.start("journal", environ={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    assert logs.form("journal") == logs.form("auto") == "json"


def test_the_real_journal_library_takes_our_lines(sink: Sink) -> None:
    """systemd-python accepts every field that we send, whether or not a journal runs here."""
    pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    logs = sink.start("journal")
    log.info("poll.page", rows=1, text="ä\x00", list=[1])
    assert logs._lost == 0
    assert sink.text() == ""


def test_lost_lines_are_counted(sink: Sink) -> None:
    """Lines that nobody took are counted in the next one that is written."""
    logs = sink.start()
    write = logs._write
    logs._write = lambda _line: False
    log.info("a")
    logs._write = lambda _line: 1 / 0  # type: ignore[assignment,return-value]
    log.info("b")
    logs._write = write
    log.info("c")
    log.info("d")
    first, second = sink.lines()
    assert first["lost"] == 2
    assert "lost" not in second


def test_a_gone_stream_stops_nothing(sink: Sink) -> None:
    """With the stream closed under it the log goes on without a word."""
    logs = sink.start()
    with Logs(Fixed(), Redactor(), {}, 987) as other:
        assert other.start().form("auto") == "json"
        log.info("into the void")
        assert other._lost == 1
    logs.close()
    logs.close()


def test_a_line_that_cannot_be_made_is_told(sink: Sink) -> None:
    """A fault in making a line leaves a line that says so."""

    class Broken(Redactor):
        def scrub(self, text: str, limit: int | None = None) -> str:
            raise RuntimeError(text, limit)

    sink.redactor = Broken()
    sink.start()
    log.info("poll.page")
    assert sink.line()["event"] == "log.failed"
    logging.getLogger("library").error("%d", "no number")
    assert sink.line()["exception"] == "RuntimeError"


def test_a_library_with_wrong_arguments_is_heard(sink: Sink) -> None:
    """A library's line whose arguments do not fit is written without them."""
    sink.start()
    logging.getLogger("library").error("%d", "no number")
    assert sink.line()["message"] == "%d"


def test_an_impossible_clock_stops_no_line(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock beyond every calendar gives a line without a time."""
    monkeypatch.setattr(Fixed, "wall", lambda _self: 1e30)
    sink.start()
    log.info("x")
    assert sink.line()["time"] == "unknown"


def raise_in_thread() -> None:
    """Die in a thread of its own."""
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


def raise_in_finalizer() -> None:
    """Die where Python can only tell of it."""

    class Falling:
        def __del__(self) -> None:
            raise ZeroDivisionError("division by zero")

    Falling()


def raise_at_the_top() -> None:
    """What the interpreter does at the end of the main thread."""
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        sys.excepthook(type(error), error, error.__traceback__)


@pytest.mark.parametrize(
    ("act", "event"),
    [
        (raise_at_the_top, "uncaught.process"),
        (raise_in_thread, "uncaught.thread"),
        (raise_in_finalizer, "uncaught.object"),
    ],
)
def test_what_nobody_caught_is_logged(sink: Sink, act: Callable[[], None], event: str) -> None:
    """Errors of the main thread, of other threads and of finalizers become lines instead of raw tracebacks."""
    sink.start()
    act()
    line = sink.line()
    assert line["event"] == event
    assert line["level"] == "critical"
    assert line["exception"] == "ZeroDivisionError: division by zero"


def test_what_nobody_caught_in_a_task_is_logged(sink: Sink) -> None:
    """An error of a forgotten task is a line with its place, and without its text, which asyncio's own line quotes."""
    logs = sink.start()

    async def falls() -> None:
        raise ValueError("quoted")

    async def forgets() -> None:
        logs.watch(asyncio.get_running_loop())
        task = asyncio.create_task(falls(), name="the task")
        await asyncio.wait({task})
        asyncio.get_running_loop().call_exception_handler({"message": "without an error"})

    asyncio.run(forgets())
    gc.collect()
    told = sink.text()
    assert "quoted" not in told
    lines = {line["reason"]: line for line in map(json.loads, told.splitlines())}
    line = lines["Task exception was never retrieved"]
    assert (line["event"], line["level"], line["part"]) == ("uncaught.task", "error", "the task")
    assert "test_logs.py:" in line["traceback"]
    assert "exception" not in lines["without an error"]


def test_warnings_are_logged(sink: Sink) -> None:
    """A warning of Python is a line and not text on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        sink.start()
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
        assert "old thing" in sink.line()["message"]
        assert sink.logs
        sink.logs.close()


def test_close_gives_everything_back(sink: Sink) -> None:
    """After `close` logging, hooks and structlog are as they were."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    config = structlog.get_config()
    logs = sink.start()
    logs.start("debug", "console")
    logs.close()
    assert (root.handlers[:], root.level, sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    assert structlog.get_config() == config


def chained(message: str) -> None:
    """Raise an error whose cause says the same."""
    raise OSError(message) from RuntimeError(message)


def canaries() -> list[str]:
    """Every form of the password, and of its pair, that must not be seen."""
    raw = PASSWORD.encode()
    pair = base64.b64encode(b"svc.relay:" + raw).decode().rstrip("=")
    return [PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), base64.b64encode(raw).decode().rstrip("="), pair]


@pytest.mark.parametrize("form", ["json", "console", "journal"])
def test_no_secret_in_any_format(sink: Sink, journal: Journal, form: Format) -> None:
    """A secret is in no format: not as a value or key, in text, an error, its cause, or a library's line."""
    sink.redactor.add(Secret(PASSWORD), "svc.relay")
    sink.start(form, "debug")
    for canary in canaries():
        log.info("config.read", secret=Secret(PASSWORD), text=f"x {canary} y", nested=[{canary: (canary,)}])
        event = f"event {canary}"
        log.info(event, raw=canary.encode(), **{f"name {canary}": 1})
        with structlog.contextvars.bound_contextvars(job=canary):
            logging.getLogger(canary).warning("header %s", {"Authorization": f"Basic {canary}"})
        try:
            chained(canary)
        except OSError:
            log.exception("job.failed")
            logging.getLogger("library").exception(canary)
    shown = sink.text() + json.dumps(journal.lines)
    assert shown.count("job.failed") >= len(canaries())
    assert [canary for canary in canaries() if canary in shown] == []


fields = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in {"event", "exc_info", "stack_info"}),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=10,
    ),
    max_size=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.text(), values=fields)
def test_any_event_is_one_json_line(sink: Sink, event: str, values: dict[str, Any]) -> None:
    """Whatever the event and its fields: one line, valid JSON, no control character."""
    logs = sink.start()
    logs.emit(logs.line("relay.test", "info", {**values, "event": event}))
    text = sink.text()
    assert text.endswith("\n")
    assert clean(text[:-1]) == text[:-1]
    line = json.loads(text)
    assert list(line)[:4] == ["time", "level", "event", "logger"]
    logs.close()
