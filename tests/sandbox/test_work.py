"""What the instance's scripts write, how they read, and the oracle's judgement of both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from relay.sandbox import attachments, oracle, reader, scripts
from relay.sandbox.box import Sandbox
from relay.sandbox.device import Device
from relay.sandbox.instance import RIVAL, Instance
from relay.sandbox.servicenow import ServiceNow
from relay.sandbox.work import BULK, Expect, Job, Maker

AGENT = "mid.server.relay01"
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"], include_characters="\n\r\t"), max_size=40)


def parameters(payload: str) -> dict[str, str]:
    root = etree.fromstring(payload.encode())
    return {node.get("name", ""): node.get("value", "") for node in root}


def appliance(product: str = "pra", name: str = "default") -> Device:
    device = Device(name, product)  # type: ignore[arg-type]
    device.url = f"https://{name}.example.com"
    return device


def answer(
    instance: Instance, job: Job, body: str = "", *, status: int = 200, error: str = "", headers: int = 2, **values: str
) -> dict[str, str]:
    """Answer a job as a relay does."""
    root = etree.Element("results", probe_time="1")
    result = etree.SubElement(root, "result")
    if error:
        root.set("error", error)
        etree.SubElement(result, "error").text = error
    etree.SubElement(result, "output").text = body
    echo = etree.SubElement(root, "parameters")
    for name, value in (("sys_id", job.sys_id), ("skip_sensor", "true"), ("http_status_code", str(status))):
        if name != "http_status_code" or status:
            etree.SubElement(echo, "parameter", name=name, value=value)
    if headers >= 0:
        holder = etree.SubElement(root, "httpHeaders")
        for number in range(headers):
            etree.SubElement(holder, "httpHeader", name=f"h{number}", value="v")
    row = {name: job.row.get(name, "") for name in ("agent", "topic", "name", "source", "agent_correlator")}
    row |= {"queue": "input", "state": "ready", "response_to": job.sys_id, "payload": etree.tostring(root).decode()}
    return instance.insert("ecc_queue", {**row, **values})


def asked(instance: Instance, kind: str = "report", device: Device | None = None) -> Job:
    job = Maker(AGENT, [device or appliance()]).make(kind)
    instance.insert("ecc_queue", job.row)
    return job


@given(name=TEXT, value=TEXT)
def test_parameters_survive(name: str, value: str) -> None:
    """Names and values come back from a payload as they went in, newlines too."""
    assert parameters(scripts.parameters([(name, value)])) == {name: value}


def test_version_1_as_it_is_written() -> None:
    """V1 writes headers and parameters as documents in attributes, the password unreadable, content only to post."""
    row = scripts.rest_message(
        AGENT, "post", "https://a/b", headers=[("Accept", "x/y")], query=[("q", "a b&c")], content="<c>", user="u"
    )
    assert (row["topic"], row["name"], row["source"], row["queue"]) == ("RESTProbe", "post", "https://a/b", "output")
    found = parameters(row["payload"])
    assert list(found) == ["message_headers", "message_parameters", "rest_user", "rest_password", "content"]
    assert '<field name="Accept" value="x/y"/>' in found["message_headers"]
    assert 'value="a%20b%26c"' in found["message_parameters"]
    assert found["rest_password"].startswith("enc:")
    assert "content" not in parameters(scripts.rest_message(AGENT, "get", "https://a", content="x")["payload"])


def test_version_2_as_it_is_written() -> None:
    """V2 adds `http_method`, runs expedited, and a long URL travels as the parameter `source`."""
    url = "https://a/" + "x" * 300
    row = scripts.rest_message_v2(AGENT, "patch", url, content="body")
    found = parameters(row["payload"])
    assert (row["priority"], found["http_method"], found["source"], found["content"]) == ("1", "patch", url, "body")
    assert "content" not in parameters(scripts.rest_message_v2(AGENT, "get", "https://a")["payload"])


def test_soap_is_not_escaped() -> None:
    """SOAPMessage escapes nothing, mixes quotes, and makes header names attribute names."""
    row = scripts.soap_message(AGENT, "https://a", "act", "<e>a & b</e>", user="u")
    assert "a & b" in row["payload"]
    assert "value='u'" in row["payload"]
    assert "<httpHeader SOAPAction='act'/>" in row["payload"]
    with pytest.raises(etree.XMLSyntaxError):
        parameters(row["payload"])


def test_other_records() -> None:
    """Heartbeats and commands of the instance are urgent; a typed operation is the record's name."""
    assert scripts.heartbeat(AGENT)["priority"] == "0"
    assert scripts.system_command(AGENT, "grabLog", [("a", "b")])["source"] == "grabLog"
    typed = scripts.typed(AGENT, "health", [("appliance", "x")])
    assert (typed["topic"], typed["name"], parameters(typed["payload"])["appliance"]) == ("BSeriesProbe", "health", "x")
    assert scripts.form({"a b": "c&d"}) == "a%20b=c%26d"


