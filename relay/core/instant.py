"""ServiceNow's date-times: `YYYY-MM-DD HH:MM:SS` in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FORM = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)


def epoch(text: str) -> float | None:
    """Seconds since the epoch, None when the text is no such date-time."""
    if _FORM.fullmatch(text) is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def written(seconds: float) -> str:
    """The date-time of a moment between the years 1970 and 9999."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
