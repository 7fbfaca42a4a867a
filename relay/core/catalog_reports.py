"""The Reporting API (`/api/reporting`, reports by GET or POST form), as the vendor's programmer's guides document it.

Times are UNIX seconds in UTC; `duration` counts days beside a date and seconds beside a time, 0 means until now.
"""

from __future__ import annotations

import re
from typing import Final

from relay.core.arguments import Argument
from relay.core.operations import BOTH, Operation, Product

PRA: Final[frozenset[Product]] = frozenset({"pra"})
RS: Final[frozenset[Product]] = frozenset({"rs"})

_LAST_SECOND: Final = 253_402_300_799  # the year 9999 ends
_TEN_YEARS: Final = 315_576_000  # seconds; as days it is without meaning but harmless


def _time(name: str, description: str) -> Argument:
    return Argument(name, type="integer", minimum=0, maximum=_LAST_SECOND, description=description)


_WINDOW = (
    Argument("start_date", type="date", description="began on this day or later, open sessions included"),
    _time("start_time", "began at this UNIX second or later, open sessions included"),
    Argument("end_date", type="date", description="closed and ended on this day or later"),
    _time("end_time", "closed and ended at this UNIX second or later"),
    Argument("duration", type="integer", minimum=0, maximum=_TEN_YEARS, description="days or seconds; 0 is until now"),
)
_LSID = Argument("lsid", type="id", description="one session")
_LSIDS = Argument("lsids", type="list", of="id", max_items=100, description="several sessions")
_ONE = Argument("lsid", type="id", required=True, description="the session")
_KIND = Argument("report_type", type="enum", values=("rep", "team", "site", "user"), description="what is summed up by")
_LIMIT = Argument("limit", patterns=("[a-z_]{1,40}",), description="category to filter by")
_SHELL = Argument("recording_id", patterns=("[A-Za-z0-9_-]{1,64}",), description="one recording of the session")

_SESSION = (*_WINDOW, _LSID, _LSIDS)
_LOOK = ("read-only", "session-integration")


def _report(
    vendor: str, description: str, groups: tuple[str, ...], products: frozenset[Product], *arguments: Argument
) -> Operation:
    return Operation(
        name="report-" + re.sub(r"(?<!^)(?=[A-Z])", "-", vendor).lower(),
        description=description,
        groups=groups,
        methods=("GET", "POST"),
        path="/api/reporting",
        fixed=(("generate_report", vendor),),
        either=True,
        arguments=arguments,
        safe=True,
        products=products,
        aliases=(vendor,),
        builtin=True,
    )


_INTEGRATION = ("session-integration",)
_RECORDINGS = ("recordings",)
_REST = ("full-command",)

REPORTS: Final[tuple[Operation, ...]] = (
    _report("AccessSession", "Sessions with all their events", _INTEGRATION, PRA, *_SESSION),
    _report("AccessSessionListing", "Ids of sessions", _LOOK, PRA, *_SESSION),
    _report("AccessSessionSummary", "Numbers of sessions", _LOOK, PRA, *_WINDOW, _KIND),
    _report("AccessSessionRecording", "A session's recording", _RECORDINGS, PRA, _ONE),
    _report("SupportSession", "Sessions with all their events", _INTEGRATION, RS, *_SESSION, _LIMIT),
    _report("SupportSessionListing", "Ids of sessions", _LOOK, RS, *_SESSION, _LIMIT),
    _report("SupportSessionSummary", "Numbers of sessions", _LOOK, RS, *_WINDOW, _KIND, _LIMIT),
    _report("SupportSessionRecording", "A session's recording", _RECORDINGS, RS, _ONE),
    _report("CommandShellRecording", "Recordings of command shells", _RECORDINGS, BOTH, _ONE, _SHELL),
    _report("SupportCustExitSurvey", "What customers answered", _INTEGRATION, RS, *_SESSION, _KIND),
    _report("SupportRepExitSurvey", "What representatives answered", _INTEGRATION, RS, *_SESSION, _KIND),
    # What a team wrote to one another is a transcript.
    _report("Team", "Activity of teams, their chats included", _RECORDINGS, PRA, *_WINDOW),
    _report("SupportTeam", "Activity of teams, their chats included", _RECORDINGS, RS, *_WINDOW),
    _report("JumpItem", "Changes of Jump Items", _REST, BOTH, *_WINDOW),
    _report("VaultAccountActivity", "Activity of vault accounts", _REST, BOTH, *_WINDOW),
    _report("LicenseUsage", "Use of licences (ZIP)", _REST, RS, *_WINDOW),
    _report("EndpointLicenseUsage", "Use of endpoint licences", _REST, PRA, *_WINDOW),
)
