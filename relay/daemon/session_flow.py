"""The flow of sessions, wired: what the configuration says of each appliance's, and the parts that import them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from relay.appliance.reports_reader import ReportReader
from relay.config.flows import SessionSettings, SessionTables, TableMapping
from relay.config.model import Settings
from relay.core.errors import StorageError
from relay.core.note import DEFAULT_TEMPLATE, read_template
from relay.core.session_rows import RowSettings, Table
from relay.daemon.metrics import Measured
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.jobs.beats import Beats
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.ports import Store
from relay.jobs.runner import UNWRITABLE
from relay.jobs.stage import Stage
from relay.sessions.inbox import SessionInbox
from relay.sessions.parts import Parts, Site
from relay.sessions.recover import recover
from relay.sessions.stages import stages
from relay.sessions.sweep import Sweep

AGAIN = 5.0
"""Seconds until the start is tried again after trouble of the store."""


def sites_of(settings: Settings) -> dict[str, Site]:
    """The appliances whose sessions are imported, each with what the configuration says of them.

    Nothing is imported that nobody asked for: without a listener the section `sessions` must be written.
    """
    return {
        name: _site(name, settings, settings.sessions_of(name))
        for name, appliance in settings.appliances.items()
        if appliance.enabled and settings.imports(name)
    }


def _site(name: str, settings: Settings, sessions: SessionSettings) -> Site:
    tables = sessions.tables if isinstance(sessions.tables, SessionTables) else SessionTables()
    return Site(
        product=settings.appliances[name].product,
        rows=RowSettings(
            appliance=name,
            session=_table(tables.session),
            event=_table(tables.event),
            events=None if sessions.events == "all" else frozenset(sessions.events),
            associate_user=sessions.associate_user,
            associate_ci=sessions.associate_ci,
            user_fields=settings.servicenow.user_fields,
        ),
        template=read_template(sessions.note or DEFAULT_TEMPLATE),
        import_external=sessions.import_external,
        recordings=sessions.recordings,
        sweep=sessions.sweep,
    )


def _table(mapping: TableMapping) -> Table:
    return Table(mapping.table, dict(mapping.fields))


@dataclass(frozen=True, slots=True)
class SessionFlow:
    """The flow at work."""

    parts: Parts
    sweep: Sweep
    inbox: SessionInbox
    reader: ReportReader

    @classmethod
    def build(
        cls, plan: Plan, process: Process, *, store: Store, ledger: Ledger, holds: Holds, beats: Beats
    ) -> SessionFlow:
        """Wire it; nothing runs yet."""
        sites = sites_of(plan.settings)
        reader = ReportReader(text for name in sites for text in plan.settings.sessions_of(name).nothing_found)
        parts = Parts(
            ledger=ledger,
            store=store,
            appliances=Measured(plan.fleet, process.figures, process.clock),
            reader=reader,
            records={name: plan.instance.sessions(_tables(plan.settings, name, site)) for name, site in sites.items()},
            holds=holds,
            conditions=process.conditions,
            clock=process.clock,
            jitter=process.jitter,
            sites=sites,
            settle=plan.settings.servicenow.settle,
        )
        sweep = Sweep(parts, beats)
        return cls(parts, sweep, SessionInbox(ledger, store, sweep.wake), reader)

    def close(self) -> None:
        """Let its threads go."""
        self.reader.close()

    def stages(self) -> list[Stage]:
        """What the runner runs."""
        return stages(self.parts)

    async def start(self, stopped: asyncio.Event) -> None:
        """Settle what an earlier life left, however long the store fails; ends early once `stopped`."""
        while not stopped.is_set():
            try:
                await recover(self.parts)
            except StorageError as error:
                if error.number == UNWRITABLE:
                    raise
                self.parts.conditions.fail("store", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopped.wait(), AGAIN)
            else:
                return


def _tables(settings: Settings, name: str, site: Site) -> tuple[Table, ...]:
    return () if settings.sessions_of(name).tables == "none" else (site.rows.session, site.rows.event)
