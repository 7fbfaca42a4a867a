"""Makes mixed work for a relay, the same again for the same seed, and says what must come of each record."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from relay.sandbox import scripts
from relay.sandbox.device import Device, token_of
from relay.sandbox.scripts import Record
from relay.sandbox.signing import Signer

_JSON_HEADERS = (("Accept", "text/xml"), ("User-Agent", "ServiceNow/1.0"))
_FORM_HEADERS = (("Content-Type", "application/x-www-form-urlencoded"), *_JSON_HEADERS)
BULK = 1_500_000  # bytes of a large report: over what fits into a record's payload, under what scripts can read


@dataclass(frozen=True, slots=True)
class Expect:
    """What must come of a record.

    Attributes:
        status: the HTTP status of the answer; 0: an error is expected.
        contains: text that only this record's answer holds.
        error: how the expected error begins, such as `BSR-4`.
        appliance: where the call goes, `""` when it must go nowhere.
        effect: the token of the effect that must not happen twice; `""`: none.
        operation: what the relay makes of the record, `""` when it is no call of an operation.
        arguments: of the operation, as the relay sends them.

    """

    status: int = 200
    contains: str = ""
    error: str = ""
    appliance: str = ""
    effect: str = ""
    operation: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A record for the queue, its kind, and what must come of it."""

    kind: str
    row: Record
    expect: Expect = field(default_factory=Expect)

    @property
    def sys_id(self) -> str:
        """The output's sys_id."""
        return self.row["sys_id"]

    def facts(self) -> dict[str, Any]:
        """The job as JSON."""
        return asdict(self)


