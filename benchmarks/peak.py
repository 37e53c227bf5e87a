"""Peak memory of this process and everything it started, sampled from Linux's /proc."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

PAUSE = 0.25  # seconds between samples
MEANING = "PSS of the driver and its workers together, every quarter second"


class Memory:
    """Samples in a thread while entered; afterwards `peak_mb`, and `driver_mb` of it at that moment."""

    def __init__(self) -> None:
        self.peak_mb = self.driver_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(PAUSE):
            driver = pss_mb(os.getpid())
            total = driver + sum(pss_mb(pid) for pid in descendants(os.getpid()))
            if total > self.peak_mb:
                self.peak_mb, self.driver_mb = total, driver


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that these started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:  # the thread has ended
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def pss_mb(pid: int) -> float:
    """Return the proportional set size of a process in MB, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:")), 0.0)


def highest_mb() -> float:
    """Return the largest resident set that this process had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
