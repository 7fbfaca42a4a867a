"""The reference of all keys as Markdown, made from the model."""

from __future__ import annotations

from collections.abc import Iterator

from relay.config.describe import Key, Several, Shape, Table, alternative, keys, written
from relay.config.emit import inline
from relay.config.leaves import Leaf, WordOr
from relay.config.model import Settings
from relay.config.sample import example_of
from relay.config.section import Section

HEAD = """\
# Configuration

`/etc/bseries-relay/relay.yaml`, then the files `conf.d/*.yaml` beside it in byte order of their names: maps are merged
key by key, everything else is replaced by the later file. `--config FILE` names another main file, whose `conf.d` is
the one beside it. The files belong to `root:bseries-relay` with mode 0640; a file that others can change is refused.

- **Durations** are `250ms`, `15s`, `5m`, `2h`, `7d`; **sizes** are `512B`, `64KiB`, `20MiB`, `1GiB`.
- **Booleans** are `true` and `false` and nothing else. `NO`, `on`, `off` and the like are plain words: right where a
  key lists them, elsewhere an error.
- **A secret** is never a literal. `{credential: NAME}` is a credential of systemd's (`LoadCredential=`,
  `LoadCredentialEncrypted=`), `{file: PATH}` a file that others cannot read and that group and others cannot change.
- **A key without a value** counts as absent, so that a drop-in can take one away: `proxy: null`.
- Unknown keys, keys given twice, anchors, aliases, merge keys, tags, and files over 1 MiB are refused. All problems of
  all files are reported at once, each with its line: `bseries-relay config check`.
- Environment variables for proxies and certificates (`HTTPS_PROXY`, `SSL_CERT_FILE`, ...) change nothing.

`bseries-relay config show` prints the settings that hold and where each comes from; `bseries-relay config schema`
prints a JSON Schema for editors. This page is the output of `bseries-relay config reference`.
"""

_TOP = {key.shape: key.name for key in keys(Settings) if isinstance(key.shape, type)}
_ROW_HEAD = ("| key | takes | default | what it is | example |", "|---|---|---|---|---|")


def reference() -> str:
    """The whole page."""
    lines = [HEAD, "## At the top", "", *_ROW_HEAD]
    lines += [_row(key, key.name) for key in keys(Settings) if isinstance(key.shape, Leaf)]
    for key in keys(Settings):
        if not isinstance(key.shape, Leaf):
            lines += ["", f"## {key.name}", "", f"{key.description}{_note(key)}", "", *_ROW_HEAD]
            lines += _rows(key.shape, key.name)
    return "\n".join(lines) + "\n"


def _note(key: Key) -> str:
    return " Required." if key.required else ""


def _rows(shape: Shape, path: str) -> Iterator[str]:
    """A row for each key below a path."""
    if isinstance(shape, WordOr):
        shape = alternative(shape)
    if isinstance(shape, Several):
        yield from _rows(shape.item, f"{path}[]") if not isinstance(shape.item, Leaf) else ()
    elif isinstance(shape, Table):
        yield from _rows(shape.value, f"{path}.NAME") if not isinstance(shape.value, Leaf) else ()
    elif isinstance(shape, type):
        for key in keys(shape):
            below = f"{path}.{key.name}"
            yield _row(key, below)
            if key.shape not in _TOP:
                yield from _rows(key.shape, below)


def _row(key: Key, path: str) -> str:
    if key.required:
        default = "required"
    elif key.default is None or isinstance(key.default, Section):
        default = ""
    else:
        default = _code(inline(written(key.shape, key.default)))
    nested = isinstance(key.shape, type | Table) or (
        isinstance(key.shape, Several) and isinstance(key.shape.item, type)
    )
    example = "" if nested else _code(inline(example_of(key)))
    cells = (_code(path), _takes(key.shape, key.least), default, key.description, example)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _takes(shape: Shape, least: int = 0) -> str:
    some = "at least one " if least else ""
    if isinstance(shape, Leaf):
        return shape.words
    if isinstance(shape, Several):
        return "a list of sections" if isinstance(shape.item, type) else f"a list, each {_takes(shape.item)}"
    if isinstance(shape, Table):
        return f"{some}section by name" if isinstance(shape.value, type) else "a map"
    return f"a section like [{_TOP[shape]}](#{_TOP[shape]})" if shape in _TOP else "a section"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
