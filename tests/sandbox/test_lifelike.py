"""Lifelike sessions: what a report on them holds, the awkward things too."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx
import pytest
from lxml import etree

from relay.sandbox import scenes
from relay.sandbox.box import Sandbox
from relay.sandbox.device import Device
from relay.sandbox.films import Film
from relay.sandbox.happenings import KINDS
from relay.sandbox.lifelike import Lives, Script
from relay.sandbox.reporting import BAD_PARAMETER, EXPIRED, NOTHING_FOUND, WRONG_LSID
from relay.sandbox.sessionreport import story
from relay.sandbox.xml import NAMESPACES

EVERY = Script(events=len(scenes.REPEATED) * 3)


async def fetch(client: httpx.AsyncClient, kind: str, **query: object) -> httpx.Response:
    return await client.get("/api/reporting", params={"generate_report": kind, **query})  # type: ignore[dict-item]


def plain(content: bytes) -> Any:
    """The document without its namespace."""
    root = etree.fromstring(content)
    for node in root.iter():
        node.tag = etree.QName(node).localname
    return root


async def test_every_kind_of_event(box: Sandbox, pra: httpx.AsyncClient, rs: httpx.AsyncClient) -> None:
    """A session of either product can hold every event type, each with its time, in the order in which it happened."""
    for name, client, family in (("default", pra, "Access"), ("appliance2", rs, "Support")):
        session = Lives(box.appliances[name]).ended(EVERY)
        answer = await fetch(client, f"{family}Session", lsid=session.lsid)
        found = [(int(node.get("timestamp")), node.get("event_type")) for node in plain(answer.content).iter("event")]
        assert found == [(event.timestamp, event.kind) for event in story(session, session.end)]
        assert found == sorted(found, key=lambda pair: pair[0])
        assert {kind for _, kind in found} == set(KINDS)


async def test_awkward_texts(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """What XML forbids comes as base64 in `encoded_body`; every other text comes as it was written."""
    session = Lives(box.appliance).ended(Script(events=200, kinds=["Session Note Added"]))
    notes = list(plain((await fetch(pra, "AccessSession", lsid=session.lsid)).content).iter("event"))[1:-1]
    texts = [
        node.findtext("body") or base64.b64decode(node.findtext("encoded_body", "")).decode() for node in notes[:200]
    ]
    assert texts == [event.body.replace("\r\n", "\n") for event in session.events[:200]]
    assert {event.body for event in session.events} >= set(scenes.TEXTS)
    assert sum(node.find("encoded_body") is not None for node in notes) > 0


async def test_addresses_and_people(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Addresses have a port or none, are `Unknown`, empty or missing; a second representative was invited."""
    lives = Lives(box.appliance)
    lsids = [lives.begin().lsid for _ in range(40)]
    root = plain((await fetch(pra, "AccessSession", lsids=",".join(lsids))).content)
    customers = [node for node in root.iter("customer") if node.find("public_ip") is not None]
    found = {node.findtext("public_ip") for node in customers}
    assert found == {address for address in scenes.ADDRESSES if address is not None}
    assert len(customers) < 40
    assert {node.findtext("invited") for node in root.iter("representative")} == {None, "1"}
    assert {node.find("jump_group").get("id") for node in root} == {"-1", "1", "7"}
    assert {node.find("jumpoint") is None for node in root} == {True, False}


async def test_files_by_product(box: Sandbox, pra: httpx.AsyncClient, rs: httpx.AsyncClient) -> None:
    """PRA gives a file's name and size as data, RS as elements; a download is done by the endpoint."""
    script = Script(events=3, kinds=["File Upload", "File Download", "Files Shared"])
    for name, client, family in (("default", pra, "Access"), ("appliance2", rs, "Support")):
        session = Lives(box.appliances[name]).ended(script)
        root = plain((await fetch(client, f"{family}Session", lsid=session.lsid)).content)
        up, down, shared = list(root.iter("event"))[1:4]
        assert root.findtext("session/file_transfer_count") == "2"
        assert (up.find("filename") is None) == (name == "default")
        assert [node.get("name") for node in up.iter("value")] == (
            ["filename", "filesize"] if name == "default" else []
        )
        assert [down.find(part).get("type") for part in ("performed_by", "destination")] == [
            "customer",
            "representative",
        ]
        assert [node.findtext("filesize") for node in shared.iter("file")] == [str(size) for _, size in scenes.FILES]


