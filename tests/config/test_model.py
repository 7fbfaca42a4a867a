from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.configuration import SMALLEST, headlines, loaded, problems

from relay.config.flows import SessionTables, TableMapping
from relay.config.model import Settings
from relay.config.show import show
from relay.config.values import Endpoint, SecretRef
from relay.core.operations import ArgumentSpec, OperationSpec

EVERYTHING = """\
version: 1
relay:
  name: relay01
servicenow:
  url: https://example.service-now.com
  auth:
    basic: {username: svc.relay, password: {credential: servicenow_password}}
  tls:
    ca_file: /etc/bseries-relay/servicenow-ca.pem
    client_certificate: /etc/bseries-relay/client.pem
    client_key: {credential: sn_client_key}
    pins: ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
    minimum_version: TLSv1.2
  proxy: {url: "http://proxy.example.com:3128", username: relay, password: {credential: proxy_password}}
  poll: {interval: 5s, batch: 100}
  wake: amb
  register: true
  expire: {unsafe: 2m, safe: 1h}
  settle: 65s
  answer_bytes: 5MiB
  require_signature: false
  user_fields: [user_name, x_bmgr_bomgar_pam_username, u_beyondtrust_username]
  timeout: 30s
appliances:
  default:
    product: pra
    enabled: true
    url: https://access.example.com
    also_known_as: []
    auth: {client_id: "...", client_secret: {credential: appliance_secret}}
    tls: {ca_file: /etc/bseries-relay/appliance-ca.pem}
    limits: {requests_per_second: 20, requests_per_hour: 15000, concurrent: 8, response_bytes: 20MiB}
    timeout: 30s
    retry_for: 20s
policy:
  allow: [session-integration]
  operations: {}
listener:
  listen: "0.0.0.0:8443"
  tls: {certificate: /etc/bseries-relay/listener.pem, key: {credential: listener_key}}
  accept_from: [10.1.2.3, 10.1.3.0/24]
  event_token: {credential: event_token}
  proxy_protocol_from: []
sessions:
  mode: import
  tables: auto
  import_external: true
  associate_user: true
  associate_ci: true
  events: [Session Note Added, File Upload, File Download, System Information Retrieved, Screen Recording]
  recordings: link
  sweep: 5m
approvals:
  mode: evaluate
  deadline: 20s
  response_path: /api/endpoint_approval
  overrides: []
storage:
  engine: sqlite
  directory: null
  key: {credential: storage_key}
  keep_bodies: 0s
  retention: 7d
audit: {checkpoint_every: 5m}
logging: {level: info, format: auto}
metrics: {listen: "127.0.0.1:9464"}
"""


def test_the_documented_configuration(tmp_path: Path) -> None:
    """The configuration of the interface's page is accepted whole and means what the page says."""
    settings = loaded(tmp_path, EVERYTHING).settings
    servicenow, appliance = settings.servicenow, settings.appliances["default"]
    assert servicenow.auth.basic is not None
    assert servicenow.auth.basic.password == SecretRef("credential", "servicenow_password")
    assert servicenow.tls.ca_file == Path("/etc/bseries-relay/servicenow-ca.pem")
    assert servicenow.proxy is not None
    assert servicenow.proxy.url == "http://proxy.example.com:3128"
    assert (servicenow.poll.interval, servicenow.poll.batch, servicenow.wake) == (5.0, 100, "amb")
    assert (servicenow.expire.unsafe, servicenow.expire.safe, servicenow.settle) == (120.0, 3600.0, 65.0)
    assert (servicenow.answer_bytes, servicenow.register_agent, servicenow.require_signature) == (5242880, True, False)
    assert (appliance.product, appliance.enabled, appliance.retry_for) == ("pra", True, 20.0)
    assert (appliance.limits.requests_per_second, appliance.limits.response_bytes) == (20.0, 20971520)
    assert settings.listener is not None
    assert settings.listener.listen == Endpoint("0.0.0.0", 8443)  # noqa: S104  # nothing is bound
    assert settings.accept_from("default") == (ip_network("10.1.2.3/32"), ip_network("10.1.3.0/24"))
    assert settings.metrics is not None
    assert settings.metrics.listen == Endpoint("127.0.0.1", 9464)
    assert settings.storage.directory is None


