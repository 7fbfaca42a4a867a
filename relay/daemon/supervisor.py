"""The life of the process: lock, first plan, signals, reload, the end with an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from relay.config.load import ENVIRONMENT, Loaded, load
from relay.config.model import Settings
from relay.core.errors import ConfigError, InternalError, RelayError, StorageError
from relay.core.redact import Redactor
from relay.daemon.admin import Admin
from relay.daemon.app import App
from relay.daemon.beside import beside
from relay.daemon.certificates import CertificateWatch, all_held
from relay.daemon.control import ControlSocket
from relay.daemon.exposition import Exposition
from relay.daemon.intake import Intake
from relay.daemon.lock import IN_USE, StateLock
from relay.daemon.metrics import Figures
from relay.daemon.plan import Plan, make_plan
from relay.daemon.process import KnownSecrets, Process
from relay.daemon.report import VERSION, now, status_line
from relay.daemon.rotation import Rotation
from relay.daemon.watchdog import feed
from relay.daemon.watching import ConfigWatch
from relay.host.clock import Clock
from relay.host.folders import find_folders
from relay.host.hardening import exposures
from relay.host.logs import Logs
from relay.host.sockets import passed
from relay.host.systemd import Notifier
from relay.jobs.conditions import Conditions
from relay.listener.listener import Listener

log = structlog.get_logger("relay.daemon")


OF_THE_PROCESS = frozenset({"metrics", "configuration", "listener"})
"""Conditions that a new plan does not end."""


class Supervisor:
    """Runs one `App` after another: a reload replaces it, a stop ends the last."""

    def __init__(self, main: Path, process: Process, logs: Logs, loaded: Loaded) -> None:
        self._main = main
        self._process = process
        self._logs = logs
        self._loaded = loaded
        self._app = App(make_plan(loaded.settings, process), process)
        self._next: Plan | None = None
        self._superseded: list[Plan] = []
        self._applied = asyncio.Event()
        self._stopping = False
        self._watch = ConfigWatch(main, process.environ, process.conditions, lambda: self._loaded.settings)
        self._rotation = Rotation(process, lambda: self._app.plan, self._look_again)
        self._certificates = CertificateWatch(process, lambda: self._app.plan)
        self._exposition = Exposition(process.figures.metrics, self._look, process.conditions)
        self._listener = Listener(
            process.intake,
            process.conditions,
            process.clock,
            passed(process.environ),
            count=process.figures.posted,
        )

    @property
    def app(self) -> App:
        """The relay at work."""
        return self._app

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping

    def _status_line(self) -> str:
        return status_line(self._app, self._process)

    async def _look(self) -> None:
        found = await now(self._app, self._process)
        self._process.figures.show(replace(found, certificates=all_held(self._app.plan)))

    def _look_again(self) -> None:
        """Files were read again: what waits because a side refused us need not wait any longer."""
        self._listener.listen(self._app.plan.stations.now)
        running = self._app.running
        if running is not None:
            running.look_again()

    # -- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until a signal or an administrator ends it.

        Raises:
            StorageError: BSR-5006, another relay uses the state folder; BSR-5005, the disk lost a write.

        """
        process = self._process
        admin = Admin(self, process)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(process.lock.release)
            self._lock()
            stack.enter_context(self._signals())
            await stack.enter_async_context(ControlSocket(process.folders.socket, admin.serve, process.folders.state))
            await stack.enter_async_context(
                beside(
                    watchdog=feed(process, lambda: self._app.beats, self._status_line),
                    watch=self._watch.run(),
                    secrets=self._rotation.run(),
                    certificates=self._certificates.run(),
                    metrics=self._exposition.run(),
                    listener=self._listener.run(),
                )
            )
            stack.callback(process.notifier.stopping)
            self._listen()
            process.notifier.ready(self._status_line())
            log.info("daemon.ready", version=VERSION, config=str(self._main), state=str(process.folders.state))
            await self._run_apps()
        log.info("daemon.stopped")

    def _lock(self) -> None:
        """Refuse a folder of another relay before its control socket is touched; other trouble is the app's to show."""
        try:
            self._process.lock.take()
        except StorageError as error:
            if error.number == IN_USE:
                raise

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        heard = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self._hang_up}
        for number, answer in heard.items():
            loop.add_signal_handler(number, answer)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)

    def _listen(self) -> None:
        metrics = self._app.plan.settings.metrics
        self._exposition.listen(metrics.listen if metrics else None)
        self._listener.listen(self._app.plan.stations.now)

    async def _run_apps(self) -> None:
        try:
            while True:
                await self._app.run()
                self._process.figures.keep(self._app.plan.instance.requests)
                await self._close_superseded()
                if self._next is None or self._stopping:
                    return
                self._replace(self._next)
        finally:
            if self._next is not None:
                self._superseded.append(self._next)
            await self._close_superseded()
            self._applied.set()

    async def _close_superseded(self) -> None:
        while self._superseded:
            await self._superseded.pop().aclose()

    def _replace(self, plan: Plan) -> None:
        """Take a plan into use; what was wrong under the old one is found again, if it still is."""
        self._app, self._next = App(plan, self._process), None
        conditions = self._process.conditions
        for one in conditions.all():
            if one.subject not in OF_THE_PROCESS:
                conditions.clear(one.subject)
        self._rotation.replaced()
        self._listen()
        self._process.figures.reloaded("applied")
        self._process.notifier.ready(self._status_line())
        log.info("daemon.reloaded")
        self._applied.set()

    def stop(self) -> None:
        """Stop in three stages; asked for a second time, abort."""
        if self._stopping:
            self._app.abort()
            return
        self._stopping = True
        self._process.notifier.stopping("finishing what is under way")
        self._app.stop()

    # -- reload ------------------------------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        with contextlib.suppress(RelayError):
            self.reload()

    def reload(self) -> None:
        """Read the configuration again and go on with it; with a bad one everything stays as it is.

        The plan at work finishes what is under way first; `applied` tells when the new one has taken over.

        Raises:
            ConfigProblems: the files have problems.
            ConfigError: something that they name cannot be used, or cannot change while the relay runs.

        """
        if self._stopping:
            raise ConfigError(1020, "the relay is stopping")
        self._process.notifier.reloading("reading the configuration")
        try:
            loaded = load(self._main, self._process.environ)
            _check_reloadable(self._loaded.settings, loaded.settings)
            plan = make_plan(loaded.settings, self._process)
        except Exception as error:
            self._refused(error)
            raise
        for warning in loaded.warnings:
            if warning.number != ENVIRONMENT:  # said at the start, and no reload changes it
                log.warning("config.warning", problem=str(warning))
        if self._next is not None:
            self._superseded.append(self._next)
        self._loaded, self._next = loaded, plan
        self._logs.set_level(loaded.settings.logging.level)
        self._watch.forget()
        self._applied.clear()
        self._app.stop(says_down=_row(plan.settings) != _row(self._app.plan.settings))

    def _refused(self, error: Exception) -> None:
        known = error if isinstance(error, RelayError) else InternalError(9001, type(error).__name__)
        log.error("daemon.reload_failed", code=known.code, error=str(known))
        self._process.figures.reloaded("refused")
        self._process.notifier.ready(self._status_line())

    async def applied(self) -> None:
        """Return when the last reload's plan is at work.

        Raises:
            ConfigError: BSR-1020, the relay is stopped before that.

        """
        await self._applied.wait()
        if self._next is not None or self._stopping:
            raise ConfigError(1020, "the relay is stopping")


