"""Progress of long work: a bar with rate and time left on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield `items`, showing how far along they are."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=description, smoothing=0.1)
        return
    began = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = done / max(now - began, 1e-9)
            log.info("%s: %d/%d, %.2f/s, %.0f s left", description, done, total, rate, (total - done) / rate)
