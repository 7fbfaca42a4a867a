"""The doctor looks at ServiceNow: every failure is told where it is, with its code, and nothing is changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.doctoring import Consulted, consulted, named, only, skipped, wrong
from support.proxy import ConnectProxy
from support.tls import Authority

from relay.sandbox import dictionary
from relay.sandbox.faults import Fault
from relay.sandbox.schema import EVENT, SESSION, SESSION_TABLES, Table, table

SESSIONS = "sessions: {mode: import}\n"
MAPPED = """\
sessions:
  tables:
    session: {table: u_session, fields: {lsid: u_lsid, task: u_task}}
    event: {table: u_event}
"""


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[Consulted]:
    """A sandbox, with the import of sessions."""
    async with consulted(tmp_path) as one:
        one.configure(SESSIONS)
        yield one


def define(seen: Consulted, name: str, like: str, *, without: str = "", add: str = "") -> None:
    """Make a table in the instance, like one of the relay's own."""
    (original,) = [one for one in SESSION_TABLES if one.name == like]
    columns = (original.columns - {*without.split()}) | {*add.split()}
    seen.box.servicenow.tables.define(replace(original, name=name, columns=columns, indexed=()))


async def test_all_is_well(seen: Consulted) -> None:
    """Of a healthy instance nothing is wrong; the queue, the user, its role and both tables are told."""
    seen.box.servicenow.insert("sys_journal_field", {"element": "work_notes", "value": "a note"})
    checks = await seen.servicenow()
    assert (wrong(checks), skipped(checks)) == ([], [])
    assert only(checks, "user").detail.startswith("svc.relay; left out")
    assert "u_beyondtrust_username" in only(checks, "user").detail
    assert only(checks, "roles").detail.startswith("mid_server,")
    assert only(checks, f"table {SESSION}").detail.endswith("by sys_dictionary")
    assert only(checks, f"table {EVENT}").result == "ok"
    assert only(checks, "work notes").result == "ok"
    assert only(checks, "clock").detail == "the same"


async def test_it_changes_nothing_and_asks_little(seen: Consulted) -> None:
    """It writes nothing, claims nothing, and asks less than a dozen questions, all but one signed in."""
    box = seen.box
    box.put(box.maker(1).mix(5))
    before = [dict(row) for row in box.servicenow.tables.rows("ecc_queue")]
    await seen.servicenow()
    assert [dict(row) for row in box.servicenow.tables.rows("ecc_queue")] == before
    assert list(box.servicenow.tables.rows("ecc_agent")) == []
    asked = Counter((method, path) for method, path, _ in box.servicenow.log)
    assert box.servicenow.requests["all"] == asked.total() < 12
    assert {method for method, _ in asked} == {"GET", "HEAD", "POST"}
    assert [path for method, path in asked if method == "POST"] == ["/api/now/v1/batch"]


async def test_a_wrong_password(seen: Consulted) -> None:
    """It is told as the sign-in's, once, and everything that needs an account is skipped."""
    seen.box.servicenow.access.users.clear()
    checks = await seen.servicenow()
    assert wrong(checks) == [("sign-in", "error", 2005)]
    assert {"ecc_queue", "roles", f"table {SESSION}"} <= set(skipped(checks))
    assert only(checks, "roles").detail == "needs sign-in"
    assert [status for _, path, status in seen.box.servicenow.log if path != "/"] == [401]


async def test_a_secret_that_cannot_be_read(seen: Consulted) -> None:
    """The way is looked at all the same; the sign-in tells which secret it is."""
    (seen.box.directory / "credentials/servicenow_password").unlink()
    checks = await seen.servicenow()
    assert wrong(checks) == [("sign-in", "error", 1009)]
    assert only(checks, "TLS").result == "ok"
    assert "servicenow_password" in only(checks, "sign-in").detail


