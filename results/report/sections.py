"""The content of the report's sections as plain values for its templates; None where a table is absent.

The sections of the search: `results.report.search_sections`.

python -m pytest tests/results/report/test_sections.py
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.conclusions.conclude import overall
from mcbert.results.report import charts, heatmaps, numbers
from mcbert.results.report import embeddings as embedding_table
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.numbers import spoken
from mcbert.results.runs import RunTables
from mcbert.results.schema.runs import VERDICTS
from mcbert.results.schema.search import REFERENCE
from mcbert.results.schema.words import MEAN
from mcbert.results.table1 import ordered_languages, published

OWN_TEXTS = "this run's test texts"
"""Corpus of the measured rows of Table 1."""
Add = Callable[[str, Any, str], str]
"""Adds a chart to the page under an id, with its description, and returns the id."""


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as plain values for a template."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def verdict(low: float, high: float) -> str:
    """Return the meaning of the interval of a difference to the baseline in words."""
    if math.isnan(low):
        return "no comparison"
    if low > 0:
        return "better than the baseline"
    return "worse than the baseline" if high < 0 else "not significantly different from the baseline"


def versus_reference(row: Mapping[str, Any] | None) -> str:
    """Return in words whether a choice of table PROTOCOL_CHOICES beats the reference; empty if unknown."""
    if row is None or row["protocol"] == REFERENCE or math.isnan(row.get("versus_reference_low", math.nan)):
        return ""
    if row["versus_reference_low"] > 0:
        return "beats the reference"
    return "below the reference" if row["versus_reference_high"] < 0 else "does not beat the reference"


def training(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return training curves, the mean over target languages first, and the freeze events."""
    finetune, freezing = run.table("finetune"), run.table("freezing")
    if finetune is None:
        return None
    rows = summaries.training_curves(finetune, run.source_language)
    if rows.empty:
        return None
    columns = ["system", "epoch", "layers", "reason", "n_seeds"]
    events = pd.DataFrame(columns=columns) if freezing is None else summaries.freeze_events(freezing)
    languages = ordered_languages(set(rows["language"]) - {MEAN}, run.source_language)
    last = rows[rows["epoch"] == rows["epoch"].max()]
    ends = last.groupby("language")["accuracy"].max().to_dict()
    panels_of = summaries.drawn_apart(
        languages, {name: ends.get(name, 0.0) for name in languages}, run.source_language
    )
    shown = [MEAN, *panels_of] if MEAN in set(rows["language"]) else panels_of
    plotted = rows[rows["epoch"] > 0] if rows["epoch"].max() > 1 else rows
    drawn = plotted[plotted["language"].isin(shown)]
    span = charts.percent_range(pd.concat([drawn["low"], drawn["high"]]))
    panels = [
        (
            language,
            add(
                f"curve-{language}",
                charts.curves(part, events, legend=language == shown[0], span=span),
                f"Dev accuracy by epoch, {spoken(language)}",
            ),
        )
        for language in shown
        for part in [plotted[plotted["language"] == language]]
    ]
    return {
        "first": panels[0],
        "panels": panels[1:],
        "events": [event | {"name": SYSTEM_NAMES[event["system"]]} for event in records(events)],
        "n_languages": len(languages),
        "without_dev": _without_dev(run, languages),
        "strip": _ends_strip(last, languages, add) if len(panels_of) < len(languages) else None,
        "n_seeds": int(rows["n_seeds"].max()),
        "span": span,
        "starts_at": int(plotted["epoch"].min()),
        "sample": summaries.dev_sample(finetune),
        "numbers": numbers.curves(rows, shown),
    }


def _without_dev(run: RunTables, drawn: Sequence[str]) -> list[str]:
    """Return the languages of the corpus that have no curve, for want of labelled dev texts."""
    corpus = run.table("corpus")
    known: set[str] = set() if corpus is None else set(corpus["language"])
    return ordered_languages(known - set(drawn), run.source_language)


def _ends_strip(last: pd.DataFrame, languages: Sequence[str], add: Add) -> str:
    rows = last[last["language"].isin(languages)]
    rows = rows.assign(name=rows["language"], series=rows["system"].map(SYSTEM_NAMES), value=rows["accuracy"])
    words = "Dev accuracy after the last epoch by language"
    return add("curve-ends", charts.strip(rows, "dev accuracy, %"), words)


def table1(run: RunTables) -> dict[str, Any] | None:
    """Return Table 1 with a row per system and a column per language, measured and published apart."""
    measured = run.table("table1")
    if measured is None:
        return None
    own = measured.assign(source="measured", corpus=OWN_TEXTS, citation="")
    quoted = published(run.source_language).assign(source="published", transfer="")
    rows = pd.concat([own, quoted], ignore_index=True)
    languages = ordered_languages(set(rows["language"]) - {MEAN}, run.source_language)
    groups: dict[str, list[dict[str, Any]]] = {"measured": [], "published": []}
    keys = ["source", "system", "casing", "protocol", "transfer", "corpus", "citation"]
    for values, part in rows.groupby(keys, sort=False, dropna=False):
        cells = {cell["language"]: cell for cell in records(part)}
        system: dict[str, Any] = dict(zip(keys, values, strict=True))
        system |= {"name": SYSTEM_NAMES.get(system["system"], system["system"]), "cells": cells}
        groups[system["source"]].append(system)
    return {
        "languages": languages,
        "groups": groups,
        "best": measured.groupby("language")["accuracy"].max().to_dict(),
        "corpora": {source: sorted({row["corpus"] for row in group}) for source, group in groups.items()},
        "citations": list(dict.fromkeys(row["citation"] for row in groups["published"])),
    }


