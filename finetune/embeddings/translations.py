"""Translations found by systems side by side: error rates with intervals, and reductions of error rates.

tatoeba, reductions = evaluate(pairs, systems, neighbours=4, last=12)
for language, rates in error_rates(wrong, pairs):    # each language, then `mean`
    rates.interval(0)                                # the first column's error, low, high
    rates.reduction(0, 3)                            # the share of the fourth's errors it avoids
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcbert.execution import Track, untracked
from mcbert.features.corpus.normal_forms import Altered, share_altered
from mcbert.finetune.embeddings.retrieval import DIRECTIONS, SCORES, RowError, search, unit_rows
from mcbert.finetune.embeddings.systems import Frozen, VectorSource
from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import Interval, percentile_interval, resampled_sums

Floats = npt.NDArray[np.float64]

SUFFIXES = ("", "-en")
"""Added to a pair's id to name its foreign and its English sentence."""

NAMES = ("to-en", "from-en", "both")
CASES = list(itertools.product(NAMES, SCORES))
"""The columns of a system: direction and score."""
HEADLINE = CASES.index(("both", "cosine"))


def evaluate(
    pairs: pd.DataFrame,
    systems: Sequence[VectorSource],
    *,
    neighbours: int,
    last: int | None = None,
    track: Track = untracked,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search with every system, in both directions, by cosine and margin, in each split.

    Where there are dev pairs, all systems search them; test pairs are left to the frozen layer and pooling
    that erred least on dev, to the baselines and to the sentence encoders.

    Parameters
    ----------
    pairs : DataFrame
        As `features.corpus.formats.parallel.read_pairs` returns them.
    systems : sequence
        Their rows are those that `texts_of` makes of the pairs with `SUFFIXES`.
    neighbours : int
        Neighbours on each side in the margin.
    last : int, optional
        The frozen encoder's last layer, with sentence encoders among the systems.
    track : callable
        Progress display.

    Returns
    -------
    tuple of DataFrame
        The columns of ``tatoeba.csv`` and of ``reductions.csv`` without the stamp; no rows without `last`.

    Raises
    ------
    RowError
        A vector without direction, naming system and sentence.
    """
    tables: list[list[dict[str, Any]]] = [[], []]
    reported = list(systems)
    for split, rows in pairs.groupby("split", sort=True).indices.items():
        measured = _Split(pairs, np.asarray(rows), reported, neighbours=neighbours, track=track)
        mean = measured.rates[-1][1].measured[HEADLINE :: len(CASES)]
        what = {"split": split}
        tables[0] += [what | row for row in measured.rows()]
        tables[1] += [what | row for row in measured.reductions(last)]
        if split == "dev":
            reported = _reported(systems, mean, last)
    return pd.DataFrame(tables[0]), pd.DataFrame(tables[1])


def _reported(systems: Sequence[VectorSource], errors: np.ndarray, last: int | None) -> list[VectorSource]:
    """Return the sentence encoders, their baselines, and the frozen system of the least error on dev."""
    frozen = [k for k, system in enumerate(systems) if isinstance(system, Frozen)]
    best = min(frozen, key=errors.tolist().__getitem__)
    bases = {system.layers for system in systems if not isinstance(system, Frozen)} | {(last,)}
    return [
        system
        for k, system in enumerate(systems)
        if k == best or not isinstance(system, Frozen) or (last is not None and system.layers in bases)
    ]


class _Split:
    """The translations that each system finds among the pairs at `rows`, those of a split."""

    def __init__(
        self,
        pairs: pd.DataFrame,
        rows: np.ndarray,
        systems: Sequence[VectorSource],
        *,
        neighbours: int,
        track: Track,
    ) -> None:
        self.pairs, self.systems = pairs, systems
        self.part = pairs.iloc[rows]
        self.groups = {
            name: rows[at] for name, at in self.part.groupby("language", sort=False).indices.items()
        }
        cases = list(itertools.product(self.groups.items(), enumerate(systems)))
        wrong = np.ones((len(pairs), len(systems) * len(CASES)))
        self.n_skipped = {name: np.zeros(len(systems), dtype=int) for name in self.groups}
        for (language, group), (k, system) in track(cases, len(cases), "retrieval"):
            columns = slice(k * len(CASES), (k + 1) * len(CASES))
            found, skipped = _wrong(_Pairs(system, pairs, group), neighbours)
            wrong[group, columns], self.n_skipped[language][k] = found, skipped
        self.wrong = wrong
        self.rates = list(error_rates(wrong[rows], self.part))
        self.altered = {
            name: share_altered(pairs["text"].iloc[at].tolist()) for name, at in self.groups.items()
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``tatoeba.csv``."""
        for (language, rates), (k, system), (case, (direction, score)) in itertools.product(
            self.rates, enumerate(self.systems), enumerate(CASES)
        ):
            n, n_skipped, n_right = self._counts(language, k, case)
            interval = rates.interval(k * len(CASES) + case)
            error = interval.difference if language == MEAN else (n - n_right) / n
            yield {
                **system.columns,
                **system.made,
                "language": language,
                "direction": direction,
                "score": score,
                "n": n,
                "n_skipped": n_skipped,
                "n_right": n_right,
                "accuracy": 1 - error if language == MEAN else n_right / n,
                "error_rate": error,
                "error_rate_low": interval.low,
                "error_rate_high": interval.high,
                **self._altered(language)._asdict(),
            }

    def reductions(self, last: int | None) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``reductions.csv``: sentence encoders against the frozen baselines."""
        for (language, rates), (k, system), (b, base) in itertools.product(
            self.rates if last is not None else (), enumerate(self.systems), enumerate(self.systems)
        ):
            if (
                isinstance(system, Frozen)
                or not isinstance(base, Frozen)
                or base.layers not in {(last,), system.layers}
            ):
                continue
            for case, (direction, score) in enumerate(CASES):
                yield {
                    **system.columns,
                    **system.made,
                    "baseline_layers": base.columns["layers"],
                    "baseline_pooling": base.pooling,
                    "language": language,
                    "direction": direction,
                    "score": score,
                    **_reduction(rates, k * len(CASES) + case, b * len(CASES) + case),
                }

    def _counts(self, language: str, k: int, case: int) -> tuple[int, int, int]:
        """Return the numbers of sentences searched for, skipped and found."""
        names = list(self.groups) if language == MEAN else [language]
        times = 2 if CASES[case][0] == NAMES[2] else 1
        rows = np.concatenate([self.groups[name] for name in names])
        right = (1 - self.wrong[rows, k * len(CASES) + case]).sum() * times
        skipped = sum(int(self.n_skipped[name][k]) for name in names)
        return len(rows) * times, skipped * times, round(float(right))

    def _altered(self, language: str) -> Altered:
        if language != MEAN:
            return self.altered[language]
        return Altered(*np.mean(list(self.altered.values()), axis=0).tolist())


def _reduction(rates: Rates, column: int, baseline: int) -> dict[str, float | None]:
    error, other = float(rates.measured[column]), float(rates.measured[baseline])
    cut = rates.reduction(column, baseline)
    return {
        "error_rate": error,
        "baseline_error_rate": other,
        "difference": error - other,
        "reduction": cut.difference if cut else None,
        "reduction_low": cut.low if cut else None,
        "reduction_high": cut.high if cut else None,
    }


class _Pairs:
    """The vectors of a language's pairs by a system; a side is 0 (foreign) or 1 (English)."""

    def __init__(self, system: VectorSource, pairs: pd.DataFrame, group: np.ndarray) -> None:
        self.system, self.pairs, self.group = system, pairs, group

    def kept(self, side: int) -> np.ndarray:
        """Return the numbers, within the group, of pairs whose sentence of this side has a vector."""
        return np.flatnonzero(self.system.kept(self.group + side * len(self.pairs)))

    def units(self, side: int) -> np.ndarray:
        """Return the unit vectors of `kept`, float32 (n_kept, dimension)."""
        rows = self.group[self.kept(side)] + side * len(self.pairs)
        try:
            return unit_rows(self.system.vectors(rows))
        except RowError as error:
            row = int(rows[error.row])
            columns = self.system.columns
            where = (
                f"layer {columns['layers']}, {columns['pooling']}"
                if columns["layers"]
                else columns["encoder"]
            )
            raise RowError(row, f"id {sentence_name(self.pairs, row)}: {where}: {error.reason}") from error


def _wrong(states: _Pairs, neighbours: int) -> tuple[np.ndarray, int]:
    """Return 1 for each wrong search, (n_pairs, n_cases), and how many pairs lack a vector."""
    kept = states.kept(0), states.kept(1)
    both = len(np.intersect1d(*kept))
    wrong = np.ones((len(states.group), len(CASES)))
    found = search(states.units(0), states.units(1), k=neighbours) if both else {}
    for (direction, score), rows in found.items():
        asked, others = kept if direction == DIRECTIONS[0] else kept[::-1]
        case = CASES.index((NAMES[DIRECTIONS.index(direction)], score))
        wrong[asked, case] = others[rows] != asked
    for score in SCORES:
        one, other = (CASES.index((name, score)) for name in NAMES[:2])
        wrong[:, CASES.index((NAMES[2], score))] = (wrong[:, one] + wrong[:, other]) / 2
    return wrong, len(states.group) - both


def sentence_name(pairs: pd.DataFrame, row: int) -> str:
    """Return the id of a row of the cache: the pair's, with ``-en`` for its English sentence."""
    side, pair = divmod(row, len(pairs))
    return f"{pairs['id'].iloc[pair]}{SUFFIXES[side]}"


@dataclasses.dataclass(frozen=True)
class Rates:
    """Error rates in a language, a column for each system, direction and score.

    Attributes
    ----------
    measured : float64 array of shape (n_columns,)
    drawn : float64 array of shape (n_resamples, n_columns)
        The same over bootstrap samples, shared by the columns.
    """

    measured: Floats
    drawn: Floats

    def interval(self, column: int) -> Interval:
        """Return a column's error rate with its 95% interval."""
        return percentile_interval(float(self.measured[column]), self.drawn[:, column])

    def reduction(self, column: int, baseline: int) -> Interval | None:
        """Return the share of a baseline's errors that a column avoids, with its paired 95% interval.

        Below 0 where it makes more of them; None for a baseline without errors, of which there is no share.
        """
        if not self.measured[baseline]:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = 1 - self.drawn[:, column] / self.drawn[:, baseline]
        drawn[~np.isfinite(drawn)] = np.nan  # samples without an error of the baseline
        return percentile_interval(float(1 - self.measured[column] / self.measured[baseline]), drawn)


def error_rates(
    wrong: npt.ArrayLike, pairs: pd.DataFrame, *, n_resamples: int = 10_000, seed: int = 0
) -> Iterator[tuple[str, Rates]]:
    """Yield the error rates of each language, then, where there are several, of their mean.

    The unit of resampling is the sentence. Languages whose pairs share units are resampled together;
    languages of unrelated sentences each for itself.

    Parameters
    ----------
    wrong : array of float, shape (n_pairs, n_columns)
        1 where the search went wrong, 0 where not; between for a mean over directions.
    pairs : DataFrame
        language and unit of each row of `wrong`; pairs of one unit are translations of one sentence.
    n_resamples, seed : int
        Of the bootstrap.
    """
    cells = np.asarray(wrong, dtype=np.float64)
    of_pair, units = (pairs[name].to_numpy(dtype=object) for name in ("language", "unit"))
    languages = list(dict.fromkeys(of_pair.tolist()))
    related = len(set(units.tolist())) < len(units)
    total: Rates | None = None
    for k, language in enumerate(languages):
        rows = of_pair == language
        drawn = (units if related else units[rows]).tolist()
        place = {unit: k for k, unit in enumerate(dict.fromkeys(drawn))}
        unit = np.array([place[unit] for unit in units[rows]])
        own_seed = seed if related else seed + k
        rates = _rates(cells[rows], unit, len(place), n_resamples=n_resamples, seed=own_seed)
        yield language, rates
        total = rates if total is None else Rates(total.measured + rates.measured, total.drawn + rates.drawn)
    if total is not None and len(languages) > 1:
        yield MEAN, Rates(total.measured / len(languages), total.drawn / len(languages))


def _rates(wrong: Floats, unit: npt.NDArray[np.intp], n_units: int, *, n_resamples: int, seed: int) -> Rates:
    sums = np.zeros((n_units, wrong.shape[1] + 1))
    np.add.at(sums, unit, np.hstack([np.ones((len(wrong), 1)), wrong]))
    drawn = resampled_sums(sums, n_resamples=n_resamples, seed=seed)
    with np.errstate(invalid="ignore"):  # a sample without a sentence of the language
        return Rates(wrong.mean(axis=0), drawn[:, 1:] / drawn[:, :1])
