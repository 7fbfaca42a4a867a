"""The tables that the stand-in knows from the start: columns, references, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SYSTEM = ("sys_id", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_tags")


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `references` map a column to the table it points into, `lengths` to its most characters.

    `roles`: a user needs one of them to read or write; empty means everybody may. `defaults` fill a new row.
    """

    name: str
    columns: frozenset[str]
    references: Mapping[str, str] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    extends: str | None = None
    display: str = "name"


def table(name: str, columns: str, **options: object) -> Table:
    """A table with the system's columns and these further ones, separated by spaces."""
    return Table(name, frozenset((*SYSTEM, *columns.split())), **options)  # type: ignore[arg-type]


_TASK = (
    "number short_description description state approval active priority impact urgency assigned_to assignment_group "
    "opened_by opened_at cmdb_ci work_notes comments close_notes sys_class_name sys_domain sys_domain_path"
)
_TASK_REFERENCES = {"assigned_to": "sys_user", "opened_by": "sys_user", "cmdb_ci": "cmdb_ci", "sys_domain": "domain"}
_MID = frozenset({"mid_server", "admin"})

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
        table("task", _TASK, references=_TASK_REFERENCES, display="number"),
        *(
            table(name, _TASK, references=_TASK_REFERENCES, extends="task", display="number")
            for name in ("incident", "change_request", "problem", "sc_request", "sc_task")
        ),
        table(
            "sys_user",
            "user_name name first_name last_name email active roles sys_domain",
            references={"sys_domain": "domain"},
        ),
        table("cmdb_ci", "name fqdn ip_address host_name sys_class_name"),
        table("sys_journal_field", "name element element_id value", display="element"),
        table(
            "sys_attachment",
            "file_name content_type size_bytes size_compressed table_name table_sys_id hash state compressed",
            display="file_name",
        ),
        table("sys_properties", "name value"),
        table("sys_user_has_role", "user role", references={"user": "sys_user"}),
        table("domain", "name"),
    )
}
