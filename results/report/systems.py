"""Every measured system in every language: accuracy with its interval, beside chance and the reference.

python -m pytest tests/results/report/test_systems.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mcbert.results import predicted, summaries
from mcbert.results.deploy import PROBE
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import REFERENCE
from mcbert.results.schema.words import MEAN, SYSTEMS
from mcbert.results.table1 import BASELINE, ordered_languages

Cell = Mapping[str, float]
"""value, low, high, sd; the last three not a number where they are not known."""

_UNKNOWN = {"low": math.nan, "high": math.nan, "sd": math.nan}


def measured(run: RunTables) -> dict[str, dict[str, Cell]]:
    """Return the test accuracy of each system by language and over the targets.

    From predictions_*.csv; of a run without them from table1.csv, or of the search's winner from
    gridsearch.csv, both without intervals. Standard deviations over seeds are table1.csv's.
    """
    found: dict[str, dict[str, Cell]] = {
        system: {
            language: _UNKNOWN | {"value": one.difference, "low": one.low, "high": one.high}
            for language, one in languages.items()
        }
        for system, languages in run.accuracies.items()
    }
    table = run.table("table1")
    rows = [] if table is None else table.to_dict("records")
    for row in rows:
        cells = found.setdefault(row["system"], {})
        cells[row["language"]] = {
            **_UNKNOWN, "value": row["accuracy"], **cells.get(row["language"], {}), "sd": row["sd"],
        }  # fmt: skip
    if PROBE not in found and (winner := _searched(run)):
        found[PROBE] = winner
    return {system: found[system] for system in SYSTEMS if system in found}


def best(run: RunTables) -> str:
    """Return the system that the report reads errors of: the one to deploy, else that of the highest mean."""
    found = measured(run)
    if run.deploy and run.deploy["system"] in found:
        return str(run.deploy["system"])
    return max(found, key=lambda system: _height(found[system]), default="")


def systems(run: RunTables) -> dict[str, Any] | None:
    """Return a row for each measured system, the reference and always answering the most frequent label."""
    found = measured(run)
    if not found:
        return None
    named = {language for cells in found.values() for language in cells} - {MEAN}
    languages = ordered_languages(named, run.source_language)
    table = run.table("table1")
    means: dict[str, Any] = {}
    if table is not None:
        rows = table[table["language"] == MEAN]
        means = {row["system"]: row for row in rows.to_dict("records")}
    beside = [("reference", "the deepest layer's mean with logistic regression, not chosen", _reference(run)),
              ("most frequent label", "always answering it", chance(run))]  # fmt: skip
    return {
        "languages": languages,
        "rows": [
            {"system": system, "name": SYSTEM_NAMES[system], "cells": cells, "mean": means.get(system),
             "deployed": bool(run.deploy) and run.deploy["system"] == system}
            for system, cells in found.items()
        ],
        "beside": [{"name": name, "words": words, "cells": cells} for name, words, cells in beside if cells],
        "best": {
            language: max(cells[language]["value"] for cells in found.values() if language in cells)
            for language in (*languages, MEAN)
            if any(language in cells for cells in found.values())
        },
        "baseline": BASELINE in found,
        "split": _split(run),
        "n_seeds": max((int(row["n_seeds"]) for row in means.values()), default=1),
    }  # fmt: skip


def chance(run: RunTables) -> dict[str, Cell]:
    """Return what always answering the most frequent label scores, by language and over the targets."""
    shares = predicted.majorities(run.predictions)
    corpus = run.table("corpus")
    if not shares and corpus is not None:
        test = corpus[corpus["split"] == "test"].groupby("language")["n_texts"]
        shares = {str(language): float(value) for language, value in (test.max() / test.sum()).items()}
    return _with_mean({name: {**_UNKNOWN, "value": value} for name, value in shares.items()}, run)


def _reference(run: RunTables) -> dict[str, Cell]:
    """Return micro-F1, of one label a text the accuracy, of what a choice has to beat."""
    table = run.table("protocols")
    if table is None:
        return {}
    rows = table[(table["protocol"] == REFERENCE) & (table["split"] == _split(run))]
    return {
        row["language"]: {
            **_UNKNOWN,
            "value": row["score"],
            "low": row["score_low"],
            "high": row["score_high"],
        }
        for row in rows.to_dict("records")
    }


def _searched(run: RunTables) -> dict[str, Cell]:
    """Return the test micro-F1 of the search's winner, of one label a text its accuracy."""
    table = run.table("gridsearch")
    if table is None or summaries.finished(table).empty:
        return {}
    row = summaries.finished(table).iloc[0]
    scores = {
        language: float(row.get(f"test_f1_micro_{language}", math.nan))
        for language in (*summaries.languages(table, run.source_language), MEAN)
    }
    return {name: {**_UNKNOWN, "value": value} for name, value in scores.items() if not math.isnan(value)}


def _with_mean(cells: dict[str, Cell], run: RunTables) -> dict[str, Cell]:
    targets = [cell["value"] for language, cell in cells.items() if language != run.source_language]
    return cells | ({MEAN: {**_UNKNOWN, "value": sum(targets) / len(targets)}} if targets else {})


def _split(run: RunTables) -> str:
    splits = set(run.predictions["split"])
    return "dev" if splits == {"dev"} else "test"


def _height(cells: Mapping[str, Cell]) -> float:
    return cells[MEAN]["value"] if MEAN in cells else max(cell["value"] for cell in cells.values())
