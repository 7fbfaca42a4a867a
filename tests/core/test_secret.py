"""Secrets."""

from __future__ import annotations

import copy
import inspect
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from relay.core.secret import Secret

TEXT = "canary-7f3a91"


@dataclass(frozen=True, slots=True)
class Holder:
    """A value with a secret in it."""

    name: str
    secret: Secret


class Model(BaseModel):
    """A pydantic model with a secret in it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    secret: Secret
    number: int = 0


@given(st.text(min_size=1))
def test_no_way_of_showing_a_secret_depends_on_it(text: str) -> None:
    """What repr, str and every format give is the same for each secret, so that it tells nothing of one."""

    def ways(one: Secret) -> tuple[str, ...]:
        return repr(one), str(one), f"{one}", f"{one:>12}", f"{[one]}", f"{one!r}", "%s %r" % (one, one)  # noqa: UP031  # the old way is tested too

    assert ways(Secret(text)) == ways(Secret("another"))
    assert Secret(text).reveal() == text


def logged(act: Callable[[logging.Logger, Secret], None]) -> str:
    """What the standard library's logging writes."""
    stream = io.StringIO()
    logger = logging.Logger("test")  # noqa: LOG001  # one that nobody else hears
    logger.addHandler(logging.StreamHandler(stream))
    act(logger, Secret(TEXT))
    return stream.getvalue()


def structured(secret: Secret) -> str:
    """What structlog's own renderers write."""
    event = {"event": "x", "secret": secret, "deep": [secret]}
    renderers = (
        structlog.processors.JSONRenderer(),
        structlog.processors.KeyValueRenderer(),
        structlog.dev.ConsoleRenderer(),
    )
    return "".join(str(render(None, "info", dict(event))) for render in renderers)


def rich_traceback(secret: Secret) -> str:
    """A traceback with the values of all variables, as rich shows them."""
    held = [secret]
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        assert held
        stream = io.StringIO()
        shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
        Console(file=stream, width=200).print(shown)
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
        return stream.getvalue() + "".join(captured.format())
    raise AssertionError


def refused(*acts: Callable[[Secret], object]) -> str:
    """What errors say that a wrong use of a secret raises."""
    told = []
    for act in acts:
        with pytest.raises((TypeError, AttributeError, ValueError, KeyError)) as caught:
            act(Secret(TEXT))
        told.append("".join(traceback.format_exception(caught.value)))
    return "".join(told)


WAYS: dict[str, Callable[[], str]] = {
    "logging": lambda: logged(lambda logger, secret: logger.error("%s %r", secret, [secret])),
    "logging wrongly": lambda: logged(lambda logger, secret: logger.error("%(a)s", {"a": secret})),
    "structlog": lambda: structured(Secret(TEXT)),
    "rich": lambda: pretty_repr(Holder("a", Secret(TEXT)), expand_all=True),
    "traceback with locals": lambda: rich_traceback(Secret(TEXT)),
    "pprint": lambda: pprint.pformat([Secret(TEXT), Holder("a", Secret(TEXT))]),
    "a dataclass": lambda: repr(Holder("a", Secret(TEXT))),
    "a pydantic model": lambda: repr(Model(secret=Secret(TEXT))) + str(Model(secret=Secret(TEXT)).model_dump()),
    "members": lambda: repr(inspect.getmembers(Secret(TEXT))) + repr(dir(Secret(TEXT))),
    "an exception": lambda: repr(ValueError(Secret(TEXT))) + str(KeyError(Secret(TEXT))),
    "errors of wrong uses": lambda: refused(
        json.dumps,
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        vars,
        iter,
        len,
        int,
        open,
        lambda secret: "a" + secret,  # type: ignore[operator]
        lambda secret: {}[secret],
        lambda secret: asdict(Holder("a", secret)),
        lambda secret: Model(secret=secret).model_dump_json(),
        lambda secret: object.__reduce_ex__(secret, 2),
        lambda secret: secret.__getstate__(),
        lambda secret: setattr(secret, "text", 1),
        lambda secret: secret.__dict__,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_shows_objects_shows_a_secret(way: str) -> None:
    """Loggers, printers, models, inspectors and the errors of wrong uses never have the text."""
    shown = WAYS[way]()
    assert shown
    assert TEXT not in shown


def test_validation_errors_do_not_show_it() -> None:
    """A pydantic error about a value beside a secret shows the mask at most."""
    with pytest.raises(ValidationError) as caught:
        Model(secret=Secret(TEXT), number="x")  # type: ignore[arg-type]
    assert TEXT not in str(caught.value)


def test_secrets_compare_by_their_text() -> None:
    """Equal texts make equal secrets, and a secret equals no plain text."""
    assert Secret("one") == Secret("one")
    assert hash(Secret("one")) == hash(Secret("one"))
    assert Secret("one") != Secret("two")
    assert Secret("one") != "one"
    assert Secret("\ud800") != Secret("?")


def test_a_secret_takes_no_further_attribute() -> None:
    """Nothing can be hung on a secret."""
    with pytest.raises((AttributeError, FrozenInstanceError)):
        Secret("one").text = "x"  # type: ignore[attr-defined]
