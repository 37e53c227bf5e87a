"""One training: Hugging Face's Trainer plus one callback that evaluates every language and freezes by rule.

python -m pytest tests/finetune/test_trainer.py
"""

from __future__ import annotations

import importlib.util
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback

from finetune.callback import EpochCallback, Texts, Training, Watch
from finetune.settings import FinetuneSettings

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LOGS_PER_EPOCH = 10
MAX_GRADIENT_NORM = 1.0


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    settings: FinetuneSettings,
    seed: int,
    texts: tuple[Texts, Texts],
    watch: Watch,
    out: tuple[Path, Path],
) -> Training:
    """Train a model in place and leave the chosen epoch's weights in it.

    Parameters
    ----------
    model : PreTrainedModel
        A sequence classifier, everything trainable.
    settings : FinetuneSettings
        Rates, epochs and the like.
    seed : int
        Of the order of the texts and the dropout.
    texts : tuple of Texts
        Train and dev.
    watch : Watch
        What decides the chosen epoch and the freezing.
    out : tuple of Path
        A scratch folder, removed at the end, and the folder of TensorBoard's log.

    Raises
    ------
    ValueError
        A loss that is not finite, naming the epoch.
    """
    train_texts, dev = texts
    scratch, logs = out
    shutil.rmtree(logs, ignore_errors=True)
    arguments = _arguments(settings, seed, len(train_texts.y), scratch)
    writer = _writer(logs)
    callback = EpochCallback(model, tokenizer, dev=dev, watch=watch, settings=settings, writer=writer)
    rows = [
        {**tokens, "label": int(code)} for tokens, code in zip(train_texts.tokens, train_texts.y, strict=True)
    ]
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[callback] + ([TensorBoardCallback(writer)] if writer else []),
    )
    trainer.remove_callback(PrinterCallback)
    groups = parameter_groups(model, watch.fresh, settings)  # now that the model is on its device
    trainer.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    try:
        trainer.train()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if writer:
            writer.close()
    return callback.finish()


def parameter_groups(
    model: PreTrainedModel, fresh: frozenset[str], settings: FinetuneSettings
) -> list[dict[str, Any]]:
    """Group parameters by learning rate and decay: biases and norms (one dimension) do not decay."""
    rates = (settings.learning_rate, settings.head_learning_rate or settings.learning_rate)
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name in fresh, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": groups[key],
            "lr": rates[key[0]],
            "weight_decay": settings.weight_decay if key[1] else 0.0,
        }
        for key in sorted(groups)
    ]


def _arguments(settings: FinetuneSettings, seed: int, n_texts: int, scratch: Path) -> TrainingArguments:
    steps = math.ceil(n_texts / settings.batch_size)
    return TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,  # below 1: a share of all steps
        max_grad_norm=MAX_GRADIENT_NORM,
        seed=seed,
        data_seed=seed,
        train_sampling_strategy="group_by_length",
        logging_steps=max(1, steps // LOGS_PER_EPOCH),
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=True,  # freezing changes which parameters take part
    )


def _writer(folder: Path) -> SummaryWriter | None:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import

    return SummaryWriter(str(folder))