async def test_a_wrong_authority(seen: Consulted, tmp_path: Path) -> None:
    """A certificate of another authority is TLS's, with OpenSSL's words; what follows is skipped."""
    other = Authority(tmp_path / "other").ca_file
    seen.configure(f"servicenow: {{tls: {{ca_file: {other}}}}}\n", "tls.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == [("TLS", "error", 2002)]
    assert "unable to get local issuer" in only(checks, "TLS").detail
    assert [check.result for check in checks][:3] == ["ok", "ok", "ok"]
    assert "sign-in" in skipped(checks)
    assert seen.box.servicenow.requests["all"] == 0


async def test_a_pin_that_does_not_match(seen: Consulted) -> None:
    """A server with another key is refused before anything is sent."""
    pin = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    seen.configure(f'servicenow: {{tls: {{pins: ["{pin}"]}}}}\n', "tls.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == [("TLS", "error", 2002)]
    assert "none of the pins" in only(checks, "TLS").detail


async def test_an_expired_certificate(seen: Consulted) -> None:
    """A certificate that has ended is TLS's; one that ends soon is a warning, later an error."""
    box = seen.box
    door = box.doors["servicenow"]
    for days, wanted in ((-0.5, ("TLS", "error", 2002)), (20, ("certificate", "warning", 2022))):
        await door.close()
        door.context = box.authority.server("servicenow", days=days)
        await door.open()
        assert wrong(await seen.servicenow()) == [wanted]
    await door.close()
    door.context = box.authority.server("servicenow", days=3)
    await door.open()
    assert wrong(await seen.servicenow()) == [("certificate", "error", 2023)]


async def test_clocks_that_differ(seen: Consulted) -> None:
    """Ten minutes are a warning that says in which direction."""
    seen.box.servicenow.knobs.clock_offset = -600
    checks = await seen.servicenow()
    assert wrong(checks) == [("clock", "warning", 2021)]
    assert only(checks, "clock").detail.endswith("behind this machine's")


async def test_nobody_there(seen: Consulted) -> None:
    """A port where nobody listens is TCP's; a name that there is not is DNS's."""
    await seen.box.doors["servicenow"].close()
    assert wrong(await seen.servicenow()) == [("TCP", "error", 2001)]
    seen.configure("servicenow: {url: 'https://nowhere.invalid'}\n", "url.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == [("DNS", "error", 2001)]
    assert "TCP" in skipped(checks)


async def test_a_proxy_that_refuses(seen: Consulted) -> None:
    """A proxy that does not let the relay through is the proxy's, as is one that wants an account."""
    async with ConnectProxy(answer=b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n") as proxy:
        seen.configure(f"servicenow: {{proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        checks = await seen.servicenow()
        assert wrong(checks) == [("proxy", "error", 2020)]
        assert only(checks, "DNS").detail.startswith("the proxy localhost")
    async with ConnectProxy(account=("a", "b")) as proxy:
        seen.configure(f"servicenow: {{proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        assert wrong(await seen.servicenow()) == [("proxy", "error", 2024)]
    async with ConnectProxy() as proxy:
        seen.configure(f"servicenow: {{proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        checks = await seen.servicenow()
        assert wrong(checks) == []
        assert only(checks, "proxy").result == "ok"


async def test_a_proxy_that_says_nothing(seen: Consulted) -> None:
    """It is the proxy's within the side's own time."""
    async with ConnectProxy(answer=b"") as proxy:
        seen.configure(f"servicenow: {{timeout: 1s, proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        checks = await seen.servicenow()
    assert wrong(checks) == [("proxy", "error", 2003)]


async def test_an_instance_that_says_nothing(seen: Consulted) -> None:
    """One that takes the connection and never answers is told so within its time; TLS was good."""
    seen.configure("servicenow: {timeout: 1s}\n", "time.yaml")
    seen.box.servicenow.knobs.latency = 20
    checks = await seen.servicenow()
    assert wrong(checks) == [("latency", "error", 2003)]
    assert only(checks, "TLS").result == "ok"


async def test_a_user_without_the_role(seen: Consulted) -> None:
    """The queue that it may not read is an error; the role that is missing is told as well."""
    box = seen.box
    access = box.servicenow.access
    access.add(replace(access.users["svc.relay"], roles=frozenset({"itil"})))
    tables = box.servicenow.tables
    (role,) = tables.find("sys_user_role", "name=mid_server")
    for row in tables.find("sys_user_has_role", f"role={role['sys_id']}"):
        tables.delete("sys_user_has_role", row["sys_id"])
    checks = await seen.servicenow()
    assert wrong(checks) == [("ecc_queue", "error", 2006), ("roles", "warning", 2006), ("ecc_agent", "warning", 2018)]


async def test_a_user_that_is_locked_out(seen: Consulted) -> None:
    """A record that says so is told; the password may still have been right."""
    tables = seen.box.servicenow.tables
    (row,) = tables.find("sys_user", "user_name=svc.relay")
    tables.update("sys_user", row, {"locked_out": "true"})
    assert wrong(await seen.servicenow()) == [("user", "error", 2005)]


async def test_roles_that_are_not_shown(seen: Consulted) -> None:
    """What the account may not see of itself is skipped, not guessed."""
    seen.box.servicenow.knobs.closed["sys_user_has_role"] = "hidden"
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert "not tried" in only(checks, "roles").detail
    seen.box.servicenow.knobs.closed["sys_user"] = "forbidden"
    checks = await seen.servicenow()
    assert {"user", "roles"} <= set(skipped(checks))


async def test_a_user_whom_only_the_instance_knows(seen: Consulted) -> None:
    """With client credentials nobody here knows who signs in: that is said."""
    box = seen.box
    text = "auth: {basic: null, oauth_client: {client_id: sandbox-oauth, client_secret: {file: CREDENTIALS}}}"
    client = next(iter(box.servicenow.access.clients))
    text = text.replace("sandbox-oauth", client).replace(
        "CREDENTIALS", str(box.directory / "credentials/servicenow_client")
    )
    seen.configure(f"servicenow: {{{text}}}\n", "auth.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert {"user", "roles"} <= set(skipped(checks))
    box.servicenow.access.clients.clear()
    assert wrong(await seen.servicenow()) == [("sign-in", "error", 2017)]


async def test_tables_that_are_not_there(seen: Consulted) -> None:
    """With `auto` both may be absent, one alone is a warning; one that is named must be there, its name is compared."""
    tables = seen.box.servicenow.tables
    tables.drop(EVENT)
    checks = await seen.servicenow()
    assert wrong(checks) == [(f"table {EVENT}", "warning", 2028)]
    assert "did you mean 'x_bsr_relay_session'" in only(checks, f"table {EVENT}").detail
    tables.drop(SESSION)
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert only(checks, f"table {SESSION}").detail.startswith("not there")
    define(seen, "u_sessions", SESSION, add="u_lsid u_task", without="lsid task")
    define(seen, "u_event", EVENT)
    seen.configure(MAPPED, "tables.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == [("table u_session", "error", 2028)]
    detail = only(checks, "table u_session").detail
    assert detail == "sessions.tables.session.table: there is no table 'u_session'; did you mean 'u_sessions'?"


@pytest.mark.parametrize("closed", ["", "hidden", "forbidden"])
async def test_columns_that_are_not_there(seen: Consulted, closed: str) -> None:
    """A mapped column that is absent is an error with its key, whether the dictionary tells it or a record does."""
    define(seen, "u_session", SESSION, add="u_lsids u_task", without="lsid task details")
    define(seen, "u_event", EVENT)
    seen.configure(MAPPED, "tables.yaml")
    if closed:
        seen.box.servicenow.knobs.closed |= {"sys_dictionary": closed}  # type: ignore[dict-item]
        for name in ("u_session", "u_event"):
            seen.box.servicenow.insert(name, {"key": "x"})
    checks = await seen.servicenow()
    assert wrong(checks) == [("table u_session", "error", 2029), ("table u_session", "warning", 2029)]
    (error,) = [one for one in named(checks, "table u_session") if one.result == "error"]
    assert error.detail.startswith("sessions.tables.session.fields.lsid: there is no column 'u_lsid'")
    assert ("did you mean 'u_lsids'" in error.detail) == (not closed)
    assert only(checks, "table u_event").detail.endswith("by a record" if closed else "by sys_dictionary")


async def test_columns_that_nobody_shows(seen: Consulted) -> None:
    """With a closed dictionary and no record nothing is claimed of the columns."""
    seen.box.servicenow.knobs.closed["sys_db_object"] = "hidden"
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert {f"table {SESSION}", f"table {EVENT}"} <= set(skipped(checks))


async def test_a_table_that_may_not_be_read(seen: Consulted) -> None:
    """It is an error of a right, with the key that names the table."""
    seen.box.servicenow.knobs.closed[SESSION] = "forbidden"
    checks = await seen.servicenow()
    assert wrong(checks) == [(f"table {SESSION}", "error", 2006)]
    assert only(checks, f"table {SESSION}").detail.startswith("sessions.tables: table")


async def test_columns_of_approvals_and_of_the_anchor(tmp_path: Path) -> None:
    """Columns that checks of tickets and the anchor name are looked for; those of a parent table are there, too."""
    async with consulted(tmp_path, listens=True) as seen:
        seen.configure(
            """\
sessions: {tables: none}
audit: {anchor: {table: u_checkpoint, field: u_note}}
approvals:
  overrides: [{field: cmdb_ci.name, comparator: equal, value: x, message: m}]
  rules:
    - {tables: [change_request], window: true}
    - tables: [incident]
      overrides:
        - {field: categry, comparator: equal, value: x, message: m}
        - {field: state, comparator: equal, value: x, message: m}
"""
        )
        seen.box.servicenow.tables.define(table("u_checkpoint", "u_notes"))
        checks = await seen.servicenow()
        assert wrong(checks) == [("table incident", "error", 2029), ("table u_checkpoint", "error", 2029)]
        assert only(checks, "table incident").detail == (
            "approvals.rules[1].overrides[0].field: there is no column 'categry' by sys_dictionary; "
            "did you mean 'category'?"
        )
        assert "audit.anchor.field" in only(checks, "table u_checkpoint").detail
        assert only(checks, "table change_request").result == "ok"
        assert only(checks, "table task").result == "ok"


async def test_work_notes_and_attachments(seen: Consulted) -> None:
    """A closed journal is a warning; attachments are tried where recordings are attached."""
    seen.configure("sessions: {recordings: attach}\n", "recordings.yaml")
    seen.box.servicenow.knobs.journal = "forbidden"
    checks = await seen.servicenow()
    assert wrong(checks) == [("work notes", "warning", 2006)]
    assert only(checks, "attachments").result == "ok"


async def test_the_record_of_the_agent(seen: Consulted) -> None:
    """What it says is told; two of them are a warning."""
    seen.box.servicenow.insert("ecc_agent", {"name": "another", "status": "Down"})
    name = seen.settings.relay.name
    seen.box.servicenow.insert("ecc_agent", {"name": name, "status": "Up"})
    assert only(await seen.servicenow(), "ecc_agent").detail.startswith("Up, refreshed")
    seen.box.servicenow.insert("ecc_agent", {"name": name, "status": "Up"})
    assert ("ecc_agent", "warning", 2018) in wrong(await seen.servicenow())


async def test_an_instance_without_batches(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Batch API each question goes by itself, and that is told."""
    monkeypatch.setattr("relay.sandbox.servicenow.BATCH", frozenset())
    checks = await seen.servicenow()
    assert wrong(checks) == [("Batch API", "warning", 2015)]
    assert only(checks, f"table {SESSION}").result == "ok"


async def test_an_instance_that_goes_while_it_is_asked(seen: Consulted) -> None:
    """What fails in the middle is told of the first check that has no result; the rest is skipped."""
    seen.box.servicenow.rate.limit = 2
    checks = await seen.servicenow()
    assert wrong(checks) == [("Batch API", "error", 2007)]
    assert "roles" in skipped(checks)


async def test_a_key_file_that_is_gone(seen: Consulted, tmp_path: Path) -> None:
    """A certificate that cannot be read ends the look before any connection."""
    gone = tmp_path / "gone.pem"
    seen.configure(f"servicenow: {{tls: {{ca_file: {gone}}}}}\n", "tls.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == [("files", "error", 1009)]
    assert set(skipped(checks)) == {check.name for check in checks} - {"files"}


async def test_an_instance_without_a_clock(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Date nothing is said of the clock."""
    monkeypatch.setattr("relay.sandbox.servicenow.formatdate", lambda *_, **__: "none")
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert "clock" in skipped(checks)


async def test_a_proxy_of_another_authority(seen: Consulted, tmp_path: Path) -> None:
    """TLS that fails at the proxy is the proxy's; TLS that fails behind it is not."""
    certificate = Authority(tmp_path / "other").issue()
    async with ConnectProxy(context=certificate.context) as proxy:
        seen.configure(f"servicenow: {{proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        assert wrong(await seen.servicenow()) == [("proxy", "error", 2002)]
    async with ConnectProxy() as proxy:
        seen.configure(f"servicenow: {{proxy: {{url: '{proxy.url}'}}}}\n", "proxy.yaml")
        ca_file = tmp_path / "other/ca.pem"
        seen.configure(f"servicenow: {{tls: {{ca_file: {ca_file}}}}}\n", "tls.yaml")
        checks = await seen.servicenow()
        assert wrong(checks) == [("TLS", "error", 2002)]
        assert only(checks, "proxy").result == "ok"


async def test_a_dictionary_that_hides_parents(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table that one is made from is not told, its columns are not taken for missing."""
    real = dictionary.rows

    def hiding(name: str, tables: dict[str, Table]) -> Iterator[dict[str, str]]:
        shown = real(name, tables)
        return (row for row in shown if name != "sys_db_object" or row["name"] != "task")

    seen.configure("audit: {anchor: {table: incident, field: state}}\n", "anchor.yaml")
    assert only(await seen.servicenow(), "table incident").detail.endswith("by sys_dictionary")
    monkeypatch.setattr(dictionary, "rows", hiding)
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert "table incident" in skipped(checks)


async def test_batches_that_fail(seen: Consulted) -> None:
    """A server error there is told there, and nothing else is claimed."""
    seen.box.servicenow.faults.add(Fault("status", lane="batch", times=None))
    checks = await seen.servicenow()
    assert wrong(checks) == [("Batch API", "error", 2008)]


async def test_nothing_to_ask(seen: Consulted) -> None:
    """Without an agent's record, a named user, sessions or tables there is no second question."""
    box = seen.box
    client = next(iter(box.servicenow.access.clients))
    secret = box.directory / "credentials/servicenow_client"
    way = f"{{basic: null, oauth_client: {{client_id: {client}, client_secret: {{file: {secret}}}}}}}"
    seen.configure(f"servicenow: {{register: false, auth: {way}}}\nsessions: {{mode: off}}\n", "zz.yaml")
    checks = await seen.servicenow()
    assert wrong(checks) == []
    assert {"Batch API", "user", "roles"} == set(skipped(checks))
    assert "ecc_agent" not in {check.name for check in checks}


async def test_a_single_question_that_fails(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told of what it was for, and the others are answered."""
    monkeypatch.setattr("relay.sandbox.servicenow.BATCH", frozenset())
    seen.box.servicenow.faults.add(Fault("status", path="sys_journal_field", times=None))
    checks = await seen.servicenow()
    assert wrong(checks) == [("Batch API", "warning", 2015), ("work notes", "warning", 2008)]
    assert only(checks, f"table {SESSION}").result == "ok"
