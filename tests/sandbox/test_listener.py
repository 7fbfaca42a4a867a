"""What the appliance of the sandbox posts, and what the relay's own listener takes of it."""

from __future__ import annotations

from pathlib import Path

from support.listening import ELSEWHERE, TOKEN, Running, known, running
from support.tls import Authority

from relay.sandbox.box import Sandbox
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.outbound import Recipient
from relay.sandbox.tickets import RESPONSE_PATH
from relay.sandbox.vendor import EVENT_PATHS


def url(relay: Running, path: str = "/events", token: str = TOKEN) -> str:
    return f"https://localhost:{relay.port}{path}?outbound_event_token={token}"


async def test_nothing_is_lost_on_the_way_to_the_listener(box: Sandbox, tmp_path: Path) -> None:
    """While the relay's store is down nothing leaves; then every event comes, in order, a repeated one known."""
    authority = Authority(tmp_path / "relay")
    box.trust(str(authority.ca_file))
    outbound, lives = box.appliance.outbound, Lives(box.appliance)
    async with running(authority) as relay:
        relay.inbox.down()
        outbound.add(Recipient("relay", box.way(url(relay)), retry_interval=0.01, lose=2))
        lives.end(lives.begin(Script(attributes={"snow_task_id": "é &=+", "external_key": "INC1"})))
        first = outbound.messages[0]
        await box.appliance.until(lambda: len(first.answers) > 1)
        assert set(first.answers) == {503}
        relay.inbox.error = None
        await box.appliance.until(lambda: not outbound.queued("relay"))
        posts = relay.inbox.posts
        assert [dict(post.fields) for post in posts[2:]] == [message.fields for message in outbound.messages]
        assert posts[0].id == posts[1].id == posts[2].id
        assert len({post.id for post in posts}) == len(outbound.messages)


async def test_appliances_are_told_apart(box: Sandbox, tmp_path: Path) -> None:
    """Each appliance is known by its token or its address; a wrong token blocks its queue until it is put right."""
    authority = Authority(tmp_path / "relay")
    box.trust(str(authority.ca_file))
    other = box.appliances["appliance2"]
    async with running(authority, known(), known(token="another-token-of-it", name="appliance2")) as relay:
        wrong = Recipient("relay", box.way(url(relay, token="wrong")), retry_interval=0.01)
        box.appliance.outbound.add(wrong)
        other.outbound.add(Recipient("relay", box.way(url(relay, token="another-token-of-it"))))
        for device in (box.appliance, other):
            Lives(device).begin()
        await other.until(lambda: not other.outbound.queued("relay"))
        await box.appliance.until(lambda: bool(box.appliance.outbound.messages[0].answers))
        assert box.appliance.outbound.messages[0].answers[0] == 403
        assert {post.appliance for post in relay.inbox.posts} == {"appliance2"}
        wrong.way = box.way(url(relay))
        await box.appliance.until(lambda: not box.appliance.outbound.queued("relay"))
        assert {post.appliance for post in relay.inbox.posts} == {"default", "appliance2"}
    async with running(authority, known(*ELSEWHERE, token=None)) as relay:
        box.appliance.outbound.add(Recipient("relay", box.way(url(relay)), retry_interval=60))
        [message] = box.appliance.outbound.send("odd", {})
        await box.appliance.until(lambda: bool(message.answers))
        assert (message.answers, relay.inbox.posts) == ([403], [])


async def test_every_path_of_the_vendor(box: Sandbox, tmp_path: Path) -> None:
    """Only the host changes: the listener takes events and requests for approval at the vendor's paths."""
    authority = Authority(tmp_path / "relay")
    box.trust(str(authority.ca_file))
    async with running(authority) as relay:
        for path in sorted(EVENT_PATHS):
            box.appliance.outbound.add(Recipient(path, box.way(url(relay, path))))
        box.appliance.outbound.send("access_session_end", {"lsid": "ab" * 16})
        await box.appliance.until(lambda: not any(map(box.appliance.outbound.queued, EVENT_PATHS)))
        assert sorted(post.path for post in relay.inbox.posts) == sorted(EVENT_PATHS)
        ticket = await box.appliance.tickets.ask(
            box.way(url(relay, "/approvals")), "CHG1", box.appliance.url + RESPONSE_PATH
        )
        assert ticket.receipt == 200
        assert (relay.inbox.posts[-1].kind, dict(relay.inbox.posts[-1].fields)) == ("approval", ticket.fields)
