"""What `python -m pipeline gridsearch` scores, round by round, as far as the budget goes.

The first round are all feature sets of one pooling; those that follow are the steps of a mixed search. A
budget in candidates takes them in that order, those that earlier runs scored included, so it names the same
candidates every time. A budget in seconds ends this run's supply of tasks; what is running is finished.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeVar

from search.mixed import Judge, steps
from search.space import Candidate, FeatureSet, GridsearchSettings, Space

T = TypeVar("T")


class Rounds:
    """The rounds of a search; each must have been scored before the next is asked for.

    Parameters
    ----------
    settings : GridsearchSettings
    judge : Judge
        Places of feature sets that have been scored.
    clock : callable
        Seconds that have passed since some moment.

    Attributes
    ----------
    planned : list of Candidate
        Those of all rounds so far, in order.
    cut : bool
        Whether the budget left something out.
    """

    def __init__(
        self, settings: GridsearchSettings, judge: Judge, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._judge, self._clock = settings, judge, clock
        self._space = Space(settings)
        self._deadline = clock() + settings.budget_seconds if settings.budget_seconds else float("inf")
        self.planned: list[Candidate] = []
        self.cut = False

    def __iter__(self) -> Iterator[list[Candidate]]:
        first = list(self._space.feature_sets())
        for sets in chain([first], steps(self._settings, first, self._judge)):
            yield self._take(sets)
            if self.cut:  # perhaps since the yield: `in_time`
                return

    def in_time(self, tasks: Iterable[T]) -> Iterator[T]:
        """Yield tasks until the time is up."""
        for task in tasks:
            if self._clock() >= self._deadline:
                self.cut = True
                return
            yield task

    def _take(self, sets: Iterable[FeatureSet]) -> list[Candidate]:
        found = [candidate for feature_set in sets for candidate in self._space.models(*feature_set)]
        if self._settings.budget:
            left = self._settings.budget - len(self.planned)
            self.cut |= len(found) > left
            found = found[:left]
        self.planned += found
        return found
