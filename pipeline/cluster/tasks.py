"""Shared by every backend: types, the message of an error; and the backend of this process, serial."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mcbert.execution import Triple

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

# Tasks handed out per worker: one runs, one waits, so that a slow writer never piles results up.
IN_FLIGHT = 2

HALF = 1000  # characters of a long message that are kept at either end: what failed comes first, advice last


def message(error: BaseException) -> str:
    """Return an error's message on one line; of a very long one, its beginning and its end."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 2 * HALF else f"{text[:HALF]} ... {text[-HALF:]}"


def serial(function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[Triple[T, R]]:
    """Run tasks one after the other in this process."""
    for task in tasks:
        try:
            result = function(task)
        except Exception as error:  # a failing task is a result, whatever it raised
            log.debug("task failed", exc_info=True)
            yield task, None, message(error)
        else:
            yield task, result, None
