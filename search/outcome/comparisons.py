"""Rows of top.csv, effects.csv and protocols.csv: how much of a difference may be chance.

All of it follows from predictions.npz, the candidates and the choices: nothing is fitted here, and nothing
here chooses.

An effect is what a layer, pooling, classifier or number of layers adds, all else being equal. It is a
difference of mean scores over candidates, so it is one weight per candidate, and `search.outcome.intervals`
gives it an interval. Candidates that failed are left out of every mean.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mcbert.features.spec import POOLINGS
from mcbert.results.schema.search import REFERENCE, STANDINGS, WINNER
from mcbert.results.schema.words import CLASSIFIERS, ENSEMBLE
from mcbert.results.statistics import Interval, holm, mcnemar
from mcbert.search.outcome.intervals import Sample, intervals, macro_intervals, one_each
from mcbert.search.space import Candidate

ALPHA = 0.05
RANDOM = "random"
ORACLE = "target-dev"
Row = dict[str, Any]
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
    """Return the effects that the candidates allow; a level that nothing can be compared with has none.

    A layer's effect is the mean difference between a candidate with it and the same candidate without it. The
    effect of a pooling, a classifier or a number of layers is its mean score less the mean over all levels
    (each level weighing the same), within candidates that are equal in the rest, then averaged over those
    groups. Several candidates of a group and level, as the subsets of one size, are averaged first.
    Candidates with a pooling for each layer count for the layers only, an ensemble for nothing.
    """
    uniform = {
        at: c for at, c in enumerate(candidates) if not c.features.is_mixed and c.classifier != ENSEMBLE
    }
    found = _layers(candidates)
    for factor, but_for, level, order in _FACTORS:
        found += _levels(factor, _groups(uniform, but_for, level), order, len(candidates))
    return found


def top_rows(sample: Sample, top: int, metric: str = "f1_micro") -> list[Row]:
    """Compare the best candidates with the winner, on the same texts.

    Parameters
    ----------
    sample : Sample
        Its candidates are best first.
    top : int
        How many of them.
    metric : str
        Their score: f1_macro, f1_micro or accuracy, which are equal here.

    Returns
    -------
    list of dict
        Columns of table TOP from `candidate_id` on, for each candidate and language, and `mean`.
    """
    ids, n = sample.predictions.candidates, min(top, sample.n_candidates)
    own, macro = one_each(range(n), sample.n_candidates), metric == "f1_macro"
    found = macro_intervals(sample, n) if macro else intervals(sample, np.concatenate([own, own - own[0]]))
    tests = _against_winner(sample, n)
    facts = _by_language(sample, macro=macro)
    return [
        {
            "candidate_id": ids[at],
            "rank": at + 1,
            "split": sample.split,
            "language": name,
            **facts[name],
            **_ends("score", found[at][name]),
            **_ends("versus_winner", found[n + at][name]),
            **_verdict(found[n + at][name], tests.get((at, name)), by_test=not macro),
            **({} if at else {"standing": WINNER}),
        }
        for at in range(n)
        for name in sample.names
    ]


def effect_rows(sample: Sample, effects: Sequence[Effect]) -> list[Row]:
    """Return columns of table EFFECTS: sizes and intervals of the effects, by language and for `mean`."""
    if not effects:
        return []
    found = intervals(sample, np.stack([effect.weights for effect in effects]))
    return [
        {
            "factor": effect.factor,
            "level": effect.level,
            "split": sample.split,
            "language": name,
            "n": effect.n,
            **_ends("effect", interval),
        }
        for effect, by_language in zip(effects, found, strict=True)
        for name, interval in by_language.items()
    ]


def protocol_rows(sample: Sample, chosen: Mapping[str, str | None], n_searched: int) -> list[Row]:
    """Score each choice, and a candidate drawn at random, beside that of the oracle and the reference.

    Parameters
    ----------
    sample : Sample
    chosen : mapping of protocol, or `ENSEMBLE` or `REFERENCE`, to candidate id
        None where the protocol lacks the dev texts to choose by; it has no row then.
    n_searched : int
        The last so many candidates of the sample are those of the search, which `random` is the mean over.

    Returns
    -------
    list of dict
        Columns of table PROTOCOL_CHOICES, by protocol and language and for `mean`.
    """
    made: dict[str, str] = {name: found for name, found in chosen.items() if found is not None}
    at = [sample.predictions.candidates.index(name) for name in made.values()]
    random = np.zeros((1, sample.n_candidates))
    random[0, -n_searched:] = 1 / n_searched
    own, names = np.concatenate([one_each(at, sample.n_candidates), random]), [*made, RANDOM]
    bases = {base: own[names.index(base)] for base in (ORACLE, REFERENCE) if base in made}
    found = intervals(sample, np.concatenate([own, *(own - base for base in bases.values())]))
    unknown = [dict.fromkeys(sample.names, Interval(np.nan, np.nan, np.nan))] * len(names)
    parts = {base: found[len(names) * place :] for place, base in enumerate(bases, start=1)}
    versus_oracle, versus_reference = (parts.get(base, unknown) for base in (ORACLE, REFERENCE))
    return [
        {
            "protocol": protocol,
            "candidate_id": made.get(protocol, ""),
            "split": sample.split,
            "language": name,
            **_ends("score", _within(found[place][name])),
            **_ends("versus_oracle", versus_oracle[place][name]),
            **_ends("versus_reference", versus_reference[place][name]),
        }
        for place, protocol in enumerate(names)
        for name in sample.names
    ]


def _within(score: Interval) -> Interval:
    """Keep a score in 0 to 1: with 1 / n as each one's weight, the mean over all candidates rounds beyond."""
    low, value, high = np.clip([score.low, score.difference, score.high], 0.0, 1.0).tolist()
    return Interval(value, low, high)


