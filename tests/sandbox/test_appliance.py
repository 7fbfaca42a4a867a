"""The appliance as a client sees it: accounts, limits, commands, reports, lists."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest
from lxml import etree

from relay.sandbox.accounts import Account
from relay.sandbox.box import API_CLIENT, Sandbox
from relay.sandbox.films import Film
from relay.sandbox.livesessions import Sessions
from relay.sandbox.reporting import NOTHING_FOUND

Connect = Callable[..., httpx.AsyncClient]
FORM = {"grant_type": "client_credentials"}


def account(box: Sandbox, name: str = "default") -> Account:
    return box.appliances[name].accounts.by_id[API_CLIENT]


def tree(answer: httpx.Response) -> etree._Element:
    return etree.fromstring(answer.content)


def local(node: etree._Element) -> str:
    return etree.QName(node).localname


async def command(client: httpx.AsyncClient, action: str, **form: str) -> httpx.Response:
    return await client.post("/api/command", data={"action": action, **form})


async def report(client: httpx.AsyncClient, kind: str, **query: object) -> httpx.Response:
    return await client.get("/api/reporting", params={"generate_report": kind, **query})  # type: ignore[dict-item]


@pytest.mark.parametrize("way", ["basic", "form", "json"])
async def test_three_ways_to_a_token(box: Sandbox, connect: Connect, way: str) -> None:
    """Client credentials are taken from Basic, a form or JSON."""
    client = connect(box.appliance.url)
    secret = box.secrets["appliance_secret"]
    body = {"client_id": API_CLIENT, "client_secret": secret, **FORM}
    options = {"basic": {"auth": (API_CLIENT, secret), "data": FORM}, "form": {"data": body}, "json": {"json": body}}
    answer = await client.post("/oauth2/token", **options[way])
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 3600)
    client.headers["Authorization"] = f"bearer {answer.json()['access_token']}"
    assert (await command(client, "get_api_info")).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"data": FORM},
        {"auth": (API_CLIENT, "wrong"), "data": FORM},
        {"headers": {"Authorization": "Basic !"}, "data": FORM},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"json": []},
    ],
)
async def test_refused_tokens(box: Sandbox, connect: Connect, options: dict[str, object]) -> None:
    """A wrong client is told `invalid_client`."""
    answer = await connect(box.appliance.url).post("/oauth2/token", **options)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_token_requests_in_detail(box: Sandbox, connect: Connect) -> None:
    """A token is asked by POST, for client credentials only."""
    client, auth = connect(box.appliance.url), (API_CLIENT, box.secrets["appliance_secret"])
    assert (await client.get("/oauth2/token", auth=auth)).status_code == 405
    answer = await client.post("/oauth2/token", auth=auth, data={"grant_type": "password"})
    assert answer.json() == {"error": "unsupported_grant_type"}


async def test_failed_logins_lock_the_account(box: Sandbox, connect: Connect) -> None:
    """After five failed logins in a row the right secret is refused too; a success in between starts over."""
    client, right = connect(box.appliance.url), (API_CLIENT, box.secrets["appliance_secret"])
    for secret in ("wrong",) * 4 + (right[1],) + ("wrong",) * 4:
        await client.post("/oauth2/token", auth=(API_CLIENT, secret), data=FORM)
    assert not account(box).locked
    await client.post("/oauth2/token", auth=(API_CLIENT, "wrong"), data=FORM)
    assert (await client.post("/oauth2/token", auth=right, data=FORM)).status_code == 401
    assert account(box).locked
    account(box).lock_after = 0
    assert (await client.post("/oauth2/token", auth=right, data=FORM)).status_code == 200


async def test_the_thirty_first_token_ends_the_first(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """At most 30 tokens live, here 4; one more makes the oldest invalid."""
    assert account(box).live_tokens == 30
    account(box).live_tokens = 4
    auth = (API_CLIENT, box.secrets["appliance_secret"])
    for number in range(4):
        assert (await command(pra, "get_api_info")).status_code == 200, number
        await pra.post("/oauth2/token", auth=auth, data=FORM)
    answer = await command(pra, "get_api_info")
    assert (answer.status_code, answer.json()["error"]) == (401, "access_denied")


async def test_tokens_end(box: Sandbox, connect: Connect, pra: httpx.AsyncClient) -> None:
    """A token ends with its time, and all of them with a new client secret."""
    account(box).revoke()
    assert (await command(pra, "get_api_info")).status_code == 401
    account(box).token_life = 0
    auth = (API_CLIENT, box.secrets["appliance_secret"])
    answer = await connect(box.appliance.url).post("/oauth2/token", auth=auth, data=FORM)
    pra.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    assert (await command(pra, "get_api_info")).status_code == 401
    assert (await pra.get("/api/command", headers={"Authorization": "Basic eDp5"})).status_code == 401


async def test_rate_limits(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Twenty calls a second pass, here 3, one more is 429; the hour's rest stands in a header."""
    assert account(box).per_second == 20
    account(box).per_second = 3
    answers = await asyncio.gather(*(pra.get("/api/command", params={"action": "get_api_info"}) for _ in range(20)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) >= 2
    assert 429 in statuses
    assert account(box).limited == statuses.count(429)
    account(box).per_second = 0
    answer = await command(pra, "get_api_info")
    assert int(answer.headers["x-ratelimit-remaining"]) == 15_000 - len(account(box).calls)
    account(box).per_hour = len(account(box).calls)
    assert (await command(pra, "get_api_info")).status_code == 429
    assert (await pra.post("/oauth2/token", auth=(API_CLIENT, "x"), data=FORM)).status_code == 429
    account(box).per_hour = 0
    assert "x-ratelimit-limit" not in (await command(pra, "get_api_info")).headers


async def test_calls_leave_the_hour(box: Sandbox) -> None:
    """A call counts for an hour and no longer."""
    one = account(box)
    assert [one.count(moment) for moment in (0.0, 1.0, 3601.5)] == [True, True, True]
    assert len(one.calls) == 1


async def test_connections_are_closed(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Every answer closes the connection, and a call that did not ask for it is recorded."""
    assert (await pra.get("/check_health")).headers["connection"] == "close"
    assert box.appliance.keep_alive == 0
    await pra.get("/check_health", headers={"Connection": "keep-alive"})
    assert box.appliance.keep_alive == 1


async def test_liveness(box: Sandbox, connect: Connect) -> None:
    """`/check_health` needs no login and answers 200 or 500."""
    client = connect(box.appliance.url)
    box.appliance.latency = 0.01
    assert (await client.get("/check_health")).status_code == 200
    box.appliance.healthy = False
    assert (await client.get("/check_health")).status_code == 500
    assert (await client.get("/")).status_code == 404


@pytest.mark.parametrize(
    ("dialect", "space"),
    [
        ("sra", "http://www.beyondtrust.com/sra/namespaces/API/"),
        ("documented", "https://www.beyondtrust.com/namespaces/API/"),
        ("bomgar", "http://www.bomgar.com/namespaces/API/"),
        ("none", None),
    ],
)
async def test_namespaces(box: Sandbox, pra: httpx.AsyncClient, dialect: str, space: str | None) -> None:
    """Each of the namespaces seen in the field can be had, for both APIs."""
    box.appliance.dialect = dialect  # type: ignore[assignment]
    box.appliance.sessions.begin("a" * 32)
    roots = [tree(await command(pra, "check_health")), tree(await report(pra, "AccessSession", lsid="a" * 32))]
    spaces = [etree.QName(root).namespace for root in roots]
    assert spaces == ([None, None] if space is None else [f"{space}command", f"{space}reporting"])


@pytest.mark.parametrize(
    ("action", "root"),
    [
        ("get_api_info", "api_information"),
        ("check_health", "check_health"),
        ("get_appliances", "appliances"),
        ("get_logged_in_reps", "logged_in_reps"),
        ("get_support_teams", "support_teams"),
        ("get_connected_client_list", "connected_client_list"),
        ("get_connected_clients", "connected_clients"),
        ("set_failover_role", "success"),
        ("set_rep_status", "success"),
    ],
)
async def test_simple_commands(box: Sandbox, rs: httpx.AsyncClient, action: str, root: str) -> None:
    """Each action answers its own document, by the old path too."""
    box.appliances["appliance2"].healthy = False
    box.appliances["appliance2"].sessions.begin()
    answers = [
        await command(rs, action, showmembers="1", summary_only="1"),
        await rs.get("/api/command.ns", params={"action": action}),
    ]
    assert [local(tree(answer)) for answer in answers] == [root, root]
    assert answers[0].headers["content-type"] == "text/xml; charset=UTF-8"
    assert box.appliances["appliance2"].calls[action] == 2


async def test_products_differ(pra: httpx.AsyncClient) -> None:
    """Privileged Remote Access has no session keys; the refusal is HTTP 200."""
    for action in ("generate_session_key", "make_coffee"):
        answer = await command(pra, action)
        assert (answer.status_code, local(tree(answer))) == (200, "error")


async def test_session_keys(box: Sandbox, rs: httpx.AsyncClient) -> None:
    """A session key has seven letters and an expiry, and each one made is counted."""
    wanted = {"type": "support", "queue_id": "general", "session.custom.external_key": "INC1"}
    made = tree(await command(rs, "generate_session_key", ttl="60", **wanted))
    facts = {local(node): node for node in made}
    assert len(facts["short_key"].text or "") == 7
    assert 50 < int(facts["expires"].get("ts", "0")) - time.time() <= 60
    assert "INC1" in (facts["mail_body"].text or "")
    await command(rs, "generate_session_key", **wanted, url_hostname="help.example.com")
    assert local(tree(await command(rs, "generate_session_key", type="support"))) == "error"
    device = box.appliances["appliance2"]
    assert device.effects["generate_session_key||INC1"] == 2
    assert device.calls["generate_session_key"] == 2


async def test_session_attributes(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Attributes are merged, cleared by an empty text, and bounded; writing one again is no second effect."""
    lsid = box.appliance.sessions.begin(attributes={"keep": "1", "drop": "2"}).lsid

    async def put(**values: str) -> str:
        form = {f"session.custom.{name}": value for name, value in values.items()}
        return local(tree(await command(pra, "set_session_attributes", lsid=lsid.upper(), **form)))

    assert await put(drop="", external_key="INC1") == "success"
    read = tree(await command(pra, "get_session_attributes", lsid=lsid))
    assert {node.get("code_name"): node.text for node in read} == {"keep": "1", "external_key": "INC1"}
    assert await put(big="x" * 1025) == "error"
    assert [await put(**{f"f{n}": "x" * 1024}) for n in range(11)][-1] == "error"
    assert not box.appliance.effects


async def test_ended_sessions(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A session ends once; attributes of an ended or unknown session are an error; both attempts are counted."""
    lsid = box.appliance.sessions.begin().lsid
    kinds = [local(tree(await command(pra, "terminate_session", lsid=lsid))) for _ in range(2)]
    assert kinds == ["success", "error"]
    assert box.appliance.effects[f"terminate_session|{lsid}|"] == 2
    assert local(tree(await command(pra, "get_session_attributes", lsid="0" * 32))) == "error"
    session = box.appliance.sessions.by_id[lsid]
    end = session.end
    box.appliance.sessions.end(session)
    assert session.end == end


async def test_other_changes(box: Sandbox, rs: httpx.AsyncClient) -> None:
    """Joining needs a session, importing a shortcut needs a name."""
    lsid = box.appliances["appliance2"].sessions.begin().lsid
    assert local(tree(await command(rs, "join_session", lsid=lsid))) == "success"
    assert local(tree(await command(rs, "import_jump_shortcut", name="web01"))) == "success"
    assert local(tree(await command(rs, "import_jump_shortcut"))) == "error"
    assert box.appliances["appliance2"].effects["import_jump_shortcut||web01"] == 1


async def test_rights(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """What the account may not do is answered 403 in the API's own form."""
    account(box).command = "read_only"
    assert (await command(pra, "get_api_info")).status_code == 200
    assert (await command(pra, "terminate_session")).status_code == 403
    account(box).command = "deny"
    assert (await command(pra, "get_api_info")).status_code == 403
    account(box).reporting = account(box).configuration = False
    assert (await report(pra, "AccessSession")).status_code == 403
    assert (await pra.get("/api/config/v1/user")).status_code == 403


async def test_bad_requests(pra: httpx.AsyncClient) -> None:
    """Multipart and other methods are refused; an unknown API is 404."""
    answer = await pra.post("/api/command", files={"action": b"get_api_info"})
    assert (answer.status_code, local(tree(answer))) == (400, "error")
    assert (await pra.put("/api/reporting")).status_code == 400
    assert (await pra.get("/api/nothing")).status_code == 404


async def test_session_report(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A session's report holds its facts; one in progress has an empty end."""
    now = int(time.time())
    ended = box.appliance.sessions.begin(
        start=now - 902, end=now, attributes={"external_key": "INC1", "snow_task_id": "t"}, chat=("<hi>",)
    )
    running = box.appliance.sessions.begin()
    root = tree(await report(pra, "AccessSession", lsids=f"{ended.lsid},{running.lsid}"))
    assert local(root) == "session_list"
    first, second = [{local(node): node for node in session} for session in root]
    assert first["duration"].text == "00:15:02"
    assert first["external_key"].text == "INC1"
    assert [node.get("code_name") for node in first["custom_attributes"]] == ["snow_task_id"]
    types = [event.get("event_type") for event in first["session_details"]]
    assert types == ["Session Start", "Chat Message", "Session End"]
    assert (second["end_time"].text, second["end_time"].get("timestamp")) == (None, None)
    assert "session_chat_view_url" not in second


async def test_listing_by_time(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """`start_*` finds sessions that began, running ones too; `end_*` only ended ones; days and seconds both work."""
    sessions = box.appliance.sessions
    day = 1_750_000_000 // 86_400 * 86_400
    early = sessions.begin(start=day, end=day + 10, recording=Film(4)).lsid
    running = sessions.begin(start=day + 100).lsid

    async def listed(**query: object) -> list[str | None]:
        return [node.get("lsid") for node in tree(await report(pra, "AccessSessionListing", **query))]

    date = time.strftime("%Y-%m-%d", time.gmtime(day))
    assert await listed(start_time=day, duration=0) == [early, running]
    assert await listed(start_time=day, duration=100) == [early]
    assert await listed(end_time=day, duration=0) == [early]
    assert await listed(start_date=date, duration=1) == [early, running]
    assert await listed(end_date=date, duration=1) == [early]
    answer = await report(pra, "AccessSessionListing", start_time=day, duration=0)
    assert 'has_recording="1"' in answer.text
    summary = tree(await report(pra, "AccessSessionSummary", start_time=day, duration=0))
    assert local(summary) == "summary_list"


@pytest.mark.parametrize("language", ["en", "fr", "de"])
async def test_nothing_found(box: Sandbox, pra: httpx.AsyncClient, language: str) -> None:
    """An empty result is an error document with HTTP 200, in the appliance's language."""
    box.appliance.language = language  # type: ignore[assignment]
    answer = await report(pra, "AccessSession", end_time=4_000_000_000, duration=0)
    assert (answer.status_code, tree(answer).text) == (200, NOTHING_FOUND[language])


@pytest.mark.parametrize(
    "query",
    [{"lsid": "0" * 32}, {"start_time": "2026-01-01T00:00:00Z", "duration": 0}, {"start_time": 1}, {}],
)
async def test_bad_selections(pra: httpx.AsyncClient, query: dict[str, object]) -> None:
    """An unknown session, an ISO time, a missing duration and no selection are errors with HTTP 200."""
    answer = await report(pra, "AccessSession", **query)
    assert (answer.status_code, local(tree(answer))) == (200, "error")


async def test_damaged_reports(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A control character makes a report that no strict parser reads."""
    now = int(time.time())
    plain = box.appliance.sessions.begin(end=now, damaged=True)
    answer = await report(pra, "AccessSession", lsid=plain.lsid)
    assert b"\x0b" in answer.content
    with pytest.raises(etree.XMLSyntaxError):
        tree(answer)


async def test_large_reports(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A report of any size is streamed and well-formed."""
    lsid = box.appliance.sessions.begin(end=int(time.time()), bulk=2_000_000).lsid
    answer = await report(pra, "AccessSession", lsid=lsid)
    assert 2_000_000 < len(answer.content) < 2_100_000
    assert "content-length" not in answer.headers
    assert local(tree(answer)) == "session_list"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("VaultAccountActivity", "vault_account_activity_list"),
        ("SupportTeam", "team_list"),
        ("JumpItem", "jump_item_event_list"),
        ("SupportCustExitSurvey", "error"),
        ("AccessSession", "error"),
        ("", "error"),
    ],
)
async def test_other_reports(rs: httpx.AsyncClient, kind: str, expected: str) -> None:
    """The other reports answer their roots; another product's are invalid."""
    assert local(tree(await report(rs, kind))) == expected


async def test_binary_reports(box: Sandbox, rs: httpx.AsyncClient) -> None:
    """Licence usage is a ZIP, a recording is a film, an expired or unknown one is an error."""
    answer = await report(rs, "LicenseUsage")
    assert (answer.headers["content-type"], answer.content[:2]) == ("application/zip", b"PK")
    sessions = box.appliances["appliance2"].sessions
    film, none = sessions.begin(recording=Film(4)).lsid, sessions.begin().lsid
    assert (await report(rs, "SupportSessionRecording", lsid=film)).content == b"".join(Film(4).pieces())
    texts = [(await report(rs, "CommandShellRecording", lsid=lsid)).text for lsid in (none, "x")]
    assert ["expired" in text for text in texts] == [True, False]


async def test_configuration_lists(pra: httpx.AsyncClient) -> None:
    """Lists are filtered and paged, with the paging in headers."""
    answer = await pra.get("/api/config/v1/jump-client", params={"per_page": 4, "current_page": 2})
    assert [row["id"] for row in answer.json()] == [5, 6, 7, 8]
    assert answer.headers["x-bt-pagination-last-page"] == "3"
    assert set(answer.links) == {"first", "prev", "next", "last"}
    one = await pra.get("/api/config/v1/jump-client", params={"hostname": "web03"})
    assert [row["name"] for row in one.json()] == ["web03"]
    assert (await pra.get("/api/config/v1/jump-client/3")).json()["name"] == "web03"
    assert (await pra.get("/api/config/v1/jump-item/shell-jump")).json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("jump-client?color=red", 401),
        ("jump-client?per_page=101", 422),
        ("jump-client?current_page=0", 422),
        ("jump-client?per_page=x", 422),
        ("jump-client/99", 404),
        ("nothing", 404),
    ],
)
async def test_configuration_refusals(pra: httpx.AsyncClient, path: str, status: int) -> None:
    """An unknown parameter is 401, sic; bad pages are 422; what is not there is 404."""
    assert (await pra.get(f"/api/config/v1/{path}")).status_code == status


async def test_configuration_is_read_only(pra: httpx.AsyncClient) -> None:
    """Nothing can be changed by the Configuration API."""
    assert (await pra.delete("/api/config/v1/jump-client/3")).status_code == 405


async def test_waiting_for_calls(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Somebody can wait until a call was executed, and is told when it never comes."""
    waiting = asyncio.create_task(box.appliance.until(lambda: box.appliance.calls["get_api_info"] == 1))
    await command(pra, "get_api_info")
    await waiting
    with pytest.raises(TimeoutError):
        await box.appliance.until(lambda: False, 0.01)


def test_sessions_are_the_same_again() -> None:
    """One seed gives the same ids again."""
    assert Sessions(3).begin().lsid == Sessions(3).begin().lsid != Sessions(4).begin().lsid
