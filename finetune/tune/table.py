"""The table of the trials: dev accuracy over seeds, ranks, and the difference that the values made.

python -m pytest tests/finetune/tune/test_tune.py
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.spec import layers_text
from mcbert.finetune.jobs import FinetuneJob
from mcbert.finetune.rows import SEES, protocol_of
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.finetune.tune.trials import Trial
from mcbert.results import csv_files, table1
from mcbert.results.schema.tune import TUNE
from mcbert.results.schema.words import MEAN


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searched:
    """A trial with its trainings."""

    trial: Trial
    """The settings tried."""

    jobs: tuple[FinetuneJob, ...] = ()
    """One for each seed; none where the trial is refused."""

    message: str = ""
    """Why it is refused."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trial with what its trainings measured."""

    searched: Searched
    """The trial and its trainings."""

    rows: Sequence[Mapping[str, Any]]
    """The rows of `run_training`, or the errors, one a training."""

    @property
    def message(self) -> str:
        """The first error; empty where there is none."""
        failed = (str(row["message"]) for row in self.rows if row["status"] == "error")
        return self.searched.message or next(failed, "")

    @property
    def status(self) -> str:
        """Ok where every training went through, else error."""
        return "error" if self.message else "ok"

    def score(self, protocol: str, source_language: str) -> float:
        """Return the mean over the seeds of the dev score that a protocol looks at; -inf without one."""
        if protocol == "agreement":
            known = [row["agreement"] for row in self.rows]
            return float("-inf") if None in known else float(np.mean(known))
        source = protocol == "source-dev"
        watched = [
            [value for name, value in row["accuracy"].items() if (name == source_language) == source]
            for row in self.rows
        ]
        return float(np.mean([np.mean(values) for values in watched]))


def ranking(protocol: str, outcomes: Sequence[Outcome], source_language: str) -> list[Outcome]:
    """Return the outcomes without errors, the best first; ties to the trial that was planned earlier."""
    sound = [outcome for outcome in outcomes if outcome.status == "ok"]
    return sorted(sound, key=lambda outcome: -outcome.score(protocol, source_language))


def best_by(protocol: str, outcomes: Sequence[Outcome], source_language: str) -> Trial:
    """Return the trial that a protocol takes."""
    return ranking(protocol, outcomes, source_language)[0].searched.trial


def write_trials(
    outcomes: Sequence[Outcome],
    tune: TuneSettings,
    corpus: Corpus,
    *,
    stamp: Mapping[str, object],
    path: Path,
) -> None:
    """Write tune.csv and tune_overall.csv into a folder, the best trial first, failed ones last."""
    ranked = ranking(tune.protocol, outcomes, corpus.source_language)
    failed = [outcome for outcome in outcomes if outcome.status == "error"]
    first = _correctness(outcomes[0], corpus) if outcomes[0].status == "ok" else None
    rows = []
    for place, outcome in enumerate([*ranked, *failed], start=1):
        fixed = _fixed(outcome, tune) | {"rank": place if outcome.status == "ok" else None}
        rows += [cells | fixed | dict(stamp) for cells in _measured(outcome, corpus, first)]
    frame = pd.DataFrame(rows, columns=[column.name for column in TUNE.columns])
    frame = frame.astype({"rank": "Int64", "n_seeds": "Int64"})
    csv_files.write_with_sums(TUNE, frame, path / TUNE.file_name)


def _fixed(outcome: Outcome, tune: TuneSettings) -> dict[str, Any]:
    searched, jobs = outcome.searched, outcome.searched.jobs
    built = jobs[0].architecture if jobs and tune.system != "baseline" else None
    seen = [tune.protocol, *(protocol_of(job) for job in jobs[:1])]
    return {
        "trial": searched.trial.number,
        "system": jobs[0].system if jobs else tune.system,
        "ranked_by": tune.protocol,
        "protocol": max(seen, key=SEES.index),
        "changes": json.dumps(dict(searched.trial.changes), ensure_ascii=False),
        "layers": layers_text(built.layers) if built else "",
        "pooling": built.pooling if built else "",
        "precision": "+".join(sorted({row["precision"] for row in outcome.rows if "precision" in row})),
        "status": outcome.status,
        "message": outcome.message,
        "agreement": _agreement(outcome),
        "seconds": float(np.mean([row["seconds"] for row in outcome.rows])) if outcome.rows else 0.0,
    }


def _agreement(outcome: Outcome) -> float | None:
    if outcome.status == "error":
        return None
    score = outcome.score("agreement", "")
    return score if math.isfinite(score) else None


def _measured(outcome: Outcome, corpus: Corpus, first: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Return the cells of each language, and of the mean over targets, beside the settings as they are."""
    if outcome.status == "error":
        return [{"language": MEAN}]
    if outcome.searched.trial.number == 0 or first is None:
        cells = table1.measured(_correctness(outcome, corpus), None, corpus.source_language)
    else:
        cells = table1.measured(_correctness(outcome, corpus), first, corpus.source_language)
    named = {"versus_default": "difference", "versus_default_low": "low", "versus_default_high": "high"}
    return [row | {name: row[value] for name, value in named.items()} for row in cells]


def _correctness(outcome: Outcome, corpus: Corpus) -> pd.DataFrame:
    """Return which dev texts were labelled rightly, as `table1.correctness` does."""
    dev = corpus.table.iloc[corpus.rows(split="dev")]
    rows = [
        dev[["id", "language", "label"]].assign(
            seed=job.seed,
            predicted=[
                label if right == "1" else "" for label, right in zip(dev["label"], row["right"], strict=True)
            ],
        )
        for job, row in zip(outcome.searched.jobs, outcome.rows, strict=True)
    ]
    return table1.correctness(pd.concat(rows, ignore_index=True))
