"""An encoder and its texts, and the ways of training on them that `python benchmarks/finetune.py` times."""

from __future__ import annotations

import csv
import dataclasses
import gc
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.freezing.rules import FreezeEvent
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.training.callback import Monitor
from mcbert.finetune.training.data import Texts, classification
from mcbert.finetune.training.fit import Output, fit, precision_of

BATCH = 32
MAX_LENGTH = 128
LAYERS = (6, 8, 11)


@dataclasses.dataclass
class Clock:
    """Start of each training step, and the seconds of its forward and backward pass."""

    limit: int
    """Steps to make."""

    began: list[float] = dataclasses.field(default_factory=list)
    """One more than steps."""

    cpu: list[float] = dataclasses.field(default_factory=list)
    """Seconds of a CPU that this process had used at these moments."""

    computed: list[float] = dataclasses.field(default_factory=list)
    """Of each step."""

    saved: int = 0
    """Bytes of the checkpoint that an epoch ended with; 0 where none ended."""

    @property
    def took(self) -> list[float]:
        """Seconds of each step, to the beginning of the next."""
        return [after - before for before, after in itertools.pairwise(self.began)]

    @property
    def busy(self) -> list[float]:
        """Seconds of a CPU of each step."""
        return [after - before for before, after in itertools.pairwise(self.cpu)]


def read_texts(path: Path) -> list[tuple[str, str]]:
    """Return (text, label) of each row."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


class EnoughError(Exception):
    """All steps that were wanted are made."""


@contextmanager
def clocked(limit: int) -> Iterator[Clock]:
    """Time the steps of whatever trains within; stop it after `limit` steps."""
    clock, step = Clock(limit), Trainer.training_step

    def training_step(*args: Any, **kwargs: Any) -> torch.Tensor:
        clock.began.append(now())
        clock.cpu.append(time.process_time())
        if len(clock.began) > limit:
            raise EnoughError
        loss = step(*args, **kwargs)
        clock.computed.append(now() - clock.began[-1])
        return loss

    with mock.patch.object(Trainer, "training_step", training_step):
        try:
            yield clock
        except EnoughError:
            gc.collect()  # trainers refer to themselves


def now() -> float:
    """Return the time once the device has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Bench:
    """An encoder, its texts as tokens, and the ways to train on them."""

    def __init__(self, folder: Path, texts: Sequence[tuple[str, str]], scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.labels = sorted({label for _, label in texts})
        self.tokenizer = load_tokenizer(folder)
        self.tokens = tokenise(self.tokenizer, [(text, "") for text, _ in texts], MAX_LENGTH)
        self.y = np.array([self.labels.index(label) for _, label in texts], dtype=np.int64)
        self.language = np.array(["en"]).repeat(len(self.y))
        self.lengths = np.array([len(row["input_ids"]) for row in self.tokens])
        self.settings = FinetuneSettings(epochs=1)
        model = self.baseline()
        self.precision = precision_of(self.settings, model)
        self.n_rows = int(model.get_input_embeddings().num_embeddings)

    def summary(self) -> str:
        """Describe the texts and the precision of our way."""
        return f"{len(self.y)} texts, {self.lengths.mean():.1f} tokens in the mean, ours in {self.precision}"

    def plain_model(self) -> PreTrainedModel:
        """Return transformers' own classifier."""
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            self.folder, num_labels=len(self.labels), dtype=torch.float32
        )
        return model

    def baseline(self) -> PreTrainedModel:
        """Return the same network as this project builds it."""
        return build_baseline(self.folder, dropout=0.1, labels=self.labels)[0]

    def mcbert(self, layers: Sequence[int] = LAYERS) -> PreTrainedModel:
        """Return pooled layers and a linear head."""
        return MCBertForSequenceClassification.from_encoder(
            self.folder, layers, pooling="max", dropout=0.1, labels=self.labels
        )

    def plain(self, model: PreTrainedModel, steps: int, padding: str) -> Clock:
        """Make steps as the tutorials do."""
        with clocked(steps) as clock:
            Trainer(
                model=model,
                args=TrainingArguments(
                    output_dir=str(self.scratch / "plain"),
                    per_device_train_batch_size=BATCH,
                    num_train_epochs=1,
                    report_to="none",
                    disable_tqdm=True,
                    save_strategy="no",
                ),
                train_dataset=[
                    {**tokens, "label": int(code)} for tokens, code in zip(self.tokens, self.y, strict=True)
                ],
                data_collator=DataCollatorWithPadding(self.tokenizer, padding=padding, max_length=MAX_LENGTH),
            ).train()
        return clock

    def ours(
        self,
        model: PreTrainedModel,
        steps: int,
        *,
        texts: Texts | None = None,
        whole: bool = False,
        eval_steps: int = 0,
        rule: Callable[..., FreezeEvent | None] = lambda _: None,
    ) -> Clock:
        """Make steps of this project's training; `whole`: it holds every row of the word embeddings."""
        texts = texts or Texts(tokens=self.tokens, y=self.y, language=self.language)
        dev = Texts(tokens=self.tokens[:1], y=self.y[:1], language=self.language[:1])
        data = classification(self.tokenizer, texts, dev, source_language="en")
        if whole:
            data = dataclasses.replace(data, token_ids=np.arange(self.n_rows))
        with clocked(steps) as clock, tempfile.TemporaryDirectory(dir=self.scratch) as out:
            fit(
                model,
                data,
                settings=dataclasses.replace(self.settings, eval_steps=eval_steps),
                seed=0,
                monitor=Monitor(rule=rule, protocol="last", source_language="en"),
                out=Output(checkpoints=Path(out) / "checkpoints", log=Path(out) / "log"),
            )
            clock.saved = sum(path.stat().st_size for path in Path(out).glob("checkpoints/*/*"))
        return clock