def test_defaults_are_what_the_documented_configuration_writes_out(tmp_path: Path) -> None:
    """Leaving out every key that has a default changes nothing."""
    settings = loaded(tmp_path, EVERYTHING).settings
    short = loaded(tmp_path, SMALLEST).settings
    for name in ("poll", "wake", "register_agent", "expire", "settle", "answer_bytes", "user_fields", "timeout"):
        assert getattr(settings.servicenow, name) == getattr(short.servicenow, name)
    for name in ("enabled", "also_known_as", "limits", "timeout", "retry_for", "accept_from", "sessions"):
        assert getattr(settings.appliances["default"], name) == getattr(short.appliances["default"], name)
    for name in ("sessions", "approvals", "audit", "logging"):
        assert getattr(settings, name) == getattr(short, name)
    assert (short.listener, short.metrics, short.policy.allow) == (None, None, ())


def test_settings_do_not_change(tmp_path: Path) -> None:
    """A part that holds settings can rely on them for its life."""
    settings = loaded(tmp_path, SMALLEST).settings
    with pytest.raises(ValidationError):
        settings.servicenow.wake = "off"  # type: ignore[misc]  # that is what is tested


def one(tmp_path: Path, old: str, new: str, base: str = EVERYTHING) -> list[str]:
    """The problems, without the place, after one replacement."""
    assert old in base
    found = headlines(tmp_path, base.replace(old, new, 1))
    return [headline.partition(": ")[2] for headline in found]


@pytest.mark.parametrize(
    ("old", "new", "headline"),
    [
        (
            "name: relay01",
            "name: -x",
            "error[BSR-1006]: relay.name: write a name of letters, digits, ' ', '.', '_' and",
        ),
        ("name: relay01", "name: " + "x" * 65, "error[BSR-1006]: relay.name: "),
        ("version: 1", "version: 2", "error[BSR-1006]: version: write 1"),
        (
            "https://example.s",
            "http://example.s",
            "error[BSR-1006]: servicenow.url: write an https URL of host and port",
        ),
        ("https://access.example.com", "http://127.0.0.1", "error[BSR-1006]: appliances.default.url: write an https"),
        (
            "password: {credential: servicenow_password}",
            "password: x",
            "error[BSR-1008]: servicenow.auth.basic.password",
        ),
        ("batch: 100", "batch: 0", "error[BSR-1006]: servicenow.poll.batch: write a whole number from 1 to 1000"),
        ("safe: 1h}", "safe: 31d}", "error[BSR-1006]: servicenow.expire.safe: write a duration from 1s to 30d"),
        ("wake: amb", "wake: NO", "error[BSR-1012]: servicenow.wake: write one of amb, off"),
        ("register: true", "register: NO", "error[BSR-1012]: servicenow.register: write false"),
        ("name: relay01", "name: NO", "error[BSR-1012]: relay.name: this key takes a name of letters"),
        ("engine: sqlite", "engine: postgresql", "error[BSR-1006]: storage.engine: write sqlite"),
        ("client_key: {credential: sn_client_key}", "", "error[BSR-1016]: servicenow.tls: client_certificate and"),
        (", username: relay", "", "error[BSR-1016]: servicenow.proxy: username and password belong together"),
        (
            "password: {credential: servicenow_password}}",
            "password: {credential: a}}\n    oauth_client: {client_id: a, client_secret: {credential: b}}",
            "error[BSR-1016]: servicenow.auth: exactly one of basic, oauth_client, oauth_password, oauth_jwt,",
        ),
        ("also_known_as: []", "also_known_as: [https://x]", "error[BSR-1006]: appliances.default.also_known_as[0]: "),
        ("  default:", "  de fault:", "error[BSR-1006]: appliances.de fault: write a name of letters"),
        ("allow: [session-integration]", "allow: session-integration", "error[BSR-1006]: policy.allow: write a list"),
        ("operations: {}", "operations: [x]", "error[BSR-1006]: policy.operations: write a map of names"),
        ("tables: auto", "tables: no", "error[BSR-1012]: sessions.tables: write auto, none or a map of session"),
        (
            "tables: auto",
            "tables: {sesion: {table: x}}",
            "error[BSR-1003]: sessions.tables.sesion: unknown key; did you",
        ),
        ("events: [Session Note Added,", "events: [5x\ty,", "error[BSR-1006]: sessions.events[0]: "),
        ("accept_from: [10.1.2.3, 10", "accept_from: [10.1.2.3/24, 10", "error[BSR-1006]: listener.accept_from[0]: "),
        ("logging: {level: info", "logging: {level: loud", "error[BSR-1006]: logging.level: write one of debug, info"),
        ("audit: {checkpoint_every: 5m}", "audit: 5m", "error[BSR-1006]: audit: write a map of keys"),
        ("ca_file: /etc", "ca_file: etc", "error[BSR-1006]: servicenow.tls.ca_file: write an absolute path"),
    ],
)
def test_what_the_model_refuses(tmp_path: Path, old: str, new: str, headline: str) -> None:
    """Each bad value is one problem at its key, which says what to write."""
    found = one(tmp_path, old, new)
    assert len(found) == 1
    assert found[0].startswith(headline)


