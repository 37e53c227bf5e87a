"""What each layer, pooling, classifier and number of layers adds, all else being equal, as weights.

An effect is a difference of mean scores over candidates, so it is one weight per candidate, and
`search.outcome.intervals.intervals` gives it an interval. Candidates that failed are left out of every mean.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mcbert.features.spec import POOLINGS
from mcbert.results.schema.words import CLASSIFIERS
from mcbert.search.space import Candidate

Key = tuple[Hashable, ...]

# What makes a candidate, layers and poolings apart.
_PARTS = ("layers", "pooling", *(field.name for field in fields(Candidate) if field.name != "features"))
# Factor, the parts that may differ within a group, the level of a candidate, the order of the levels. What
# belongs to one classifier alone (parameters, seeds) goes with it.
_FACTORS: tuple[tuple[str, tuple[str, ...], Callable[[Candidate], str], tuple[str, ...]], ...] = (
    ("pooling", ("pooling",), lambda c: c.pooling, POOLINGS),
    (
        "classifier",
        ("classifier", "params", "seed", "seeded", "factory"),
        lambda c: c.classifier,
        CLASSIFIERS,
    ),
    ("n_layers", ("layers",), lambda c: str(len(c.layers)), ()),
)


@dataclass(frozen=True)
class Effect:
    """One level of one factor: the weights of the candidates, (n_candidates,), and how many comparisons."""

    factor: str
    level: str
    weights: npt.NDArray[np.float64]
    n: int


def effects(candidates: Sequence[Candidate]) -> list[Effect]:
    """Make the effects that the candidates allow; a level that nothing can be compared with has none.

    A layer's effect is the mean difference between a candidate with it and the same candidate without it. The
    effect of a pooling, a classifier or a number of layers is its mean score less the mean over all levels
    (each level weighing the same), within candidates that are equal in the rest, then averaged over those
    groups. Several candidates of a group and level, as the subsets of one size, are averaged first.
    Candidates with a pooling for each layer count for the layers only.
    """
    uniform = {at: c for at, c in enumerate(candidates) if not c.features.is_mixed}
    found = _layers(candidates)
    for factor, but_for, level, order in _FACTORS:
        found += _levels(factor, _groups(uniform, but_for, level), order, len(candidates))
    return found


def _layers(candidates: Sequence[Candidate]) -> list[Effect]:
    """Compare every candidate with the one that lacks a layer of it."""
    position = {
        (frozenset(c.features.blocks), _others(c, "layers", "pooling")): at for at, c in enumerate(candidates)
    }
    pairs: dict[int, list[tuple[int, int]]] = {}
    for (states, rest), at in position.items():
        for layer in {layer for layer, _ in states}:
            without = position.get((frozenset(state for state in states if state[0] != layer), rest))
            if without is not None:
                pairs.setdefault(layer, []).append((at, without))
    found = []
    for layer, compared in sorted(pairs.items()):
        weights = np.zeros(len(candidates))
        np.add.at(weights, [at for at, _ in compared], 1 / len(compared))
        np.add.at(weights, [without for _, without in compared], -1 / len(compared))
        found.append(Effect("layer", str(layer), weights, len(compared)))
    return found


def _others(candidate: Candidate, *left_out: str) -> Key:
    """Return all that makes a candidate but what is left out."""
    return tuple(getattr(candidate, name) for name in _PARTS if name not in left_out)


def _groups(
    candidates: Mapping[int, Candidate], but_for: Sequence[str], level: Callable[[Candidate], str]
) -> list[dict[str, list[int]]]:
    """Group candidates that are equal but for some parts; of each group its members by level."""
    groups: dict[Key, dict[str, list[int]]] = {}
    for at, candidate in candidates.items():
        groups.setdefault(_others(candidate, *but_for), {}).setdefault(level(candidate), []).append(at)
    return [group for group in groups.values() if len(group) > 1]


def _levels(
    factor: str, groups: Sequence[Mapping[str, Sequence[int]]], order: Sequence[str], n_candidates: int
) -> list[Effect]:
    """Compare each level with the mean over the levels of its group, averaged over the groups."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    n_groups: dict[str, int] = {}
    for group in groups:
        means = {level: _mean_of(members, n_candidates) for level, members in group.items()}
        overall = np.sum(list(means.values()), axis=0) / len(means)
        for level, mean in means.items():
            sums[level] = sums.get(level, 0) + mean - overall
            n_groups[level] = n_groups.get(level, 0) + 1
    place = {level: number for number, level in enumerate(order)}
    ordered = sorted(sums, key=lambda level: (place.get(level, len(place)), len(level), level))
    return [Effect(factor, level, sums[level] / n_groups[level], n_groups[level]) for level in ordered]


def _mean_of(members: Sequence[int], n_candidates: int) -> npt.NDArray[np.float64]:
    weights = np.zeros(n_candidates)
    weights[list(members)] = 1 / len(members)
    return weights
