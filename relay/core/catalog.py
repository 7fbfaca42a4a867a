"""The built-in catalog: every operation that the relay knows by itself, as literal tables.

Names follow one scheme: a command's name is the vendor's action without its verb (`generate_session_key` is
`session-key`), a report is `report-` and the vendor's report type (`report-access-session`), a resource of the
Configuration API ends in `-list` or `-get`. The vendor's own name is an alias everywhere.

Why an operation may stand in two groups: `read-only` is for sites that only look, `session-integration` for the
vendor's application, and both need health checks and lists of sessions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from relay.core.approval_fields import RESPONSE_PATH
from relay.core.arguments import Argument
from relay.core.catalog_commands import ATTRIBUTES, COMMANDS
from relay.core.catalog_configuration import CONFIGURATION
from relay.core.catalog_reports import REPORTS
from relay.core.operations import Operation

LIVENESS: Final = Operation(
    name="liveness",
    description="Whether the appliance lives: HTTP 200 good, 500 bad; needs no rights",
    groups=("read-only", "session-integration"),
    methods=("GET",),
    path="/check_health",
    safe=True,
    builtin=True,
)

APPROVAL_RESPONSE: Final = Operation(
    name="approval-response",
    description="The decision on a request for approval that the relay forwarded and that is still open; the relay "
    "sends it where the appliance waits for it, once",
    groups=("session-integration",),
    methods=("POST",),
    path=RESPONSE_PATH,
    arguments=(
        Argument(
            "response_id",
            place="form",
            required=True,
            patterns=("[!-~]{1,255}",),
            description="the request_id of the request",
        ),
        Argument(
            "response", type="enum", place="form", values=("allow", "deny"), required=True, description="decision"
        ),
        Argument("message", place="form", max_length=1024, description="shown to the person"),
        replace(ATTRIBUTES, place="form"),
    ),
    safe=True,  # the same record again decides nothing anew, and another record finds the request closed
    handed_over=True,
    builtin=True,
)

CATALOG: Final[tuple[Operation, ...]] = (*COMMANDS, *REPORTS, LIVENESS, APPROVAL_RESPONSE, *CONFIGURATION)
"""Every built-in operation."""