def test_the_same_work_again() -> None:
    """One seed makes the same jobs; every kind is among them, and each sys_id is another."""
    first, second = (Maker(AGENT, [appliance(), appliance("rs", "two")], 5).mix(60) for _ in range(2))
    assert [job.row for job in first] == [job.row for job in second]
    assert {job.kind for job in first} == set(Maker(AGENT, []).kinds)
    assert len({job.sys_id for job in first}) == 60
    assert first[0].facts()["row"] == first[0].row


def test_session_keys_need_remote_support() -> None:
    """Work that no appliance can do is left out of a mix, and refused alone."""
    maker = Maker(AGENT, [appliance()])
    assert not any(job.kind.endswith("session key") for job in maker.mix(40))
    with pytest.raises(LookupError):
        maker.make("session key")


async def test_every_kind_goes_into_the_queue(box: Sandbox) -> None:
    """Jobs that are put in wait in the queue, with the sessions that they need on the appliances."""
    jobs = box.maker().mix(38)
    box.put(jobs)
    assert len(box.servicenow.tables.find("ecc_queue", f"agent={box.agent}^state=ready")) == 38
    assert {session.bulk for session in box.appliance.sessions.by_id.values()} <= {0, BULK}
    summary = box.check()
    assert (summary.jobs, summary.waiting, summary.good, summary.outcomes) == (38, 38, True, {"waiting": 38})


def test_reading_an_answer() -> None:
    """Status, headers and body of an answer are where the instance's scripts look for them."""
    instance = ServiceNow()
    job = asked(instance)
    found = reader.read(instance, answer(instance, job, "<b/>", status=404))
    assert (found.status, found.body, found.error, found.headers) == (404, "<b/>", "", {"h0": "v", "h1": "v"})


@pytest.mark.parametrize(
    "payload",
    [
        '<results error="E"><result><output>b</output></result><httpHeaders/></results>',
        '<results><result error="E"><output>b</output></result><httpHeaders/></results>',
        "<results><result><error>E</error><output>b</output></result><httpHeaders/></results>",
    ],
)
def test_no_body_where_there_is_an_error(payload: str) -> None:
    """An error in any of its three places hides the body."""
    instance = ServiceNow()
    row = instance.insert("ecc_queue", {"topic": "RESTProbe", "payload": payload})
    found = reader.read(instance, row)
    assert (found.error, found.body, found.status) == ("E", "", 0)


def test_one_header_is_none() -> None:
    """A single header is lost in the scripts' loop."""
    instance = ServiceNow()
    assert reader.read(instance, answer(instance, asked(instance), headers=1)).headers == {}


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("<results/>", "httpHeaders is undefined"),
        ("<results>", "not XML"),
        ("<result/>", "root is <result>"),
        ("<see_attachment/>", "missing or exceeds"),
    ],
)
def test_answers_that_scripts_cannot_read(payload: str, reason: str) -> None:
    """The scripts throw on an answer without headers, without XML, or without its attachment."""
    instance = ServiceNow()
    row = instance.insert("ecc_queue", {"topic": "RESTProbe", "payload": payload})
    with pytest.raises(reader.Threw, match=reason):
        reader.read(instance, row)