def _ends(name: str, interval: Interval) -> Row:
    return {name: interval.difference, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _verdict(difference: Interval, test: Row | None, *, by_test: bool) -> Row:
    """Return the test and the standing: by p_holm in a language, by the interval for `mean`.

    The winner has no test; its difference to itself is 0, and so are the interval's ends. McNemar's test is
    of right answers, so that macro-F1 goes by the interval everywhere.
    """
    sign = int(difference.low > 0) - int(difference.high < 0)
    if test is not None and by_test:
        sign = test["n_only_candidate"] - test["n_only_winner"] if test["p_holm"] < ALPHA else 0
    nothing: Row = {"n_only_candidate": None, "n_only_winner": None, "p_value": None, "p_holm": None}
    return {**(test or nothing), "standing": _standing(sign)}


def _standing(sign: int) -> str:
    better, tied, worse = STANDINGS
    return better if sign > 0 else worse if sign < 0 else tied


def _against_winner(sample: Sample, n: int) -> dict[tuple[int, str], Row]:
    """Test the first candidates against the winner in each language, by McNemar's exact test."""
    right = sample.predictions.right(range(n), sample.rows)
    tests: dict[tuple[int, str], Row] = {}
    for at in range(1, n):
        for number, name in enumerate(sample.languages):
            texts = sample.language == number
            mine, winners = right[at, texts], right[0, texts]
            tests[at, name] = {
                "n_only_candidate": int((mine & ~winners).sum()),
                "n_only_winner": int((winners & ~mine).sum()),
                "p_value": mcnemar(mine, winners),
            }
    adjusted = holm([test["p_value"] for test in tests.values()])
    for test, p_value in zip(tests.values(), adjusted.tolist(), strict=True):
        test["p_holm"] = p_value
    return tests


def _by_language(sample: Sample, *, macro: bool) -> dict[str, Row]:
    """Return the number of texts and the chance level of each language; for `mean`, those of the targets."""
    y = sample.predictions.y[sample.rows]
    counts = [np.bincount(y[sample.language == number]) for number in range(len(sample.languages))]
    n_texts = np.asarray([count.sum() for count in counts])
    share = np.asarray([count.max() / count.sum() for count in counts])
    if macro:  # the F1 of the label given, of all labels
        share = 2 * share / (1 + share) / len(sample.predictions.labels)
    chance = sample.with_mean(share)
    targets = [sample.languages.index(language) for language in sample.targets]
    totals = [*n_texts.tolist(), int(n_texts[targets].sum())]
    facts = zip(sample.names, totals, chance.tolist(), strict=False)
    return {name: {"n_texts": n, "chance": share} for name, n, share in facts}


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
    """Return all that makes a candidate but the parts left out."""
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
