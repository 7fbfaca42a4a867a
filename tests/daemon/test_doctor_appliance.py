"""The doctor looks at an appliance: every failure is told where it is, with its code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.doctoring import Consulted, consulted, named, only, skipped, wrong
from support.proxy import ConnectProxy

from relay.core.errors import ConfigError
from relay.sandbox.faults import Fault

SESSIONS = "sessions: {mode: import}\n"


@pytest.fixture
async def seen(tmp_path: Path) -> AsyncIterator[Consulted]:
    """A sandbox with an appliance of each product, and the import of sessions."""
    async with consulted(tmp_path, products=("pra", "rs")) as one:
        one.configure(SESSIONS)
        yield one


def own(text: str, name: str = "default") -> str:
    """A drop-in for one appliance."""
    return f"appliances: {{{name}: {{{text}}}}}\n"


async def test_all_is_well(seen: Consulted) -> None:
    """Of a healthy appliance of either product nothing is wrong; each is asked five questions with one token."""
    for name, product in (("default", "pra"), ("appliance2", "rs")):
        checks = await seen.appliance(name)
        assert (wrong(checks), skipped(checks)) == ([], [])
        assert only(checks, "product").detail == product
        assert only(checks, "API").detail == "version 1.25.0"
        device = seen.box.appliances[name]
        assert (device.requests["all"], device.requests["token"]) == (5, 1)
        assert device.effects.total() == 0
        assert device.keep_alive == 0


async def test_a_disabled_appliance(seen: Consulted) -> None:
    """It is not asked anything."""
    seen.configure(own("enabled: false"), "own.yaml")
    (check,) = await seen.appliance()
    assert (check.result, check.name) == ("skipped", "enabled")
    assert seen.box.appliance.requests["all"] == 0


async def test_nobody_there(seen: Consulted) -> None:
    """A port where nobody listens is TCP's, and everything behind it is skipped."""
    await seen.box.doors["default"].close()
    checks = await seen.appliance()
    assert wrong(checks) == [("TCP", "error", 3001)]
    assert {"TLS", "health", "sign-in", "product", "permissions", "reports"} <= set(skipped(checks))


async def test_a_wrong_secret(seen: Consulted) -> None:
    """The account is tried once, so that doctor never locks it; health needs no account."""
    seen.box.appliance.accounts.by_id["relay-api-client"].secret = "another"  # of a stand-in
    checks = await seen.appliance()
    assert wrong(checks) == [("sign-in", "error", 3005)]
    assert only(checks, "health").result == "ok"
    assert only(checks, "permissions").detail == "needs sign-in"
    assert seen.box.appliance.accounts.by_id["relay-api-client"].failed == 1


async def test_a_secret_that_cannot_be_read(seen: Consulted) -> None:
    """It is the sign-in's, and names the file."""
    (seen.box.directory / "credentials/appliance_secret").unlink()
    checks = await seen.appliance()
    assert wrong(checks) == [("sign-in", "error", 3005)]
    assert "appliance_secret" in only(checks, "sign-in").detail


async def test_permissions_that_are_missing(seen: Consulted) -> None:
    """Each permission that policy or sessions need is told with what needs it, of many only some."""
    account = seen.box.appliance.accounts.by_id["relay-api-client"]
    account.command, account.reporting, account.configuration = "read_only", False, False
    checks = await seen.appliance()
    assert wrong(checks) == [
        *[("permissions", "warning", 3026)] * 3,
        ("reports", "warning", 3026),
    ]
    told = {check.detail.partition(":")[0]: check.detail for check in named(checks, "permissions")}
    assert told.keys() == {"perm_command=full_access", "perm_configuration", "perm_reporting_support"}
    assert "terminate" in told["perm_command=full_access"]
    assert "jump-client-list" in told["perm_configuration"]
    assert told["perm_configuration"].endswith("more")
    assert "sessions" in told["perm_reporting_support"]
    seen.configure("policy: {allow: [health]}\nsessions: {mode: forward}\n", "zz.yaml")
    assert wrong(await seen.appliance()) == []


async def test_an_account_that_may_nothing(seen: Consulted) -> None:
    """Without the Command API nothing more can be learned, and that is an error."""
    seen.box.appliance.accounts.by_id["relay-api-client"].command = "deny"
    checks = await seen.appliance()
    assert wrong(checks) == [("API", "error", 3026)]
    assert "You do not have permission" in only(checks, "API").detail
    assert "permissions" in skipped(checks)


