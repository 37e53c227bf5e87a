"""The stage ``export``: winner.json, probe.npz -> models/probe.

python -m pipeline export --config demo
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pipeline.run import sha256

if TYPE_CHECKING:
    from pipeline.stages import Pipeline


def export(pipeline: Pipeline) -> None:
    """Write the search's winner as a model, searching first where that was not done."""
    pipeline.gridsearch()
    inputs = {
        "encoder": dataclasses.asdict(pipeline.config.encoder) | pipeline.encoder_identity,
        "winner": sha256(pipeline.winner),
    }
    pipeline.run.stage("export", inputs, lambda: _export(pipeline), replace=True)


def _export(pipeline: Pipeline) -> list[str]:
    from finetune import export

    inputs = export.ExportInputs(
        winner=pipeline.winner,
        store=pipeline._cache_folder(),
        corpus=pipeline._corpus(),
        encoder=pipeline.encoder,
        encoder_name=pipeline.stamp["encoder"],
        max_length=pipeline.config.encoder.max_length,
    )
    return export.export(inputs, pipeline.run.folder)
