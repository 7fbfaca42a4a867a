"""`bseries-relay policy`: what may pass, and why one call does or does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from relay.cli.output import DONE, FAILED, data, plain, print_json, print_table, say
from relay.cli.policy_signature import Findings, Row, judge

if TYPE_CHECKING:
    from relay.config.model import Settings
    from relay.core.arguments import Argument
    from relay.core.jobs import Json
    from relay.core.operations import Operation
    from relay.core.policy import Policy
    from relay.core.policy_values import Allowed, Decision
    from relay.core.record import HttpCall, TypedCall

_CONFIG = click.option("--config", type=click.Path(readable=False, path_type=Path), help="The main configuration file.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object with a schema.")


@click.group()
def command() -> None:
    """What may pass: list the operations, test a call."""


def _settings(config: Path | None) -> Settings:
    from relay.config.load import load  # noqa: PLC0415  # `--help` stays light
    from relay.config.locate import locate  # noqa: PLC0415  # as above

    return load(locate(config, os.environ, root=os.geteuid() == 0), os.environ).settings


def _policy(settings: Settings) -> Policy:
    from relay.config.rules import policy_of  # noqa: PLC0415  # `--help` stays light

    return policy_of(settings)


# -- list -----------------------------------------------------------------------------------------------------------


@command.command("list")
@_CONFIG
@_JSON
@click.option("--markdown", is_flag=True, help="The page of the built-in operations; needs no configuration.")
def list_(config: Path | None, *, as_json: bool, markdown: bool) -> None:
    """Every operation: the site's own, then the built-in ones, each with what allows it."""
    if markdown:
        from relay.core import catalog_page  # noqa: PLC0415  # as above

        click.echo(catalog_page.markdown(), nl=False)
        return
    policy = _policy(_settings(config))
    if as_json:
        print_json("policy-list", {"operations": [_operation(policy, each) for each in policy.operations]})
        return
    print_table(
        ("operation", "allowed by", "groups", "safe", "request", "other names"),
        (
            (
                each.name,
                policy.rule(each) or "-",
                ", ".join(each.groups) or ("-" if each.builtin else "(site)"),
                "yes" if each.safe else "no",
                " ".join(["|".join(each.methods), each.path, *(f"{name}={value}" for name, value in each.fixed)]),
                ", ".join(each.aliases),
            )
            for each in policy.operations
        ),
    )


def _operation(policy: Policy, operation: Operation) -> dict[str, Json]:
    return {
        "name": operation.name,
        "aliases": list(operation.aliases),
        "description": operation.description,
        "builtin": operation.builtin,
        "groups": list(operation.groups),
        "rule": policy.rule(operation),
        "safe": operation.safe,
        "methods": list(operation.methods),
        "path": operation.path,
        "fixed": dict(operation.fixed),
        "soap_action": operation.soap_action,
        "appliance": operation.appliance,
        "products": sorted(operation.products),
        "per_minute": operation.per_minute or None,
        "require_signature": operation.require_signature,
        "response": {"types": list(operation.types), "max_bytes": operation.max_bytes or None},
        "arguments": [_argument(operation, each) for each in operation.arguments],
    }


def _argument(operation: Operation, argument: Argument) -> dict[str, Json]:
    from relay.core.arguments import grammar  # noqa: PLC0415  # as above

    return {
        "name": argument.label,
        "in": "query or form" if operation.either else "anywhere" if operation.handed_over else argument.place,
        "type": argument.type,
        "takes": grammar(argument),
        "required": argument.required,
        "default": argument.default,
        "description": argument.description,
    }


# -- test -----------------------------------------------------------------------------------------------------------


@command.command("test")
@_CONFIG
@_JSON
@click.option("--method", default="GET", show_default=True, help="An HTTP call's method.")
@click.option("--url", help="An HTTP call's URL.")
@click.option("--header", "headers", multiple=True, metavar="N=V", help="An HTTP call's header; may be repeated.")
@click.option("--body", type=click.File("rb"), metavar="FILE", help="Its body, in a file; - is stdin.")
@click.option("--soap-action", help="Take it for a SOAPProbe of this action.")
@click.option("--operation", help="A typed call's operation, instead of a URL.")
@click.option("--argument", "arguments", multiple=True, metavar="N=V", help="Its argument; may be repeated.")
@click.option("--appliance", help="Its appliance.")
@click.option("--by", default="", help="The user who writes the record; part of what is signed.")
@click.option("--correlator", default="", help="The record's agent_correlator; part of what is signed.")
@click.option("--signature", help="The record's relay_signature: say whether it fits.")
@click.pass_context
def test(
    ctx: click.Context,
    config: Path | None,
    *,
    as_json: bool,
    method: str,
    url: str | None,
    headers: tuple[str, ...],
    body: BinaryIO | None,
    soap_action: str | None,
    operation: str | None,
    arguments: tuple[str, ...],
    appliance: str | None,
    by: str,
    correlator: str,
    signature: str | None,
) -> None:
    """Which operation a call fits and what is sent for it, or why it is refused; exits 0 or 1.

    Also whether such work must be signed. With --json, or with --signature, the text that is signed is shown; it
    holds the call's arguments.
    """
    if (url is None) == (operation is None):
        raise click.UsageError("give either --url (an HTTP call) or --operation (a typed call)")
    work: HttpCall | TypedCall
    if url is not None:
        if arguments or appliance is not None:
            raise click.UsageError("--argument and --appliance belong to --operation")
        work = _http_call(method, url, headers, _text(body) if body is not None else "", soap_action)
    else:
        from relay.core.record import TypedCall  # noqa: PLC0415  # as above

        if headers or body is not None or soap_action is not None:
            raise click.UsageError("--header, --body and --soap-action belong to --url")
        work = TypedCall(operation or "", dict(_pairs(arguments, "--argument")), appliance)
    settings, row = _settings(config), Row(by, correlator, signature)
    ctx.exit(_show(_policy(settings).decide(work), lambda ruling: judge(settings, ruling, row), as_json=as_json))


