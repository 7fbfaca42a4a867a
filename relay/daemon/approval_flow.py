"""The flow of requests for approval, wired: by which rules each appliance's are decided, and by whom."""

from __future__ import annotations

from dataclasses import dataclass

from relay.appliance.approval_responses import ApprovalResponses
from relay.approvals.inbox import ApprovalInbox
from relay.approvals.parts import Parts, Site
from relay.approvals.recover import recover
from relay.approvals.settle import Settling
from relay.approvals.stages import stages
from relay.config.approval_rules import door_of, rules_of
from relay.config.model import Settings
from relay.daemon.plan import Plan
from relay.daemon.process import Process
from relay.jobs.holds import Holds
from relay.jobs.ledger import Ledger
from relay.jobs.ports import Audit, Store
from relay.jobs.stage import Stage
from relay.servicenow.vendor import forwardings
from relay.servicenow.vendor_approvals import VendorApprovals


def sites_of(settings: Settings) -> dict[str, Site]:
    """The enabled appliances, each with what the configuration says of its requests."""
    sites = {}
    for name, appliance in settings.appliances.items():
        section = settings.approvals_of(name)
        if appliance.enabled:
            sites[name] = Site(
                mode=section.mode,
                rules=rules_of(section),
                door=door_of(settings, name),
                deadline=section.deadline,
                encoding=section.encoding,
                remember=section.remember,
            )
    return sites


@dataclass(frozen=True, slots=True)
class ApprovalFlow:
    """The flow at work. `inbox` is None where no appliance's requests are taken."""

    parts: Parts
    settling: Settling
    inbox: ApprovalInbox | None
    responses: ApprovalResponses

    @classmethod
    def build(
        cls, plan: Plan, process: Process, *, store: Store, ledger: Ledger, audit: Audit, holds: Holds
    ) -> ApprovalFlow:
        """Wire it; nothing runs yet."""
        settings = plan.settings
        sites = sites_of(settings)
        responses = ApprovalResponses.open(settings, plan.fleet.by_name)
        forwarder = VendorApprovals(plan.instance.vendor, forwardings(settings, process.secrets.latest))
        parts = Parts(
            ledger=ledger,
            store=store,
            audit=audit,
            holds=holds,
            conditions=process.conditions,
            clock=process.clock,
            jitter=process.jitter,
            sites=sites,
            lookups={
                name: plan.instance.tickets(site.rules, settings.servicenow.user_fields) for name, site in sites.items()
            },
            responder=responses,
            forwarders={name: forwarder for name, site in sites.items() if site.mode == "forward"},
            life=process.life,
        )
        taken = any(settings.approvals_of(name).mode != "off" for name in settings.appliances)
        return cls(parts, Settling(parts), ApprovalInbox(parts) if taken else None, responses)

    def stages(self) -> list[Stage]:
        """What the runner runs."""
        return stages(self.parts)

    async def recover(self) -> None:
        """Settle what an earlier life left; may be called again after it failed.

        Raises:
            StorageError: the store or the audit log cannot be read or written.

        """
        await recover(self.parts)

    async def aclose(self) -> None:
        """End what is under way."""
        await self.responses.aclose()
