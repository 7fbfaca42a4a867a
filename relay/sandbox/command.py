"""The Command API of the appliance stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable

from relay.sandbox import xml
from relay.sandbox.accounts import Account
from relay.sandbox.device import Device
from relay.sandbox.livesessions import Session
from relay.sandbox.web import Response

Form = dict[str, str]
Act = Callable[[Device, Form], str]

_KEY_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_PREFIX = "session.custom."


class Refused(Exception):  # noqa: N818 - an answer of the appliance
    """The action was not done; the text says why."""


def handle(appliance: Device, account: Account, form: Form) -> Response:
    """Answer a call of the Command API, and count what was executed."""
    action = form.get("action", "")
    known = _ACTIONS.get(action)
    if account.command == "deny":
        return _error(appliance, "You do not have permission to use the Command API.", 403)
    if known is None or appliance.product not in known[1]:
        return _error(appliance, f"Invalid action: {action}")
    if known[2] and account.command != "full_access":
        return _error(appliance, "You do not have permission to perform this action.", 403)
    if known[2] == "once":
        appliance.begun(action, form)
    try:
        document = known[0](appliance, form) if known[0] is not None else _api_info(appliance, account)
    except Refused as refused:
        return _error(appliance, str(refused))
    appliance.executed(action)
    return xml.respond(document)


def _error(appliance: Device, message: str, status: int = 200) -> Response:
    return xml.error(appliance.dialect, "command", message, status)


def _root(appliance: Device, name: str, *children: str) -> str:
    return xml.root(appliance.dialect, "command", name, *children)


def _session(appliance: Device, form: Form, *, active: bool = True) -> Session:
    session = appliance.sessions.by_id.get(form.get("lsid", "").lower())
    if session is None:
        raise Refused("Invalid lsid.")
    if active and not session.active:
        raise Refused("The session is not active.")
    return session


def _success(appliance: Device, message: str) -> str:
    return _root(appliance, "success", message)


def _api_info(appliance: Device, account: Account) -> str:
    """What the account may do: a permission that it does not have is told as well."""
    held = {
        "perm_command": account.command,
        "perm_reporting_support": str(int(account.reporting)),
        "perm_reporting_license": "1",
        "perm_reporting_vault": "1",
        "perm_reporting_jump_item": "1",
        "perm_configuration": str(int(account.configuration)),
    }
    permissions = [xml.text("permission", value, name=name) for name, value in held.items()]
    return _root(
        appliance,
        "api_information",
        xml.text("api_version", appliance.api_version),
        xml.text("company_name", "Sandbox"),
        xml.text("timestamp", int(time.time())),
        xml.element("permissions", *permissions),
    )


def _check_health(appliance: Device, _: Form) -> str:
    return _root(
        appliance,
        "check_health",
        xml.text("appliance", f"{appliance.name}.example.com", id=appliance.guid),
        xml.text("version", appliance.version),
        xml.text("success", 1 if appliance.healthy else 0),
        *(() if appliance.healthy else (xml.text("error_message", "The appliance is not healthy."),)),
        xml.text("failover_role", "none"),
    )


def _get_appliances(appliance: Device, _: Form) -> str:
    return _root(appliance, "appliances", xml.text("appliance", f"{appliance.name}.example.com", id=appliance.guid))


def _get_logged_in_reps(appliance: Device, _: Form) -> str:
    rep = xml.element(
        "rep",
        xml.text("display_name", "Admin"),
        xml.text("public_display_name", "Admin"),
        xml.text("private_display_name", "Admin"),
        xml.text("type", "Normal"),
        xml.text("logged_in_since", "2026-01-01T08:00:00+00:00", ts=1767254400),
        xml.text("support_session_count", sum(session.active for session in appliance.sessions.by_id.values())),
        xml.text("showing_on_rep_list", 1),
        id=1,
    )
    return _root(appliance, "logged_in_reps", rep)


def _get_support_teams(appliance: Device, form: Form) -> str:
    issues = xml.element(
        "issues", xml.element("issue", xml.text("title", "Printer"), xml.text("code_name", "printer"), id=1)
    )
    members = xml.element("members", xml.element("representative", xml.text("display_name", "Admin"), id=1))
    shown = (issues, members) if form.get("showmembers") == "1" else (issues,)
    team = xml.element("support_team", xml.text("name", "Service Desk"), *shown, id=1)
    return _root(appliance, "support_teams", team)


def _generate_session_key(appliance: Device, form: Form) -> str:
    if form.get("type") != "support" or not form.get("queue_id"):
        raise Refused("Missing or invalid parameter: type, queue_id")
    ttl = int(form["ttl"]) if form.get("ttl", "").isascii() and form.get("ttl", "").isdecimal() else 3600
    key = "".join(appliance.random.choice(_KEY_LETTERS) for _ in range(7))
    until = int(time.time()) + ttl
    external = form.get(f"{_PREFIX}external_key", form.get("external_key", ""))
    host = form.get("url_hostname") or "support.example.com"
    appliance.keys[key] = external
    url = f"https://{host}/?ak={key.lower()}"
    return _root(
        appliance,
        "session_key",
        xml.text("short_key", key),
        xml.text("key_url", url),
        xml.text("expires", time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(until)), ts=until),
        xml.text("ttl", ttl),
        xml.text("queue", form["queue_id"]),
        xml.text("mail_subject", "Your support session"),
        xml.text("mail_body", f"Please open {url} for ticket {external}"),
    )


def _get_session_attributes(appliance: Device, form: Form) -> str:
    session = _session(appliance, form)
    items = [
        xml.text("custom_attribute", value, display_name=name.replace("_", " ").title(), code_name=name)
        for name, value in session.attributes.items()
    ]
    return _root(appliance, "custom_attributes", *items)


def _set_session_attributes(appliance: Device, form: Form) -> str:
    session = _session(appliance, form)
    values = {name.removeprefix(_PREFIX): value for name, value in form.items() if name.startswith(_PREFIX)}
    problem = appliance.sessions.set_attributes(session, values)
    if problem is not None:
        raise Refused(problem)
    return _success(appliance, "Session attributes were set")


def _terminate_session(appliance: Device, form: Form) -> str:
    session = _session(appliance, form)
    appliance.sessions.end(session)
    appliance.outbound.say("end", session)
    return _success(appliance, "Session was terminated")


def _touch_session(appliance: Device, form: Form) -> str:
    _session(appliance, form)
    return _success(appliance, "Done")


def _get_connected_client_list(appliance: Device, form: Form) -> str:
    active = [session for session in appliance.sessions.by_id.values() if session.active]
    counts = [xml.text("count", len(active), type="support_customer"), xml.text("count", 1, type="representative")]
    summary = xml.element("connected_client_summary", xml.element("appliance_summary", *counts, id=appliance.guid))
    clients = [xml.element("connected_client", type="support_customer", id=session.lsid) for session in active]
    shown = () if form.get("summary_only") == "1" else tuple(clients)
    return _root(appliance, "connected_client_list", summary, *shown)


def _get_connected_clients(appliance: Device, _: Form) -> str:
    clients = [
        xml.element(
            "connected_support_customer",
            xml.text("hostname", session.endpoint),
            xml.text("platform", "Windows (R) 11 x64"),
            xml.text("timezone_offset", 0),
            xml.text("connected_since", "2026-01-01T08:00:00+00:00", ts=session.start),
            id=session.lsid,
        )
        for session in appliance.sessions.by_id.values()
        if session.active
    ]
    return _root(appliance, "connected_clients", *clients)


def _import_jump_shortcut(appliance: Device, form: Form) -> str:
    if not form.get("name"):
        raise Refused("Missing parameter: name")
    return _success(appliance, "Successfully imported Jump Item shortcut")


def _done(appliance: Device, _: Form) -> str:
    return _success(appliance, "Done")


_BOTH = frozenset({"pra", "rs"})
_RS = frozenset({"rs"})

_ACTIONS: dict[str, tuple[Act | None, frozenset[str], str]] = {
    "get_api_info": (None, _BOTH, ""),
    "check_health": (_check_health, _BOTH, ""),
    "get_appliances": (_get_appliances, _BOTH, ""),
    "get_logged_in_reps": (_get_logged_in_reps, _BOTH, ""),
    "get_support_teams": (_get_support_teams, _RS, ""),
    "generate_session_key": (_generate_session_key, _RS, "once"),
    "join_session": (_touch_session, _BOTH, "once"),
    "leave_session": (_touch_session, _RS, "once"),
    "transfer_session": (_touch_session, _RS, "once"),
    "set_session_attributes": (_set_session_attributes, _BOTH, "again"),
    "get_session_attributes": (_get_session_attributes, _BOTH, ""),
    "terminate_session": (_terminate_session, _BOTH, "once"),
    "import_jump_shortcut": (_import_jump_shortcut, _BOTH, "once"),
    "get_connected_client_list": (_get_connected_client_list, _BOTH, ""),
    "get_connected_clients": (_get_connected_clients, _BOTH, ""),
    "set_failover_role": (_done, _BOTH, "once"),
    "send_chat_message": (_touch_session, _RS, "once"),
    "create_virtual_customer": (_touch_session, _RS, "once"),
    "set_rep_status": (_done, _RS, "once"),
    "logout_rep": (_done, _RS, "once"),
}
"""Action: what it does, which products have it, what it changes: nothing, the same `again`, or something only `once`.

What changes something needs full access. None: what is told of the account itself.
"""
