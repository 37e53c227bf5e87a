"""What `python -m mcbert gridsearch` scores, round by round, as far as the budget goes.

The first round are all feature sets of one pooling; those that follow are the steps of a mixed search. On a
budget the first is a sample (`search.sampling`), and the steps come in their order. A budget in candidates,
those that earlier runs scored included, names the same ones every time. One in seconds ends this run's supply
of tasks; what is running is finished.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from mcbert.search.mixed import Judge, steps
from mcbert.search.sampling import in_blocks, sampled
from mcbert.search.space import Candidate, GridsearchSettings, Space

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
        Those of all rounds so far, in the order of the search.
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
        for candidates in chain(self._first(), self._steps()):
            yield candidates
            if self.cut:  # perhaps since the yield: `in_time`
                return

    def _first(self) -> Iterator[list[Candidate]]:
        settings, everything = self._settings, list(self._space)
        sample = everything
        if settings.budget or settings.budget_seconds:
            sample = sampled(everything, settings.seeds[0])
        found = self._take(sample)
        place = {candidate.id: at for at, candidate in enumerate(everything)}
        self.planned.sort(key=lambda candidate: place[candidate.id])
        yield in_blocks(found, place) if settings.budget_seconds else list(self.planned)

    def _steps(self) -> Iterator[list[Candidate]]:
        for sets in steps(self._settings, list(self._space.feature_sets()), self._judge):
            yield self._take([model for found in sets for model in self._space.models(found)])

    def in_time(self, tasks: Iterable[T]) -> Iterator[T]:
        """Yield tasks until the time is up."""
        for task in tasks:
            if self._clock() >= self._deadline:
                self.cut = True
                return
            yield task

    def _take(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        found = list(candidates)
        if self._settings.budget:
            left = self._settings.budget - len(self.planned)
            self.cut |= len(found) > left
            found = found[:left]
        self.planned += found
        return found
