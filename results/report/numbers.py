"""The report's figures as numbers: a table for whoever cannot read a figure, or wants more than it shows.

python -m pytest tests/results/report/test_numbers.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import pandas as pd

from mcbert.features.spec import POOLINGS
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.headings import Heading, heading
from mcbert.results.report.wording import percent, points, spoken
from mcbert.results.schema import SYSTEMS


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A small table of texts; the first cell of a row names it."""

    caption: str
    header: Sequence[Heading]
    rows: Sequence[Sequence[str]]


def heat_maps(cells: Mapping[str, pd.DataFrame]) -> Numbers:
    """Give the scores of the heat maps: layers across, language and pooling down.

    Parameters
    ----------
    cells : mapping of str to DataFrame
        By language, from `results.summaries.layer_by_pooling`.
    """
    layers = sorted({layer for frame in cells.values() for layer in frame["layer"]})
    rows = []
    for language, frame in cells.items():
        scores = frame.set_index(["pooling", "layer"])["f1"].to_dict()
        rows += [
            [
                spoken(language),
                pooling,
                *(percent(scores.get((pooling, layer), float("nan"))) for layer in layers),
            ]
            for pooling in POOLINGS
            if pooling in set(frame["pooling"])
        ]
    scored = [heading("gridsearch.dev_f1_{language}", f"layer {layer}") for layer in layers]
    header = [heading("corpus.language"), heading("gridsearch.pooling"), *scored]
    return Numbers("Best dev micro-F1 in percent of a single layer.", header, rows)


def effects(rows: pd.DataFrame, names: Mapping[str, str]) -> Numbers:
    """Give the main effects with their intervals (rows of `results.summaries.effects`)."""
    lines = [
        [
            names[row["factor"]],
            row["level"],
            row["split"],
            points(row["effect"], 2),
            f"[{points(row['low'], 2)}, {points(row['high'], 2)}]",
            f"{row['n']:,}",
        ]
        for row in rows.to_dict("records")
    ]
    named = {"factor": "choice", "low": "95% interval", "n": "comparisons"}
    columns = ("factor", "level", "split", "effect", "low", "n")
    header = [heading(f"effects_overall.{name}", named.get(name, "")) for name in columns]
    return Numbers("Mean differences of micro-F1 in points.", header, lines)


def sizes(rows: pd.DataFrame) -> Numbers:
    """Give best and median by the number of layers (rows of `results.summaries.by_n_layers`)."""
    found = {(row["n_layers"], row["which"]): row for row in rows.to_dict("records")}
    lines = [
        [
            str(size),
            percent(found[size, "best"]["f1"], 2),
            percent(found[size, "median"]["f1"], 2),
            f"{found[size, 'best']['n']:,}",
        ]
        for size in rows["n_layers"].unique()
    ]
    caption = "Dev micro-F1 in percent, mean over target languages."
    scored = [heading("gridsearch.dev_f1_{language}", name) for name in ("best", "median")]
    n_layers = heading("gridsearch.n_layers", "number of layers")
    candidates = heading("gridsearch.candidate_id", "candidates", counted=True)
    return Numbers(caption, [n_layers, *scored, candidates], lines)


def confusion(cells: pd.DataFrame, languages: Sequence[str]) -> Numbers:
    """Give all confusion matrices (rows of `results.summaries.confusion_of`): true down, predicted across."""
    labels = sorted({*cells["label"], *cells["predicted"]})
    counts = cells.set_index(["language", "label", "predicted"])["n"].to_dict()
    lines = [
        [language, true, *(f"{counts.get((language, true, predicted), 0):,}" for predicted in labels)]
        for language in languages
        for true in labels
    ]
    caption = "Test texts of the searched winner by true label (down) and predicted label (across)."
    header = [heading("confusion.language"), heading("confusion.label", "true label")]
    return Numbers(caption, [*header, *(heading("confusion.n", label) for label in labels)], lines)


def curves(rows: pd.DataFrame, languages: Sequence[str]) -> Numbers:
    """Give the training curves (rows of `results.summaries.training_curves`): epochs across.

    Where there are several seeds, the worst and the best stand in brackets.
    """
    epochs = sorted(rows["epoch"].unique())
    found = {(row["language"], row["system"], row["epoch"]): row for row in rows.to_dict("records")}
    lines = [
        [
            spoken(language),
            SYSTEM_NAMES[system],
            *(_of_seeds(found.get((language, system, epoch))) for epoch in epochs),
        ]
        for language in languages
        for system in SYSTEMS
        if any((language, system, epoch) in found for epoch in epochs)
    ]
    caption = "Dev accuracy in percent, mean over the seeds; in brackets the worst and the best seed."
    header = [heading("finetune.language"), heading("finetune.system")]
    header += [heading("finetune.accuracy", f"epoch {epoch}") for epoch in epochs]
    return Numbers(caption, header, lines)


def by_run(rows: pd.DataFrame, runs: Sequence[str], languages: Sequence[str]) -> Numbers:
    """Give one system's accuracy: runs across, languages down (columns run, language, accuracy)."""
    found = {(row["run"], row["language"]): row["accuracy"] for row in rows.to_dict("records")}
    unknown = float("nan")
    lines = [
        [spoken(language), *(percent(found.get((run, language), unknown)) for run in runs)]
        for language in languages
    ]
    header = [heading("table1.language"), *(heading("table1.accuracy", run) for run in runs)]
    return Numbers("Test accuracy in percent, mean over the seeds.", header, lines)


def _of_seeds(row: Mapping[Hashable, float] | None) -> str:
    if row is None:
        return percent(float("nan"))
    spread = f" [{percent(row['low'])}, {percent(row['high'])}]" if row["n_seeds"] > 1 else ""
    return percent(row["accuracy"]) + spread
