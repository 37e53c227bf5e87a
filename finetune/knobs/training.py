"""One training of the search, scored on dev; the unit of work that an executor runs.

python -m pytest tests/finetune/knobs/test_search.py
"""

from __future__ import annotations

import time
from typing import Any

from features.encoder.blocks import quiet
from finetune.job import Job
from finetune.running import prepared, torch_threads, trained
from finetune.training.trainer import Output

KEY = "training"
"""The field that names a training in the ledger."""


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
