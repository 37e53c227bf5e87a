"""What a training is, (system, seed): paths and plain values, so that it travels to a worker cheaply.

python -m pytest tests/finetune/test_running.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from mcbert.finetune.freezing.rules import Schedule
from mcbert.finetune.settings import FinetuneSettings, TrainingSettings
from mcbert.finetune.winner import Architecture


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyJob:
    """A training to run."""

    system: str
    """What is trained: one of `finetune.settings.SYSTEMS`, or embeddings."""

    seed: int
    """Of the head, the order of the texts and the dropout."""

    settings: TrainingSettings
    """How to train."""

    architecture: Architecture
    """What to train."""

    freeze: Schedule
    """What the settings' rule may freeze, by epoch or turn; empty for systems without freezing."""

    corpus: Path
    """Table of the texts."""

    source_language: str
    """Language of the training texts."""

    encoder: Path
    """Local folder of the encoder."""

    out: Path
    """The run's folder."""

    stamp: Mapping[str, object]
    """Columns that every row of the run carries."""

    prompt: str = ""
    """What goes before each text."""

    save_model: bool = False
    """Whether to keep the trained model in ``models/<system>``."""

    @property
    def name(self) -> str:
        """Of the job's files."""
        return f"{self.system}-{self.seed}"

    @property
    def result(self) -> Path:
        """File that says what the training measured."""
        return self.out / "jobs" / f"{self.name}.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of what a killed training goes on from; removed with the result's writing."""
        return self.out / "checkpoints" / self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job(AnyJob):
    """A training of a classifier."""

    settings: FinetuneSettings
