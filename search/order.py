"""The order in which `python -m mcbert gridsearch` scores candidates, as far as its budget goes.

The first round are all feature sets of one pooling; those that follow are the steps of a mixed search, with a
different pooling for each layer. On a budget the first round is a sample, and the steps come in their order.
A budget in candidates, those that earlier runs scored included, names the same ones every time. One in
seconds ends this run's supply of tasks; running ones are finished.

**The sample.** Candidates are put into strata: pooling, classifier, number of layers. The order goes through
the strata again and again, and takes one candidate of each; within a round it goes to the stratum whose
pooling, classifier and number of layers were taken least. So whatever the budget is, each has its share, and
a larger budget has the candidates of a smaller one. Which subset of layers comes when is drawn by a seed.

**The mixed search.** 8 layers under 3 poolings are 24 pooled layers, and every subset of them is a feature
set, 2^24 in all: a layer may enter under several poolings, under one or not at all. No search fits them all,
so `gridsearch.mixed` takes steps from the sets of one pooling, which are all scored before:

- `greedy`: from the best set, add the pooled layer that raises the score most, then drop the one whose
  absence does, and again until neither does or `mixed_steps` are done (sequential floating selection, Pudil
  et al. 1994).
- `beam`: of the sets of one pooled layer, then of two, and so on, add every pooled layer to the `beam_width`
  best, up to `mixed_steps` more than one. As wide as there are sets of a size, it scores all sets.

A set's score is that of its best candidate by the protocol, on dev texts only. The steps depend on nothing
but scores, so a killed search takes the same ones again from its ledger.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, zip_longest
from typing import Any, TypeVar

from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Candidate, Space

T = TypeVar("T")
Place = tuple[Any, ...]  # negated score, then the tie-break: the smallest is the best
Judge = Callable[[Sequence[FeatureSpec]], dict[FeatureSpec, Place]]
Stratum = tuple[str, str, int]  # pooling, classifier, number of layers
Layers = tuple[int, ...]

FACTORS = ("pooling", "classifier", "n_layers")
GOLDEN = (5**0.5 - 1) / 2  # multiples of it modulo 1 are a low-discrepancy sequence: even, however many
FIRST_PIECE, LARGEST_PIECE = 15, 120


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
        yield in_pieces(found, place) if settings.budget_seconds else list(self.planned)

    def _steps(self) -> Iterator[list[Candidate]]:
        for sets in steps(self._settings, list(self._space.feature_sets()), self._judge):
            yield self._take([model for found in sets for model in self._space.models(found)])

    def in_time(self, tasks: Iterable[T]) -> Iterator[T]:
        """Yield tasks until the time is up; sets `cut` if any is left."""
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


def stratum(candidate: Candidate) -> Stratum:
    """Return the stratum of a candidate: the sample is balanced over strata."""
    return candidate.pooling, candidate.classifier, len(candidate.layers)


def sampled(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Return all candidates in the order of the sample.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order of the search.
    seed : int
        Draws which layers come when.
    """
    members: dict[Stratum, dict[Layers, list[Candidate]]] = {}
    for candidate in candidates:
        members.setdefault(stratum(candidate), {}).setdefault(candidate.layers, []).append(candidate)
    n_before: Counter[int] = Counter()  # strata before, of the same number of layers
    queues = []
    for found in _balanced(list(members), seed):
        queues.append(_spread(members[found], n_before[found[2]], seed))
        n_before[found[2]] += 1
    return [candidate for one_each in zip_longest(*queues) for candidate in one_each if candidate is not None]


def _balanced(strata: Sequence[Stratum], seed: int) -> list[Stratum]:
    """Order strata so that after any number of them the levels of each factor were taken about as often."""
    n_levels = [len({found[at] for found in strata}) for at in range(len(FACTORS))]
    taken: Counter[object] = Counter()
    left, ordered = sorted(strata, key=lambda found: _drawn(seed, *found)), []

    def load(found: Stratum) -> tuple[list[int], int]:
        singles = [taken[at, level] * n_levels[at] for at, level in enumerate(found)]
        return sorted(singles, reverse=True), sum(taken[pair] for pair in _pairs(found))

    while left:
        least = min(left, key=load)
        left.remove(least)
        ordered.append(least)
        taken.update([*enumerate(least), *_pairs(least)])
    return ordered


def _pairs(found: Stratum) -> Iterable[tuple[tuple[int, object], ...]]:
    return combinations(enumerate(found), 2)


def _spread(members: Mapping[Layers, Sequence[Candidate]], place: int, seed: int) -> Iterator[Candidate]:
    """Yield the candidates of a stratum: layers as they are drawn, begun elsewhere for each stratum."""
    subsets = sorted(members, key=lambda layers: _drawn(seed, layers_text(layers)))
    begin = int(len(subsets) * (place * GOLDEN % 1))
    subsets = subsets[begin:] + subsets[:begin]
    n_models = len(members[subsets[0]])  # parameters and seeds of the classifier: as many for any layers
    for turn in range(n_models):
        for at, layers in enumerate(subsets):
            yield members[layers][(turn + at + place) % n_models]


