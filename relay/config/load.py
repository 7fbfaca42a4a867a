"""Loads the configuration: files, merge, model, policy, and where every value comes from.

All problems of all files come at once: each check runs whose own values are right, whatever is wrong elsewhere. Each
file is judged by itself too, so that a mistake in the main file shows although a drop-in replaces the value; what
another file may bring (a required key, one of two that belong together) is judged on the whole alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from pathlib import Path

from relay.config.describe import leaves, shape_at
from relay.config.files import empty, read_all
from relay.config.guarded import name_of
from relay.config.known import conflicts
from relay.config.leaves import SecretAt
from relay.config.model import Settings
from relay.config.policy_check import policy_problems
from relay.config.problems import ConfigProblems, Problem, dotted
from relay.config.section import CONTRADICTION
from relay.config.tree import Map, Mark, find, merge
from relay.config.unsupported import UNSUPPORTED, unsupported
from relay.config.validate import MISSING, Judge

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
    "SSLKEYLOGFILE",
)
"""Other programs let these say where to connect, whom to trust, and where to write their sessions' keys; here only the
configuration does, and no key is written anywhere."""
ENVIRONMENT = 1018


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used.

    Attributes:
        settings: what holds.
        origins: for each single value, by its dotted path, `FILE:LINE:COL` or `default`.
        warnings: what does not keep the relay from starting.

    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Examined:
    """A configuration as it is found, good or not.

    Attributes:
        settings: what holds; with errors, only what is right, see `relay.config.known`.
        problems: errors and warnings, file by file from the top.
        judge: makes problems of what is found out about the settings later, with their places.
        files: the files' names, in the order in which they are read.

    """

    settings: Settings
    problems: tuple[Problem, ...]
    judge: Judge = field(repr=False)
    files: tuple[str, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What keeps the relay from starting."""
        return tuple(problem for problem in self.problems if not problem.warning)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What does not."""
        return tuple(problem for problem in self.problems if problem.warning)

    def found(self, more: Iterable[Problem]) -> Examined:
        """With problems that were found out later."""
        return replace(self, problems=_ordered((*self.problems, *more), self.files))


def load(main: Path, environ: Mapping[str, str]) -> Loaded:
    """The configuration in a main file and the drop-ins beside it.

    Args:
        main: the main file.
        environ: the environment; it changes nothing and may raise a warning.

    Raises:
        ConfigProblems: every problem of every file.

    """
    examined = examine(main, environ)
    if examined.errors:
        raise ConfigProblems(examined.errors)
    return Loaded(examined.settings, _origins(examined.settings, examined.judge.root), examined.warnings)


def examine(main: Path, environ: Mapping[str, str]) -> Examined:
    """What stands in a main file and the drop-ins beside it, and everything that is wrong with it. See `load`."""
    documents = read_all(main)
    trees = [document.root for document in documents if document.root is not None]
    sources = {document.file: document.source for document in documents}
    judge = Judge(reduce(partial(merge, one_value=_is_secret), trees, empty(name_of(main))), sources)
    settings, judged = judge.settings()
    contradictions = list(conflicts(settings))
    if len(trees) < len(documents):  # what seems to be missing may stand in the file that cannot be read
        judged = [problem for problem in judged if problem.number != MISSING]
        contradictions = [each for each in contradictions if not each[1].lacking]
    judged += [judge.problem(CONTRADICTION, (*path, *each.at), each.text, at_key=True) for path, each in contradictions]
    for root in trees:
        _, problems = Judge(root, sources).settings()
        judged += [problem for problem in problems if problem.number != MISSING]
    judged += policy_problems(judge)
    judged += _unsupported(settings, judge)
    problems = [problem for document in documents for problem in document.problems]
    spoiled = {(problem.mark.file, problem.where) for problem in problems if problem.mark}
    problems += [problem for problem in judged if problem.mark and (problem.mark.file, problem.where) not in spoiled]
    files = tuple(document.file for document in documents)
    return Examined(settings, _ordered((*problems, *_ignored(environ)), files), judge, files)


def _is_secret(path: tuple[str | int, ...]) -> bool:
    return isinstance(shape_at(Settings, path), SecretAt)


def _unsupported(settings: Settings, judge: Judge) -> Iterator[Problem]:
    for part in unsupported(settings):
        if judge.is_written(part.path):
            problem = judge.problem(UNSUPPORTED, part.path, part.text, at_key=True, warning=True)
            yield replace(problem, where=dotted(part.path))


def _ignored(environ: Mapping[str, str]) -> list[Problem]:
    names = [name for base in IGNORED_VARIABLES for name in (base, base.lower()) if environ.get(name)]
    if not names:
        return []
    text = f"{', '.join(names)}: set in the environment and ignored; write proxies and CA files in the configuration"
    return [Problem(ENVIRONMENT, None, "", text, warning=True)]


def _ordered(problems: Iterable[Problem], files: Sequence[str]) -> tuple[Problem, ...]:
    """Each problem once, file by file, from the top."""
    # By place and not by text: the hints to unknown keys come to an end, and then the texts differ.
    places = {
        (problem.number, problem.mark, problem.where, problem.text if problem.number == CONTRADICTION else ""): problem
        for problem in problems
    }
    return tuple(sorted(places.values(), key=lambda problem: _place(problem, files)))


def _place(problem: Problem, files: Sequence[str]) -> tuple[int, int, int]:
    mark = problem.mark or Mark("", 0, 0)
    return files.index(mark.file) if mark.file in files else len(files), mark.line, mark.column


def _origins(settings: Settings, root: Map) -> dict[str, str]:
    origins = {}
    for path, _ in leaves(Settings, settings):
        node, _, whole = find(root, path)
        origins[dotted(path)] = str(node.mark) if whole else DEFAULT
    return origins
