"""Progress of long work: a bar with rate and time left on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

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
        What is worked off; each counts as done when the next is asked for.
    total : int
        How many there are.
    description : str
        What they are.
    note : callable
        Returns what else is to be shown, such as the best score so far.
    """
    shown = _on_terminal if sys.stderr.isatty() else _in_lines
    yield from shown(items, total, description, note)


def _on_terminal(items: Iterable[T], total: int, description: str, note: Callable[[], str]) -> Iterator[T]:
    with tqdm(total=total, desc=description, smoothing=0.1) as bar:
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