def embeddings(run: RunTables) -> dict[str, Any] | None:
    """Return sentence encoders beside frozen layers, and apart from them the published ones."""
    tables = [run.table(name) for name in ("sts", "tatoeba", "reductions")]
    if tables[0] is None and tables[1] is None:
        return None
    return {
        "measured": (embedding_table.MEASURED_HEADER, embedding_table.measured(*tables)),
        "published": (embedding_table.PUBLISHED_HEADER, embedding_table.published()),
        "apart": embedding_table.APART,
    }


def corpus(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return corpus counts by language and split, and figures of the labels' shares."""
    table = run.table("corpus")
    if table is None:
        return None
    counts = summaries.corpus_counts(table, run.source_language)
    labels = sorted(table["label"].unique())
    shares = summaries.label_shares(table, run.source_language)
    many = len(labels) > summaries.MOST_LABELS or shares["language"].nunique() > summaries.MOST_PANELS
    draw, words = (
        (_label_counts, "Texts of each label") if many else (heatmaps.classes, "Share of each label")
    )
    classes = [
        (split, add(f"classes-{split}", draw(part), f"{words} by language, {split}"))
        for split, part in shares.groupby("split", sort=False)
    ]
    rows = records(counts)
    if len(labels) > summaries.MOST_LABELS:
        rows = [row | {"spread": _spread([row[f"label: {label}"] for label in labels])} for row in rows]
        labels = []
    return {"rows": rows, "labels": labels, "classes": classes, "many": many}


def _spread(counts: Sequence[float]) -> str:
    """Return the least, the median and the most of counts in words."""
    return f"{min(counts):,.0f} / {statistics.median(counts):,.0f} / {max(counts):,.0f}"


def _label_counts(shares: pd.DataFrame) -> Any:
    """Draw the texts of each label in a split, over all languages."""
    counts = shares.groupby("label", as_index=False)["n_texts"].sum()
    rows = counts.assign(name=counts["label"], series="texts", value=counts["n_texts"])
    return charts.strip(rows, "texts", percent=False)


def paper(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return the paper's conclusions on the run and Table 1; None where the run was not to test them."""
    tested = conclusions(run, add)
    return None if tested is None else {**tested, "table1": table1(run)}


def conclusions(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return each claim with its verdict and comparisons, and the figure of all effects."""
    table = run.table("conclusions")
    if table is None:
        return None
    rows = marked(table)
    groups = [
        {
            "number": number,
            "claim": claim,
            "verdict": overall(part["verdict"].tolist()),
            "rows": records(part),
        }
        for (number, claim), part in rows.groupby(["number", "conclusion"], sort=False)
    ]
    verdicts = [group["verdict"] for group in groups]
    return {
        "groups": groups,
        "counts": {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts},
        "chart": _figure(rows, add),
    }


def _figure(rows: pd.DataFrame, add: Add) -> str | None:
    tested = rows[rows["effect_low"].notna()]
    if tested.empty:
        return None
    words = "Effect and 95% interval of every comparison, by conclusion"
    return add("conclusions", charts.forest(tested), words)


def tune(run: RunTables) -> dict[str, Any] | None:
    """Return phase two's settings tried on dev, best first, beside the settings as they are."""
    table = run.table("tune")
    if table is None:
        return None
    tried = table[table["status"] == "ok"]
    mean = summaries.shown_language(tried, run.source_language)
    by_language = {(row["trial"], row["language"]): row for row in records(tried)}
    trials = records(tried[tried["language"] == mean].sort_values(["rank", "trial"]))
    failed = table[table["status"] == "error"]
    return {
        "trials": [
            trial
            | {
                "words": _settings(trial["changes"]),
                "source": by_language.get((trial["trial"], run.source_language)),
            }
            for trial in trials
        ],
        "failed": [row | {"words": _settings(row["changes"])} for row in records(failed)],
        "mean": mean,
        "ranked_by": table["ranked_by"].iloc[0],
        "protocol": table["protocol"].iloc[0],
        "n_seeds": int(tried["n_seeds"].max()) if len(tried) else 0,
    }


def _settings(changes: str) -> str:
    """Return the settings that a trial changes in words."""
    changed = json.loads(changes).items()
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in changed) or "as they are"


def marked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a column mark, and None for an unknown `n`.

    The mark is the number of a row's conclusion, with a letter where it has several rows.
    """
    place = table.groupby("number").cumcount()
    several = table.groupby("number")["number"].transform("size") > 1
    marks = [
        f"{number}{ascii_lowercase[at]}" if many else f"{number}"
        for number, at, many in zip(table["number"], place, several, strict=True)
    ]
    known = table["n"].astype("object").where(table["n"].notna(), None)
    return table.assign(mark=marks, n=known)
