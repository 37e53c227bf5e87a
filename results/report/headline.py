"""The head of the report: the winner, by how much and how surely, and the model to deploy.

python -m pytest tests/results/report/test_sections.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.deploy import PROBE, below_probe
from mcbert.results.report import embeddings, search_sections
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.numbers import percent
from mcbert.results.report.sections import records, verdict, versus_reference
from mcbert.results.runs import RunTables
from mcbert.results.schema.words import AGREEMENT, ENSEMBLE, MEAN, SYSTEMS, metric_words
from mcbert.results.table1 import BASELINE, ordered_languages


def headline(run: RunTables) -> dict[str, Any]:
    """Return the winner of the search, its protocol, and the systems' scores beside the baseline's.

    Of a run of sentence encoders alone the best of these.
    """
    gridsearch, table1 = run.table("gridsearch"), run.table("table1")
    best = None
    if gridsearch is not None and not summaries.finished(gridsearch).empty:
        best = summaries.finished(gridsearch).iloc[0].to_dict()
    measured = [] if table1 is None else _measured_means(table1)
    challengers = [row for row in measured if row["system"] != BASELINE]
    highest = max(challengers or measured, key=lambda row: row["accuracy"], default=None)
    return {
        "winner": best,
        "scores": [] if best is None else _winner_scores(best, run.source_language),
        "members": _members(best),
        "interval": _interval(run),
        "reference": _reference(run),
        "top": search_sections.top(run),
        "n_candidates": 0 if gridsearch is None else int((gridsearch["classifier"] != ENSEMBLE).sum()),
        "tried": run.tried,
        "systems": measured,
        "best": highest,
        "level": _level(measured, highest),
        "targets": _targets(run),
        "transfer": _transfer(run),
        "alarms": _alarms(run),
        "deploy": _deploy(run),
        "encoder": None if measured or best else embeddings.highest(run.table("tatoeba"), run.table("sts")),
    }


def _interval(run: RunTables) -> tuple[float, float] | None:
    """Return the ends of the interval of the winner's mean test score; None where it is no micro-F1."""
    top = run.table("top")
    if top is None:
        return None
    rows = top[(top["rank"] == 1) & (top["split"] == "test") & (top["language"] == MEAN)]
    rows = rows[rows["metric"] != "f1_macro"]
    return None if rows.empty else (float(rows["score_low"].iloc[0]), float(rows["score_high"].iloc[0]))


def _members(winner: Mapping[Hashable, Any] | None) -> int:
    """Return how many candidates a winner is the mean of; 0: it is one of them."""
    if winner is None or winner["classifier"] != ENSEMBLE:
        return 0
    return int(json.loads(winner["params"])["members"])


def _reference(run: RunTables) -> dict[str, Any] | None:
    """Return the winner's row of protocols.csv with the verdict beside the reference; None without one."""
    table = run.table("protocols")
    if table is None:
        return None
    used, shown = table[table["used"]], summaries.shown_language(table, run.source_language)
    split = "test" if "test" in set(table["split"]) else "dev"
    for row in records(used[(used["split"] == split) & (used["language"] == shown)]):
        if verdict := versus_reference(row):
            return row | {"verdict": verdict}
    return None


def _winner_scores(winner: Mapping[Hashable, Any], source_language: str) -> list[dict[str, Any]]:
    """Return the winner's micro-F1 on dev and test: the mean over the targets, else the source language's."""
    found = []
    for split in ("dev", "test"):
        for language in (MEAN, source_language):
            f1 = winner.get(f"{split}_f1_micro_{language}", math.nan)
            if not math.isnan(f1):
                found.append({"split": split, "language": language, "f1": f1})
                break
    return found


def _deploy(run: RunTables) -> dict[str, Any] | None:
    """Return the model to deploy, its competitors, and the trained ones that the classifier beats."""
    if not run.deploy:
        return None
    compared = [row | {"name": SYSTEM_NAMES[row["system"]]} for row in run.deploy["compared"]]
    scores = {row["system"]: row["score"] for row in compared}
    below = below_probe(scores)
    worse = [row for row in compared if below.get(row["system"])]
    for row in compared:  # agreement less log-loss is no share
        is_share = run.deploy["metric"] != AGREEMENT
        row["number"] = f"{percent(row['score'])}%" if is_share else f"{row['score']:.3f}"
    numbers = {row["system"]: row["number"] for row in compared}
    return {
        **run.deploy,
        "metric": metric_words(run.deploy["metric"]),
        "compared": compared,
        "below": worse,
        "is_passed": any(row["score"] > run.deploy["score"] for row in compared),
        "number": numbers[run.deploy["system"]],
        "probe": numbers.get(PROBE, ""),
    }


def _alarms(run: RunTables) -> list[dict[str, Any]]:
    """Return the languages near chance, by the winner's test rows or, without them, its dev rows."""
    top = run.table("top")
    if top is None:
        return []
    split = "test" if "test" in set(top["split"]) else "dev"
    return records(summaries.near_chance(top[top["split"] == split], run.source_language))


def _measured_means(rows: pd.DataFrame) -> list[dict[str, Any]]:
    means = records(rows[rows["language"] == MEAN])
    means.sort(key=lambda row: SYSTEMS.index(row["system"]) if row["system"] in SYSTEMS else len(SYSTEMS))
    return [
        row
        | {
            "name": SYSTEM_NAMES.get(row["system"], row["system"]),
            "verdict": verdict(row["versus_baseline_low"], row["versus_baseline_high"]),
            "is_baseline": row["system"] == BASELINE,
        }
        for row in means
    ]


def _level(measured: list[dict[str, Any]], best: dict[str, Any] | None) -> list[str]:
    """Return the systems not significantly different from the highest; only MC-BERT is compared with."""
    mcbert = next((row for row in measured if row["system"] == "mcbert"), None)
    if best is None or mcbert is None:
        return []
    others = [(row["name"], row) for row in measured if row is not mcbert]
    pairs = others if best is mcbert else [(mcbert["name"], best)]
    return [name for name, row in pairs if row["versus_mcbert_low"] <= 0 <= row["versus_mcbert_high"]]


def _transfer(run: RunTables) -> str:
    """Return the kinds of transfer that the run's rows name."""
    tables = [run.table(name) for name in ("gridsearch", "finetune")]
    found = pd.concat(
        [table["transfer"] for table in tables if table is not None] or [pd.Series(dtype="str")]
    )
    return ", ".join(dict.fromkeys(found))


def _targets(run: RunTables) -> list[str]:
    gridsearch, table1 = run.table("gridsearch"), run.table("table1")
    found: set[str] = set()
    if gridsearch is not None:
        found = set(summaries.languages(gridsearch, run.source_language))
    elif table1 is not None:
        found = set(table1["language"])
    return ordered_languages(found - {MEAN, run.source_language}, run.source_language)
