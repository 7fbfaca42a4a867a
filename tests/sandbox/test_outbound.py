"""What the appliance sends by itself, as a listener sees it: events in order, and requests for approval."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.server import HANG, RESET, HttpsServer, Reply, Request, Response

from relay.sandbox.box import Sandbox
from relay.sandbox.certificates import Authority
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.outbound import Message, Recipient
from relay.sandbox.tickets import RESPONSE_PATH

Connect = Callable[..., httpx.AsyncClient]
URL = "/events?outbound_event_token=t%261"


class Listener:
    """Answers each post with the next of `replies`, then with 200."""

    def __init__(self, box: Sandbox, authority: Authority | None = None) -> None:
        self.replies: list[Reply] = []
        self.forms: list[dict[str, str]] = []
        self.server = HttpsServer(self._take, (authority or box.authority).server("listener"))

    async def _take(self, request: Request) -> Reply:
        self.forms.append(request.form)
        return self.replies.pop(0) if self.replies else Response(200, b"")


@pytest.fixture
async def listener(box: Sandbox) -> AsyncIterator[Listener]:
    made = Listener(box)
    async with made.server:
        yield made


def recipient(box: Sandbox, listener: Listener, **options: Any) -> Recipient:
    """A recipient of the first appliance's events that tries again at once."""
    made = Recipient("relay", box.way(listener.server.url + URL), retry_interval=0.01, **options)
    box.appliance.outbound.add(made)
    return made


async def settled(box: Sandbox, *messages: Message) -> None:
    await box.appliance.until(lambda: all(message.state != "queued" for message in messages))


async def test_an_event_is_a_form_post(box: Sandbox, listener: Listener) -> None:
    """An event is a form post with the token in the query, its standard variables, the session's, and custom fields."""
    recipient(box, listener)
    session = Lives(box.appliance).begin(Script(user="jdoe", attributes={"snow_task_id": "ü&", "external_key": "INC1"}))
    outbound = box.appliance.outbound
    await settled(box, *outbound.messages)
    request = listener.server.requests[0]
    assert (request.method, request.target) == ("POST", URL)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    first = listener.forms[0]
    assert first == {
        "event": "access_session_begin",
        "version": "1.3",
        "timestamp": first["timestamp"],
        "appliance_id": box.appliance.guid,
        "lsid": session.lsid,
        "lseq": "1",
        "external_key": "INC1",
        "session_type": "support",
        "user_id": "1",
        "username": "jdoe",
        "display_name": "Jdoe",
        "snow_task_id": "ü&",
    }
    assert abs(int(first["timestamp"]) - box.appliance.sessions.clock()) < 20
    Lives(box.appliance).end(session)
    await settled(box, *outbound.messages)
    assert (listener.forms[-1]["event"], listener.forms[-1]["timestamp"]) == ("access_session_end", str(session.end))
    assert {form["event"] for form in listener.forms[1:-1]} == {"access_session_member_added"}


async def test_what_a_recipient_is_sent(box: Sandbox, listener: Listener) -> None:
    """A recipient gets the events it chose; custom fields have a prefix, or are left out."""
    recipient(box, listener, events=frozenset({"access_session_end"}), field_prefix="session.custom.")
    lives = Lives(box.appliance)
    lives.end(lives.begin(Script(attributes={"snow_task_id": "t"})))
    recipient(box, listener, events=frozenset({"access_session_end"}), custom_fields=False)
    lives.end(lives.begin(Script(attributes={"snow_task_id": "t"})))
    await settled(box, *box.appliance.outbound.messages)
    assert [form["event"] for form in listener.forms] == ["access_session_end"] * 2
    assert [sorted(name for name in form if "task" in name) for form in listener.forms] == [
        ["session.custom.snow_task_id"],
        [],
    ]


