"""A training of sentence embeddings as a job of fine-tuning, over a corpus of pairs.

python -m pytest tests/finetune/embeddings/test_running.py
"""

from __future__ import annotations

import dataclasses

from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.jobs import Job


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingsJob(Job):
    """A training of a siamese encoder; its corpus is one of pairs."""

    settings: EmbeddingsSettings

    @property
    def frozen(self) -> tuple[int, ...]:
        """Layers frozen from the start."""
        return tuple(range(self.settings.freeze_lower + 1)) if self.settings.freeze_lower else ()
