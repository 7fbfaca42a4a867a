"""The life of the process: lock, first plan, signals, reload, the end with an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path

import structlog

from relay.config.load import Loaded, load
from relay.core.errors import ConfigError, RelayError, StorageError
from relay.core.redact import Redactor
from relay.daemon.admin import Admin
from relay.daemon.app import App
from relay.daemon.control import ControlSocket
from relay.daemon.plan import Plan, make_plan
from relay.daemon.process import KnownSecrets, Process
from relay.daemon.report import VERSION, status_line
from relay.daemon.watchdog import feed
from relay.host.clock import Clock
from relay.host.files import FolderLock
from relay.host.folders import find_folders
from relay.host.logs import Logs
from relay.host.systemd import Notifier
from relay.jobs.beats import Beats
from relay.jobs.conditions import Conditions

log = structlog.get_logger("relay.daemon")


class Supervisor:
    """Runs one `App` after another: a reload replaces it, a stop ends the last."""

    def __init__(self, main: Path, process: Process, logs: Logs, loaded: Loaded) -> None:
        self._main = main
        self._process = process
        self._logs = logs
        self._loaded = loaded
        self._app = App(make_plan(loaded.settings, process), process)
        self._next: Plan | None = None
        self._stopping = False

    @property
    def app(self) -> App:
        """The relay at work."""
        return self._app

    async def run(self) -> None:
        """Run until a signal or an administrator ends it.

        Raises:
            StorageError: BSR-5005, the disk lost a write.

        """
        process = self._process
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        admin = Admin(self, process)
        async with ControlSocket(process.folders.socket, admin.serve):
            feeding = asyncio.create_task(feed(process, lambda: status_line(self._app, process)), name="watchdog")
            try:
                process.notifier.ready(status_line(self._app, process))
                log.info("daemon.ready", version=VERSION, config=str(self._main), state=str(process.folders.state))
                await self._run_apps()
            finally:
                process.notifier.stopping()
                feeding.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await feeding
        log.info("daemon.stopped")

    async def _run_apps(self) -> None:
        while True:
            await self._app.run()
            if self._next is None:
                return
            self._app, self._next = App(self._next, self._process), None
            self._process.notifier.ready(status_line(self._app, self._process))
            log.info("daemon.reloaded")
            if self._stopping:
                self._app.stop()

    def stop(self) -> None:
        """Stop in three stages; asked for a second time, abort."""
        if self._stopping:
            self._app.abort()
            return
        self._stopping = True
        self._process.notifier.stopping("finishing what is under way")
        self._app.stop()

    def _hang_up(self) -> None:
        with contextlib.suppress(RelayError):
            self.reload()

    def reload(self) -> None:
        """Read the configuration again and go on with it; with a bad one everything stays as it is.

        Raises:
            ConfigProblems: the files have problems.
            ConfigError: something that they name cannot be used, or cannot change while the relay runs.

        """
        self._process.notifier.reloading("reading the configuration")
        try:
            loaded = load(self._main, self._process.environ)
            if loaded.settings.storage.directory != self._loaded.settings.storage.directory:
                raise ConfigError(1016, "storage.directory changes only by a restart")  # told like the rest
            plan = make_plan(loaded.settings, self._process)
        except RelayError as error:
            log.error("daemon.reload_failed", code=error.code, error=str(error))  # noqa: TRY400
            self._process.notifier.ready(status_line(self._app, self._process))
            raise
        self._loaded = loaded
        self._logs.set_level(loaded.settings.logging.level)
        self._next = plan
        self._app.stop()


def run(main: Path, environ: Mapping[str, str]) -> None:
    """Run the daemon with this configuration until it is stopped.

    Raises:
        ConfigProblems: the configuration has problems.
        ConfigError: something that it names cannot be used.
        StorageError: BSR-5006, the state folder is in use; BSR-5005, the disk lost a write.

    """
    loaded = load(main, environ)
    settings = loaded.settings
    clock = Clock()
    redactor = Redactor()
    folders = find_folders(environ, storage=settings.storage.directory)
    with Logs(clock, redactor, environ).start(settings.logging.level, settings.logging.format) as logs:
        for warning in loaded.warnings:
            log.warning("config.warning", problem=str(warning))
        process = Process(
            environ=environ,
            folders=folders,
            secrets=KnownSecrets(environ, redactor),
            clock=clock,
            notifier=Notifier(clock),
            beats=Beats(clock),
            conditions=Conditions(clock),
        )
        try:
            with FolderLock.take(folders.state):
                asyncio.run(_supervise(main, process, logs, loaded))
        except RelayError as error:
            log.critical("daemon.failed", code=error.code, error=error.text, fix=error.hint)
            raise
        except BaseExceptionGroup as group:
            lost = _lost_write(group)
            if lost is None:
                raise
            log.critical("daemon.failed", code=lost.code, error=lost.text, fix=lost.hint)
            raise lost from None


async def _supervise(main: Path, process: Process, logs: Logs, loaded: Loaded) -> None:
    await Supervisor(main, process, logs, loaded).run()


def _lost_write(error: BaseException) -> StorageError | None:
    """The error of a disk that lost a write, when that is what ended the loops."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for found in map(_lost_write, error.exceptions) if found is not None), None)
    return error if isinstance(error, StorageError) else None
