"""What an event of an appliance says: which session, and whether it is to be imported now.

Names differ by product and release (`support_conference_end`, `access_session_end`), so that their ends are compared.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from relay.core.canonical import canonical

LONGEST_LSID: Final = 255
_OTHER: Final = re.compile(r"[^a-z0-9]+")
_SURVEY: Final = re.compile(r"(?:.*_)?(rep|representative|cust|customer)_exit_survey(?:_completed)?")
_END: Final = re.compile(r"(?:.*_)?(?:session|conference)_end(?:ed)?")


def job_of(appliance: str, lsid: str) -> str:
    """The id of the job that imports a session. An lsid is the same in any case."""
    return hashlib.sha256(canonical(["session", appliance, lsid.lower()])).hexdigest()


def is_end(fields: Mapping[str, str]) -> bool:
    """Whether the event says that a session ended; one without a name was sent to say so."""
    name = _OTHER.sub("_", fields.get("event", "").lower()).strip("_")
    return not name or _END.fullmatch(name) is not None


def survey_of(fields: Mapping[str, str]) -> str:
    """Whose exit survey the event says was filled in: customer or representative; "" where it says no such thing."""
    found = _SURVEY.fullmatch(_OTHER.sub("_", fields.get("event", "").lower()).strip("_"))
    return "" if found is None else "representative" if found[1].startswith("rep") else "customer"


def lsid_of(fields: Mapping[str, str]) -> str:
    """The session's id; "" when the event has none that can be one."""
    lsid = fields.get("lsid", "").strip()
    return lsid if len(lsid) <= LONGEST_LSID and lsid.isprintable() else ""
