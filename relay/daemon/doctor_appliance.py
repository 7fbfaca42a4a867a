"""An appliance: the way to it, its health, its account and what that may do."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from relay.appliance.faults import translate
from relay.appliance.fleet import Fleet
from relay.appliance.reports_reader import ReportReader
from relay.appliance.values import JsonShaper
from relay.config.model import ApplianceSettings, Settings
from relay.config.rules import policy_of
from relay.core.doctor import Check, Sheet
from relay.core.errors import ApplianceError, ConfigError
from relay.core.jobs import Json
from relay.core.permissions import COMMAND, SESSIONS, lacking, needs, read_permissions
from relay.core.policy_values import ApplianceRequest
from relay.core.record import Reply
from relay.core.urls import read_authority
from relay.daemon.doctor_connection import Way, connect, steps_of
from relay.daemon.report import VERSION
from relay.host.clock import Clock
from relay.host.dialing import look_up
from relay.host.secrets import SecretReader

CLOCKS, PERMISSION, PRODUCT, HEALTH = 3025, 3026, 3027, 3028
ACCOUNT = frozenset({3005, 3006, 3015})
"""Errors that mean that there is no token."""
_GOOD, _REFUSED, _ILL = 200, 403, 500
_SHOWN = 5
_LISTINGS = {"pra": "AccessSessionListing", "rs": "SupportSessionListing"}


@dataclass(slots=True)
class ApplianceDoctor:
    """Looks at one appliance.

    Args:
        name: its name in the configuration.
        settings: the configuration.
        secrets: reads the account's secret.
        clock: this machine's.

    """

    name: str
    settings: Settings
    secrets: SecretReader
    clock: Clock

    @property
    def own(self) -> ApplianceSettings:
        """The appliance's section."""
        return self.settings.appliances[self.name]

    async def look(self) -> tuple[Check, ...]:
        """Make every check."""
        own, names = self.own, ["sign-in", "API", "product", "permissions"]
        if self.settings.imports(self.name):
            names.append("reports")
        if own.also_known_as:
            names.append("other names")
        sheet = Sheet(f"appliance {self.name}", (*steps_of(own.proxy), "health", *names))
        if not own.enabled:
            return Sheet(sheet.subject, ("enabled",)).end("enabled: false: work for it is answered BSR-3012")
        way = Way(
            sheet.subject,
            own.url,
            own.tls,
            own.proxy,
            own.timeout,
            "appliance",
            CLOCKS,
            lambda fault: translate(fault, name=self.name),
            ("GET", "/check_health"),
        )
        response = await connect(sheet, way, self.secrets, self.clock)
        if response is not None:
            if response.status == _GOOD:
                sheet.ok("health", "/check_health says that it is well")
            elif response.status >= _ILL:
                sheet.wrong("health", HEALTH, f"/check_health: HTTP {response.status}")
            else:
                sheet.skip("health", f"/check_health tells nothing: HTTP {response.status}")
            await self._account(sheet)
            await self._names(sheet)
        return sheet.end()

    async def _account(self, sheet: Sheet) -> None:
        one = self.settings.model_copy(update={"appliances": {self.name: self.own}})
        try:
            fleet = Fleet.open(one, self.secrets, self.clock, VERSION)
        except ConfigError as error:  # a file that changed since the way was tried
            sheet.wrong("sign-in", error.number, error.detail)
            return
        try:
            await self._signed_in(sheet, fleet)
        finally:
            await fleet.aclose()

    async def _signed_in(self, sheet: Sheet, fleet: Fleet) -> None:
        try:
            reply = await self._call(fleet, "/api/command", ("action", "get_api_info"))
        except ApplianceError as error:
            at = "sign-in" if error.number in ACCOUNT or not error.maybe_sent else "API"
            if at == "API":
                sheet.ok("sign-in", f"the account {self.own.auth.client_id} got a token")
            sheet.wrong(at, error.number, error.detail, result="error")
            return
        sheet.ok("sign-in", f"the account {self.own.auth.client_id} got a token")
        info = _object(reply)
        told = info.get("api_information")
        if reply.status != _GOOD or not isinstance(told, dict):
            sheet.wrong("API", PERMISSION, f"{COMMAND}: HTTP {reply.status}{_words(info)}", result="error")
            return
        version = told.get("api_version")
        sheet.ok("API", f"version {version}" if isinstance(version, str) else "")
        self._permissions(sheet, read_permissions(told.get("permissions")))
        await self._product(sheet, fleet)
        if self.settings.imports(self.name):
            await self._reports(sheet, fleet)

    async def _call(self, fleet: Fleet, path: str, *query: tuple[str, str]) -> Reply:
        request = ApplianceRequest(self.name, query[0][1], "GET", path, tuple(query), safe=True, urgency="urgent")
        try:
            async with asyncio.timeout(2 * self.own.timeout):  # a token first, then the call
                return await fleet.call(request)
        except TimeoutError:
            raise ApplianceError(3003, f"{self.name}: no answer in time", maybe_sent=True) from None

    def _permissions(self, sheet: Sheet, held: dict[str, str]) -> None:
        if not held:
            sheet.skip("permissions", "the appliance does not tell them")
            return
        policy = policy_of(self.settings)
        wanted = {
            operation.name: needs(operation)
            for operation in policy.operations
            if policy.rule(operation)
            and operation.appliance in {None, self.name}
            and self.own.product in operation.products
        }
        if self.settings.imports(self.name):
            wanted["sessions"] = frozenset({SESSIONS})
        missing = lacking(wanted, held)
        for permission, names in missing.items():
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            sheet.wrong("permissions", PERMISSION, f"{permission}: {', '.join(names[:_SHOWN])}{more}")
        if not missing:
            sheet.ok("permissions", f"all that {len(wanted)} allowed operations need, as far as they are told")

    async def _product(self, sheet: Sheet, fleet: Fleet) -> None:
        """Only Remote Support knows support teams."""
        try:
            reply = await self._call(fleet, "/api/command", ("action", "get_support_teams"))
        except ApplianceError as error:
            sheet.wrong("product", error.number, error.detail)
            return
        found = "support_teams" in _object(reply)
        if found == (self.own.product == "rs"):
            sheet.ok("product", self.own.product)
        elif found:
            sheet.wrong("product", PRODUCT, "it has support teams, which only Remote Support (rs) has")
        else:
            detail = f"it gives no support teams, which Remote Support has{_words(_object(reply))}"
            sheet.wrong("product", PRODUCT, detail, result="warning")

    async def _reports(self, sheet: Sheet, fleet: Fleet) -> None:
        """The question that the scheduled look for sessions asks."""
        ending = ("end_time", str(int(self.clock.wall())))
        kind = _LISTINGS[self.own.product]
        reader = ReportReader(self.settings.sessions_of(self.name).nothing_found)
        try:
            reply = await self._call(fleet, "/api/reporting", ("generate_report", kind), ending, ("duration", "0"))
            if reply.status == _REFUSED:
                sheet.wrong("reports", PERMISSION, f"{SESSIONS}: HTTP {reply.status}{_words(_object(reply))}")
                return
            await reader.listing(reply.body)
        except ApplianceError as error:
            sheet.wrong("reports", error.number, error.detail)
        else:
            sheet.ok("reports", f"{kind} is answered")
        finally:
            reader.close()

    async def _names(self, sheet: Sheet) -> None:
        main = read_authority(self.own.url.removeprefix("https://"))
        for other in self.own.also_known_as:
            host, port = read_authority(other, main[1])
            try:
                async with asyncio.timeout(self.own.timeout):
                    await look_up(host, port)
            except (OSError, TimeoutError) as error:
                why = getattr(error, "strerror", None) or "no answer in time"
                detail = f"{host}: {why}; only decisions about requests for approval would go there"
                sheet.wrong("other names", 3001, detail, result="warning")
            else:
                sheet.ok("other names", host)


def _object(reply: Reply) -> dict[str, Json]:
    """An answer's document; empty where it cannot be read."""
    try:
        value = json.loads(JsonShaper().to_json(reply).body)
    except (ApplianceError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _words(document: dict[str, Json]) -> str:
    """What the appliance says of an error, for the end of a sentence."""
    error = document.get("error")
    text = error.get("#text") if isinstance(error, dict) else error
    return f": {text[:200]}" if isinstance(text, str) and text else ""