def test_certificate_alone_needs_a_certificate(tmp_path: Path) -> None:
    """Mutual TLS without a certificate cannot sign in."""
    text = SMALLEST.replace(
        "{basic: {username: svc.relay, password: {credential: servicenow_password}}}", "{certificate: true}"
    )
    assert any("auth.certificate needs tls.client_certificate" in line for line in headlines(tmp_path, text))


def test_no_way_to_sign_in(tmp_path: Path) -> None:
    """An empty `auth` names the five ways."""
    text = SMALLEST.replace("{basic: {username: svc.relay, password: {credential: servicenow_password}}}", "{}")
    assert [line.rpartition("; ")[2] for line in headlines(tmp_path, text)] == ["found none"]


def test_no_appliance(tmp_path: Path) -> None:
    """A relay without an appliance has nothing to do."""
    text = SMALLEST.partition("appliances:")[0] + "appliances: {}\n"
    assert [line.partition(": ")[2] for line in headlines(tmp_path, text)] == [
        "error[BSR-1006]: appliances: at least one is needed"
    ]


SECOND = """\
  second:
    product: rs
    url: https://support.example.com:8443
    also_known_as: [{names}]
    auth: {{client_id: abc, client_secret: {{credential: second_secret}}}}
"""


@pytest.mark.parametrize("names", ["access.example.com:443", "x.example.com, access.example.com:443"])
def test_a_host_name_means_one_appliance(tmp_path: Path, names: str) -> None:
    """Work could otherwise reach the wrong appliance."""
    found = headlines(tmp_path, SMALLEST + SECOND.format(names=names))
    assert [line.partition(": ")[2] for line in found] == [
        "error[BSR-1016]: appliances.second: access.example.com is appliance default already"
    ]


def test_another_name_has_the_port_of_the_url(tmp_path: Path) -> None:
    """The same host on another port is another appliance; a port that is written out is kept, the usual one too."""
    names = "access.example.com, x.example.com:1, y.example.com:443"
    found = loaded(tmp_path, SMALLEST + SECOND.format(names=names))
    assert found.settings.appliances["second"].origins == {
        ("support.example.com", 8443),
        ("access.example.com", 8443),
        ("x.example.com", 1),
        ("y.example.com", 443),
    }
    assert 'also_known_as: [access.example.com, "x.example.com:1", "y.example.com:443"]' in show(found)


def test_too_long_a_name_says_how_long_it_may_be(tmp_path: Path) -> None:
    """A line break in a name is answered with the limit of that very key."""
    (line,) = one(tmp_path, "name: relay01", 'name: "a\\nb"')
    assert line.endswith("write a name of letters, digits, ' ', '.', '_' and '-' of 1 to 64 printable characters")