async def test_events_of_remote_support(box: Sandbox, listener: Listener) -> None:
    """A support session's events have names of their own, and tell of its exit surveys."""
    device = box.appliances["appliance2"]
    device.outbound.add(Recipient("relay", box.way(listener.server.url + URL)))
    lives = Lives(device)
    lives.end(lives.begin())
    await device.until(lambda: not device.outbound.queued("relay"))
    names = [form["event"] for form in listener.forms if not form["event"].endswith("member_added")]
    assert names == [
        "support_conference_begin",
        "support_conference_customer_exit_survey_completed",
        "support_conference_rep_exit_survey_completed",
        "support_conference_end",
    ]


async def test_nothing_passes_an_event_that_did_not_get_200(box: Sandbox, listener: Listener) -> None:
    """An event is posted until it got 200, whatever came instead; those after it wait, and keep their order."""
    statuses: list[Reply] = [Response(status, b"") for status in (503, 403, 204)]
    listener.replies = [HANG, *statuses, RESET, b"nonsense\r\n\r\n", b"\r\n\r\n"]
    one = recipient(box, listener)
    one.way = box.way(listener.server.url + URL, timeout=0.5)
    first, second = (box.appliance.outbound.send(name, {"lsid": "x"})[0] for name in ("one", "two"))
    await box.appliance.until(lambda: bool(listener.forms and first.answers))
    one.way = box.way(listener.server.url + URL)  # only what hangs shall be given up
    await settled(box, first, second)
    assert [form["event"] for form in listener.forms] == ["one"] * 8 + ["two"]
    assert [answer for answer in first.answers if isinstance(answer, int)] == [503, 403, 204, 200]
    assert len(first.answers) >= 8
    assert second.answers == [200]
    assert len({form["timestamp"] for form in listener.forms[:8]}) == 1


async def test_a_lost_200_makes_a_duplicate(box: Sandbox, listener: Listener) -> None:
    """When the 200 is lost on its way the same event comes again, every variable the same."""
    recipient(box, listener, lose=2)
    [message] = box.appliance.outbound.send("end", {"lsid": "x"})
    await settled(box, message)
    assert (message.answers, listener.forms) == ([200] * 3, [message.fields] * 3)


async def test_a_late_event_is_dropped(box: Sandbox, listener: Listener) -> None:
    """After the retry duration an event is dropped, and the next one leaves."""
    listener.replies = [Response(500, b"")]
    recipient(box, listener, retry_duration=0)
    first, second = (box.appliance.outbound.send(name, {})[0] for name in ("one", "two"))
    await settled(box, first, second)
    assert (first.state, second.state) == ("dropped", "delivered")
    assert first.facts()["answers"] == [500]


async def test_a_closed_listener_and_a_disabled_recipient(box: Sandbox, listener: Listener) -> None:
    """Events queue up while the recipient is disabled or nobody listens, and leave afterwards."""
    outbound = box.appliance.outbound
    one = recipient(box, listener, enabled=False)
    messages = [outbound.send(str(number), {})[0] for number in range(3)]
    assert outbound.queued("relay") == 3
    await listener.server.stop()
    one.enabled = True
    outbound.resume()
    await box.appliance.until(lambda: bool(messages[0].answers))
    assert "refused" in str(messages[0].answers[0]).lower()
    again = Listener(box)
    async with again.server:
        recipient(box, again)
        await settled(box, *messages)
    assert [form["event"] for form in again.forms] == ["0", "1", "2"]


async def test_trust_and_source(box: Sandbox, tmp_path: Path) -> None:
    """The appliance posts only to who has a certificate that it trusts, and from the address it was given."""
    outbound, other = box.appliance.outbound, tmp_path / "other"
    other.mkdir()
    listener = Listener(box, Authority(other))
    async with listener.server:
        one = recipient(box, listener)
        [message] = outbound.send("end", {})
        await box.appliance.until(lambda: bool(message.answers))
        assert "CERTIFICATE_VERIFY_FAILED" in str(message.answers[0])
        assert listener.forms == []
        box.trusted.append(other / "ca.pem")
        one.way = box.way(listener.server.url + URL, source="127.0.0.2")
        await settled(box, message)
        peer = listener.server.requests[-1].connection.writer.get_extra_info("peername")
        assert peer[0] == "127.0.0.2"


