"""One training: transformers' Trainer plus one callback that evaluates every language and freezes by rule.

python -m pytest tests/finetune/training/test_fit.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from mcbert.features.encoder import hardware
from mcbert.finetune.freezing.mechanism import depth_of, layer_parameters
from mcbert.finetune.settings import TrainingSettings
from mcbert.finetune.training import checkpoints, curves, ranks
from mcbert.finetune.training.batches import EpochBatches
from mcbert.finetune.training.callback import EpochCallback, Monitor, Training
from mcbert.finetune.training.data import TrainingData
from mcbert.finetune.training.dropout import suited_to
from mcbert.finetune.training.resumable import ResumableTrainer, Resumption, TrainingError, mean_loss
from mcbert.finetune.training.word_embeddings import rows_in_use
from mcbert.finetune.weights import nonfinite_weights

log = logging.getLogger(__name__)

LOGS_PER_EPOCH = 10
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
LEFT = ("forward", "_original_forward", "_is_accelerate_prepared")
"""Attributes that accelerate leaves in a model; with the last, the next training would be in float32."""
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """Places that a training writes to."""

    checkpoints: Path | None = None
    """Folder of its checkpoints, which stays; None: it saves none, and a killed one begins anew."""

    log: Path | None = None
    """Folder of TensorBoard's log; None: there is none."""

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """All that the training depends on besides settings and seed; a checkpoint of others is refused."""


def fit(
    model: PreTrainedModel,
    data: TrainingData,
    *,
    settings: TrainingSettings,
    seed: int,
    monitor: Monitor,
    out: Output,
    head_parameters: frozenset[str] = frozenset(),
) -> Training:
    """Train a model in place, from its newest checkpoint if there is one; leave the chosen weights in it.

    Parameters
    ----------
    model : PreTrainedModel
        Everything trainable; its output has `logits`.
    data : TrainingData
        What it learns from, and how dev is scored.
    settings : TrainingSettings
        Rates, epochs and the like.
    seed : int
        Of the order of the examples and the dropout.
    monitor : Monitor
        What chooses the weights to keep and the layers to freeze.
    out : Output
        Where checkpoints and log go.
    head_parameters : frozenset of str
        Names of the parameters that take the head's learning rate.

    Returns
    -------
    Training
        What it decided and measured on dev.

    Raises
    ------
    ValueError
        A checkpoint of a training with other arguments; weights that are no numbers before any step.
    TrainingError
        A loss that is not finite; no memory.
    """
    bad = nonfinite_weights(model)
    if bad:
        raise ValueError(
            f"{settings.section}: before any step {bad}; accepted: an encoder whose weights are all numbers"
        )
    precision = precision_of(settings, model)
    arguments = {
        "settings": relevant(settings), "seed": seed, "torch": torch.__version__, "precision": precision,
        "device": hardware.device().type, "processes": ranks.count(),
        "token_ids": _digest(data.token_ids), **out.arguments,
    }  # fmt: skip
    folder = out.checkpoints
    resumed = ranks.decided(lambda: checkpoints.newest(folder, arguments)) if folder else None
    after = None if resumed is None else checkpoints.step_of(resumed)
    if resumed is not None:
        log.info("%s: resumed at step %d, from %s", settings.section, checkpoints.step_of(resumed), resumed)
    with _embeddings(model, data, settings):
        writer = curves.open_log(out.log, after=after) if out.log and ranks.rank() == 0 else None
        callback = EpochCallback(model, data.evaluate, monitor=monitor, settings=settings, writer=writer)
        batches = EpochBatches(
            data.lengths,
            size=settings.batch_size,
            tokens=settings.batch_tokens,
            parts=settings.gradient_accumulation,
            seed=seed,
            share=(ranks.rank(), ranks.count()),
        )
        trainer = ResumableTrainer(
            model=model,
            args=_arguments(settings, seed, batches, folder or Path(), precision=precision),
            train_dataset=cast(Any, data.rows),
            data_collator=data.collate,
            compute_loss_func=functools.partial(mean_loss, weights=data.weights),
            callbacks=[callback] + ([TensorBoardCallback(writer)] if writer else []),
            resumption=Resumption(
                folder=folder,
                arguments=arguments,
                callback=callback,
                batches=batches,
                ids=data.ids,
                section=settings.section,
            ),
        )
        trainer.remove_callback(PrinterCallback)
        ranks.draw_apart(seed)
        groups = parameter_groups(model, head_parameters, settings)  # now that the model is on its device
        trainer.optimizer = OPTIMIZERS[settings.optimizer](groups, lr=settings.learning_rate, fused=True)
        try:
            with within_memory(trainer.where, settings.section), suited_to(model, precision):
                trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        finally:
            for name in LEFT:
                vars(model).pop(name, None)
            if writer:
                writer.close()
        return callback.finish(precision)


