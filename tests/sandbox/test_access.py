"""Who may come in to the instance, and what sessions and rate limits do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from relay.sandbox.access import User
from relay.sandbox.box import OAUTH_CLIENT, USER, Sandbox

QUEUE = "/api/now/table/ecc_queue"
Connect = Callable[..., httpx.AsyncClient]


async def token(client: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await client.post("/oauth_token.do", data=form)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic !!!",
        "Basic c3ZjLnJlbGF5Ondyb25n",
        "Basic c3ZjLnJlbGF5OnDDpHNzd29ydA==",
        "Basic bm9ib2R5OngK",
        "Bearer x",
        "Digest x",
    ],
)
async def test_wrong_logins(connect: Connect, header: str) -> None:
    """Whoever is not a user gets 401 with a challenge."""
    answer = await connect(auth=None).get(QUEUE, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("BASIC")
    assert answer.headers["x-is-logged-in"] == "false"


async def test_a_cookie_is_no_login(connect: Connect, client: httpx.AsyncClient) -> None:
    """A session's cookie without an Authorization header is refused."""
    await client.get(QUEUE)
    cookies = dict(client.cookies)
    assert set(cookies) == {"JSESSIONID", "glide_user_route"}
    assert (await connect(auth=None, cookies=cookies).get(QUEUE)).status_code == 401


async def test_a_session_lasts(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A client that keeps its cookies keeps its session; another user's cookie is worth nothing."""
    for _ in range(3):
        await client.get(QUEUE)
    assert [session.requests for session in box.servicenow.access.sessions.values()] == [3]
    box.servicenow.access.add(User("other", "pw", frozenset({"mid_server"})))
    answer = await client.get(QUEUE, auth=("other", "pw"))
    assert "JSESSIONID" in answer.cookies
    box.servicenow.access.revoke()
    await client.get(QUEUE)
    assert len(box.servicenow.access.sessions) == 1


async def test_one_transaction_a_session(box: Sandbox, connect: Connect) -> None:
    """A request waits for the transaction of its own session and for no other's."""
    one, two = connect(), connect()
    await asyncio.gather(one.get(QUEUE), two.get(QUEUE))
    came = box.servicenow.requests
    async with box.servicenow.access.sessions[one.cookies["JSESSIONID"]].lock:
        waiting = asyncio.create_task(one.get(QUEUE))
        sent = came["all"]
        while came["all"] == sent:
            assert (await two.get(QUEUE)).status_code == 200
            sent += 1
        assert not waiting.done()
    assert (await waiting).status_code == 200


async def test_reads_and_writes_cost_time(box: Sandbox, client: httpx.AsyncClient) -> None:
    """A read or write takes its time within the transaction."""
    box.servicenow.knobs.read_cost, box.servicenow.knobs.write_cost = 0.05, 0.1
    started = time.monotonic()
    await client.get(QUEUE)
    await client.post(QUEUE, json={})
    assert time.monotonic() - started >= 0.15


async def test_roles(box: Sandbox, connect: Connect) -> None:
    """A user without the table's role is refused, on the queue but not on tasks."""
    box.servicenow.access.add(User("plain", "pw"))
    client = connect(auth=("plain", "pw"))
    answer = await client.get(QUEUE)
    assert (answer.status_code, answer.json()["error"]["message"]) == (403, "User Not Authorized")
    assert (await client.get("/api/now/table/task")).status_code == 200


async def test_client_credentials(box: Sandbox, connect: Connect) -> None:
    """A client-credentials token opens the API until it expires, and comes without a refresh token."""
    client = connect(auth=None)
    secret = box.secrets["servicenow_client"]
    answer = (await token(client, grant_type="client_credentials", client_id=OAUTH_CLIENT, client_secret=secret)).json()
    assert (answer["token_type"], answer["expires_in"], "refresh_token" in answer) == ("Bearer", 1799, False)
    client.headers["Authorization"] = f"Bearer {answer['access_token']}"
    assert (await client.get(QUEUE)).status_code == 200
    box.servicenow.access.revoke()
    assert (await client.get(QUEUE)).status_code == 401


async def test_tokens_expire(box: Sandbox, connect: Connect) -> None:
    """A token is worth nothing after its time."""
    box.servicenow.access.token_life = 0
    client = connect(auth=None)
    secret = box.secrets["servicenow_client"]
    answer = await token(client, grant_type="client_credentials", client_id=OAUTH_CLIENT, client_secret=secret)
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Accept": "*/*"}
    assert (await client.get(QUEUE, headers=headers)).status_code == 401


async def test_password_and_refresh(box: Sandbox, connect: Connect) -> None:
    """The password grant gives a refresh token, which gives another access token."""
    client = connect(auth=None)
    app = {"client_id": OAUTH_CLIENT, "client_secret": box.secrets["servicenow_client"]}
    password = box.secrets["servicenow_password"]
    first = (await token(client, grant_type="password", username=USER, password=password, **app)).json()
    second = (await token(client, grant_type="refresh_token", refresh_token=first["refresh_token"], **app)).json()
    headers = {"Authorization": f"Bearer {second['access_token']}", "Accept": "*/*"}
    assert (await client.get(QUEUE, headers=headers)).status_code == 200
    assert box.servicenow.access.tokens_issued == 2


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"client_id": OAUTH_CLIENT, "client_secret": "wrong"},
        {"grant_type": "password", "username": USER, "password": "wrong"},
        {"grant_type": "password", "username": "nobody", "password": "wrong"},
        {"grant_type": "refresh_token", "refresh_token": "wrong"},
        {"grant_type": "implicit"},
    ],
)
async def test_refused_tokens(box: Sandbox, connect: Connect, form: dict[str, str]) -> None:
    """A token request that is wrong in any part is answered 401."""
    app = {"client_id": OAUTH_CLIENT, "client_secret": box.secrets["servicenow_client"]}
    answer = await token(connect(auth=None), **{**(app if "grant_type" in form else {}), **form})
    assert (answer.status_code, answer.json()["error"]) == (401, "server_error")


async def test_tokens_are_asked_by_form(box: Sandbox, connect: Connect) -> None:
    """A token request as JSON, or by GET, is refused."""
    app = {"client_id": OAUTH_CLIENT, "client_secret": box.secrets["servicenow_client"]}
    client = connect(auth=None)
    body = {"grant_type": "client_credentials", **app}
    assert (await client.post("/oauth_token.do", json=body)).status_code == 401
    assert (await client.get("/oauth_token.do", params=body)).status_code == 401


async def test_rate_limit(box: Sandbox, client: httpx.AsyncClient) -> None:
    """Above the limit comes 429 with the headers that tell how long to wait."""
    box.servicenow.rate.limit = 2
    assert [(await client.get(QUEUE)).status_code for _ in range(3)] == [200, 200, 429]
    answer = await client.get(QUEUE)
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert answer.headers["x-ratelimit-limit"] == "2"
    assert int(answer.headers["x-ratelimit-reset"]) > time.time() - 1
    assert answer.json()["error"]["message"] == "Rate limit exceeded"
