"""The errors of the model to deploy on test, by language: matrices, or of many labels confusions and F1.

python -m pytest tests/results/report/test_size.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.csv_rows import TableError
from mcbert.results.deploy import PROBE
from mcbert.results.predicted import of_system
from mcbert.results.report import charts, heatmaps, numbers, systems
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.sections import Add, records
from mcbert.results.runs import RunTables
from mcbert.results.summaries import MOST_LABELS
from mcbert.results.table1 import ordered_languages

MOST_LISTED = 12
"""Rows of the short lists: the most frequent confusions, the labels of the lowest F1."""


def confusion(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return test errors by language of the model whose errors are listed, to deploy or of the highest mean.

    Accuracy, whether near chance, and matrices; of the search's winner from confusion.csv, of a trained model
    from predictions_finetune.csv.

    Of more than `MOST_LABELS` labels the most frequent confusions and the F1 of each label take the place of
    a matrix; of more than `MOST_PANELS` languages the lowest have panels, and all of them a point each.
    """
    system, cells = _cells(run)
    if cells is None or cells.empty:
        return None
    scores = {row["language"]: row for row in records(summaries.accuracies(cells).reset_index())}
    languages = ordered_languages(set(cells["language"]), run.source_language)
    accuracy = {language: row["accuracy"] for language, row in scores.items()}
    shown = summaries.drawn_apart(languages, accuracy, run.source_language)
    many = cells["label"].nunique() > MOST_LABELS
    draw = _label_strip if many else _matrix
    panels = [
        scores[language]
        | {
            **draw(language, cells[cells["language"] == language], add),
            "near_chance": accuracy[language] < scores[language]["majority"] + summaries.NEAR,
        }
        for language in shown
    ]
    return {
        "name": SYSTEM_NAMES[system],
        "deployed": bool(run.deploy) and run.deploy["system"] == system,
        "file": "confusion.csv" if system == PROBE else "predictions_finetune.csv",
        "panels": panels,
        "many_labels": many,
        "label_scores": [] if many else _label_scores(cells, run.source_language),
        "targets": [language for language in languages if language != run.source_language],
        "n_languages": len(languages),
        "strip": _accuracy_strip(scores, languages, add) if len(shown) < len(languages) else None,
        "numbers": None if many else numbers.confusion(cells, shown),
    }


def _cells(run: RunTables) -> tuple[str, pd.DataFrame | None]:
    """Return the system whose errors are shown, and its matrices as `results.summaries.confusion_of` does."""
    table = run.table("confusion")
    try:
        system = systems.best(run)
        rows = of_system(run.predictions, system)
    except TableError:  # told where the errors are listed; confusion.csv needs no predictions
        system, rows = PROBE, pd.DataFrame({"split": []})
    rows = rows[rows["split"] == "test"]
    if system != PROBE and len(rows):
        counted = rows.groupby(["language", "label", "predicted"]).size().rename("n").reset_index()
        return system, summaries.confusion_of(counted.assign(rank=1, split="test"))
    return PROBE, None if table is None else summaries.confusion_of(table)


def _label_scores(cells: pd.DataFrame, source_language: str) -> list[dict[str, Any]]:
    """Return the F1 of each label by language, and its mean over those targets that have texts of it.

    The lowest mean first; with the number of these languages and of their texts.
    """
    found: dict[str, dict[str, float]] = {}
    n_texts = cells[cells["language"] != source_language].groupby("label")["n"].sum()
    for language, part in cells.groupby("language"):
        for row in records(summaries.label_scores(part)):
            found.setdefault(row["label"], {})[str(language)] = row["f1"]
    rows, lowest = [], dict[str, float]()
    for label, f1 in found.items():
        of_targets = [value for language, value in f1.items() if language != source_language]
        mean = sum(of_targets) / len(of_targets) if of_targets else math.nan
        counts = {"n_languages": len(of_targets), "n_texts": int(n_texts.get(label, 0))}
        rows.append({"label": label, "mean": mean, "f1": f1, **counts})
        lowest[label] = mean if of_targets else f1[source_language]
    return sorted(rows, key=lambda row: (lowest[row["label"]], row["label"]))


def _matrix(language: str, cells: pd.DataFrame, add: Add) -> dict[str, Any]:
    words = f"Confusion matrix on test, {language}"
    return {"chart": add(f"confusion-{language}", heatmaps.confusion(cells), words)}


def _label_strip(language: str, cells: pd.DataFrame, add: Add) -> dict[str, Any]:
    """Return the F1 of each label as a chart, the labels of the lowest, and the most frequent confusions."""
    scores = summaries.label_scores(cells)
    rows = scores.assign(name=scores["label"], series="F1", value=scores["f1"])
    words = f"F1 of each label on test, {language}"
    return {
        "chart": add(f"labels-{language}", charts.strip(rows, "F1, %"), words),
        "pairs": records(summaries.confused_pairs(cells, MOST_LISTED)),
        "hardest": records(scores.head(MOST_LISTED)),
    }


def _accuracy_strip(scores: Mapping[str, Mapping[str, float]], languages: Sequence[str], add: Add) -> str:
    series = (("accuracy", "accuracy"), ("most frequent label", "majority"))
    rows = pd.DataFrame(
        [
            {"name": language, "series": words, "value": scores[language][column]}
            for words, column in series
            for language in languages
        ]
    )
    return add("accuracies", charts.strip(rows, "accuracy, %"), "Test accuracy by language")