def _embeddings(
    model: PreTrainedModel, data: TrainingData, settings: TrainingSettings
) -> contextlib.AbstractContextManager[None]:
    """Return within what the model has the word embeddings in use alone, or all where others move, too."""
    if settings.optimizer == "adam" and settings.weight_decay:  # a gradient of every row, which has moments
        return contextlib.nullcontext()
    return rows_in_use(model, data.token_ids)


def _digest(token_ids: np.ndarray) -> str:
    return hashlib.sha256(token_ids.tobytes()).hexdigest()[:16]


def relevant(settings: TrainingSettings) -> dict[str, Any]:
    """Return the settings that one training depends on."""
    found = dataclasses.asdict(settings)
    elsewhere = ("systems", "seeds", "corpus", "parallel")  # each training has one of them, or its result
    return {name: value for name, value in found.items() if name not in elsewhere}


@contextlib.contextmanager
def within_memory(where: Callable[[], str], section: str = "finetune") -> Iterator[None]:
    """Turn the ways in which memory runs out into one error that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, TrainingError) or not (
            isinstance(error, (MemoryError, torch.OutOfMemoryError))
            or any(words in str(error) for words in NO_MEMORY)
        ):
            raise
        raise TrainingError(
            f"{section}: {where()}: out of memory; lower {section}.max_length or {section}.batch_size, or "
            f"raise {section}.gradient_accumulation, which computes the same step in more parts"
        ) from error


def precision_of(settings: TrainingSettings, model: PreTrainedModel) -> str:
    """Return the precision to train in.

    Raises
    ------
    ValueError
        float16 without a GPU, where products of it are slow and small gradients vanish.
    """
    kind = hardware.device().type
    if settings.precision == "float16" and kind == "cpu":
        raise ValueError(
            f"{settings.section}.precision: got 'float16' without a GPU, accepted here: auto, float32, "
            "bfloat16"
        )
    config = getattr(model.config, "encoder_config", model.config)
    return hardware.compute_dtype(settings.precision, int(config.hidden_size), kind)


def parameter_groups(
    model: PreTrainedModel, head_parameters: frozenset[str], settings: TrainingSettings
) -> list[dict[str, Any]]:
    """Group parameters by learning rate and decay: biases and norms (one dimension) do not decay."""
    shares = layer_shares(model, settings.lower_layer_decay)
    head = settings.head_learning_rate or settings.learning_rate
    groups: dict[tuple[bool, float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        key = (name in head_parameters, shares.get(parameter, 1.0), parameter.ndim >= 2)
        groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": groups[key],
            "lr": (head if key[0] else settings.learning_rate) * key[1],
            "weight_decay": settings.weight_decay if key[2] else 0.0,
        }
        for key in sorted(groups)
    ]


def layer_shares(model: PreTrainedModel, decay: float) -> dict[torch.nn.Parameter, float]:
    """Return the share of the learning rate of each parameter of a layer; without decay there is none."""
    if decay == 1:
        return {}
    deepest = depth_of(model)
    return {
        parameter: decay ** (deepest - layer)
        for layer in range(deepest + 1)
        for parameter in layer_parameters(model, layer)
    }


def _arguments(
    settings: TrainingSettings, seed: int, batches: EpochBatches, folder: Path, *, precision: str
) -> TrainingArguments:
    steps = math.ceil(len(batches) / settings.gradient_accumulation)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // settings.gradient_accumulation or 1,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        max_grad_norm=settings.max_gradient_norm,
        use_cpu=hardware.device().type == "cpu",
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        seed=seed,
        data_seed=seed,
        logging_steps=max(1, steps // LOGS_PER_EPOCH),
        logging_nan_inf_filter=False,
        save_strategy="no",  # the callback asks for checkpoints
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=True,  # freezing changes which parameters take part
    )
