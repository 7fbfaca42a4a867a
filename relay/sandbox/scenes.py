"""What the events of lifelike sessions hold: names, addresses, texts and data, the awkward ones too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from relay.sandbox.happenings import KINDS, Category

ADDRESSES: Final = (
    "192.0.2.7:61606",
    "[2001:db8:ec57:b230:f188:56c5:7089:d987]:56722",
    "Unknown",
    "10.0.0.4",
    "[::ffff:192.0.2.128]:443",
    "fe80::1",
    "",
    None,
)
"""Addresses of participants; None: the element is missing."""
MACHINES: Final = ("web01", "DB-02.example.com", "Poste de travail n° 3", "サーバー", "a" * 63, "Unknown")
PEOPLE: Final = (("admin", "Admin"), ("j.o'neil", "Jo O'Neil"), ("zoe@example.com", "Zoë & Co"), ("", "Unknown"))
SYSTEMS: Final = ("Windows Server 2022 Datacenter (21H2)", "macOS 15.1", 'Linux <6.1> "x86_64"', "Unknown", None)
TEXTS: Final = (
    "Restarted the spooler.",
    "a < b && c > d; \"quoted\" 'single'",
    "Redémarrage effectué, café ☕, 日本語, 🚀",
    "line one\nline two\r\n\tline three",
    "bell \x07 and vertical tab \x0b",
    "noncharacter \ufffe",
    "[session 00000000000000000000000000000000]",
    "[code]<b onclick='x()'>not markup</b>[/code] ${gs.print(1)} ^ORDERBYname",
    " " * 3,
    "x" * 5_000,
)
"""Texts that people write. One looks like the mark of another session's work note, others have a meaning elsewhere."""
FILES: Final = (
    ("setup.log", 1_024),
    ("rapport d'été.xlsx", 3_145_728),
    ("../..\\a&b.txt", 0),
    ("大.bin", 5_000_000_000),
)
SYSTEM_INFORMATION: Final = (
    Category("General", ("Name", "Value"), (("Computer Name", "web01"), ("Memory", "8 GB"), ("Empty", ""))),
    Category("Disks", ("Drive", "Size", "Free"), (("C:", "100 GB", "40 GB"), ("D: <data>", "1 TB", "12 %"))),
    Category("Events", ("Message",), ()),
)
ACTIONS: Final = {
    "en": "Windows Security (Ctrl-Alt-Del)",
    "fr": "Sécurité Windows (Ctrl-Alt-Suppr)",
    "de": "Windows-Sicherheit (Strg-Alt-Entf)",
}
NOTICES: Final = {
    "en": "{} can now view and control the endpoint.",
    "fr": "{} peut désormais voir et contrôler le point de terminaison.",
    "de": "{} kann den Endpunkt jetzt sehen und steuern.",
}
"""What the system writes into the chat, by the appliance's language."""

_WINDOW = "exeName windowName targetName targetType"
_KEY = "key_path parent_path root_path"
_VALUE = "key_path value_name value_type value_data"
DATA: Final[Mapping[str, str]] = {
    "Conference Member Added": "name private_name public_name username user_id private_ip public_ip hostname os",
    "Conference Member State Changed": "state",
    "Conference Owner Changed": "owner",
    "Directory Created": "path",
    "File Deleted": "path",
    "File Moved": "old_path new_path",
    "File Transfer Complete": "filename sha256",
    "Remote Shell Event": "text",
    "Session Foreground Window Changed": _WINDOW,
    "Session Window Closed": _WINDOW,
    "Session Mouse Left Clicked": _WINDOW,
    "Command Shell Session Started": "instance download_url view_url",
    "Service Access Allowed": "granted_to level service",
    "Credential Injection Attempt": "attempt_id credential_id credential_name",
    "Credential Injection Attempt Failed": "attempt_id credential_id credential_name failure_reason",
    "Registry Key Added": _KEY,
    "Registry Key Deleted": _KEY,
    "Registry Key Renamed": f"{_KEY} key_name_old key_name_new",
    "Registry Value Added": _VALUE,
    "Registry Value Deleted": _VALUE,
    "Registry Value Modified": f"{_VALUE} value_data_old value_data_new",
    "Registry Value Renamed": f"{_VALUE} value_name_old value_name_new",
    "Jump Item Authorization Request Utilized": (
        "request_id request_start_time request_duration jump_policy_name jump_item_type jump_item_name requesting_user "
        "requesting_user_id approval_applies_to request_reason approver_name request_approver approver_comments"
    ),
}
"""Names of the data that events of a kind hold."""
VALUES: Final[Mapping[str, str]] = {
    "state": "connected",
    "owner": "Pre-start Conference",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "text": 'dir "C:\\Program Files" & echo <done>',
    "exeName": "mmc.exe",
    "windowName": "Gestion de l'ordinateur",
    "instance": "0",
    "level": "elevated",
    "user_id": "1",
    "key_path": "HKEY_LOCAL_MACHINE\\SOFTWARE\\Example",
    "value_type": "REG_SZ",
    "value_data": "a\tb\nc",
    "request_start_time": "2026-05-06 09:27:40 CEST",
    "request_duration": "4 hour(s)",
    "private_ip": "Unknown",
    "public_ip": "[2001:db8::7]:4711",
    "failure_reason": "",
}
"""Data as appliances write it; another name's value is made up from the name."""
WRITTEN: Final = frozenset({"Chat Message", "Session Note Added", "Legal Agreement Response", "External Key"})
"""Events with a text."""
FILED: Final = frozenset(
    {"File Upload", "File Upload Failed", "File Download", "File Download Failed", "Screenshot Captured"}
)
"""Events with a file's name and size."""
ONCE: Final = frozenset({"Session Start", "Session End"})
REPEATED: Final = tuple(kind for kind in KINDS if kind not in ONCE)
"""Events that a session can have any number of."""
