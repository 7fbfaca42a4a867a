"""From the settings to the policy that the core decides with."""

from __future__ import annotations

from relay.config.model import Settings
from relay.core.definitions import assemble
from relay.core.policy import ApplianceFacts, Policy


def policy_of(settings: Settings) -> Policy:
    """The policy of a configuration whose operations were found to be well defined."""
    operations, _ = assemble(settings.policy.specs(), set(settings.appliances))
    facts = tuple(
        ApplianceFacts(name, one.product, one.enabled, one.origins, settings.approvals_of(name).response_path)
        for name, one in settings.appliances.items()
    )
    return Policy(facts, operations, settings.policy.allow)