LISTENER = "listener: {listen: '[::]:8443', tls: {certificate: /c.pem, key: {credential: key}}}\n"


def test_the_listener_knows_its_callers(tmp_path: Path) -> None:
    """Without addresses and token nobody could be let in; an appliance may bring its own."""
    found = headlines(tmp_path, SMALLEST + LISTENER)
    assert [line.partition(": ")[2] for line in found] == [
        "error[BSR-1016]: listener: listener needs accept_from or event_token, here or at appliance default"
    ]
    assert not problems(tmp_path, SMALLEST + "    event_token: {credential: token}\n" + LISTENER)
    assert not problems(tmp_path, SMALLEST + "    accept_from: [10.0.0.1]\n" + LISTENER)
    everybody = SMALLEST + "    accept_from: [10.0.0.1, '::/0']\n"
    (line,) = headlines(tmp_path, everybody + LISTENER)
    assert line.endswith("listener: accept_from ::/0 is everybody: without an event_token name the appliances")
    assert not problems(tmp_path, everybody + "    event_token: {credential: token}\n" + LISTENER)


def test_an_appliance_replaces_what_holds_for_all(tmp_path: Path) -> None:
    """The keys of an appliance replace the global ones whole; nothing is mixed."""
    own = ("accept_from: [10.0.0.1]", "event_token: {file: /t}", "sessions: {mode: off}", "approvals: {mode: off}")
    text = EVERYTHING.replace("    retry_for: 20s\n", "".join(f"    {line}\n" for line in own))
    settings = loaded(tmp_path, text).settings
    assert settings.accept_from("default") == (ip_network("10.0.0.1/32"),)
    assert settings.event_token("default") == SecretRef("file", "/t")
    assert settings.sessions_of("default").mode == settings.approvals_of("default").mode == "off"
    plain = loaded(tmp_path, SMALLEST).settings
    assert (plain.accept_from("default"), plain.event_token("default")) == ((), None)
    assert plain.sessions_of("default") == plain.sessions
    assert plain.approvals_of("default") == plain.approvals


OVERRIDES = """\
approvals:
  overrides:
    - {field: state, comparator: less, value: "3", message: "It is %TaskFieldName%"}
    - {field: cmdb_ci.name, comparator: equal, reference: jump_item.computer_name, message: "Another computer"}
"""


def test_overrides_of_approvals(tmp_path: Path) -> None:
    """A check compares a column with a value or with a part of the request."""
    first, second = loaded(tmp_path, SMALLEST + OVERRIDES).settings.approvals.overrides
    assert (first.field, first.comparator, first.value, first.reference) == ("state", "less", "3", None)
    assert (second.field, second.value, second.reference) == ("cmdb_ci.name", None, "jump_item.computer_name")


RULES = """\
approvals:
  encoding: json
  remember: 30s
  rules:
    - {tables: [change_request], window: true, grace: 15m}
    - {jump_groups: [Servers], overrides: [{field: state, comparator: less, value: "3", message: Wrong}]}
"""


def test_rules_of_approvals(tmp_path: Path) -> None:
    """Rules are for tables and Jump Groups; what a rule does not say is not demanded."""
    approvals = loaded(tmp_path, SMALLEST + RULES).settings.approvals
    first, second = approvals.rules
    assert (approvals.encoding, approvals.remember) == ("json", 30.0)
    assert (first.tables, first.jump_groups, first.overrides) == (("change_request",), (), ())
    assert (first.window, first.grace) == (True, 900.0)
    assert (second.tables, second.jump_groups, second.window, second.grace) == ((), ("Servers",), False, None)
    assert [check.field for check in second.overrides] == ["state"]
    plain = loaded(tmp_path, SMALLEST).settings.approvals
    assert (plain.encoding, plain.remember, plain.rules) == ("form", 0.0, ())