def _text(body: BinaryIO) -> str:
    """A body in a file; the line break that editors put at its end is not part of it."""
    try:
        return body.read().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("--body is not UTF-8") from None


def _pairs(texts: tuple[str, ...], option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.UsageError(f"{option} is written NAME=VALUE")
        pairs.append((name, value))
    return pairs


def _http_call(method: str, url: str, headers: tuple[str, ...], body: str, soap_action: str | None) -> HttpCall:
    """The call as the policy sees one from ServiceNow: what holds credentials is already gone."""
    from relay.core.record import HttpCall  # noqa: PLC0415  # as above
    from relay.servicenow import leave_out  # noqa: PLC0415  # as above

    kept = leave_out.headers(_pairs(headers, "--header"))
    kind = next((value for name, value in kept if name.strip().lower() == "content-type"), "")
    return HttpCall(method, leave_out.url(url), kept, (), leave_out.body(body, kind), soap_action)


def _show(decision: Decision, look: Callable[[Allowed], Findings], *, as_json: bool) -> int:
    """Print a decision; `look` tells of an allowed call's signature."""
    from relay.core.codes import code_of  # noqa: PLC0415  # as above
    from relay.core.policy_values import Allowed, TokenPlaceholder  # noqa: PLC0415  # as above

    found: dict[str, Json]
    refused = False
    if isinstance(decision, TokenPlaceholder):
        found = {"decision": "answered", "appliance": decision.appliance}
        lines = [f"answered by the relay itself: a placeholder token for appliance {decision.appliance}"]
    elif isinstance(decision, Allowed):
        findings = look(decision)
        found, lines = _allowed(decision, findings)
        refused = bool(findings.wrong)
    else:
        code, refused = code_of(decision.number), True
        found = {
            "decision": "denied",
            "code": code.name,
            "cause": code.cause,
            "detail": decision.detail,
            "fix": code.fix,
            "rule": decision.rule or None,
            "operation": decision.operation or None,
        }
        lines = [f"denied: {code.name}: {code.cause}: {decision.detail}"]
        lines += [f"  nearest operation: {decision.operation}"] if decision.operation else []
    if as_json:
        print_json("policy-test", found)
    else:
        for line in lines:
            data(plain(line))
    sys.stdout.flush()
    if "fix" in found and not as_json:
        say(f"  fix: {found['fix']}")
    return FAILED if refused else DONE


def _allowed(decision: Allowed, findings: Findings) -> tuple[dict[str, Json], list[str]]:
    """An allowed call as JSON, and for people."""
    from relay.core.urls import encode_pairs  # noqa: PLC0415  # as above

    request = decision.request
    target = request.path + (f"?{encode_pairs(request.query)}" if request.query else "")
    found: dict[str, Json] = {
        "decision": "allowed",
        "operation": request.operation,
        "rule": decision.rule,
        "appliance": request.appliance,
        "safe": request.safe,
        "per_minute": decision.per_minute or None,
        "require_signature": findings.required,
        "signature": findings.facts(),
        "handed_over": decision.handed_over,
        "arguments": dict(decision.arguments),
        "request": {
            "method": request.method,
            "target": target,
            "accept": request.accept,
            "content_type": request.content_type,
            "body": request.body.decode(),
        },
    }
    lines = [
        f"allowed: operation {request.operation}, by '{decision.rule}' of policy.allow",
        f"  appliance: {request.appliance}",
        f"  request:   {request.method} {target}",
        *(["  handed to the request for approval that it decides; nothing is sent for it"] * decision.handed_over),
        *([f"  body:      {request.body.decode()}"] if request.body else []),
        f"  safe:      {'yes' if request.safe else 'no'}",
        *findings.lines(),
    ]
    return found, lines
