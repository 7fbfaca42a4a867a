"""The one log stream: our own lines and every library's go through the same steps to the same place.

A line is one event: `time`, `level`, `event` (a name such as `poll.page`), `logger`, `job` and `trace` where there are
any, then the fields. `relay.core.plain` bounds and cleans the values and `relay.core.redact` blanks secrets before any
format is made, so that no format can leak what another hides.

Why the journal gets its fields by `journal.send` after that, and not through `JournalHandler`: the handler copies a
record's raw arguments. Why libraries are held at WARNING (INFO at our level debug): their debug lines hold headers and
cookies, which no list of known secrets has.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, Self

import structlog

from relay.core.plain import Plain, clean, describe, trace
from relay.core.redact import Redactor
from relay.host.clock import Clock
from relay.host.stream import Stream

try:
    from systemd import journal as _journal
except ImportError:  # a wheel cannot bring it: it is compiled against the host's libsystemd
    _journal = None

Level = Literal["debug", "info", "warning", "error", "critical"]
Format = Literal["auto", "journal", "json", "console"]
Line = dict[str, Any]

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_IDENTIFIER: Final = "bseries-relay"
_FIRST: Final = ("time", "level", "event", "logger")
_TALKATIVE: Final = ("httpx", "httpcore", "asyncio", "watchdog")
_FOREIGN: Final = "library.message"


class Logs:
    """The configured log stream. Nothing in it raises: a log that cannot be written is no reason to stop work.

    Args:
        clock: gives each line its time.
        redactor: blanks secrets; those that are added later count from then on.
        environ: `JOURNAL_STREAM` and `NO_COLOR` are read from here.
        fd: where lines go that do not go to the journal.

    """

    def __init__(self, clock: Clock, redactor: Redactor, environ: Mapping[str, str], fd: int = 2) -> None:
        self._clock = clock
        self._redactor = redactor
        self._environ = environ
        self._fd = fd
        self._stream = Stream(fd)
        self._write: Callable[[Line], bool] = self._as_json
        self._lost = 0
        self._former: tuple[Any, ...] | None = None

    def start(self, level: Level = "info", form: Format = "auto") -> Self:
        """Take over structlog, the standard library's logging, warnings, and what nobody caught. May be repeated."""
        self._write = {"journal": self._to_journal, "json": self._as_json, "console": self._as_text}[self.form(form)]
        root = logging.getLogger()
        if self._former is None:
            hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
            self._former = (structlog.get_config(), root.handlers[:], root.level, *hooks)
            logging.captureWarnings(capture=True)
        root.handlers[:] = [_Records(self)]
        sys.excepthook = lambda kind, error, where: self._uncaught("process", error or kind(), where)
        threading.excepthook = lambda given: self._uncaught("thread", given.exc_value or given.exc_type(), None)
        sys.unraisablehook = lambda given: self._uncaught("object", given.exc_value or given.exc_type(), None)
        self.set_level(level)
        return self

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell what nobody caught in an event loop.

        Why not asyncio's own line: it holds the `repr` of the task, and in it the error's text as it is.
        """
        loop.set_exception_handler(self._uncaught_in_loop)

    def set_level(self, level: Level) -> None:
        """Change what is told, while running."""
        ours = LEVELS[level]
        theirs = logging.INFO if ours < logging.INFO else max(ours, logging.WARNING)
        logging.getLogger().setLevel(theirs)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(max(theirs, logging.WARNING))
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level, self._finish],
            wrapper_class=structlog.make_filtering_bound_logger(ours),
            logger_factory=lambda *names: _Named(str(names[0]) if names else "relay", self),
            cache_logger_on_first_use=False,  # loggers are made at import, the level may change later
        )

    def close(self) -> None:
        """Give everything back as it was before `start`."""
        if self._former is None:
            return
        config, handlers, level, sys.excepthook, threading.excepthook, sys.unraisablehook = self._former
        self._former = None
        logging.captureWarnings(capture=False)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.NOTSET)
        structlog.configure(**config)

    def form(self, form: Format) -> Literal["journal", "json", "console"]:
        """The format in effect: `auto` is the journal when it holds our stream, a terminal's text, else JSON lines."""
        if form == "auto":
            if self._into_journal() and _journal is not None:
                return "journal"
            return "console" if os.isatty(self._fd) else "json"
        return "json" if form == "journal" and _journal is None else form

    def _into_journal(self) -> bool:
        """Whether our stream is the one that systemd opened for the service: `JOURNAL_STREAM` is its `device:inode`."""
        try:
            found = os.fstat(self._fd)
        except OSError:
            return False
        return self._environ.get("JOURNAL_STREAM", "") == f"{found.st_dev}:{found.st_ino}"

    # ---- from an event to a line

    def record(self, record: logging.LogRecord) -> None:
        """Take a line of a library."""
        event = structlog.contextvars.get_merged_contextvars(structlog.get_logger())
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  # the arguments are the library's
            text = str(record.msg)
        event |= {"event": _FOREIGN, "message": text, "exc_info": record.exc_info}
        level = max(
            (name for name in LEVELS if LEVELS[name] <= record.levelno), key=LEVELS.__getitem__, default="debug"
        )
        self.emit(self.line(record.name, level, event))

    def _uncaught(self, where: str, error: BaseException, traceback: TracebackType | None) -> None:
        told = {
            "event": f"uncaught.{where}",
            "exc_info": error if traceback is None else error.with_traceback(traceback),
        }
        self.emit(self.line("relay", "critical", told))

    def _uncaught_in_loop(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        told = {
            "event": "uncaught.task",
            "reason": str(context.get("message")),
            "part": task.get_name() if isinstance(task, asyncio.Task) else "",
            "exc_info": context.get("exception"),
        }
        self.emit(self.line("relay", "error", told))

    def _finish(self, logger: _Named, method: str, event: structlog.typing.EventDict) -> Line:
        """Last step of structlog's chain; what it returns is the field mapping that `_Named.msg` gets."""
        return {"line": self.line(logger.name, event.pop("level", method), event)}

    def line(self, name: str, level: str, event: Mapping[str, Any]) -> Line:
        """The plain line of an event."""
        line: Line = {"time": self._now(), "level": level, "event": "log.failed", "logger": name}
        try:
            plain = Plain(self._redactor)
            line["logger"] = plain.text(name)
            line["event"] = plain.text(event.get("event", ""))
            rest = {key: value for key, value in event.items() if key not in {"event", "exc_info", "stack_info"}}
            for key in ("job", "trace"):
                if key in rest:
                    line[key] = plain.value(rest.pop(key))
            for key, value in rest.items():
                shown = plain.name(key)
                line[f"{shown}_" if shown in line else shown] = plain.value(value)
            error = _error(event.get("exc_info"))
            if error is not None:
                line["exception"] = plain.text(describe(error))
                line["traceback"] = plain.text(trace(error, plain.text))
        except Exception as error:  # noqa: BLE001  # a line that cannot be made is told of, and no more
            line["exception"] = type(error).__name__
        return line

    def _now(self) -> str:
        try:
            return datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(timespec="milliseconds")[:23] + "Z"
        except (ValueError, OverflowError, OSError):
            return "unknown"

    # ---- from a line to its place

    def emit(self, line: Line) -> None:
        """Write a line, and with it how many were lost before it."""
        if self._lost:
            line["lost"] = self._lost
        try:
            written = self._write(line)
        except Exception:  # noqa: BLE001  # whatever is wrong with the place of logs, work goes on
            written = False
        self._lost = 0 if written else self._lost + 1

    def _as_json(self, line: Line) -> bool:
        return self._stream.write(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    def _as_text(self, line: Line) -> bool:
        fields = _fields(line)
        level = f"{line['level']:<8}"
        if "NO_COLOR" not in self._environ and os.isatty(self._fd):
            level = f"\x1b[{_COLOURS.get(line['level'], '0')}m{level}\x1b[0m"
        return self._stream.write(f"{line['time'][11:23]} {level} {line['event']}{fields}")

    def _to_journal(self, line: Line) -> bool:
        try:
            fields = {_journal_name(key): _short(value) for key, value in line.items() if key not in {"time", "level"}}
            _journal.send(
                line["event"] + _fields(line),
                PRIORITY=str(_PRIORITIES.get(line["level"], 6)),
                SYSLOG_IDENTIFIER=_IDENTIFIER,
                CODE_FUNC=line["logger"],  # else `send` walks the stack and tells of itself
                **fields,
            )
        except Exception:  # noqa: BLE001  # compiled code; the line itself is worth another try
            return self._as_json(line)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Named:
    """The bottom of structlog's loggers: has a name, hands finished lines on."""

    __slots__ = ("_logs", "name")

    def __init__(self, name: str, logs: Logs) -> None:
        self.name = name
        self._logs = logs

    def msg(self, line: Line) -> None:
        self._logs.emit(line)

    debug = info = warning = warn = error = exception = critical = fatal = log = msg


class _Records(logging.Handler):
    """The root logger's only handler."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        self._logs.record(record)


def _error(given: object) -> BaseException | None:
    """The error that `exc_info` stands for, in any of the forms that structlog and logging take."""
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if len(given) > 1 and isinstance(given[1], BaseException) else None
    return sys.exc_info()[1] if given else None


def _fields(line: Line) -> str:
    return "".join(f" {key}={_short(value)}" for key, value in line.items() if key not in _FIRST)


def _short(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if not value or re.search(r'[\s"=]', value) else value
    return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _journal_name(key: str) -> str:
    """The journal takes capital letters, digits and `_`, at most 64."""
    return "BSR_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())[:60]