class Maker:
    """Makes jobs of every kind for one agent. Sessions that a job needs are begun on the appliance it is for.

    With a `signer` calls of operations are signed.
    """

    def __init__(self, agent: str, appliances: Sequence[Device], seed: int = 0, signer: Signer | None = None) -> None:
        self.agent = agent
        self._signer = signer
        self._appliances = list(appliances)
        self._random = random.Random(f"{agent}/{seed}")  # noqa: S311 - the same work again is what is wanted
        self._makers: dict[str, Callable[[Device], tuple[Record, Expect]]] = {
            "report": self._report,
            "report v1": self._report_v1,
            "typed report": self._typed_report,
            "large report": self._large,
            "nothing found": self._nothing,
            "attributes": self._attributes,
            "typed attributes": self._typed_attributes,
            "session key": self._session_key,
            "typed session key": self._typed_session_key,
            "terminate": self._terminate,
            "typed health": self._typed_health,
            "token": self._token,
            "refused": self._refused,
            "foreign host": self._foreign_host,
            "command": self._command,
            "soap": self._soap,
            "broken": self._broken,
            "heartbeat": self._heartbeat,
            "system command": self._system_command,
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of work there is."""
        return tuple(self._makers)

    def make(self, kind: str, appliance: Device | None = None) -> Job:
        """One job of a kind, for the given appliance or any that can do it.

        Raises:
            KeyError: no such kind.
            LookupError: no appliance can do it.

        """
        maker = self._makers[kind]
        product = "rs" if kind.endswith("session key") else None
        able = [row for row in self._appliances if product in {None, row.product}]
        if appliance is None and not able:
            msg = f"no appliance can do '{kind}'"
            raise LookupError(msg)
        row, expect = maker(appliance or self._random.choice(able))
        row["agent_correlator"] = f"sandbox.{self._hex()[:16]}"
        row["sys_id"] = self._hex()
        if self._signer is not None and expect.operation:
            row = self._signer.signed(row, expect.appliance, expect.operation, expect.arguments)
        return Job(kind, row, expect)

    def mix(self, count: int, kinds: Sequence[str] | None = None) -> list[Job]:
        """That many jobs: each kind in turn, in random order; kinds that no appliance can do are left out."""
        products = {row.product for row in self._appliances}
        usable = [kind for kind in kinds or self.kinds if "rs" in products or not kind.endswith("session key")]
        jobs = [self.make(usable[number % len(usable)]) for number in range(count)]
        self._random.shuffle(jobs)
        return jobs

    def _hex(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _lsid(self, appliance: Device, **facts: Any) -> str:  # noqa: ANN401 - columns of a session
        return appliance.sessions.begin(self._hex(), **facts).lsid

    def _ended(self, appliance: Device, **facts: Any) -> str:  # noqa: ANN401 - columns of a session
        now = int(appliance.sessions.clock())
        return self._lsid(appliance, start=now - 900, end=now, **facts)

    def _asked(self, appliance: Device, lsid: str) -> list[tuple[str, str]]:
        family = "Access" if appliance.product == "pra" else "Support"
        return [("generate_report", f"{family}Session"), ("lsid", lsid)]

    def _report(self, appliance: Device) -> tuple[Record, Expect]:
        lsid = self._ended(appliance)
        url = f"{appliance.url}/api/reporting"
        row = scripts.rest_message_v2(self.agent, "get", url, headers=_JSON_HEADERS, query=self._asked(appliance, lsid))
        return row, _session_report(appliance, lsid)

    def _report_v1(self, appliance: Device) -> tuple[Record, Expect]:
        lsid = self._ended(appliance)
        content = scripts.form(dict(self._asked(appliance, lsid)))
        row = scripts.rest_message(
            self.agent,
            "post",
            f"{appliance.url}/api/reporting.ns",
            headers=_FORM_HEADERS,
            content=content,
            extra=[("skip_sensor", "true")],
            user="api.user",
        )
        return row, _session_report(appliance, lsid)

    def _typed_report(self, appliance: Device) -> tuple[Record, Expect]:
        lsid = self._ended(appliance)
        expect = _session_report(appliance, lsid)
        arguments = [("appliance", appliance.name), ("lsid", lsid)]
        return scripts.typed(self.agent, expect.operation, arguments), expect

    def _large(self, appliance: Device) -> tuple[Record, Expect]:
        lsid = self._ended(appliance, bulk=BULK)
        row = scripts.rest_message_v2(
            self.agent, "get", f"{appliance.url}/api/reporting", query=self._asked(appliance, lsid)
        )
        return row, _session_report(appliance, lsid)

    def _nothing(self, appliance: Device) -> tuple[Record, Expect]:
        family = "Access" if appliance.product == "pra" else "Support"
        arguments = {"end_time": "4000000000", "duration": "0"}
        query = [("generate_report", f"{family}SessionListing"), *arguments.items()]
        row = scripts.rest_message_v2(self.agent, "get", f"{appliance.url}/api/reporting", query=query)
        operation = f"report-{family.lower()}-session-listing"
        return row, Expect(contains="<error", appliance=appliance.name, operation=operation, arguments=arguments)

    def _attributes(self, appliance: Device) -> tuple[Record, Expect]:
        lsid, key = self._lsid(appliance), self._hex()
        arguments = {"lsid": lsid, "session.custom.external_key": f"INC{key[:7]}"}
        content = scripts.form({"action": "set_session_attributes", **arguments})
        row = scripts.rest_message_v2(
            self.agent, "post", f"{appliance.url}/api/command", headers=_FORM_HEADERS, content=content
        )
        return row, Expect(
            contains="Session attributes were set",
            appliance=appliance.name,
            operation="session-attributes-set",
            arguments=arguments,
        )

    def _typed_attributes(self, appliance: Device) -> tuple[Record, Expect]:
        value = self._hex()
        lsid = self._lsid(appliance, attributes={"external_key": value})
        operation, arguments = "session-attributes-get", {"lsid": lsid}
        extra = [("appliance", appliance.name), *arguments.items()]
        row = scripts.typed_v2(self.agent, operation, appliance.url, extra=extra)
        return row, Expect(contains=value, appliance=appliance.name, operation=operation, arguments=arguments)

    def _session_key(self, appliance: Device) -> tuple[Record, Expect]:
        key = f"INC{self._hex()[:12]}"
        arguments = {"type": "support", "queue_id": "general", "external_key": key}
        values = {"action": "generate_session_key", **arguments}
        row = scripts.rest_message_v2(
            self.agent, "post", f"{appliance.url}/api/command", headers=_FORM_HEADERS, content=scripts.form(values)
        )
        effect = token_of("generate_session_key", values)
        return {**row, "priority": "0"}, Expect(
            contains=key, appliance=appliance.name, effect=effect, operation="session-key", arguments=arguments
        )

    def _typed_session_key(self, appliance: Device) -> tuple[Record, Expect]:
        key = f"INC{self._hex()[:12]}"
        values = {"type": "support", "queue_id": "general", "external_key": key}
        arguments = [("appliance", appliance.name), *values.items()]
        effect = token_of("generate_session_key", values)
        row = scripts.typed(self.agent, "session-key", arguments, priority="0")
        return row, Expect(
            contains=key, appliance=appliance.name, effect=effect, operation="session-key", arguments=values
        )

    def _terminate(self, appliance: Device) -> tuple[Record, Expect]:
        lsid = self._lsid(appliance)
        values = {"action": "terminate_session", "lsid": lsid}
        row = scripts.rest_message_v2(
            self.agent, "post", f"{appliance.url}/api/command", headers=_FORM_HEADERS, content=scripts.form(values)
        )
        effect = token_of("terminate_session", values)
        return row, Expect(
            contains="Session was terminated",
            appliance=appliance.name,
            effect=effect,
            operation="terminate",
            arguments={"lsid": lsid},
        )

    def _typed_health(self, appliance: Device) -> tuple[Record, Expect]:
        row = scripts.typed(self.agent, "health", [("appliance", appliance.name)])
        return row, Expect(contains=appliance.guid, appliance=appliance.name, operation="health")

    def _token(self, appliance: Device) -> tuple[Record, Expect]:
        row = scripts.rest_message_v2(
            self.agent,
            "post",
            f"{appliance.url}/oauth2/token",
            headers=(*_FORM_HEADERS, ("Authorization", "Basic c29tZTpib2R5")),
            content="grant_type=client_credentials",
        )
        return row, Expect(contains="access_token")

    def _refused(self, appliance: Device) -> tuple[Record, Expect]:
        values = {"action": "logout_rep", "user_id": "1"}
        row = scripts.rest_message_v2(
            self.agent, "post", f"{appliance.url}/api/command", headers=_FORM_HEADERS, content=scripts.form(values)
        )
        return row, Expect(status=0, error="BSR-4", effect=token_of("logout_rep", values))

    def _foreign_host(self, _: Device) -> tuple[Record, Expect]:
        row = scripts.rest_message_v2(self.agent, "get", "https://metadata.example.net/latest/api/command")
        return row, Expect(status=0, error="BSR-4")

    def _command(self, _: Device) -> tuple[Record, Expect]:
        return scripts.command(self.agent, "cat /etc/shadow"), Expect(status=0, error="BSR-4001")

    def _soap(self, appliance: Device) -> tuple[Record, Expect]:
        envelope = "<soap:Envelope xmlns:soap='http://schemas.xmlsoap.org/soap/envelope/'><soap:Body/></soap:Envelope>"
        row = scripts.soap_message(self.agent, f"{appliance.url}/soap", "doIt", envelope, user="soap.user")
        return row, Expect(status=0, error="BSR-4001")

    def _broken(self, appliance: Device) -> tuple[Record, Expect]:
        row = scripts.soap_message(self.agent, f"{appliance.url}/soap", "doIt", "<Body>fish & chips</Body>")
        return row, Expect(status=0, error="BSR-4")

    def _heartbeat(self, _: Device) -> tuple[Record, Expect]:
        return scripts.heartbeat(self.agent), Expect()

    def _system_command(self, _: Device) -> tuple[Record, Expect]:
        return scripts.system_command(self.agent, "getResourceState"), Expect()


def _session_report(appliance: Device, lsid: str) -> Expect:
    """What must come of any record that asks for a session's report."""
    operation = f"report-{'access' if appliance.product == 'pra' else 'support'}-session"
    return Expect(contains=lsid, appliance=appliance.name, operation=operation, arguments={"lsid": lsid})
