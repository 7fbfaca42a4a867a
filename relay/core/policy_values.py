"""The values that the policy takes and gives. The decision itself is in `relay.core.policy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relay.core.jobs import Json
from relay.core.limits import Urgency


@dataclass(frozen=True, slots=True)
class ApplianceRequest:
    """A call as the policy rebuilt it from an operation and its validated arguments.

    `path` starts with `/` and is percent-encoded; `query` and form pairs are not. Exactly the bytes made of this value
    are sent. `safe`: may be repeated after an unknown outcome. `urgency`: see `relay.core.limits`. `max_bytes` 0 means
    the appliance's own limit. `types` empty means any content type.
    """

    appliance: str
    operation: str
    method: str
    path: str = field(repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    content_type: str | None = None
    accept: str | None = None
    safe: bool = False
    urgency: Urgency = "ordinary"
    max_bytes: int = 0
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowed:
    """The policy lets the call pass. `rule` is the entry of `policy.allow` that did.

    `arguments` are canonical texts by name, defaults included. `per_minute` is the operation's own limit, 0 is none;
    `relay.core.rates` counts it. `require_signature`: the operation passes only with a valid signature. `handed_over`:
    the request is never sent, it is given to the request for approval that the arguments decide.
    """

    request: ApplianceRequest
    arguments: Mapping[str, Json] = field(repr=False)
    rule: str
    per_minute: int = 0
    require_signature: bool = False
    handed_over: bool = False

    @property
    def harmless(self) -> bool:
        """Whether it passes unsigned where only what is not safe to repeat must be signed.

        A decision may be repeated, but whoever forges one lets somebody in.
        """
        return self.request.safe and not self.handed_over


@dataclass(frozen=True, slots=True)
class TokenPlaceholder:
    """The call is a vendor script's post to `/oauth2/token`; the relay answers it itself."""

    appliance: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The policy refuses. `number` is a code of the registry, `rule` what refused, `operation` the nearest match."""

    number: int
    detail: str
    rule: str = ""
    operation: str = ""


Decision = Allowed | TokenPlaceholder | Denied
