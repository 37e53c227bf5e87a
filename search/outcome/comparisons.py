"""What chance alone could do, for `python -m mcbert gridsearch`: top.csv, effects.csv, protocols.csv.

All of it follows from predictions.npz, the candidates and who was chosen: nothing is fitted here, and nothing
here chooses.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcbert.results.schema.search import STANDINGS
from mcbert.results.schema.words import PROTOCOLS
from mcbert.results.statistics import Interval, holm, mcnemar
from mcbert.search.outcome.effects import Effect
from mcbert.search.outcome.intervals import Sample, intervals, one_each
from mcbert.search.outcome.macro import macro_intervals

ALPHA = 0.05
RANDOM = "random"
ORACLE = "target-dev"
Row = dict[str, Any]


def top_rows(sample: Sample, top: int, metric: str = "micro_f1") -> list[Row]:
    """Compare the best candidates with the winner, on the same texts.

    Parameters
    ----------
    sample : Sample
        Its candidates are best first.
    top : int
        How many of them.
    metric : str
        Their score: macro_f1, or what equals micro-F1.

    Returns
    -------
    list of dict
        Columns of table TOP from `candidate_id` on, for each candidate and language, and `mean`.
    """
    ids, n = sample.predictions.candidates, min(top, sample.n_candidates)
    own, macro = one_each(range(n), sample.n_candidates), metric == "macro_f1"
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
        }
        for at in range(n)
        for name in sample.names
    ]


def effect_rows(sample: Sample, effects: Sequence[Effect]) -> list[Row]:
    """Give the effects their sizes and intervals: columns of table EFFECTS, by language and for `mean`."""
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


def protocol_rows(sample: Sample, chosen: Mapping[str, str | None]) -> list[Row]:
    """Score what each protocol chose, and a candidate drawn at random, beside the choice of the oracle.

    Parameters
    ----------
    sample : Sample
    chosen : mapping of protocol to candidate id
        None where the protocol lacks the dev texts to choose by; it has no row then.

    Returns
    -------
    list of dict
        Columns of table PROTOCOL_CHOICES, by protocol and language and for `mean`; `random` is the mean over
        all candidates that did not fail.
    """
    made: dict[str, str] = {
        protocol: name for protocol in PROTOCOLS if (name := chosen.get(protocol)) is not None
    }
    at = [sample.predictions.candidates.index(name) for name in made.values()]
    own = one_each(at, sample.n_candidates)
    own = np.concatenate([own, np.full((1, sample.n_candidates), 1 / sample.n_candidates)])
    names = [*made, RANDOM]
    oracle = own[names.index(ORACLE)] if ORACLE in made else None
    found = intervals(sample, own if oracle is None else np.concatenate([own, own - oracle]))
    unknown = Interval(np.nan, np.nan, np.nan)
    return [
        {
            "protocol": protocol,
            "candidate_id": made.get(protocol, ""),
            "split": sample.split,
            "language": name,
            **_ends("score", _within(found[place][name])),
            **_ends("versus_oracle", unknown if oracle is None else found[len(names) + place][name]),
        }
        for place, protocol in enumerate(names)
        for name in sample.names
    ]


def _within(score: Interval) -> Interval:
    """Keep a score in 0 to 1: with 1 / n as each one's weight, the mean over all candidates rounds beyond."""
    low, value, high = np.clip([score.low, score.difference, score.high], 0.0, 1.0).tolist()
    return Interval(value, low, high)


def _ends(name: str, interval: Interval) -> Row:
    prefix = "" if name in ("score", "effect") else f"{name}_"
    return {name: interval.difference, f"{prefix}low": interval.low, f"{prefix}high": interval.high}


def _verdict(difference: Interval, test: Row | None, *, by_test: bool) -> Row:
    """Tell whether chance may explain the difference: by p_holm in a language, by the interval for `mean`.

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
    """Give each language's number of texts and chance; for `mean`, those of the targets."""
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
