"""The page of the built-in operations, made from the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from relay.core.arguments import Argument, grammar
from relay.core.catalog import CATALOG
from relay.core.operations import GROUPS, Operation

_HEAD: Final = """\
<!-- Made by `bseries-relay policy list --markdown`. -->

# Built-in operations

A call passes only as one of these operations, or as one that the site defines, and only when `policy.allow` names the
operation, one of its other names, or a group that holds it. The relay does not pass the call on: it judges each
argument by the grammar below and makes the request anew. `bseries-relay policy list` shows what a configuration
allows, `bseries-relay policy test` why a call passes or does not.

- A typed call (`BSeriesProbe`) names the operation, or one of its other names, and brings the arguments as parameters
  or as a JSON object. Where a name stands for several operations (`session-attributes`), the one that the arguments
  fit is meant: with attributes it sets, without it gets.
- An HTTP call (`RESTProbe`) fits by method, path and fixed pairs. The Command API and the Reporting API take their
  pairs in the query or as a form; `/api/command.ns` and `/api/reporting.ns` mean the same as without `.ns`.
- An argument whose name ends in `*` is a family: `session.custom.*` stands for `session.custom.external_key` and every
  other code name of letters, digits and `_`. In JSON its members may stand without prefix in one object, shown in
  brackets. To narrow a family write its name without the star; to narrow one member write that member's name;
  `max_items: 0` closes the family but for the members that are written out.
- *Safe* operations may be repeated after an unknown outcome; the others never are.
- Control characters pass nowhere. In a path only printable ASCII without `/ \\ % ? # ;` passes.
- `POST /oauth2/token` at an appliance's address is answered by the relay itself with a placeholder, whatever the
  policy says.
"""

_PRODUCTS: Final = {"pra": "Privileged Remote Access", "rs": "Remote Support"}


def markdown() -> str:
    """The whole page, ending in one line break."""
    lines = [_HEAD, "## Groups", "", "| group | holds | operations |", "|---|---|---|"]
    for group, holds in GROUPS.items():
        names = ", ".join(f"`{operation.name}`" for operation in CATALOG if group in operation.groups)
        lines.append(f"| `{group}` | {holds} | {names} |")
    lines += ["", "## Operations"]
    for operation in CATALOG:
        lines += ["", *_section(operation)]
    return "\n".join(lines) + "\n"


def _section(operation: Operation) -> Iterable[str]:
    yield f"### `{operation.name}`"
    yield ""
    yield f"{operation.description}."
    yield ""
    yield f"- request: `{' or '.join(operation.methods)} {operation.path}{_fixed(operation)}`{_kept(operation)}"
    if operation.aliases:
        yield "- other names: " + ", ".join(f"`{alias}`" for alias in operation.aliases)
    yield "- groups: " + ", ".join(f"`{group}`" for group in operation.groups)
    yield "- products: " + ", ".join(_PRODUCTS[product] for product in sorted(operation.products))
    yield f"- safe: {'yes' if operation.safe else 'no'}"
    if operation.arguments:
        yield ""
        yield "| argument | in | takes | |"
        yield "|---|---|---|---|"
        for argument in operation.arguments:
            yield _row(operation, argument)


def _kept(operation: Operation) -> str:
    return ", which is not passed on" if operation.handed_over else ""


def _fixed(operation: Operation) -> str:
    return "".join(f" {name}={value}" for name, value in operation.fixed)


def _row(operation: Operation, argument: Argument) -> str:
    place = "query or form" if operation.either else "anywhere" if operation.handed_over else argument.place
    name = f"`{argument.label}`" + (f" (`{argument.collective}`)" if argument.collective else "")
    notes = [argument.description]
    if argument.required:
        notes.append("**required**")
    if argument.default is not None:
        notes.append(f"default `{argument.default}`")
    if argument.max_total:
        notes.append(f"all together at most {argument.max_total} bytes")
    return f"| {name} | {place} | {grammar(argument).replace('|', chr(92) + '|')} | {'; '.join(notes)} |"