@pytest.mark.parametrize(
    ("old", "new", "line", "where"),
    [
        ("window: true, ", "", 14, "approvals.rules[0].grace: grace means nothing without window: true"),
        ("[change_request]", "[change^x]", 14, "approvals.rules[0].tables[0]: write a table's name"),
        ("grace: 15m", "grace: 8d", 14, "approvals.rules[0].grace: write a duration from 0s to 7d"),
        ("field: state, ", "", 15, "approvals.rules[1].overrides[0].field: the key is required"),
        ("jump_groups", "jump_group", 15, "approvals.rules[1].jump_group: unknown key; did you mean 'jump_groups'?"),
        ("json", "xml", 11, "approvals.encoding: write one of form, json"),
        ("30s", "2h", 12, "approvals.remember: write a duration from 0s to 1h"),
    ],
)
def test_bad_rules(tmp_path: Path, old: str, new: str, line: int, where: str) -> None:
    """A rule that means nothing is refused at its line."""
    text = SMALLEST + RULES
    assert old in text
    (found,) = headlines(tmp_path, text.replace(old, new, 1))
    assert found.split(": ", 2)[2].startswith(where)
    assert found.split(":")[1] == str(line)


@pytest.mark.parametrize(
    ("first", "second", "wrong"),
    [
        ("{}", "{tables: [incident]}", True),
        ("{window: true}", "{}", True),
        ("{tables: [incident, task]}", "{tables: [task]}", True),
        ("{tables: [incident]}", "{tables: [incident], jump_groups: [A]}", True),
        ("{jump_groups: [A, B]}", "{tables: [x], jump_groups: [B, A]}", True),
        ("{tables: [incident]}", "{tables: [incident, task]}", False),
        ("{tables: [incident], jump_groups: [A]}", "{tables: [incident]}", False),
        ("{jump_groups: [A]}", "{jump_groups: [B]}", False),
        ("{tables: [incident]}", "{jump_groups: [A]}", False),
    ],
)
def test_a_rule_that_is_never_used(tmp_path: Path, first: str, second: str, wrong: bool) -> None:
    """Of two rules the first that fits counts: one whose requests all fit an earlier one is a mistake."""
    found = headlines(tmp_path, SMALLEST + f"approvals:\n  rules:\n    - {first}\n    - {second}\n")
    expected = "relay.yaml:13:7: error[BSR-1016]: approvals.rules[1]: this rule is never used: rules[0] fits"
    assert [line.startswith(expected) for line in found] == [True] * wrong


@pytest.mark.parametrize(
    "path",
    [
        "/api/../x",
        "/",
        "/api//x",
        "/api/.",
        "/a?b",
        "/a%2fb",
        "api",
        "/api/command",
        "/api/reporting.ns",
        "/oauth2/token",
    ],
)
def test_a_response_path_has_one_meaning(tmp_path: Path, path: str) -> None:
    """A path that somebody could read as another one, or that means something else already, is refused."""
    assert problems(tmp_path, SMALLEST + f"approvals: {{response_path: '{path}'}}\n")
    assert not problems(tmp_path, SMALLEST + "approvals: {response_path: /login/../..a/x.y~z}\n".replace("/../", "/"))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('value: "3"', "value: x, reference: user.id", "approvals.overrides[0]: exactly one of value and reference"),
        ('value: "3", ', "", "approvals.overrides[0]: exactly one of value and reference"),
        ("comparator: less", "comparator: '<'", "approvals.overrides[0].comparator: write one of equal, less, greater"),
        ("field: state", "field: state^x", "approvals.overrides[0].field: write a column"),
        ("field: state, ", "", "approvals.overrides[0].field: the key is required"),
        (
            "reference: jump_item.computer_name",
            "reference: jump_item.computer",
            "approvals.overrides[1].reference: not a part of the appliance's request; did you mean 'jump_item.comp",
        ),
        (
            "reference: jump_item.computer_name",
            "reference: response_url",
            "approvals.overrides[1].reference: not a part of the appliance's request; write one of jump_item.computer_",
        ),
        (
            "%TaskFieldName%",
            "50% of %TaskFeildName%",
            "approvals.overrides[0].message: nothing stands for '%TaskFeildName%'; did you mean '%TaskFieldName%'?",
        ),
        (
            "%TaskFieldName%",
            "%x%",
            "approvals.overrides[0].message: nothing stands for '%x%'; there are %TaskFieldName%, %Comparator",
        ),
    ],
)
def test_bad_overrides(tmp_path: Path, old: str, new: str, where: str) -> None:
    """A check that could not be made is refused at its place in the list."""
    found = one(tmp_path, old, new, SMALLEST + OVERRIDES)
    assert len(found) == 1
    assert found[0].partition(": ")[2].startswith(where)