async def test_terminating_a_session_sends_its_end(box: Sandbox, listener: Listener, pra: httpx.AsyncClient) -> None:
    """A session that the Command API terminates ends like any other."""
    recipient(box, listener)
    session = box.appliance.sessions.begin()
    await pra.post("/api/command", data={"action": "terminate_session", "lsid": session.lsid})
    await settled(box, *box.appliance.outbound.messages)
    assert [(form["event"], form["lsid"]) for form in listener.forms] == [("access_session_end", session.lsid)]


async def ask(box: Sandbox, listener: Listener, **options: Any) -> Any:
    response_url = box.appliance.url + RESPONSE_PATH
    return await box.appliance.tickets.ask(box.way(listener.server.url + "/approvals"), "CHG1", response_url, **options)


@pytest.mark.parametrize("way", ["form", "json"])
async def test_a_request_for_approval(box: Sandbox, listener: Listener, connect: Connect, way: str) -> None:
    """A request tells of ticket, Jump item and user; the decision comes to its URL as form or JSON, without a token."""
    ticket = await ask(box, listener, jump_item={"computer_name": "db 02"}, user={"username": "zoë"})
    form = listener.forms[0]
    assert (form["ticket_id"], form["jump_item.computer_name"], form["user.username"]) == ("CHG1", "db 02", "zoë")
    assert {"jump_item.type", "jump_item.jumpoint_name", "user.id", "user.email_address"} <= set(form)
    assert (ticket.receipt, form["request_id"], ticket.decisions) == (200, ticket.request_id, [])
    client = connect("", headers={}, auth=None)
    values = {"response_id": ticket.request_id, "response": "allow", "message": "", "session.custom.ref": "é"}
    answer = await client.post(form["response_url"], **{"data" if way == "form" else "json": values})
    assert answer.status_code == 200
    [decision] = ticket.decisions
    assert (decision.response, decision.attributes, decision.carried) == ("allow", {"ref": "é"}, ())
    assert ticket.facts()["decisions"][0]["media_type"] == answer.request.headers["content-type"]


async def test_decisions_that_must_not_be(box: Sandbox, listener: Listener, connect: Connect) -> None:
    """A decision of nobody's request, a second one, and one that carries a token or a query are told apart."""
    ticket, tickets = await ask(box, listener), box.appliance.tickets
    client = connect(box.appliance.url, headers={})
    good = {"response_id": ticket.request_id, "response": "deny", "message": "no"}
    assert (await client.get(RESPONSE_PATH)).status_code == 405
    assert (await client.post(RESPONSE_PATH, content=b"x", headers={"Content-Type": "a/b"})).status_code == 415
    for body in (
        {"json": {"response_id": "x"}},
        {"json": []},
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ):
        assert (await client.post(RESPONSE_PATH, **body)).status_code == 404  # type: ignore[arg-type]
    assert tickets.strangers == ["x", "", ""]
    tickets.status = 500
    headers = {"Authorization": "Bearer t", "Cookie": "a=b"}
    answers = [
        await client.post(RESPONSE_PATH, data=good, params={"a": "b"}),
        await client.post(RESPONSE_PATH, data=good, headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert [decision.carried for decision in ticket.decisions] == [("query",), ("authorization", "cookie")]


async def test_a_request_without_a_receipt(box: Sandbox, listener: Listener) -> None:
    """A request is posted once: when nobody answers, the ticket says so."""
    listener.replies = [RESET, Response(200, b"ok")]
    assert "Error" in (await ask(box, listener)).receipt
    assert (await ask(box, listener)).receipt_body == "ok"
    assert len(listener.forms) == 2