def _check_reloadable(old: Settings, new: Settings) -> None:
    for name, before, after in (
        ("storage.directory", old.storage.directory, new.storage.directory),
        ("logging.format", old.logging.format, new.logging.format),
        ("relay.name", old.relay.name, new.relay.name),
    ):
        if before != after:
            raise ConfigError(1020, f"{name} changes only by a restart")


def _row(settings: Settings) -> tuple[bool, str, str]:
    """Which row of `ecc_agent` is kept, if any."""
    return settings.servicenow.register_agent, settings.servicenow.url, settings.relay.name


def run(main: Path, environ: Mapping[str, str]) -> None:
    """Run the daemon with this configuration until it is stopped.

    Raises:
        ConfigProblems: the configuration has problems.
        ConfigError: something that it names cannot be used.
        StorageError: BSR-5006, the state folder is in use; BSR-5005, the disk lost a write.
        InternalError: BSR-9001, a fault of the relay itself.

    """
    loaded = load(main, environ)
    settings = loaded.settings
    clock = Clock()
    redactor = Redactor()
    folders = find_folders(environ, storage=settings.storage.directory)
    with Logs(clock, redactor, environ).start(settings.logging.level, settings.logging.format) as logs:
        for warning in loaded.warnings:
            log.warning("config.warning", problem=str(warning))
        for reason in exposures():
            log.warning("daemon.exposed", reason=reason)
        conditions = Conditions(clock)
        process = Process(
            environ=environ,
            folders=folders,
            lock=StateLock(folders.state),
            secrets=KnownSecrets(environ, redactor),
            clock=clock,
            notifier=Notifier(clock),
            conditions=conditions,
            figures=Figures(clock, VERSION),
            intake=Intake(conditions),
        )
        try:
            asyncio.run(_supervise(main, process, logs, loaded))
        except (Exception, BaseExceptionGroup) as error:
            known = error if isinstance(error, RelayError) else _lost_write(error)
            failure = known or InternalError(9001, type(error).__name__)
            cause = None if known else error
            log.critical("daemon.failed", code=failure.code, error=failure.text, fix=failure.hint, exc_info=cause)
            raise failure from None  # told here, where secrets are blanked, and nowhere else


async def _supervise(main: Path, process: Process, logs: Logs, loaded: Loaded) -> None:
    logs.watch(asyncio.get_running_loop())
    await Supervisor(main, process, logs, loaded).run()


def _lost_write(error: BaseException) -> StorageError | None:
    """The error of a disk that lost a write, when that is what ended the loops."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for found in map(_lost_write, error.exceptions) if found is not None), None)
    return error if isinstance(error, StorageError) else None