def test_tables_can_be_mapped(tmp_path: Path) -> None:
    """A site may use tables of its own for one kind of row and the default for the other."""
    text = SMALLEST + "sessions: {tables: {session: {table: u_session, fields: {lsid: u_lsid}}}, events: all}\n"
    sessions = loaded(tmp_path, text).settings.sessions
    assert sessions.tables == SessionTables(
        session=TableMapping(table="u_session", fields={"lsid": "u_lsid"}),
        event=TableMapping(table="x_bsr_relay_session_event"),
    )
    assert sessions.events == "all"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("{lsidd: u_lsid, user: u_user}", "the relay has no column 'lsidd'; did you mean 'lsid'?"),
        ("{zzzzzz: u_lsid}", "the relay has no column 'zzzzzz'; docs/sessions.md has those that there are"),
    ],
)
@pytest.mark.parametrize("table", ["session", "event"])
def test_columns_that_there_are_not_cannot_be_mapped(tmp_path: Path, table: str, fields: str, said: str) -> None:
    """A name that means no column of the relay is told, with what may have been meant: its values would go nowhere."""
    fields = fields if table == "session" else fields.replace("user:", "body:")
    text = SMALLEST + f"sessions: {{tables: {{{table}: {{table: u_rows, fields: {fields}}}}}}}\n"
    (found,) = headlines(tmp_path, text)
    assert found.endswith(f"sessions.tables.{table}.fields.{fields[1:].partition(':')[0]}: {said}")


def test_operations_become_values_of_the_policy(tmp_path: Path) -> None:
    """What a site writes reaches the policy under the policy's own names."""
    text = SMALLEST + (
        "policy:\n  operations:\n    vault:\n      method: GET\n      path: /api/reporting\n      safe: true\n"
        "      arguments: {n: {in: query, type: integer, min: 0, max: 9, default: 7}}\n"
        "      per_minute: 6\n      response: {types: [text/xml], max_bytes: 5MiB}\n"
    )
    assert loaded(tmp_path, text).settings.policy.specs() == {
        "vault": OperationSpec(
            method="GET",
            path="/api/reporting",
            arguments={"n": ArgumentSpec(type="integer", place="query", minimum=0, maximum=9, default="7")},
            safe=True,
            per_minute=6,
            types=("text/xml",),
            max_bytes=5 * 1024**2,
        )
    }


def test_a_default_is_text_or_a_number(tmp_path: Path) -> None:
    """A default of another kind is refused; one made in Python passes as it is."""
    text = SMALLEST + "policy: {operations: {x: {method: GET, path: /x, arguments: {a: {default: %s}}}}}\n"
    assert one(tmp_path, "%s", "[1]", text) == [
        "error[BSR-1006]: policy.operations.x.arguments.a.default: write text or a whole number"
    ]
    assert one(tmp_path, "%s", '"a\\nb"', text)[0].startswith("error[BSR-1006]")
    policy = Settings.model_fields["policy"].annotation
    assert policy is not None
    made = policy.model_validate({"operations": {"x": {"arguments": {"a": {"default": 7}}}}})
    assert made.specs()["x"].arguments["a"].default == 7


def test_an_error_of_pydantic_never_shows_what_was_written() -> None:
    """Not even an error that nobody translates repeats a secret."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"servicenow": {"auth": {"basic": {"password": "hunter2", "username": 5}}}})
    assert "hunter2" not in str(caught.value)
