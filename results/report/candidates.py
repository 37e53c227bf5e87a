"""The report's table of candidates: the best as text, all of them as data that the page sorts and filters.

python -m pytest tests/results/report/test_candidates.py
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.report.sections import Run, records
from mcbert.results.report.wording import spoken
from mcbert.results.schema import MEAN

N_SHOWN = 20
"""Candidates shown at a time."""

_SPLITS = ("dev", "test")
_DIGITS = 6


def candidates(run: Run) -> dict[str, Any] | None:
    """Give the first candidates as rows, and all that were fitted and scored as data for the page.

    Returns
    -------
    dict or None
        languages (name and words; the first is shown first), splits, rows (the best, with their distance from
        the winner where it is known), poolings, classifiers and sizes to choose from, and data: for every
        candidate rank, layers, pooling, classifier, parameters and the scores of every split and language;
        distances from the winner by rank, language and split.
    """
    gridsearch = run.table("gridsearch")
    fine = pd.DataFrame() if gridsearch is None else summaries.finished(gridsearch)
    if fine.empty:
        return None
    languages = [MEAN, *summaries.languages(fine, run.source_language)]
    shown = [name for name in languages if fine[f"dev_f1_{name}"].notna().any()]
    splits = [split for split in _SPLITS if any(_known(fine, split, name) for name in shown)]
    beside = _against_winner(run.table("top"))
    parameters = [_words(text) for text in fine["params"]]
    first = [
        row | {"words": words, "beside": beside.get(int(row["rank"]), {}).get(shown[0], {})}
        for row, words in zip(records(fine.head(N_SHOWN)), parameters, strict=False)
    ]
    return {
        "languages": [(name, spoken(name)) for name in shown],
        "splits": splits,
        "rows": first,
        "poolings": list(dict.fromkeys(fine["pooling"])),
        "classifiers": list(dict.fromkeys(fine["classifier"])),
        "sizes": sorted({int(n) for n in fine["n_layers"]}),
        "n": len(fine),
        "data": {
            "shown": N_SHOWN,
            "splits": splits,
            "languages": shown,
            "rows": _rows(fine, parameters, splits, shown),
            "beside": beside,
        },
    }


def _known(fine: pd.DataFrame, split: str, language: str) -> bool:
    return bool(fine[f"{split}_f1_{language}"].notna().any())


def _rows(
    fine: pd.DataFrame, parameters: list[str], splits: list[str], languages: list[str]
) -> list[list[object]]:
    """Give each candidate as what it is, then a score per split and language."""
    scores = fine[[f"{split}_f1_{name}" for split in splits for name in languages]].round(_DIGITS)
    known = scores.astype("object").where(scores.notna(), None).to_numpy().tolist()
    ranks = fine["rank"].astype("int64").tolist()
    what = zip(ranks, fine["layers"], fine["pooling"], fine["classifier"], parameters, strict=True)
    return [[*row, *values] for row, values in zip(what, known, strict=True)]


def _against_winner(top: pd.DataFrame | None) -> dict[int, dict[str, dict[str, list[object]]]]:
    """Look up difference to the winner, interval and standing by rank, language and split."""
    found: dict[int, dict[str, dict[str, list[object]]]] = {}
    if top is None:
        return found
    columns = ["versus_winner", "versus_winner_low", "versus_winner_high"]
    measured = top[columns].notna().all(axis=1)  # JSON has no not-a-number
    for row in records(top[measured & (top["rank"] > 1)]):
        values: list[object] = [round(float(row[column]), _DIGITS) for column in columns]
        by_language = found.setdefault(int(row["rank"]), {})
        by_language.setdefault(str(row["language"]), {})[str(row["split"])] = [*values, str(row["standing"])]
    return found


def _words(params: str) -> str:
    """Write parameters in words: C 0.001."""
    return ", ".join(f"{name} {value}" for name, value in json.loads(params).items())
