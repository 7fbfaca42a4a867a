"""The Command API (`/api/command`, actions by GET or POST form), as the vendor's programmer's guides document it."""

from __future__ import annotations

from typing import Final

from relay.core.arguments import Argument
from relay.core.operations import BOTH, Operation, Product

RS: Final[frozenset[Product]] = frozenset({"rs"})

_READ = ("GET", "POST")
_WRITE = ("POST", "GET")
_MAX_ID: Final = 2**31 - 1

LSID: Final = Argument("lsid", type="id", required=True, description="the session's id")
REP_ID: Final = Argument("rep_id", type="integer", minimum=1, maximum=_MAX_ID, description="a representative's id")
QUEUE_ID: Final = Argument(
    "queue_id",
    patterns=(r"general|(rep|team):[0-9]{1,10}|rep_username:[ -~]{1,200}|issue:[A-Za-z0-9_.-]{1,128}",),
    description="general, rep:ID, team:ID, rep_username:NAME or issue:CODE_NAME",
)
ATTRIBUTES: Final = Argument(
    "session.custom.",
    family=True,
    max_length=1024,
    max_total=10240,
    collective="attributes",
    description="custom attributes by code name, external_key among them; an empty value clears one",
)
CUSTOMER: Final = Argument(
    "customer.", family=True, max_length=1024, max_total=10240, collective="customer", description="about the customer"
)


def _flag(name: str, description: str) -> Argument:
    return Argument(name, type="enum", values=("0", "1"), description=description)


def _text(name: str, description: str, max_length: int = 255, *, required: bool = False) -> Argument:
    return Argument(name, max_length=max_length, required=required, description=description)


def _command(
    name: str,
    action: str,
    description: str,
    groups: tuple[str, ...],
    *arguments: Argument,
    safe: bool = True,
    methods: tuple[str, ...] = _READ,
    products: frozenset[Product] = BOTH,
    aliases: tuple[str, ...] = (),
    reserved: bool = False,
) -> Operation:
    return Operation(
        name=name,
        description=description,
        groups=groups,
        methods=methods,
        path="/api/command",
        fixed=(("action", action),),
        either=True,
        arguments=arguments,
        safe=safe,
        products=products,
        reserved=reserved,
        aliases=(action, *aliases),
        builtin=True,
    )


_LOOK = ("read-only", "session-integration")
_CLIENT_TYPES = ("all", "representative", "support_customer", "presentation_attendee", "push_agent")

COMMANDS: Final[tuple[Operation, ...]] = (
    _command("api-info", "get_api_info", "API version and the account's permissions", _LOOK),
    _command("health", "check_health", "Health, failover role and version of the appliance", _LOOK),
    _command("appliances", "get_appliances", "The appliances of a cluster", ("read-only",)),
    _command("logged-in-reps", "get_logged_in_reps", "Representatives who are logged in", ("read-only",)),
    _command(
        "support-teams",
        "get_support_teams",
        "Support teams and their issues",
        ("read-only",),
        _flag("showmembers", "1 lists the members"),
        products=RS,
    ),
    _command(
        "connected-client-list",
        "get_connected_client_list",
        "Connected clients, in numbers or by id",
        ("read-only",),
        Argument("type", type="list", of="enum", values=_CLIENT_TYPES, max_items=5, description="kinds of client"),
        _flag("summary_only", "1 gives numbers only"),
    ),
    _command(
        "connected-clients",
        "get_connected_clients",
        "Details of connected clients",
        ("read-only",),
        Argument("type", type="list", of="enum", values=_CLIENT_TYPES, max_items=5, description="kinds of client"),
        Argument("id", type="list", of="string", patterns=("[A-Za-z0-9_-]{1,64}",), description="ids of clients"),
        _flag("include_connections", "1 adds their connections"),
    ),
    _command(
        "session-key",
        "generate_session_key",
        "A session key with its URL and expiry",
        ("session-integration",),
        Argument("type", type="enum", values=("support",), default="support", description="the only kind there is"),
        Argument("queue_id", patterns=QUEUE_ID.patterns, default="general", description=QUEUE_ID.description),
        Argument("ttl", type="integer", minimum=1, maximum=31_536_000, description="seconds that the key lives"),
        _text("external_key", "external key of the session, old spelling", 1024),
        Argument("url_hostname", patterns=("[A-Za-z0-9][A-Za-z0-9.-]{0,252}",), description="host in the key's URL"),
        CUSTOMER,
        ATTRIBUTES,
        safe=False,  # each call makes another key
        methods=_WRITE,
        products=RS,
        reserved=True,
    ),
    _command(
        "session-attributes-get",
        "get_session_attributes",
        "Custom attributes of an active session",
        ("session-integration",),
        LSID,
        aliases=("session-attributes",),
    ),
    _command(
        "session-attributes-set",
        "set_session_attributes",
        "Set custom attributes of an active session; those not named are kept",
        ("session-integration",),
        LSID,
        Argument(
            ATTRIBUTES.name,
            family=True,
            required=True,
            max_length=ATTRIBUTES.max_length,
            max_total=ATTRIBUTES.max_total,
            collective=ATTRIBUTES.collective,
            description=ATTRIBUTES.description,
        ),
        methods=_WRITE,  # safe: setting the same values again changes nothing
        aliases=("session-attributes",),
    ),
    _command(
        "join",
        "join_session",
        "Add a representative to a session",
        ("session-control",),
        LSID,
        REP_ID,
        QUEUE_ID,
        safe=False,
        methods=_WRITE,
    ),
    _command(
        "leave",
        "leave_session",
        "Remove a representative from a session",
        ("session-control",),
        LSID,
        REP_ID,
        safe=False,
        methods=_WRITE,
        products=RS,
    ),
    _command(
        "transfer",
        "transfer_session",
        "Move a session to another queue or representative",
        ("session-control",),
        LSID,
        QUEUE_ID,
        REP_ID,
        safe=False,
        methods=_WRITE,
        products=RS,
    ),
    _command(
        "terminate",
        "terminate_session",
        "End a session",
        ("session-control",),
        LSID,
        safe=False,
        methods=_WRITE,
    ),
    _command(
        "jump-shortcut-import",
        "import_jump_shortcut",
        "Make a Local Jump or Remote Jump shortcut; other kinds need a site's own operation",
        ("full-command",),
        _text("name", "the shortcut's name", 128, required=True),
        _text("group", "code name of the Jump Group", required=True),
        _text("local_jump_hostname", "host of a Local Jump", 128),
        _text("remote_jump_hostname", "host of a Remote Jump", 128),
        _text("jumpoint", "code name of the Jumpoint, for a Remote Jump"),
        _text("tag", "tag", 1024),
        _text("comments", "comments", 1024),
        _text("jump_policy", "code name of a Jump Policy"),
        _text("session_policy", "code name of a session policy"),
        safe=False,  # each call makes another shortcut
        methods=_WRITE,
    ),
    _command(
        "failover-role",
        "set_failover_role",
        "Make the appliance primary or backup",
        ("full-command",),
        Argument("role", type="enum", values=("primary", "backup"), required=True, description="the new role"),
        _flag("data_sync_first", "1 synchronises before the change"),
        _flag("force", "1 becomes backup even if the peer cannot be reached"),
        safe=False,
        methods=_WRITE,
    ),
)