def _drawn(seed: int, *names: object) -> str:
    """Return a sort key of a name, the same for a seed on every computer and in every version."""
    return hashlib.sha256(f"{seed}-{'-'.join(map(str, names))}".encode()).hexdigest()


def in_pieces(order: Sequence[Candidate], place: Mapping[str, int]) -> list[Candidate]:
    """Sort a sample piece by piece into the order of the search, in which a worker reads a pooling once.

    The pieces grow from 15 to 120 candidates, so that a search whose time runs out has tried all poolings.

    Parameters
    ----------
    order : sequence of Candidate
        From `sampled`.
    place : mapping of candidate id to int
        In the order of the search.
    """
    found: list[Candidate] = []
    while len(found) < len(order):
        size = min(max(FIRST_PIECE, len(found)), LARGEST_PIECE)
        piece = order[len(found) : len(found) + size]
        found += sorted(piece, key=lambda candidate: place[candidate.id])
    return found


def coverage(tried: Iterable[Candidate], everything: Sequence[Candidate]) -> dict[str, Any]:
    """Count the candidates tried of all, by level, as winner.json has it.

    Returns
    -------
    dict
        n, of; and for pooling, classifier and n_layers: level -> [tried, of], levels as texts.
    """
    scored = [stratum(candidate) for candidate in tried]
    whole = [stratum(candidate) for candidate in everything]
    counts: dict[str, Any] = {"n": len(scored), "of": len(whole)}
    for at, factor in enumerate(FACTORS):
        n, of = (Counter(found[at] for found in part) for part in (scored, whole))
        counts[factor] = {str(level): [n[level], of[level]] for level in of}
    return counts


def described(counts: Mapping[str, Any]) -> str:
    """Return the counts as text: "pooling max: 20 of 1275, ...; classifier ...; n_layers ..."."""
    return "; ".join(
        f"{factor} {', '.join(f'{level}: {n} of {of}' for level, (n, of) in counts[factor].items())}"
        for factor in FACTORS
    )


def steps(
    settings: GridsearchSettings, first: Sequence[FeatureSpec], judge: Judge
) -> Iterator[list[FeatureSpec]]:
    """Yield the feature sets to be scored next, until the search ends.

    Parameters
    ----------
    settings : GridsearchSettings
        `mixed`, `beam_width`, `mixed_steps`; the pooled layers are `layers` times `poolings`.
    first : sequence of FeatureSpec
        Sets scored already.
    judge : Judge
        Called with feature sets that have been scored since they were yielded; returns the place of each
        that did not fail.
    """
    if settings.mixed == "none":
        return
    every = [(layer, pooling) for layer in settings.layers for pooling in settings.poolings]
    walk = {"greedy": _greedy, "beam": _beam}[settings.mixed]
    yield from walk(_Known(every, first, judge), settings)


class _Known:
    """The feature sets seen so far and their places."""

    def __init__(self, every: Sequence[tuple[int, str]], first: Sequence[FeatureSpec], judge: Judge) -> None:
        self.every = every
        self._judge = judge
        self._seen = set(first)
        self.places = judge(first)

    def new(self, sets: Iterable[FeatureSpec]) -> list[FeatureSpec]:
        """Return those not seen before, each once."""
        found = [feature_set for feature_set in dict.fromkeys(sets) if feature_set not in self._seen]
        self._seen.update(found)
        return found

    def score(self, sets: list[FeatureSpec]) -> Iterator[list[FeatureSpec]]:
        """Have sets scored and learn their places."""
        if sets:
            yield sets
            self.places |= self._judge(sets)

    def larger(self, feature_set: FeatureSpec) -> list[FeatureSpec]:
        """Return the set with each pooled layer that it lacks."""
        held = feature_set.blocks
        return [FeatureSpec.of_blocks([*held, layer]) for layer in self.every if layer not in held]

    def smaller(self, feature_set: FeatureSpec) -> list[FeatureSpec]:
        """Return the set without each of its pooled layers."""
        held = feature_set.blocks
        return (
            [FeatureSpec.of_blocks([kept for kept in held if kept != layer]) for layer in held]
            if len(held) > 1
            else []
        )


def _greedy(known: _Known, settings: GridsearchSettings) -> Iterator[list[FeatureSpec]]:
    if not known.places:
        return
    current = min(known.places, key=known.places.__getitem__)
    for _ in range(settings.mixed_steps):
        before = current
        for neighbours in (known.larger, known.smaller):
            near = neighbours(current)
            yield from known.score(known.new(near))
            scored = [feature_set for feature_set in near if feature_set in known.places]
            best = min(scored, key=known.places.__getitem__, default=current)
            if known.places[best][0] < known.places[current][0]:
                current = best
        if current == before:
            return


def _beam(known: _Known, settings: GridsearchSettings) -> Iterator[list[FeatureSpec]]:
    for size in range(1, min(settings.mixed_steps + 1, len(known.every))):
        of_size = [feature_set for feature_set in known.places if len(feature_set.layers) == size]
        beam = sorted(of_size, key=known.places.__getitem__)[: settings.beam_width]
        yield from known.score(known.new(s for feature_set in beam for s in known.larger(feature_set)))
