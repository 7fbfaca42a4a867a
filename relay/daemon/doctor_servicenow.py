"""ServiceNow: the way to it, the account, its rights, and whether the tables are there that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from relay.config.model import ServiceNowAuth, Settings
from relay.core.doctor import Check, Sheet
from relay.core.doctor_tables import Shape, Wanted, judge
from relay.core.errors import ConfigError, ServiceNowError
from relay.daemon.doctor_connection import Way, connect, steps_of
from relay.daemon.doctor_wanted import wanted_of
from relay.host.clock import Clock
from relay.host.secrets import SecretReader
from relay.servicenow import inspection
from relay.servicenow.answers import fault_error
from relay.servicenow.batch import Part
from relay.servicenow.calls import Call, Row, rows_of
from relay.servicenow.inspection import Inspection
from relay.servicenow.instance import Instance

CLOCKS: Final = 2021
RIGHT, AGENT, GONE = 2006, 2018, 2016
ACCOUNT: Final = frozenset({2005, 2017})
"""Errors that mean that nobody was signed in."""
ROLES: Final = frozenset({"mid_server", "admin"})
"""Each of them lets its user read and write the queue."""


@dataclass(slots=True)
class ServiceNowDoctor:
    """Looks at the instance.

    Args:
        settings: the configuration.
        secrets: reads the credentials.
        clock: this machine's.

    """

    settings: Settings
    secrets: SecretReader
    clock: Clock
    _wanted: list[Wanted] = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = wanted_of(self.settings)

    async def look(self) -> tuple[Check, ...]:
        """Make every check."""
        section = self.settings.servicenow
        sheet = Sheet("servicenow", (*steps_of(section.proxy), "sign-in", "ecc_queue", *self._names()))
        way = Way(
            sheet.subject,
            section.url,
            section.tls,
            section.proxy,
            section.timeout,
            "servicenow",
            CLOCKS,
            lambda fault: fault_error(fault, None),
            ("HEAD", "/"),
        )
        if await connect(sheet, way, self.secrets, self.clock) is not None:
            await self._account(sheet)
        return sheet.end()

    def _names(self) -> list[str]:
        """The checks behind the sign-in."""
        names = ["Batch API", "user", "roles"]
        names += ["ecc_agent"] if self.settings.servicenow.register_agent else []
        names += ["work notes"] if self._imports() else []
        names += ["attachments"] if self._attaches() else []
        return names + [f"table {one.table}" for one in self._wanted]

    def _imports(self) -> bool:
        return any(one.enabled and self.settings.imports(name) for name, one in self.settings.appliances.items())

    def _attaches(self) -> bool:
        appliances = self.settings.appliances
        importing = [name for name, one in appliances.items() if one.enabled and self.settings.imports(name)]
        return any(self.settings.sessions_of(name).recordings == "attach" for name in importing)

    async def _account(self, sheet: Sheet) -> None:
        name = self.settings.relay.name
        try:
            instance = Instance.connect(self.settings.servicenow, name, self.secrets, self.clock)
        except ConfigError as error:
            sheet.wrong("sign-in", error.number, error.detail)
            return
        try:
            if await self._signed_in(sheet, instance.inspection()):
                await self._rights(sheet, instance.inspection())
        except ServiceNowError as error:
            done = {check.name for check in sheet.checks}
            behind = sheet.planned[sheet.planned.index("sign-in") :]
            at = next((name for name in behind if name not in done), behind[-1])
            sheet.wrong(at, error.number, error.detail, result="error")
        finally:
            await instance.aclose()

    async def _signed_in(self, sheet: Sheet, look: Inspection) -> bool:
        """Read the queue: the first request signs in."""
        auth = self.settings.servicenow.auth
        told = f"by {next(name for name in type(auth).model_fields if getattr(auth, name))}"
        try:
            await look.queue(f"mid.server.{self.settings.relay.name}")
        except ServiceNowError as error:
            if error.number in {RIGHT, 2015, 2019}:  # it knows who asks
                sheet.ok("sign-in", told)
                sheet.wrong("ecc_queue", error.number, error.detail, result="error")
                return True
            sheet.wrong("sign-in", error.number, error.detail, result="error")
            return False
        sheet.ok("sign-in", told)
        sheet.ok("ecc_queue", "it can be read")
        return True

    async def _rights(self, sheet: Sheet, look: Inspection) -> None:
        """Everything that is read of an account that is signed in."""
        tables = [one.table for one in self._wanted]
        known = await look.dictionary(tables) if tables else {}
        user = _user(self.settings.servicenow.auth)
        asked: dict[str, Call] = {}
        if self.settings.servicenow.register_agent:
            asked["ecc_agent"] = inspection.agent_call(self.settings.relay.name)
        if self._imports():
            asked["journal"] = inspection.journal_call()
        if user:
            asked["user"] = inspection.user_call(user, self.settings.servicenow.user_fields)
        if self._attaches():
            asked["attachments"] = inspection.attachment_call()
        for one in self._wanted:
            asked[f"table {one.table}"] = inspection.table_call(one.table, () if one.table in known else [*one.columns])
        parts = dict(zip(asked, await look.ask([*asked.values()]), strict=True)) if asked else {}
        if not asked:
            sheet.skip("Batch API", "there was nothing to ask")
        elif look.batch is None:
            sheet.ok("Batch API", f"{len(asked)} questions in one request")
        else:
            told = f"{look.batch.detail}; every change goes by itself, which is slow"
            sheet.wrong("Batch API", look.batch.number, told, result="warning")
        await self._user(sheet, look, user, parts.get("user"))
        self._others(sheet, parts)
        await self._tables(sheet, look, known, parts)

    async def _user(self, sheet: Sheet, look: Inspection, user: str, part: Part) -> None:
        if not user:
            sheet.skip("user", "the way to sign in does not tell the user's name")
            sheet.skip("roles", "needs the user's name")
            return
        rows = _rows(part)
        sys_id = inspection.sys_id_of(rows or (), user)
        if rows is None or not sys_id:
            sheet.skip("user", f"{user}; sys_user does not show it to itself")
            sheet.skip("roles", "needs the user's record")
            return
        absent = [one for one in self.settings.servicenow.user_fields if one not in rows[0]]
        lacks = f"; left out, since sys_user does not have them: {', '.join(absent)}" if absent else ""
        if rows[0].get("active") == "false" or rows[0].get("locked_out") == "true":
            sheet.wrong("user", 2005, f"{user} is locked out or not active")
        else:
            sheet.ok("user", f"{user}{lacks}")
        roles = await look.roles(sys_id)
        if roles is None:
            sheet.skip("roles", "not shown; whether the queue can be written to is not tried")
        elif roles & ROLES:
            told = ", ".join(sorted(roles & ROLES))
            sheet.ok("roles", f"{told}, so that the queue can be written to; that is not tried")
        else:
            sheet.wrong("roles", RIGHT, "neither mid_server nor admin: answers may be refused", result="warning")

    def _others(self, sheet: Sheet, parts: Mapping[str, Part]) -> None:
        """Our record, journals and attachments."""
        if "ecc_agent" in parts:
            self._agent(sheet, parts["ecc_agent"])
        if "journal" in parts:
            part = parts["journal"]
            entries = inspection.readable(part)
            if isinstance(part, ServiceNowError):
                told = f"{part.detail}; while entries cannot be read, a note of unknown outcome is not written again"
                sheet.wrong("work notes", part.number, told, result="warning")
            elif entries is None:
                sheet.skip("work notes", "sys_journal_field shows no entry, so that nobody knows whether it would")
            else:
                sheet.ok("work notes", "sys_journal_field can be read")
        if "attachments" in parts:
            part = parts["attachments"]
            if isinstance(part, ServiceNowError):
                sheet.wrong("attachments", part.number, part.detail, result="error")
            else:
                sheet.ok("attachments", "the Attachment API answers")

    def _agent(self, sheet: Sheet, part: Part) -> None:
        if isinstance(part, ServiceNowError):
            sheet.wrong("ecc_agent", AGENT, part.text)
            return
        rows = [row for row in rows_of(part) if row.get("name") == self.settings.relay.name]
        if len(rows) > 1:
            sheet.wrong("ecc_agent", AGENT, f"{len(rows)} records have the relay's name")
        elif rows:
            sheet.ok("ecc_agent", f"{rows[0].get('status', '?')}, refreshed {rows[0].get('last_refreshed', '?')}")
        else:
            sheet.ok("ecc_agent", "no record yet: the relay makes it")

    async def _tables(
        self, sheet: Sheet, look: Inspection, known: Mapping[str, frozenset[str]], parts: Mapping[str, Part]
    ) -> None:
        shapes = {
            one.table: inspection.shape_of(one.table, parts[f"table {one.table}"], known.get(one.table))
            for one in self._wanted
        }
        half = {shapes[one.table].exists for one in self._wanted if one.optional} == {True, False}
        for one in self._wanted:
            shape = shapes[one.table]
            wanted = one
            if shape.exists is False and (half or not one.optional):
                shape = Shape(exists=False, alike=await look.alike(one.table))
                # One of two tables is no use: somebody meant them to be there.
                wanted = replace(one, optional=False)
            for judged in judge(wanted, shape):
                name = f"table {one.table}"
                if judged.number:
                    # Without the other one sessions come home all the same, as notes.
                    less = one.optional and shape.exists is False
                    sheet.wrong(name, judged.number, judged.detail, result="warning" if less else judged.result)
                elif judged.result == "skipped":
                    sheet.skip(name, judged.detail)
                else:
                    sheet.ok(name, judged.detail)


def _rows(part: Part) -> Sequence[Row] | None:
    """The rows of an answer; None of none."""
    return None if part is None or isinstance(part, ServiceNowError) else rows_of(part)


def _user(auth: ServiceNowAuth) -> str:
    """The user that the configuration names, "" where only the instance knows who signs in."""
    way = auth.basic or auth.oauth_password
    return "" if way is None else way.username
