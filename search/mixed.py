"""Feature sets with a different pooling per layer, step by step; `python -m mcbert gridsearch`.

A block is a layer under a pooling; 8 layers under 3 poolings are 24 blocks, and every subset of them is a
feature set, 2^24 in all: a layer may enter under several poolings, under one or not at all. No search fits
them all, so `gridsearch.mixed` takes steps from the sets of one pooling, which are all scored before:

- `greedy`: from the best set, add the block that raises the score most, then drop the one whose absence does,
  and again until neither does or `mixed_steps` are done (sequential floating selection, Pudil et al. 1994).
- `beam`: of the sets of one block, then of two, and so on, add every block to the `beam_width` best, up to
  `mixed_steps` blocks more than one. As wide as there are sets of a size, it scores all sets.

A set's score is that of its best candidate by the protocol, on dev texts only. The steps depend on nothing
but scores, so a killed search takes the same ones again from its ledger.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mcbert.features.spec import FeatureSpec
from mcbert.search.space import GridsearchSettings

Block = tuple[int, str]  # layer, pooling
Place = tuple[Any, ...]  # negated score, then what breaks ties: the smallest is the best
Judge = Callable[[Sequence[FeatureSpec]], dict[FeatureSpec, Place]]


def steps(
    settings: GridsearchSettings, first: Sequence[FeatureSpec], judge: Judge
) -> Iterator[list[FeatureSpec]]:
    """Yield the feature sets to be scored next, until the search ends.

    Parameters
    ----------
    settings : GridsearchSettings
        `mixed`, `beam_width`, `mixed_steps`; the blocks are `layers` times `poolings`.
    first : sequence of FeatureSpec
        Sets scored already.
    judge : Judge
        Called with feature sets that have been scored since they were yielded; returns the place of each
        that did not fail.
    """
    if settings.mixed == "none":
        return
    blocks = [(layer, pooling) for layer in settings.layers for pooling in settings.poolings]
    walk = {"greedy": _greedy, "beam": _beam}[settings.mixed]
    yield from walk(_Known(blocks, first, judge), settings)


class _Known:
    """The feature sets seen so far and their places."""

    def __init__(self, blocks: Sequence[Block], first: Sequence[FeatureSpec], judge: Judge) -> None:
        self.blocks = blocks
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
        """Return the set with each block that it lacks."""
        held = feature_set.blocks
        return [FeatureSpec.of_blocks([*held, block]) for block in self.blocks if block not in held]

    def smaller(self, feature_set: FeatureSpec) -> list[FeatureSpec]:
        """Return the set without each of its blocks."""
        held = feature_set.blocks
        return (
            [FeatureSpec.of_blocks([b for b in held if b != block]) for block in held]
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
    for size in range(1, min(settings.mixed_steps + 1, len(known.blocks))):
        of_size = [feature_set for feature_set in known.places if len(feature_set.layers) == size]
        beam = sorted(of_size, key=known.places.__getitem__)[: settings.beam_width]
        yield from known.score(known.new(s for feature_set in beam for s in known.larger(feature_set)))
