"""The stages of a session's import, in order, as the runner takes them."""

from __future__ import annotations

from relay.core.jobs import Job
from relay.core.session_job import ASKING, FETCHED, NOTED, NOTICED, NOTING, WRITTEN
from relay.jobs.stage import Stage
from relay.sessions.fetch import Fetch
from relay.sessions.keep import Keep
from relay.sessions.note import Abandoned, Ask, Note
from relay.sessions.parts import KIND, Parts
from relay.sessions.write import Write

AT_ONCE = 100
WRITERS = 4
"""Sessions of an appliance that are written at a time: most of it is waiting for ServiceNow."""
LONGEST = 86_400.0
"""Seconds that one recording may take here: the keeper ends it before, and one that stalls much earlier."""


def stages(parts: Parts) -> list[Stage]:
    """All stages. One report at a time is fetched of each appliance, so that nobody waits for imports."""

    def ours(job: Job) -> bool:
        return job.lane in parts.sites  # an appliance may have left the configuration

    return [
        *(
            Stage(f"sessions {name}", KIND, (NOTICED,), one, lane=name, open=one.open)
            for name, one in ((name, Fetch(parts)) for name in parts.sites)
        ),
        *(
            Stage(f"session rows {name}", KIND, (FETCHED,), one, lane=name, open=one.open, workers=WRITERS)
            for name, one in ((name, Write(parts)) for name in parts.sites)
        ),
        *(
            Stage(f"notes {name}", KIND, (WRITTEN,), Note(parts), lane=name, open=parts.open, workers=WRITERS)
            for name in parts.sites
        ),
        Stage("notes abandoned", KIND, (NOTING,), Abandoned(parts), size=lambda: AT_ONCE),
        Stage("notes unknown", KIND, (ASKING,), Ask(parts), accepts=ours, open=parts.open),
        *(
            Stage(f"recordings {name}", KIND, (NOTED,), Keep(parts), lane=name, open=parts.open, longest=LONGEST)
            for name in parts.sites
        ),
    ]
