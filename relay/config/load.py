"""Loads the configuration: files, merge, model, policy, and where every value comes from.

All problems of all files come at once. Each file is judged by itself too, so that a mistake in the main file shows
although a drop-in replaces the value; what another file may bring (a required key) is judged on the whole alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

from relay.config.describe import leaves
from relay.config.document import Document
from relay.config.files import documents, empty, name_of
from relay.config.model import Settings
from relay.config.policy_check import policy_problems
from relay.config.problems import ConfigProblems, Problem, dotted
from relay.config.tree import Map, Mark, find, merge
from relay.config.unsupported import unsupported
from relay.config.validate import Judge

DEFAULT = "default"

IGNORED_VARIABLES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
"""Other programs let these say where to connect and whom to trust; here only the configuration does."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        settings: what holds.
        origins: for each single value, by its dotted path, `FILE:LINE:COL` or `default`.
        warnings: what does not keep the relay from starting.
        judge: makes problems of what is found out about the settings later, with their places.

    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[Problem, ...]
    judge: Judge = field(repr=False)


def load(main: Path, environ: Mapping[str, str]) -> Loaded:
    """The configuration in a main file and the drop-ins beside it.

    Args:
        main: the main file.
        environ: the environment; it changes nothing and may raise a warning.

    Raises:
        ConfigProblems: every problem of every file.

    """
    found = documents(main)
    problems = [problem for document in found for problem in document.problems]
    spoiled = {problem.where for problem in problems}
    trees = [document.root for document in found if document.root is not None]
    sources = {document.file: document.source for document in found}
    merged = reduce(merge, trees, empty(name_of(main)))
    judge = Judge(merged, sources)
    judged = [problem for root in trees for problem in Judge(root, sources).part()]
    settings: Settings | None = None
    if len(trees) == len(found):
        settings, more = judge.settings()
        judged += more
    judged += policy_problems(judge)
    if settings is not None:
        judged += _unsupported(settings, judge)
    problems += [problem for problem in judged if problem.where not in spoiled]
    errors = [problem for problem in problems if not problem.warning]
    if errors or settings is None:
        raise ConfigProblems(_ordered(errors, found))
    warnings = [problem for problem in problems if problem.warning]
    return Loaded(settings, _origins(settings, merged), (*_ordered(warnings, found), *_ignored(environ)), judge)


def _unsupported(settings: Settings, judge: Judge) -> list[Problem]:
    return [
        judge.problem(1017, part.path, part.text, at_key=True, warning=not part.error) for part in unsupported(settings)
    ]


def _ignored(environ: Mapping[str, str]) -> list[Problem]:
    names = [name for base in IGNORED_VARIABLES for name in (base, base.lower()) if environ.get(name)]
    if not names:
        return []
    text = f"{', '.join(names)}: set in the environment and ignored; write proxies and CA files in the configuration"
    return [Problem(1018, None, "", text, warning=True)]


def _ordered(problems: Sequence[Problem], found: Sequence[Document]) -> list[Problem]:
    """Each problem once, file by file, from the top."""
    places = {(problem.number, problem.mark, problem.where): problem for problem in problems}
    files = [document.file for document in found]
    return sorted(places.values(), key=lambda problem: _place(problem, files))


def _place(problem: Problem, files: Sequence[str]) -> tuple[int, int, int]:
    mark = problem.mark or Mark("", 0, 0)
    return files.index(mark.file) if mark.file in files else len(files), mark.line, mark.column


def _origins(settings: Settings, root: Map) -> dict[str, str]:
    origins = {}
    for path, _ in leaves(Settings, settings):
        node, _, whole = find(root, path)
        origins[dotted(path)] = str(node.mark) if whole else DEFAULT
    return origins
