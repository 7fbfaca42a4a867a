"""The tables that the stand-in knows from the start: columns, references, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SYSTEM = ("sys_id", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_tags")


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `references` map a column to the table it points into, `lengths` to its most characters.

    `roles`: a user needs one of them to read or write; empty means everybody may. `defaults` fill a new row. `indexed`
    columns are found without a look at every row; never of a table that others extend. `prefix` begins the number that
    a new row is given. `journals` are columns that hold nothing: what is written to them becomes a journal entry.
    """

    name: str
    columns: frozenset[str]
    references: Mapping[str, str] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    extends: str | None = None
    display: str = "name"
    indexed: tuple[str, ...] = ()
    prefix: str = ""
    journals: frozenset[str] = frozenset()


def table(name: str, columns: str, **options: object) -> Table:
    """A table with the system's columns and these further ones, separated by spaces."""
    return Table(name, frozenset((*SYSTEM, *columns.split())), **options)  # type: ignore[arg-type]


_TASK = (
    "number short_description description state approval active priority impact urgency assigned_to assignment_group "
    "opened_by opened_at cmdb_ci work_notes comments close_notes sys_class_name sys_domain sys_domain_path"
)
_TASK_REFERENCES = {"assigned_to": "sys_user", "opened_by": "sys_user", "cmdb_ci": "cmdb_ci", "sys_domain": "domain"}
_TASK_JOURNALS = frozenset({"work_notes", "comments"})
_NUMBERS = {
    "incident": "INC",
    "change_request": "CHG",
    "problem": "PRB",
    "sc_request": "REQ",
    "sc_req_item": "RITM",
    "sc_task": "SCTASK",
    "new_call": "CALL",
}
_OF_ONE_TABLE = {
    "incident": " caller_id severity category",
    "change_request": " start_date end_date type risk",
    "problem": " known_error",
}
"""Columns that `task` does not have: a query of it does not show them."""
_MID = frozenset({"mid_server", "admin"})

SESSION, EVENT = "x_bsr_relay_session", "x_bsr_relay_session_event"
SESSION_TABLES = (
    table(
        SESSION,
        "key lsid appliance session_type sequence start_time end_time duration external_key jump_group jumpoint "
        "endpoint_name endpoint_public_ip endpoint_private_ip endpoint_hostname endpoint_os primary_representative "
        "representatives file_transfer_count file_move_count file_delete_count chat_view_url chat_download_url "
        "recording_view_url recording_download_url command_shell_recordings custom_attributes chat_transcript "
        "system_information surveys details task cmdb_ci user",
        references={"task": "task", "cmdb_ci": "cmdb_ci", "user": "sys_user"},
        display="lsid",
        indexed=("key", "lsid"),
    ),
    table(
        EVENT,
        "key session lsid appliance sequence event_type event_time performed_by destination body filename filesize "
        "data details",
        references={"session": SESSION},
        display="event_type",
        indexed=("key", "session", "lsid"),
    ),
)
"""The tables of the relay's own application: an instance may lack them, or have others that are mapped."""

VENDOR_EVENT, VENDOR_APPROVAL = "x_bmgr_bomgar_pam_outbound_event", "x_bmgr_bomgar_pam_endpoint_approval"
VENDOR_TABLES = (
    table(VENDOR_EVENT, "path event lsid fields token", display="event", indexed=("lsid",)),
    table(VENDOR_APPROVAL, "path request_id ticket_id response_url fields token", display="ticket_id"),
)
"""What came in at the endpoints of the vendor's application; its real tables are not public."""

TABLES = {
    row.name: row
    for row in (
        table(
            "ecc_queue",
            "agent topic name source queue state payload sequence priority agent_correlator response_to from_sys_id "
            "from_host error_string processed signature sys_domain sys_domain_path",
            references={"response_to": "ecc_queue", "sys_domain": "domain"},
            lengths={"agent": 100, "topic": 100, "name": 120, "source": 255, "agent_correlator": 255},
            defaults={
                "queue": "output",
                "state": "ready",
                "priority": "2",
                "sys_domain": "global",
                "sys_domain_path": "/",
            },
            roles=_MID,
            indexed=("response_to",),
        ),
        table(
            "ecc_agent",
            "name status validated last_refreshed host_name ip_address version started stopped user_name router "
            "home_dir sys_domain",
            references={"sys_domain": "domain"},
            defaults={"status": "Down", "validated": "false", "sys_domain": "global"},
            roles=_MID,
        ),
        table(
            "ecc_agent_issue",
            "mid_server source message last_detected count state",
            references={"mid_server": "ecc_agent"},
        ),
        table("task", _TASK, references=_TASK_REFERENCES, display="number", prefix="TASK", journals=_TASK_JOURNALS),
        *(
            table(
                name,
                _TASK + _OF_ONE_TABLE.get(name, ""),
                references=_TASK_REFERENCES,
                extends="task",
                display="number",
                prefix=prefix,
                journals=_TASK_JOURNALS,
            )
            for name, prefix in _NUMBERS.items()
        ),
        table(
            "sys_user",
            "user_name name first_name last_name email active locked_out roles x_bmgr_bomgar_pam_username sys_domain",
            references={"sys_domain": "domain"},
        ),
        table(
            "cmdb_ci",
            "name fqdn ip_address mac_address host_name serial_number asset_tag os operational_status comments "
            "sys_class_name",
        ),
        table("sys_journal_field", "name element element_id value", display="element", indexed=("element_id",)),
        table(
            "sys_attachment",
            "file_name content_type size_bytes size_compressed table_name table_sys_id hash state compressed",
            display="file_name",
            indexed=("table_sys_id", "hash"),
        ),
        table("sys_properties", "name value"),
        table("sys_user_role", "name description"),
        table("sys_user_has_role", "user role state", references={"user": "sys_user", "role": "sys_user_role"}),
        table("domain", "name"),
        *SESSION_TABLES,
        *VENDOR_TABLES,
    )
}
