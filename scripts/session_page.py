"""What docs/sessions.md tells of columns and of the work note's values: made from the code that writes them.

A column that this file does not describe ends the making of the page.
"""  # noqa: INP001  # a script, no package

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relay.core.note import DEFAULT_TEMPLATE
from relay.core.note_values import LISTS, SINGLE
from relay.core.session_rows import EVENT_COLUMNS, LINKS, SESSION_COLUMNS

_KEY = "String, 64"
_TEXT = "String, 255"
_LINK = "URL, 1024"
_LONG = "String, 65000"
_NUMBER = "Integer"
_TIME = "Date/Time"
SESSION: Mapping[str, tuple[str, str]] = {
    "key": (_KEY, "made of appliance and lsid; by it a row is found again, so it needs an index"),
    "lsid": (_TEXT, "the session's id"),
    "appliance": (_KEY, "the appliance's name in the configuration"),
    "session_type": (_TEXT, "as the appliance calls it"),
    "sequence": (_TEXT, "the session's number (`lseq`)"),
    "start_time": (_TIME, "when it began, in UTC"),
    "end_time": (_TIME, "when it ended"),
    "duration": (_NUMBER, "in seconds"),
    "external_key": ("String, 1024", "as it was set or typed"),
    "jump_group": (_TEXT, "its name"),
    "jumpoint": (_TEXT, "its name"),
    "endpoint_name": (_TEXT, "of the endpoint or primary customer"),
    "endpoint_public_ip": ("String, 64", "IPv4 or IPv6, without port; empty where it is unknown"),
    "endpoint_private_ip": ("String, 64", "likewise"),
    "endpoint_hostname": (_TEXT, "the endpoint's host name"),
    "endpoint_os": (_TEXT, "its operating system"),
    "primary_representative": (_TEXT, "the primary user: display name (user name)"),
    "representatives": ("String, 4000", "every user, one a line"),
    "file_transfer_count": (_NUMBER, "how many files were transferred"),
    "file_move_count": (_NUMBER, "how many were moved"),
    "file_delete_count": (_NUMBER, "how many were deleted"),
    "chat_view_url": (_LINK, "link to the chat"),
    "chat_download_url": (_LINK, "likewise, as a file"),
    "recording_view_url": (_LINK, "link to the screen recording"),
    "recording_download_url": (_LINK, "likewise, as a file"),
    "command_shell_recordings": ("String, 4000", "link to each recording of a command shell, one a line"),
    "custom_attributes": ("String, 12000", "code name and value, one a line"),
    "chat_transcript": (_LONG, "time, name and text of each chat message"),
    "system_information": (_LONG, "the endpoint's, category by category"),
    "surveys": (_LONG, "exit surveys: who, questions, answers"),
    "details": (_LONG, "JSON: everything that the report holds and no column has whole"),
    "task": ("Reference: task", "see [Links](#links)"),
    "cmdb_ci": ("Reference: cmdb_ci", "likewise"),
    "user": ("Reference: sys_user", "likewise"),
}
EVENT: Mapping[str, tuple[str, str]] = {
    "key": (_KEY, "made of the session and of what happened; needs an index"),
    "session": ("Reference: the table of sessions", "the session's row"),
    "lsid": (_TEXT, "the session's id"),
    "appliance": (_KEY, "the appliance's name in the configuration"),
    "sequence": (_NUMBER, "its place in the report, from 1; exit surveys come last"),
    "event_type": (_TEXT, "`File Upload`, `Customer Exit Survey`, ..."),
    "event_time": (_TIME, "in UTC"),
    "performed_by": (_TEXT, "who did it"),
    "destination": (_TEXT, "to whom it was done"),
    "body": (_LONG, "what was said or noted; of a survey a line for each question"),
    "filename": ("String, 4000", "names of files, one a line"),
    "filesize": ("String, 4000", "their sizes in bytes"),
    "data": (_LONG, "JSON: a list of names and values"),
    "details": (_LONG, "JSON: everything else"),
}


def session_columns() -> str:
    """The columns of a session's row."""
    return _columns((*SESSION_COLUMNS, *LINKS), SESSION)


def event_columns() -> str:
    """The columns of an event's row."""
    return _columns(EVENT_COLUMNS, EVENT)


def note_values() -> str:
    """What a template may name."""
    lines = ["| value | is |", "|---|---|"]
    lines += [f"| `{{{name}}}` | {meaning} |" for name, meaning in SINGLE.items()]
    lines += [f"| `{{{name}}}` (list) | {meaning} |" for name, meaning in LISTS.items()]
    return "\n".join(lines)


def note_template() -> str:
    """The built-in template as a configuration would have it."""
    body = "".join(f"    {line}\n" for line in DEFAULT_TEMPLATE.splitlines())
    return f"```yaml\nsessions:\n  note: |\n{body}```"


def _columns(names: Sequence[str], told: Mapping[str, tuple[str, str]]) -> str:
    if set(names) != set(told):
        raise SystemExit(f"scripts/session_page.py: columns that differ: {sorted(set(names) ^ set(told))}")
    lines = ["| column | type | holds |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {told[name][0]} | {told[name][1]} |" for name in names)])
