"""The order in which a search on a budget takes its candidates: a sample of all of them, however far it gets.

python -m mcbert gridsearch --config demo --budget 60

Candidates are put into strata: pooling, classifier, number of layers. The order goes through the strata again
and again, and takes one candidate of each; within a round it goes to the stratum whose pooling, classifier
and number of layers were taken least. So whatever the budget is, each has its share, and a larger budget has
the candidates of a smaller one. Which subset of layers comes when is drawn by a seed.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, zip_longest
from typing import Any

from mcbert.features.spec import layers_text
from mcbert.search.space import Candidate

Stratum = tuple[str, str, int]  # pooling, classifier, number of layers
Layers = tuple[int, ...]

FACTORS = ("pooling", "classifier", "n_layers")
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, cut to 0-1, lie evenly however many there are
FIRST_BLOCK, LARGEST_BLOCK = 15, 120


def stratum(candidate: Candidate) -> Stratum:
    """Return what the sample is balanced over."""
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
    """Return what a name is sorted by: the same for a seed on every machine and in every version."""
    return hashlib.sha256(f"{seed}-{'-'.join(map(str, names))}".encode()).hexdigest()


def in_blocks(order: Sequence[Candidate], place: Mapping[str, int]) -> list[Candidate]:
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
        size = min(max(FIRST_BLOCK, len(found)), LARGEST_BLOCK)
        block = order[len(found) : len(found) + size]
        found += sorted(block, key=lambda candidate: place[candidate.id])
    return found


def coverage(tried: Iterable[Candidate], everything: Sequence[Candidate]) -> dict[str, Any]:
    """Count what was tried of all candidates, as winner.json has it.

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
    """Say in words what was tried: "pooling max: 20 of 1275, ...; classifier ...; n_layers ..."."""
    return "; ".join(
        f"{factor} {', '.join(f'{level}: {n} of {of}' for level, (n, of) in counts[factor].items())}"
        for factor in FACTORS
    )
