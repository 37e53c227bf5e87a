"""What chance explains of a search: who of the best is told apart from the winner, who only from nothing.

python -m pytest tests/results/test_chance.py
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mcbert.results.schema.comparisons import STANDINGS

NEAR = 0.03
"""A score at most this far above chance is near chance."""

FINE = 0.10
"""The source language is fine where it is at least this far above its own chance."""

_ROUNDING = 1e-12


def standings(rows: pd.DataFrame) -> dict[str, int]:
    """Count how many of the best are better than the winner, tied with it or worse, the winner left out.

    Parameters
    ----------
    rows : DataFrame
        Rows of table TOP of one split and language.
    """
    others = rows.loc[rows["rank"] > 1, "standing"]
    return {standing: int((others == standing).sum()) for standing in STANDINGS}


def told(counts: Mapping[str, int]) -> str:
    """Write standings in words: 4 better, 6 tied, 9 worse."""
    return ", ".join(f"{n} {standing}" for standing, n in counts.items())


def near_chance(top: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Find the languages in which the winner is near chance.

    Chance is the share of the most frequent label of the language and split. A classifier that learned
    nothing reaches it by always giving that label; it is never below the uniform rate, one over the number of
    labels, which guessing reaches.

    Parameters
    ----------
    top : DataFrame
        Rows of table TOP.
    source_language : str
        The language with training labels.

    Returns
    -------
    DataFrame
        The winner's rows of single languages near chance, with a column `alarm`: whether the source language
        is fine in that split, so that it is the transfer which failed, not the training. A source language
        that is near chance itself has a row too.
    """
    winner = top[(top["rank"] == 1) & (top["language"] != "mean")]
    above = winner["score"] - winner["chance"]
    source = winner["language"] == source_language
    fine = set(winner.loc[source & (above >= FINE - _ROUNDING), "split"])
    near = winner[above <= NEAR + _ROUNDING]
    return near.assign(alarm=near["split"].isin(fine))
