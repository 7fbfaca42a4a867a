"""Faults inside the daemon that quote what it handles: Python imports this file at its start when it is on the path.

What is broken: reading a record, shaping an answer, a task that nobody awaits, a thread, and, once the file named by
SABOTAGE is there, a loop without which the daemon cannot go on.
"""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from relay.appliance.values import JsonShaper
from relay.pipeline import judge
from relay.pipeline.close import Sweep


def fall(text: object) -> NoReturn:
    """Raise what quotes a text, from what quotes it too."""
    try:
        {}[text]
    except (KeyError, TypeError) as error:
        msg = f"cannot use {text!r}"
        raise ValueError(msg) from error


async def fall_later(text: object) -> None:
    """The same in a task."""
    fall(text)


def broken(read: Callable[..., Any]) -> Callable[..., Any]:
    """Break the reading of records that ask for it."""

    def reading(codec: object, policy: object, record: Any) -> Any:
        if "sabotage" in record.payload:
            text = record.payload
            asyncio.get_running_loop().create_task(fall_later(text))
            thread = threading.Thread(target=fall, args=(text,))
            thread.start()
            thread.join()
            warnings.warn("a library warns", stacklevel=1)
            fall(text)
        return read(codec, policy, record)

    return reading


def crooked(shape: Callable[..., Any]) -> Callable[..., Any]:
    """Break the shaping of answers that ask for it."""

    def shaping(self: object, reply: Any) -> Any:
        if b"sabotage" in reply.body:
            fall(reply)
            fall(reply.body)
        return shape(self, reply)

    return shaping


async def fatal(_: object) -> None:
    """End the daemon when it is told to, with its own secrets in an error whose text is told."""
    path = os.environ["SABOTAGE"]
    while not os.access(path, os.R_OK):  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.05)
    with open(path) as file:  # noqa: ASYNC230, PTH123 - small and local
        raise OSError(file.read())


if "SABOTAGE" in os.environ:
    judge._judge = broken(judge._judge)  # type: ignore[attr-defined]
    JsonShaper.to_json = crooked(JsonShaper.to_json)  # type: ignore[method-assign]
    Sweep.run = fatal  # type: ignore[method-assign,assignment]
