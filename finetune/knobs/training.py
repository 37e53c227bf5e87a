"""One training of the search, scored on dev; the unit of work that an executor runs.

python -m pytest tests/finetune/knobs/test_search.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mcbert.features.corpus import Corpus
from mcbert.features.encoder.loading import quiet
from mcbert.finetune.job import Job
from mcbert.finetune.running import prepared, torch_threads, trained
from mcbert.finetune.training.trainer import Output

KEY = "training"
"""The field that names a training in the ledger."""


def require_row(row: Mapping[str, Any], corpus: Corpus) -> None:
    """Raise unless a row of a ledger is one of a training, scored on the dev texts of this corpus.

    Raises
    ------
    ValueError
        Names the first field at fault.
    """
    numbers = [row["seconds"]]
    if row["status"] == "ok":
        n_dev = len(corpus.rows(split="dev"))
        if not isinstance(row["right"], str) or len(row["right"]) != n_dev or set(row["right"]) - {"0", "1"}:
            raise ValueError(f"right: accepted: 0 or 1 for each of {n_dev} dev texts")
        if set(row["accuracy"]) - set(corpus.languages):
            raise ValueError("accuracy: accepted: a number for each language of the corpus")
        numbers += row["accuracy"].values()
    elif row["status"] != "error" or not isinstance(row["message"], str):
        raise ValueError("status, message: accepted: ok, or error and what failed")
    if any(type(one) not in (int, float) or not 0 <= one < 1e10 for one in numbers):
        raise ValueError("accuracy, seconds: accepted: numbers from 0")


def run_training(job: Job) -> dict[str, Any]:
    """Train, and score dev with the weights of the chosen evaluation; write nothing.

    Returns
    -------
    dict
        status, message, accuracy (of each language, unrounded), right (of each dev text in the corpus's
        order, 1 or 0), epoch and step of the chosen evaluation, precision, seconds.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        start = prepared(job, splits=("train", "dev"))
        training = trained(job, start, Output())
    chosen = training.history[training.chosen]
    right = training.dev_predicted == start.texts["dev"].y
    return {
        "status": "ok",
        "message": "",
        "accuracy": {language: score.accuracy for language, score in chosen.scores.items()},
        "right": "".join("01"[int(one)] for one in right),
        "epoch": chosen.epoch,
        "step": chosen.step,
        "precision": training.precision,
        "seconds": time.monotonic() - began,
    }
