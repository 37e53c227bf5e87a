"""Results of a training as rows of finetune.csv, freezing.csv and predictions_finetune.csv.

python -m pytest tests/finetune/test_systems.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.spec import layers_text
from mcbert.finetune.evaluation import Evaluation, Score
from mcbert.finetune.jobs import Job
from mcbert.finetune.settings import WATCHING
from mcbert.finetune.training.callback import Training

DECIMALS = 6  # of a loss or probability: the rest of its digits differs between CPUs and numbers of threads
SEES = ("last", "source-dev", "agreement", "target-dev")  # protocols by what they look at, the least first


def protocol_of(job: Job) -> str:
    """Return the protocol that a system's results are stamped with: of its choices, the one that saw most.

    The baseline chooses an epoch only; the others also have layers and pooling that phase one chose, and
    one that freezes by dev scores the moment.
    """
    chosen = [job.settings.protocol] + ([] if job.system == "baseline" else [job.architecture.protocol])
    if job.freeze and job.settings.freeze_rule in WATCHING:
        chosen.append(job.settings.freeze_watch)
    return max(chosen, key=SEES.index)


def score_rows(job: Job, training: Training, test: Mapping[str, Score]) -> list[dict[str, Any]]:
    """Return the rows of finetune.csv: dev of every evaluation, test of the chosen one."""
    chosen = training.history[training.chosen]
    scored = [("dev", evaluation) for evaluation in training.history]
    scored.append(("test", dataclasses.replace(chosen, scores=test, log_loss=None, agreement=None)))
    return [_score_row(job, e, split, language) | {"chosen": e.step == chosen.step}
            for split, e in scored for language in e.scores]  # fmt: skip


def training_row(job: Job, training: Training) -> dict[str, Any]:
    """Return the row of trainings.csv."""
    is_baseline, chosen = job.system == "baseline", training.history[training.chosen]
    return {
        "system": job.system,
        "seed": job.seed,
        "layers": "" if is_baseline else layers_text(job.architecture.layers),
        "pooling": "" if is_baseline else job.architecture.pooling,
        "start": "" if is_baseline else job.architecture.start,
        "protocol": protocol_of(job),
        "precision": training.precision,
        "epoch": chosen.epoch,
        "step": chosen.step,
        "seconds": round(training.history[-1].seconds, 3),
    }


def _score_row(job: Job, evaluation: Evaluation, split: str, language: str) -> dict[str, Any]:
    return {
        "system": job.system,
        "seed": job.seed,
        "epoch": evaluation.epoch,
        "step": evaluation.step,
        "language": language,
        "split": split,
        **measured(evaluation.scores[language]),
        "log_loss": _rounded(evaluation.log_loss),
        "agreement": _rounded(evaluation.agreement),
        "frozen_layers": layers_text(sorted(evaluation.frozen)),
        "protocol": protocol_of(job),
        "train_loss": _rounded(evaluation.train_loss),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def measured(score: Score) -> dict[str, Any]:
    """Return the cells of a score; its loss with the digits that mean something."""
    return dataclasses.asdict(score) | {"loss": round(score.loss, DECIMALS)}


def freeze_rows(job: Job, training: Training) -> list[dict[str, Any]]:
    """Return the rows of freezing.csv."""
    return [
        {
            **dataclasses.asdict(event),
            "system": job.system,
            "seed": job.seed,
            "layers": layers_text(sorted(event.layers)),
            "protocol": protocol_of(job),
        }
        for event in training.events
    ]


def predictions(
    job: Job,
    corpus: Corpus,
    rows: Mapping[str, np.ndarray],
    predicted: Mapping[str, np.ndarray],
    probability: Mapping[str, np.ndarray],
) -> list[dict[str, Any]]:
    """Return the rows of predictions_finetune.csv, without texts: dev and test at the chosen epoch.

    Parameters
    ----------
    rows, predicted, probability : mapping of str to ndarray
        By split: rows of the corpus, label codes, probabilities of these.
    """
    return [
        {
            "system": job.system,
            "seed": job.seed,
            "id": row.id,
            "language": row.language,
            "split": split,
            "label": row.label,
            "predicted": corpus.labels[code],
            "probability": round(float(share), DECIMALS) if np.isfinite(share) else None,
            "protocol": protocol_of(job),
        }
        for split, codes in predicted.items()
        for row, code, share in zip(
            corpus.table.iloc[rows[split]].itertuples(), codes, probability[split], strict=True
        )
    ]