def test_large_answers() -> None:
    """`<see_attachment/>` stands for the attachment `payload`, unless it is too large for the scripts."""
    instance = ServiceNow()
    row = instance.insert("ecc_queue", {"topic": "HeartbeatProbe", "payload": reader.SEE_ATTACHMENT})
    owner = ("ecc_queue", row["sys_id"])
    content = b"<results><result><output>big</output></result></results>"
    attachments.attach(instance, owner, attachments.File("other", b"x"), "u")
    stored = attachments.attach(instance, owner, attachments.File("payload", content), "u")
    assert reader.read(instance, row).body == "big"
    instance.files[stored["sys_id"]] += bytes(6_000_000)
    with pytest.raises(reader.Threw):
        reader.read(instance, row)


def test_a_good_run() -> None:
    """Answered once, closed, executed once: no violation, no surprise."""
    instance, device = ServiceNow(), appliance("rs")
    job = asked(instance, "session key", device)
    device.begun("generate_session_key", {"external_key": job.expect.contains})
    answer(instance, job, f"<mail_body>{job.expect.contains}</mail_body>")
    summary = oracle.check(instance, [device], [job], final=True)
    assert (summary.violations, summary.surprises, summary.answered, summary.unclosed) == ((), (), 1, 0)
    assert summary.facts()["kinds"] == {"session key": {"http 200": 1}}


def violations(instance: Instance, job: Job, device: Device | None = None, *, final: bool = False) -> str:
    return "\n".join(oracle.check(instance, [device] if device else [], [job], final=final).violations)


def test_two_answers_are_a_violation() -> None:
    """An output that is answered twice is found."""
    instance = ServiceNow()
    job = asked(instance)
    answer(instance, job, job.expect.contains)
    answer(instance, job, job.expect.contains)
    assert "answered 2 times" in violations(instance, job)


def test_processed_without_an_answer_is_a_violation() -> None:
    """An output closed without an answer is found; one that waits only at the end."""
    instance = ServiceNow()
    job = asked(instance)
    assert violations(instance, job) == ""
    assert "never answered" in violations(instance, job, final=True)
    instance.set_back([job.sys_id], "processed")
    assert "processed without an answer" in violations(instance, job)


def test_an_open_output_is_a_violation_at_the_end() -> None:
    """An answered output must be closed in the end."""
    instance = ServiceNow()
    instance.rules.mark_outputs = False
    job = asked(instance)
    answer(instance, job, job.expect.contains)
    assert violations(instance, job) == ""
    assert "its output is ready" in violations(instance, job, final=True)


def test_a_deleted_output_is_none() -> None:
    """An answer whose output is gone is still judged."""
    instance = ServiceNow()
    job = asked(instance)
    answer(instance, job, job.expect.contains)
    instance.tables.delete("ecc_queue", job.sys_id)
    assert violations(instance, job, final=True) == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"agent_correlator": "x"}, "another agent_correlator"),
        ({"name": "x"}, "another name"),
        ({"payload": "<results"}, "script throws"),
        ({"payload": "<results>" + "x" * 512_000 + "<httpHeaders/></results>"}, "payload has 51"),
    ],
)
def test_wrong_answers_are_violations(change: dict[str, str], text: str) -> None:
    """An answer with wrong columns, unreadable or too long, is found."""
    instance = ServiceNow()
    job = asked(instance)
    answer(instance, job, job.expect.contains, **change)
    assert text in violations(instance, job)


