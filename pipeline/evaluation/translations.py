"""Translations found by systems side by side: error rates with intervals, and what they cut.

tatoeba, reductions = evaluate(pairs, systems, neighbours=4, last=12)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.corpus.normal_forms import Altered, share_altered
from mcbert.pipeline.evaluation.systems import Frozen, System
from mcbert.pipeline.progress import track
from mcbert.results.schema.words import MEAN
from mcbert.search.sentences.retrieval import DIRECTIONS, SCORES, RowError, search, unit_rows
from mcbert.search.sentences.translations import Rates, Sentences, error_rates

NAMES = ("to-en", "from-en", "both")
CASES = list(itertools.product(NAMES, SCORES))
"""The columns of a system: direction and score."""
HEADLINE = CASES.index(("both", "cosine"))


def evaluate(
    pairs: pd.DataFrame, systems: Sequence[System], *, neighbours: int, last: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search with every system, both directions, by cosine and margin, in each split.

    Where there are dev pairs, all systems search them; test pairs are left to the frozen layer and pooling
    that erred least on dev, to the baselines and to the sentence encoders.

    Parameters
    ----------
    pairs : DataFrame
        As `read_pairs` returns them.
    systems : sequence
        Their rows are those of `texts`.
    neighbours : int
        Neighbours on each side in the margin.
    last : int, optional
        The frozen encoder's last layer, with sentence encoders among the systems.

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
        measured = _Split(pairs, np.asarray(rows), reported, neighbours)
        mean = measured.rates[-1][1].measured[HEADLINE :: len(CASES)]
        what = {"split": split}
        tables[0] += [what | row for row in measured.rows()]
        tables[1] += [what | row for row in measured.reductions(last)]
        if split == "dev":
            reported = _reported(systems, mean, last)
    return pd.DataFrame(tables[0]), pd.DataFrame(tables[1])


def _reported(systems: Sequence[System], errors: np.ndarray, last: int | None) -> list[System]:
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
    """What the systems find among the pairs at `rows`, the pairs of a split."""

    def __init__(
        self, pairs: pd.DataFrame, rows: np.ndarray, systems: Sequence[System], neighbours: int
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
        sentences = Sentences(language=self.part["language"].to_numpy(dtype=object),
                              unit=self.part["unit"].to_numpy(dtype=object))  # fmt: skip
        self.rates = list(error_rates(wrong[rows], sentences))
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
                "low": interval.low,
                "high": interval.high,
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
        """Return how many sentences were searched for, skipped and found."""
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
        "low": cut.low if cut else None,
        "high": cut.high if cut else None,
    }


class _Pairs:
    """The pairs of a language as a system sees them; a side is 0 (foreign) or 1 (English)."""

    def __init__(self, system: System, pairs: pd.DataFrame, group: np.ndarray) -> None:
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
    """Return 1 where the search went wrong, (n_pairs, n_cases), and how many pairs a side was skipped of."""
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
    """Return the id of a row of the cache: language, line and, for the English side, ``-en``."""
    return str(pairs["id"].iloc[row % len(pairs)]) + ("-en" if row >= len(pairs) else "")
