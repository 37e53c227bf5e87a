"""Progress of long work: a bar with rate and time left on a terminal or in a notebook, else log lines."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import tqdm.autonotebook
import tqdm.std
from tqdm.auto import tqdm as automatic

log = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(
    items: Iterable[T], total: int, description: str, note: Callable[[], str] = lambda: ""
) -> Iterator[T]:
    """Yield `items`, showing how far along they are.

    Parameters
    ----------
    items : iterable
        Items to work through; each counts as done when the next is asked for.
    total : int
        How many there are.
    description : str
        Name of the items.
    note : callable
        Returns what else is to be shown, such as the best score so far.
    """
    shown = _in_a_bar if _shows_bars() else _in_lines
    yield from shown(items, total, description, note)


@contextmanager
def counted(total: int, description: str) -> Iterator[Callable[[int], object]]:
    """Show a bar where bars are shown; yield a function that takes the number of further items done."""
    if not _shows_bars():
        yield lambda _: None
        return
    with automatic(total=total, desc=description, smoothing=0.1) as bar:
        yield bar.update


def _shows_bars() -> bool:
    """Return whether this is a terminal or a notebook."""
    return sys.stderr.isatty() or tqdm.autonotebook.tqdm is not tqdm.std.tqdm


def _in_a_bar(items: Iterable[T], total: int, description: str, note: Callable[[], str]) -> Iterator[T]:
    with automatic(total=total, desc=description, smoothing=0.1) as bar:
        for item in items:
            yield item
            bar.set_postfix_str(note(), refresh=False)
            bar.update()


def _in_lines(items: Iterable[T], total: int, description: str, note: Callable[[], str]) -> Iterator[T]:
    began = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = done / max(now - began, 1e-9)
            left = (total - done) / rate
            more = f"; {text}" if (text := note()) else ""
            log.info("%s: %d/%d, %.2f/s, %.0f s left%s", description, done, total, rate, left, more)