async def test_system_information(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """System information is a table in each category, with the names of its columns."""
    session = Lives(box.appliance).begin(Script(events=1, kinds=["System Information Retrieved"]))
    root = plain((await fetch(pra, "AccessSession", lsid=session.lsid)).content)
    assert [node.get("name") for node in root.iter("category")] == ["General", "Disks", "Events"]
    disks = root.findall(".//category")[1]
    assert [node.get("name") for node in disks.find("description")] == ["Drive", "Size", "Free"]
    assert [[field.text for field in row] for row in disks.iter("row")][1] == ["D: <data>", "1 TB", "12 %"]


async def test_running_then_ended(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A running session has no end, and an ended one still has none for a while when reports lag behind."""
    sessions, lives = box.appliance.sessions, Lives(box.appliance)
    session = lives.begin(Script(film=10))
    before = int(sessions.clock()) - 1

    async def end() -> tuple[str | None, bool]:
        root = plain((await fetch(pra, "AccessSession", lsid=session.lsid)).content)
        listed = await fetch(pra, "AccessSessionListing", end_time=before, duration=0)
        return root.find("session/end_time").get("timestamp"), session.lsid in listed.text

    assert await end() == (None, False)
    sessions.lag = 3600
    lives.end(session)
    stamp = session.end
    assert await end() == (None, False)
    sessions.lag = 0
    assert await end() == (str(stamp), True)
    lives.end(session)
    assert (session.end, [event.kind for event in session.events].count("Screen Recording")) == (stamp, 1)


async def test_recordings_of_any_size(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """Recordings are named in the report and streamed, the same bytes each time; those of shells by their number."""
    session = Lives(box.appliance).ended(Script(film=3_000_000, shells=(70_000, 5)))
    root = plain((await fetch(pra, "AccessSession", lsid=session.lsid)).content)
    assert root.find("session/session_recording_download_url") is not None
    assert [node.get("instance") for node in root.iter("command_shell_recording")] == ["0", "1"]
    film, shells = session.recording, session.shells
    assert film is not None
    answer = await fetch(pra, "AccessSessionRecording", lsid=session.lsid)
    assert (answer.headers["content-type"], len(answer.content)) == ("video/mp4", 3_000_000)
    assert hashlib.sha256(answer.content).hexdigest() == film.sha256()
    for number, shell in enumerate(shells):
        answer = await fetch(pra, "CommandShellRecording", lsid=session.lsid, recording_id=number)
        assert hashlib.sha256(answer.content).hexdigest() == shell.sha256()
    for wrong in ("2", "x", "-1"):
        answer = await fetch(pra, "CommandShellRecording", lsid=session.lsid, recording_id=wrong)
        assert plain(answer.content).text == EXPIRED["en"]
    assert len({Film(100, seed).sha256() for seed in range(3)} | {film.sha256()}) == 4


async def test_expired_recordings(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A recording can be gone though the report names it."""
    session = Lives(box.appliance).ended(Script(film=10, shells=(10,), expired=True))
    assert "session_recording_view_url" in (await fetch(pra, "AccessSession", lsid=session.lsid)).text
    for kind in ("AccessSessionRecording", "CommandShellRecording"):
        assert plain((await fetch(pra, kind, lsid=session.lsid)).content).text == EXPIRED["en"]


async def test_remote_support(box: Sandbox, rs: httpx.AsyncClient) -> None:
    """A support session has a site, teams, what the customer told, and exit surveys with reports of their own."""
    lives = Lives(box.appliances["appliance2"])
    session = lives.ended()
    root = plain((await fetch(rs, "SupportSession", lsid=session.lsid)).content)
    assert root.findtext("session/public_site") == "Default"
    assert [node.text for node in root.iter("team")] == ["Service Desk", "Éclair"]
    assert root.findtext(".//customer/info/company") == "A & B"
    assert [len(list(root.iter(f"{by}_exit_survey"))) for by in ("cust", "rep")] == [1, 1]
    for kind, by in (("SupportCustExitSurvey", "customer"), ("SupportRepExitSurvey", "representative")):
        survey = plain((await fetch(rs, kind, lsid=session.lsid, report_type="rep")).content)
        assert survey.find("exit_survey").get("lsid") == session.lsid
        assert survey.find(".//submitted_by").get("type") == by
        assert survey.findtext(".//answer") == "Très satisfait & happy"
    unasked = lives.begin()
    for query in ({"lsid": unasked.lsid}, {"end_time": 4_000_000_000, "duration": 0}):
        answer = await fetch(rs, "SupportCustExitSurvey", report_type="rep", **query)
        assert plain(answer.content).text == NOTHING_FOUND["en"]
    answer = await fetch(rs, "SupportCustExitSurvey", lsid=session.lsid)
    assert plain(answer.content).text == BAD_PARAMETER["en"]


@pytest.mark.parametrize("dialect", list(NAMESPACES))
async def test_namespaces(box: Sandbox, pra: httpx.AsyncClient, dialect: str) -> None:
    """Three namespaces and none are written, and the rest of the report is the same in each."""
    box.appliance.dialect = dialect  # type: ignore[assignment]
    lsid = Lives(box.appliance, seed=1).ended(start=1_750_000_000).lsid
    content = (await fetch(pra, "AccessSession", lsid=lsid)).content
    assert etree.QName(etree.fromstring(content)).namespace == (NAMESPACES[dialect].format("reporting") or None)  # type: ignore[index]
    assert plain(content).find("session").get("lsid") == lsid


@pytest.mark.parametrize("language", ["en", "fr", "de"])
async def test_errors_in_the_appliances_language(box: Sandbox, pra: httpx.AsyncClient, language: str) -> None:
    """Errors come with status 200 in the appliance's language, and so do texts that the system writes."""
    box.appliance.language = language  # type: ignore[assignment]
    session = Lives(box.appliance).begin(Script(events=40, kinds=["Chat Message", "Special Action Executed"]))
    errors = (
        await fetch(pra, "AccessSession", lsid="0" * 32),
        await fetch(pra, "AccessSession"),
        await fetch(pra, "AccessSessionRecording", lsid=session.lsid),
    )
    texts = [WRONG_LSID[language], BAD_PARAMETER[language], EXPIRED[language]]
    assert [(answer.status_code, plain(answer.content).text) for answer in errors] == [(200, text) for text in texts]
    report = (await fetch(pra, "AccessSession", lsid=session.lsid)).text
    assert scenes.ACTIONS[language] in report
    assert scenes.NOTICES[language].removeprefix("{}") in report


async def test_damaged_and_large_sessions(box: Sandbox, pra: httpx.AsyncClient) -> None:
    """A damaged session's report is ill-formed and nothing of it is missing; many sessions come in one report."""
    lives = Lives(box.appliance)
    damaged = lives.ended(Script(damaged=True))
    content = (await fetch(pra, "AccessSession", lsid=damaged.lsid)).content
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(content)
    healed = plain(content.replace(b"\x0b", b""))
    assert len(list(healed.iter("event"))) == len(list(story(damaged, damaged.end)))
    many = [lives.ended(Script(events=50)).lsid for _ in range(20)]
    root = plain((await fetch(pra, "AccessSession", lsids=",".join(many))).content)
    assert [node.get("lsid") for node in root] == many


def test_the_same_sessions_again() -> None:
    """One seed makes the same sessions, another one others."""
    first, again, other = (Lives(Device("default"), seed).ended(EVERY, 1_750_000_000) for seed in (1, 1, 2))
    assert first == again
    assert first.events != other.events


def test_chosen_people() -> None:
    """The endpoint, the representative and the attributes can be chosen, for links to a task, an item and a user."""
    script = Script(endpoint="web07", user="jdoe", attributes={"snow_task_id": "t", "external_key": "INC1"})
    session = Lives(Device("default")).begin(script, 1_750_000_000)
    assert (session.endpoint, session.user, session.active) == ("web07", "jdoe", True)
    assert (session.customers[0].hostname, session.representatives[0].username) == ("web07", "jdoe")
    assert session.attributes == {"snow_task_id": "t", "external_key": "INC1"}