async def test_another_product(seen: Consulted) -> None:
    """An appliance that has support teams is Remote Support for sure; one without them most likely is not."""
    seen.configure(own("product: rs"), "own.yaml")
    checks = await seen.appliance()
    assert wrong(checks) == [("product", "warning", 3027), ("reports", "error", 3019)]
    seen.configure(own("product: pra", "appliance2"), "own.yaml")
    checks = await seen.appliance("appliance2")
    assert wrong(checks) == [("product", "error", 3027), ("reports", "error", 3019)]


async def test_health_and_clock(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """An appliance that is not well, or whose clock is wrong, is a warning; the account is looked at all the same."""
    seen.box.appliance.healthy = False
    real = seen.clock.wall()
    monkeypatch.setattr("relay.sandbox.appliance.formatdate", lambda **_: formatted(real + 600))
    checks = await seen.appliance()
    assert wrong(checks) == [("clock", "warning", 3025), ("health", "warning", 3028)]
    assert only(checks, "sign-in").result == "ok"


def formatted(seconds: float) -> str:
    """An HTTP date."""
    from email.utils import formatdate  # noqa: PLC0415  # the name is replaced where it is used

    return formatdate(seconds, usegmt=True)


async def test_other_names(seen: Consulted) -> None:
    """A name of the appliance that does not resolve is a warning that says what it is for."""
    seen.configure(own("also_known_as: [nowhere.invalid, localhost]"), "own.yaml")
    checks = await seen.appliance()
    assert wrong(checks) == [("other names", "warning", 3001)]
    assert [check.result for check in named(checks, "other names")] == ["warning", "ok"]


async def test_a_proxy_that_refuses(seen: Consulted) -> None:
    """It is the proxy's."""
    async with ConnectProxy(account=("a", "b")) as proxy:
        seen.configure(own(f"proxy: {{url: '{proxy.url}'}}"), "own.yaml")
        assert wrong(await seen.appliance()) == [("proxy", "error", 3018)]


async def test_an_api_that_breaks(seen: Consulted) -> None:
    """What goes wrong behind the sign-in is told there."""
    device = seen.box.appliance
    device.faults.add(Fault("reset", lane="get_api_info", count=1))
    assert wrong(await seen.appliance()) == [("API", "error", 3004)]
    device.faults.clear()
    device.faults.add(Fault("reset", lane="get_support_teams", count=1))
    assert wrong(await seen.appliance()) == [("product", "warning", 3004)]


async def test_an_appliance_that_says_nothing(seen: Consulted) -> None:
    """It is told within its own time."""
    seen.configure(own("timeout: 1s"), "own.yaml")
    seen.box.appliance.latency = 20
    assert wrong(await seen.appliance()) == [("latency", "error", 3003)]


async def test_permissions_that_are_not_told(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without them is no reason to warn of any."""
    document = "<api_information><api_version>1</api_version></api_information>"
    monkeypatch.setattr("relay.sandbox.command._api_info", lambda *_: document)
    checks = await seen.appliance()
    assert wrong(checks) == []
    assert "permissions" in skipped(checks)


async def test_an_answer_that_is_no_document(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not the answer of the Command API is told as such."""
    for document in ("no XML", "<api_information>", "<other/>", '<error code="1">Not now.</error>'):
        monkeypatch.setattr("relay.sandbox.command._api_info", lambda *_, document=document: document)
        checks = await seen.appliance()
        assert wrong(checks) == [("API", "error", 3026)]
    assert only(checks, "API").detail == "perm_command: HTTP 200: Not now."


async def test_a_health_page_that_tells_nothing(seen: Consulted) -> None:
    """A page that is too large, or of another status, shows that the way is good, and nothing of the health."""
    faults = seen.box.appliance.faults
    faults.add(Fault("large body", path="check_health", size=1_000_000))
    checks = await seen.appliance()
    assert wrong(checks) == []
    assert only(checks, "TLS").result == "ok"
    faults.clear()
    faults.add(Fault("status", path="check_health", status=404))
    checks = await seen.appliance()
    assert wrong(checks) == []
    assert "health" in skipped(checks)


async def test_an_account_file_that_changes_meanwhile(seen: Consulted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be used any more when the account is tried is the sign-in's."""

    def fail(*_: object) -> None:
        raise ConfigError(1009, "gone")

    monkeypatch.setattr("relay.daemon.doctor_appliance.Fleet.open", fail)
    assert wrong(await seen.appliance()) == [("sign-in", "error", 1009)]


async def test_an_account_that_is_slow(seen: Consulted) -> None:
    """A token and a call have a bound together; the health page was quick."""
    seen.configure(own("timeout: 1s"), "own.yaml")
    seen.box.appliance.faults.add(Fault("latency", lane="token", seconds=20, times=None))
    assert wrong(await seen.appliance()) == [("sign-in", "error", 3003)]
