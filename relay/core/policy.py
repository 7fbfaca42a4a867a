"""The policy: which calls pass, and as what. Deny by default.

A call passes only as an operation that `policy.allow` names, by itself or by a group, and only as the request that is
made anew from that operation and its judged arguments. Everything here is decided from values alone: no clock, no
I/O, and `Policy.decide` never raises.

Why a call that fits two allowed operations goes to the site's own: the site wrote it for this call, and its limits
(`per_minute`, `max_bytes`, tighter arguments) are meant to hold.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from relay.core import bodies, templates
from relay.core.approval_fields import RESPONSE_PATH
from relay.core.binding import Given, bind, rebuild
from relay.core.operations import TOKEN_PATH, Operation, Product
from relay.core.policy_values import Allowed, Decision, Denied, TokenPlaceholder
from relay.core.record import HttpCall, TypedCall
from relay.core.refusal import Refusal, shown
from relay.core.urls import MAX_PAIRS, Origin, split

_PRODUCTS = {"pra": "Privileged Remote Access", "rs": "Remote Support"}


@dataclass(frozen=True, slots=True)
class ApplianceFacts:
    """What the policy knows of an appliance.

    `origins` are those of its `url` and of every `also_known_as`. `response_path` is where it takes decisions on its
    requests for approval.
    """

    name: str
    product: Product
    enabled: bool
    origins: frozenset[Origin]
    response_path: str = RESPONSE_PATH


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An operation that a call may be, and what the call brings for its arguments."""

    operation: Operation
    given: tuple[Given, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of one configuration.

    Attributes:
        appliances: every configured appliance.
        operations: the site's own and the catalog, see `relay.core.definitions.assemble`.
        allow: names of operations and groups.

    """

    appliances: tuple[ApplianceFacts, ...]
    operations: tuple[Operation, ...]
    allow: tuple[str, ...]

    def decide(self, work: HttpCall | TypedCall) -> Decision:
        """Judge a call. Total: every call has a decision."""
        try:
            return self._http(work) if isinstance(work, HttpCall) else self._typed(work)
        except Refusal as refusal:
            return Denied(refusal.number, refusal.detail, refusal.rule)

    def rule(self, operation: Operation) -> str | None:
        """The first entry of `allow` that names the operation or a group of its; None means that it may not pass."""
        names = {*operation.names, *operation.groups}
        return next((entry for entry in self.allow if entry in names), None)

    def _typed(self, call: TypedCall) -> Decision:
        operations = [operation for operation in self.operations if call.operation in operation.names]
        if not operations:
            known = sorted({name for operation in self.operations for name in operation.names})
            close = difflib.get_close_matches(call.operation[:80], known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise Refusal(4003, f"there is no operation '{shown(call.operation)}'{hint}", "catalog")
        appliance = self._typed_appliance(call, operations)
        operations = _of_appliance(operations, appliance)
        candidates = [_Candidate(operation, _typed_given(operation, call)) for operation in operations]
        return self._choose(candidates, appliance, lambda operation: operation.methods[0], "")

    def _typed_appliance(self, call: TypedCall, operations: Sequence[Operation]) -> ApplianceFacts:
        if call.appliance is not None:
            found = [appliance for appliance in self.appliances if appliance.name == call.appliance]
            problem = f"there is no appliance '{shown(call.appliance)}'"
        else:
            found = [
                appliance
                for appliance in self.appliances
                if len(self.appliances) == 1 or any(_fits(operation, appliance) for operation in operations)
            ]
            names = ", ".join(appliance.name for appliance in found)
            problem = f"several appliances could do it; name one: {names}" if found else _no_appliance(operations[0])
        if len(found) != 1:
            raise Refusal(4008, problem, "appliances")
        return _enabled(found[0])

    def _http(self, call: HttpCall) -> Decision:
        bodies.refuse_overrides(call)
        url = split(call.url)
        found = [appliance for appliance in self.appliances if url.origin in appliance.origins]
        if len(found) != 1:
            host, port = url.origin
            raise Refusal(4008, f"no appliance has the address '{shown(host)}:{port}'", "appliances")
        appliance = _enabled(found[0])
        path = templates.same("/" + "/".join(url.segments))
        path = RESPONSE_PATH if path == appliance.response_path else path
        # Some letters outside ASCII become ASCII ones in upper case.
        method = call.method.upper() if call.method.isascii() else call.method
        if path == TOKEN_PATH and method == "POST" and call.soap_action is None:
            return TokenPlaceholder(appliance.name)
        matched = self._matched(call, path, method)
        given = bodies.read_given(call, url.query)
        candidates = _candidates(matched, given)
        if not candidates:
            named = next(
                (f" for '{shown(f'{item.name}={item.value}')}'" for item in given if isinstance(item.value, str)), ""
            )
            raise Refusal(4003, f"no operation of the path '{shown(path)}' fits{named}", "catalog")
        operations = _of_appliance([candidate.operation for candidate in candidates], appliance)
        candidates = [candidate for candidate in candidates if candidate.operation in operations]
        return self._choose(candidates, appliance, lambda _operation: method, bodies.header(call, "accept"))

    def _matched(self, call: HttpCall, path: str, method: str) -> list[tuple[Operation, dict[str, str]]]:
        """The operations whose kind, path and method are the call's, each with the path's arguments."""
        kind = [operation for operation in self.operations if operation.soap_action == call.soap_action]
        if call.soap_action is not None and not kind:
            raise Refusal(4001, f"no operation has the SOAP action '{shown(call.soap_action)}'", "catalog")
        segments = path.split("/")[1:]
        # Most operations share a path, so each path is compared once.
        by_path = {path: templates.match(path, segments) for path in {operation.path for operation in kind}}
        at_path = [(operation, by_path[operation.path]) for operation in kind]
        there = [(operation, values) for operation, values in at_path if values is not None]
        if not there:
            raise Refusal(4003, f"no operation has the path '{shown(path)}'", "catalog")
        found = [(operation, values) for operation, values in there if method in operation.methods]
        if not found:
            methods = ", ".join(sorted({name for operation, _values in there for name in operation.methods}))
            raise Refusal(4003, f"the path '{shown(path)}' takes {methods}, not '{shown(method)}'", "catalog")
        return found

    def _choose(
        self,
        candidates: Sequence[_Candidate],
        appliance: ApplianceFacts,
        method: Callable[[Operation], str],
        accept: str,
    ) -> Decision:
        """The first allowed operation that fits, the site's own before the catalog's; else the nearest miss."""
        misses: list[Denied] = []
        for candidate in sorted(candidates, key=lambda candidate: candidate.operation.builtin):
            operation = candidate.operation
            rule = self.rule(operation)
            if rule is None:
                misses.append(
                    Denied(4002, f"'{operation.name}' is not in policy.allow", "policy.allow", operation.name)
                )
                continue
            try:
                values = bind(operation, candidate.given)
            except Refusal as refusal:
                misses.append(Denied(refusal.number, refusal.detail, refusal.rule, operation.name))
                continue
            request = rebuild(operation, values, appliance.name, method(operation), accept)
            if not operation.handed_over and request.path in {RESPONSE_PATH, appliance.response_path}:
                # A decision by any other way would be one on a request that nobody may have made.
                misses.append(Denied(4003, "a decision passes only as 'approval-response'", "catalog", operation.name))
                continue
            signed, handed_over = operation.require_signature, operation.handed_over
            return Allowed(request, values, rule, operation.per_minute, signed, handed_over)
        return min(misses, key=lambda miss: _NEARNESS[miss.number])


_NEARNESS = {4004: 0, 4005: 1, 4003: 2, 4002: 3}
"""What a call with several misses is told: a bad value of a known argument before an unknown one before a shut door."""


def _enabled(appliance: ApplianceFacts) -> ApplianceFacts:
    if not appliance.enabled:
        raise Refusal(3012, f"'{appliance.name}'", "appliances")
    return appliance


def _fits(operation: Operation, appliance: ApplianceFacts) -> bool:
    return appliance.product in operation.products and operation.appliance in {None, appliance.name}


def _no_appliance(operation: Operation) -> str:
    only = f"appliance '{operation.appliance}'" if operation.appliance else ""
    products = " and ".join(_PRODUCTS[product] for product in sorted(operation.products))
    return f"'{operation.name}' is for {only or products}"


def _of_appliance(operations: Sequence[Operation], appliance: ApplianceFacts) -> list[Operation]:
    found = [operation for operation in operations if _fits(operation, appliance)]
    if not found:
        raise Refusal(4008, f"{_no_appliance(operations[0])}, not for '{appliance.name}'", "appliances")
    return found


def _typed_given(operation: Operation, call: TypedCall) -> tuple[Given, ...]:
    """A typed call's arguments; a JSON object under a family's collective name stands for its members."""
    given: list[Given] = []
    for name, value in islice(call.arguments.items(), MAX_PAIRS + 1):
        family = next((argument for argument in operation.arguments if argument.collective == name), None)
        if family is not None and isinstance(value, dict):
            given += [Given(f"{family.name}{member}", item) for member, item in islice(value.items(), MAX_PAIRS + 1)]
        else:
            given.append(Given(name, value))
    if len(given) > MAX_PAIRS:
        raise Refusal(4004, f"there are more than {MAX_PAIRS} arguments", "arguments")
    return tuple(given)


def _candidates(matched: Sequence[tuple[Operation, dict[str, str]]], given: tuple[Given, ...]) -> list[_Candidate]:
    """The operations that the call's pairs may mean.

    Fixed pairs must be there; and a required enum of a query or form tells operations of one path apart, as
    `generate_report` does.
    """
    found = []
    for operation, values in matched:
        rest = bodies.split_fixed(operation, given)
        if rest is None or any(_tells_apart(operation, item) for item in rest):
            continue
        path = tuple(Given(name, value, "path") for name, value in values.items())
        found.append(_Candidate(operation, path + rest))
    return found


def _tells_apart(operation: Operation, item: Given) -> bool:
    argument = operation.argument(item.name)
    if argument is None or argument.type != "enum" or not argument.required or operation.builtin:
        return False
    return argument.place in {"query", "form"} and item.value not in argument.values
