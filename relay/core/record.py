"""Records of ServiceNow's ECC queue, and the work they ask for, as values.

Everything here is untrusted: whoever can write a queue row wrote it. What may hold a body or a password is left out of
`repr`, so that no message that shows a value shows that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from relay.core.jobs import Json

RECORD_FIELDS = (
    "sys_id",
    "agent",
    "topic",
    "name",
    "source",
    "queue",
    "state",
    "payload",
    "sequence",
    "priority",
    "agent_correlator",
    "response_to",
    "from_sys_id",
    "from_host",
    "error_string",
    "processed",
    "signature",
    "sys_domain",
    "sys_created_on",
    "sys_created_by",
    "sys_updated_on",
    "sys_updated_by",
    "sys_mod_count",
)
"""The columns of `ecc_queue` that the relay reads."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of `ecc_queue`: every column of `RECORD_FIELDS` that the instance returned, as text."""

    fields: Mapping[str, str] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        return self.fields.get(name, "")

    @property
    def sys_id(self) -> str:
        """32 hexadecimal digits."""
        return self["sys_id"]

    @property
    def payload(self) -> str:
        """The XML text, possibly empty, possibly `<see_attachment/>`."""
        return self["payload"]

    @property
    def priority(self) -> int:
        """0 interactive, 1 expedited, 2 standard; what is none of these is 2."""
        return int(self["priority"]) if self["priority"] in {"0", "1", "2"} else 2


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A RESTProbe's or SOAPProbe's call as the record describes it, taken over as text and not yet judged.

    `query` are the pairs of `message_parameters`, values still percent-encoded as ServiceNow wrote them.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: str = field(default="", repr=False)
    soap_action: str | None = None


@dataclass(frozen=True, slots=True)
class TypedCall:
    """A BSeriesProbe's call. Arguments are text, or JSON values when they came as a JSON object in `content`."""

    operation: str
    arguments: Mapping[str, Json] = field(default_factory=dict, repr=False)
    appliance: str | None = None
    format: Literal["json", "xml"] = "json"


@dataclass(frozen=True, slots=True)
class SystemCommand:
    """A command for the agent itself (`pauseMid`, ...)."""

    command: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """ServiceNow asks whether the agent lives."""


Work = HttpCall | TypedCall | SystemCommand | Heartbeat


@dataclass(frozen=True, slots=True)
class Reply:
    """An appliance's HTTP answer, bounded and decoded. `headers` in order, names as they came."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """No HTTP answer: `text` is `BSR-nnnn: ...` as the answer's error will say."""

    text: str


Outcome = Reply | Failure
"""What an answer to ServiceNow is made of."""
