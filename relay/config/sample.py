"""The commented sample of a configuration, made from the model: every key, in the order of the model.

`# Text` explains, `#key: value` is a key that may be switched on by taking its `#` away. The keys that are switched
on are the required ones and what a first start needs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from relay.config.describe import Key, Path, Table, keys, written
from relay.config.emit import block
from relay.config.leaves import Leaf
from relay.config.model import Settings
from relay.config.section import Section
from relay.core.jobs import Json

HEADER = """\
# Configuration of B Series Relay.
#
# '# Text' explains; '#key: value' is a key that is off, with its default or an example: take away its '#' and that of
# the section it stands in. 'bseries-relay config check' checks this file, 'bseries-relay config reference' explains
# every key. Files conf.d/*.yaml beside this one are merged over it in byte order: maps key by key, everything else is
# replaced.
#
# Durations: 250ms 15s 5m 2h 7d. Sizes: 64KiB 20MiB 1GiB. Only true and false are booleans. A secret is never a
# literal: {credential: NAME} is a credential of systemd's, {file: PATH} a file that others cannot read.
"""

SWITCHED_ON = frozenset({"version", "servicenow.auth.basic", "policy", "policy.allow"})
_WIDTH = 110


def sample() -> str:
    """The sample, which passes `config check` where the credentials that it names exist."""
    return HEADER + "\n".join(_section(Settings, (), on=True)) + "\n"


def example_of(key: Key) -> Json:
    """One good value of a key, as it is written: an example of its own, the default, or its kind's example."""
    if key.example is not None:
        return key.example
    if key.default is not None and not isinstance(key.shape, type):
        return written(key.shape, key.default)
    return key.shape.example if isinstance(key.shape, Leaf) else []


def _section(section: type[Section], path: Path, *, on: bool) -> Iterator[str]:
    for key in keys(section):
        below = (*path, key.name)
        live = on and (key.required or ".".join(map(str, below)) in SWITCHED_ON)
        if not path:
            yield ""
        yield from _comment(key.description, len(path))
        yield from _key(key, below, on=live)


def _key(key: Key, path: Path, *, on: bool) -> Iterator[str]:
    """A key and what is below it. Switched off, a `#` stands where the key begins."""
    margin = "  " * (len(path) - 1)
    mark = "" if on else "#"
    if isinstance(key.shape, type) and key.example is None:
        yield f"{margin}{mark}{key.name}:"
        yield from _section(key.shape, path, on=on)
    elif isinstance(key.shape, Table) and isinstance(key.shape.value, type) and key.example is None:
        yield f"{margin}{mark}{key.name}:"
        yield f"{margin}  {mark}{key.shape.key.example}:"
        yield from _section(key.shape.value, (*path, "*"), on=on)
    else:
        for line in block(key.name, example_of(key)):
            indent = len(line) - len(line.lstrip())
            yield f"{margin}{line[:indent]}{mark}{line[indent:]}"


def _comment(text: str, depth: int) -> list[str]:
    margin = "  " * depth
    return [f"{margin}# {line}" for line in textwrap.wrap(text, _WIDTH - len(margin))]
