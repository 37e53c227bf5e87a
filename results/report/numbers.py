"""Numbers as the report writes them: percentages and points, headings of tables, and each figure as a table.

python -m pytest tests/results/report/test_numbers.py
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from mcbert.features.spec import POOLINGS, FeatureSpec
from mcbert.results.column import Column
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.schema import TABLES
from mcbert.results.schema.words import MEAN, SYSTEMS

_TABLES = {PurePath(table.file_name).with_suffix("").as_posix(): table for table in TABLES}
_SHOWN_IN = {"share 0-1": "%", "share, -1 to 1": "points"}


def spoken(language: str) -> str:
    """Write a language, or the mean over the targets, as figures and headings name it."""
    return "mean over target languages" if language == MEAN else language


def percent(value: float, digits: int = 1) -> str:
    """Write a share as a percentage without its sign; a missing one as a dash."""
    return "\u2013" if value is None or math.isnan(value) else f"{value * 100:.{digits}f}"


def features(row: Mapping[str, Any]) -> str:
    """Return the layers and poolings of a row in words."""
    return FeatureSpec.of(row["layers"], row["pooling"]).words


def points(value: float, digits: int = 1) -> str:
    """Write a difference of shares in percentage points, with a real minus sign."""
    if value is None or math.isnan(value):
        return "\u2013"
    rounded = round(value * 100, digits) + 0.0  # no minus sign before a zero
    return f"{rounded:+.{digits}f}".replace("-", "\u2212") if rounded else f"{rounded:.{digits}f}"


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading: its words, and the declared column whose values stand below it."""

    words: str
    file_name: str
    column: Column
    counted: bool = False
    """True if the content below states the number of rows."""

    @property
    def numeric(self) -> bool:
        """Return True if the column holds numbers, which are set flush right."""
        return self.counted or self.column.dtype in ("int", "float")

    @property
    def unit(self) -> str:
        """Unit in which the report shows the values: shares as percentages, differences of them as points."""
        return _SHOWN_IN.get(self.column.unit, self.column.unit)

    @property
    def title(self) -> str:
        """The file, column, unit and meaning of the values below."""
        unit = f" ({self.column.unit})" if self.column.unit else ""
        unit = ", counted" if self.counted else unit
        return f"{self.file_name}, {self.column.name}{unit}: {self.column.meaning}"

    def attributes(self, *classes: str) -> Markup:
        """Write the attributes of a `th`: `classes`, that of numbers, and the title."""
        named = " ".join([*(["n"] if self.numeric else []), *classes])
        return Markup(f' class="{escape(named)}"' if named else "") + Markup(' title="{}"').format(self.title)


def heading(place: str, words: str = "", *, counted: bool = False) -> Heading:
    """Make the heading of a column of a declared table.

    Parameters
    ----------
    place : str
        The table's file without `.csv` and the column, `corpus.n_texts`; where there is one for each language
        or label, their pattern, `gridsearch.dev_f1_micro_{language}`, or one of them.
    words : str
        The words shown; the column's name with blanks where there are none.
    counted : bool
        Whether the rows are counted, not their values shown.

    Raises
    ------
    ValueError
        If no such column is declared.
    """
    file, _, name = place.rpartition(".")
    table = _TABLES.get(file)
    column = table.column(name) if table else None
    if table is None or column is None:
        accepted = ", ".join(each.name for each in table.columns) if table else ", ".join(_TABLES)
        raise ValueError(f"heading {place}: not declared in results.schema; accepted: {accepted}")
    return Heading(words or name.replace("_", " "), table.file_name, column, counted)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A small table of texts; the first cell of a row names it."""

    caption: str
    header: Sequence[Heading]
    rows: Sequence[Sequence[str]]


def heat_maps(cells: Mapping[str, pd.DataFrame]) -> Numbers:
    """Return the scores of the heat maps: layers across, language and pooling down.

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
    scored = [heading("gridsearch.dev_f1_micro_{language}", f"layer {layer}") for layer in layers]
    header = [heading("corpus.language"), heading("gridsearch.pooling"), *scored]
    return Numbers("Best dev micro-F1 in percent of a single layer.", header, rows)


def effects(rows: pd.DataFrame, names: Mapping[str, str]) -> Numbers:
    """Return the main effects with their intervals (rows of `results.summaries.effects`)."""
    lines = [
        [
            names[row["factor"]],
            row["level"],
            row["split"],
            points(row["effect"], 2),
            f"[{points(row['effect_low'], 2)}, {points(row['effect_high'], 2)}]",
            f"{row['n']:,}",
        ]
        for row in rows.to_dict("records")
    ]
    named = {"factor": "choice", "effect_low": "95% interval", "n": "comparisons"}
    columns = ("factor", "level", "split", "effect", "effect_low", "n")
    header = [heading(f"effects_overall.{name}", named.get(name, "")) for name in columns]
    return Numbers("Mean differences of micro-F1 in points.", header, lines)


def sizes(rows: pd.DataFrame) -> Numbers:
    """Return best and median by the number of layers (rows of `results.summaries.by_n_layers`)."""
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
    scored = [heading("gridsearch.dev_f1_micro_{language}", name) for name in ("best", "median")]
    n_layers = heading("gridsearch.n_layers", "number of layers")
    candidates = heading("gridsearch.candidate_id", "candidates", counted=True)
    return Numbers(caption, [n_layers, *scored, candidates], lines)


def confusion(cells: pd.DataFrame, languages: Sequence[str]) -> Numbers:
    """Return all confusion matrices (`results.summaries.confusion_of`): true down, predicted across."""
    labels = sorted({*cells["label"], *cells["predicted"]})
    counts = cells.set_index(["language", "label", "predicted"])["n"].to_dict()
    lines = [
        [language, true, *(f"{counts.get((language, true, predicted), 0):,}" for predicted in labels)]
        for language in languages
        for true in labels
    ]
    caption = "Test texts by true label (down) and predicted label (across)."
    header = [heading("confusion.language"), heading("confusion.label", "true label")]
    return Numbers(caption, [*header, *(heading("confusion.n", label) for label in labels)], lines)


def curves(rows: pd.DataFrame, languages: Sequence[str]) -> Numbers:
    """Return the training curves (rows of `results.summaries.training_curves`): epochs across.

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
    """Return one system's accuracy: runs across, languages down (columns run, language, accuracy)."""
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
