"""TensorBoard's log of a training: curves of each language, the frozen set, a marker where layers froze.

    tensorboard --logdir results/runs/demo/tensorboard

Loss and learning rate are written by transformers' own callback.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.finetune.evaluation import Evaluation
from mcbert.finetune.freezing.rules import FreezeEvent

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def open_log(folder: Path, *, after: int | None) -> SummaryWriter | None:
    """Open a training's log, or None where TensorBoard is not installed.

    Parameters
    ----------
    after : int or None
        The step that a resumed training starts from, whose later points are taken back; None: anew.
    """
    if after is None:
        shutil.rmtree(folder, ignore_errors=True)
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import

    return SummaryWriter(str(folder), purge_step=None if after is None else after + 1)


def write_evaluation(
    writer: SummaryWriter, evaluation: Evaluation, event: FreezeEvent | None, frozen: Sequence[int]
) -> None:
    """Draw an evaluation in TensorBoard's log: curves, the frozen set, a marker where layers froze."""
    step = evaluation.step
    for language, score in evaluation.scores.items():
        writer.add_scalar(f"accuracy/{language}", score.accuracy, step)
        writer.add_scalar(f"dev_loss/{language}", score.loss, step)
    for name in ("log_loss", "agreement"):
        if (value := getattr(evaluation, name)) is not None:
            writer.add_scalar(f"transfer/{name}", value, step)
    for layer, norm in enumerate(evaluation.gradient_norms):
        writer.add_scalar(f"gradient_norm/layer_{layer:02d}", norm, step)
    writer.add_scalar("frozen_layers", len(frozen), step)
    writer.add_text("frozen", ", ".join(map(str, frozen)) or "none", step)
    if event is not None:
        writer.add_text("freeze event", f"layers {list(event.layers)}: {event.reason}", step)
