"""From the settings to the policy that the core decides with."""

from __future__ import annotations

from relay.config.model import ApplianceSettings, Settings
from relay.core.definitions import assemble
from relay.core.policy import ApplianceFacts, Policy
from relay.core.urls import read_authority


def policy_of(settings: Settings) -> Policy:
    """The policy of a configuration whose operations were found to be well defined."""
    operations, _ = assemble(settings.policy.specs(), set(settings.appliances))
    facts = tuple(_facts(name, one) for name, one in settings.appliances.items())
    return Policy(facts, operations, settings.policy.allow)


def _facts(name: str, appliance: ApplianceSettings) -> ApplianceFacts:
    main = read_authority(appliance.url.removeprefix("https://"))
    # Another name of the appliance answers on the same port, unless it says otherwise.
    others = (read_authority(other, main[1]) for other in appliance.also_known_as)
    return ApplianceFacts(name, appliance.product, appliance.enabled, frozenset((main, *others)))
