"""The flow of sessions, wired: what the configuration says of each appliance's, and the parts that import them."""

from __future__ import annotations

from dataclasses import dataclass

from relay.appliance.reports_reader import ReportReader
from relay.config.flows import SessionSettings, SessionTables, TableMapping
from relay.config.model import Settings
from relay.core.note import DEFAULT_TEMPLATE, read_template
from relay.core.session_rows import RowSettings, Table
from relay.daemon.metrics import Measured
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.daemon.recordings import keeper_of
from relay.daemon.space import Space
from relay.jobs.beats import Beats
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.ports import Store
from relay.jobs.stage import Stage
from relay.listener.ports import Inbox
from relay.servicenow.vendor import VendorEvents, forwardings
from relay.sessions.forward import Forward, Forwarders
from relay.sessions.inbox import SessionInbox, modes_of
from relay.sessions.keeper import RecordingKeeper
from relay.sessions.parts import Parts, Site
from relay.sessions.recover import recover
from relay.sessions.stages import stages
from relay.sessions.sweep import Sweep


def sites_of(settings: Settings) -> dict[str, Site]:
    """The enabled appliances, each with what the configuration says of its sessions.

    Of those that do not import, nothing is looked for; but what was taken before, or is imported by hand, goes its way.
    """
    return {
        name: _site(name, settings, settings.sessions_of(name))
        for name, appliance in settings.appliances.items()
        if appliance.enabled
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
        sweep=sessions.sweep if settings.imports(name) else 0.0,
    )


def _table(mapping: TableMapping) -> Table:
    return Table(mapping.table, dict(mapping.fields))


@dataclass(frozen=True, slots=True)
class SessionFlow:
    """The flow at work."""

    parts: Parts
    sweep: Sweep
    inbox: SessionInbox
    forward: Forward
    reader: ReportReader
    keeper: RecordingKeeper | None

    @classmethod
    def build(
        cls,
        plan: Plan,
        process: Process,
        *,
        store: Store,
        ledger: Ledger,
        holds: Holds,
        beats: Beats,
        approvals: Inbox | None,
    ) -> SessionFlow:
        """Wire it; nothing runs yet. `approvals` takes the requests for approval."""
        sites = sites_of(plan.settings)
        records = {
            name: plan.instance.sessions(
                _tables(plan.settings, name, site),
                named=isinstance(plan.settings.sessions_of(name).tables, SessionTables),
            )
            for name, site in sites.items()
        }
        space = Space(process.folders.state, process.conditions)
        reader = ReportReader(text for name in sites for text in plan.settings.sessions_of(name).nothing_found)
        keeper = keeper_of(plan.settings, plan.fleet, records, sites)
        parts = Parts(
            ledger=ledger,
            store=store,
            appliances=Measured(plan.fleet, process.figures, process.clock),
            reader=reader,
            records=records,
            holds=holds,
            conditions=process.conditions,
            clock=process.clock,
            jitter=process.jitter,
            sites=sites,
            settle=plan.settings.servicenow.settle,
            keeper=keeper,
            room=space.reports,
        )
        ways = forwardings(plan.settings, process.secrets.latest)
        forward = Forward(
            Forwarders(
                ledger=ledger,
                store=store,
                events=VendorEvents(plan.instance.vendor, ways),
                appliances=ways,
                holds=holds,
                conditions=process.conditions,
                jitter=process.jitter,
                settle=plan.settings.servicenow.settle,
            )
        )
        sweep = Sweep(parts, beats)
        modes = modes_of(plan.settings)
        inbox = SessionInbox(ledger, store, sweep.wake, approvals, modes=modes, room=space.posts)
        return cls(parts, sweep, inbox, forward, reader, keeper)

    def close(self) -> None:
        """Let its threads go."""
        self.reader.close()

    def stages(self) -> list[Stage]:
        """What the runner runs."""
        return [*stages(self.parts), *self.forward.stages()]

    async def recover(self) -> None:
        """Settle what an earlier life left; may be called again after it failed.

        Raises:
            StorageError: the store cannot be read or written.

        """
        await recover(self.parts)
        await self.forward.recover()

    def stop(self) -> None:
        """Begin nothing new, and end what may take hours."""
        self.sweep.stop()
        if self.keeper is not None:
            self.keeper.stop()


def _tables(settings: Settings, name: str, site: Site) -> tuple[Table, ...]:
    return () if settings.sessions_of(name).tables == "none" else (site.rows.session, site.rows.event)