def test_mixed_up_answers_are_violations() -> None:
    """A body or an echo that belongs to another record is found."""
    instance = ServiceNow()
    job = asked(instance)
    row = answer(instance, job, "something else")
    assert "belongs to something else" in violations(instance, job)
    instance.update("ecc_queue", row, {"payload": row["payload"].replace(job.sys_id, "0" * 32)})
    assert "echoes the sys_id of another record" in violations(instance, job)


def test_effects() -> None:
    """Executed twice, executed though refused, done though never executed: each is found."""
    instance, device = ServiceNow(), appliance("rs")
    job = asked(instance, "session key", device)
    row = answer(instance, job, job.expect.contains)
    assert "never executed" in violations(instance, job, device)
    form = {"external_key": job.expect.contains}
    device.begun("generate_session_key", form)
    assert violations(instance, job, device) == ""
    device.begun("generate_session_key", form)
    assert "executed 2 times" in violations(instance, job, device)
    instance.tables.delete("ecc_queue", row["sys_id"])
    answer(instance, job, error="BSR-3001: the appliance cannot be reached", status=0)
    assert "executed, but answered with BSR-3001" in violations(instance, job, device)


def test_an_appliances_own_error_is_no_violation() -> None:
    """An answer that hands on the appliance's HTTP 500 need not have been executed; it is a surprise."""
    instance, device = ServiceNow(), appliance("rs")
    job = asked(instance, "session key", device)
    answer(instance, job, "<html/>", status=500)
    summary = oracle.check(instance, [device], [job])
    assert (summary.good, len(summary.surprises), summary.outcomes) == (True, 1, {"http 500": 1})


def test_what_must_not_pass() -> None:
    """A refused call that was executed all the same is found."""
    instance, device = ServiceNow(), appliance("rs")
    job = asked(instance, "refused", device)
    answer(instance, job, error="BSR-4003: no", status=0)
    assert violations(instance, job, device) == ""
    device.begun("logout_rep", {"user_id": "1"})
    assert "must not pass" in violations(instance, job, device)


def test_unknown_outcomes_are_no_violation() -> None:
    """BSR-3010 may be executed or not, and is a surprise only."""
    instance, device = ServiceNow(), appliance("rs")
    job = asked(instance, "session key", device)
    answer(instance, job, error="BSR-3010: outcome unknown", status=0)
    summary = oracle.check(instance, [device], [job])
    assert summary.good
    assert [text.split(": ", 1)[1] for text in summary.surprises] == ["BSR-3010: outcome unknown"]
    assert summary.outcomes == {"BSR-3010": 1}


def test_the_rival_is_not_us() -> None:
    """What another poller answered is neither ours nor a violation."""
    instance = ServiceNow()
    job = asked(instance)
    row = answer(instance, job)
    instance.tables.delete("ecc_queue", row["sys_id"])
    instance.insert("ecc_queue", {**row, "sys_created_by": RIVAL})
    summary = oracle.check(instance, [], [job], final=True)
    assert (summary.outcomes, summary.good) == ({"answered by the rival": 1}, True)


def test_answers_to_nothing() -> None:
    """An answer to an output that never was is found; one to somebody else's work is not ours to judge."""
    instance = ServiceNow()
    known, other = asked(instance), Maker(AGENT, [appliance()], 9).make("report")
    answer(instance, other)
    assert "answers nothing" in violations(instance, known)
    instance.insert("ecc_queue", other.row)
    assert violations(instance, known) == ""


def test_expectations() -> None:
    """An answer without a status is right for a heartbeat."""
    instance = ServiceNow()
    job = Job("heartbeat", {**scripts.heartbeat(AGENT), "sys_id": "1" * 32}, Expect())
    instance.insert("ecc_queue", job.row)
    answer(instance, job, status=0, headers=-1)
    summary = oracle.check(instance, [], [job], final=True)
    assert (summary.outcomes, summary.surprises, summary.violations) == ({"answered": 1}, (), ())
