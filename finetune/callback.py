"""What happens in a training between epochs: evaluate every language, keep the best weights, freeze by rule.

python -m pytest tests/finetune/test_callback.py
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from finetune.evaluation import (
    Evaluation,
    Tokens,
    choose_epoch,
    compute_logits,
    score_languages,
    watched_score,
)
from finetune.freezing import FreezeEvent, Rule, freeze_layers, freeze_word_embeddings
from finetune.settings import FinetuneSettings

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """Tokenised texts with their labels and languages."""

    tokens: Tokens
    """Not padded."""

    y: np.ndarray
    """Label codes, int64 (n_texts,)."""

    language: np.ndarray
    """Of each text, (n_texts,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a training decided and measured; the model holds the chosen epoch's weights."""

    history: list[Evaluation]
    """Dev scores of epoch 0 (before training) and every epoch."""

    events: list[FreezeEvent]
    """What was frozen, and when."""

    chosen: int
    """The epoch that the protocol takes."""

    dev_predicted: np.ndarray
    """Predicted label codes of the dev texts at the chosen epoch, int64 (n_dev,)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """What the callback looks at and acts by."""

    rule: Rule
    """Says what to freeze after each evaluation."""

    protocol: str
    """How the epoch is chosen."""

    source_language: str
    """Language of the training texts."""

    fresh: frozenset[str] = frozenset()
    """Names of the parameters that start random and take the head's learning rate."""


class EpochCallback(TrainerCallback):
    """Evaluate dev before training and after each epoch, then freeze what the rule says."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dev: Texts,
        watch: Watch,
        settings: FinetuneSettings,
        writer: SummaryWriter | None,
    ) -> None:
        self.model, self.tokenizer, self.dev, self.watch = model, tokenizer, dev, watch
        self.freeze_embeddings, self.writer = settings.freeze_embeddings, writer
        self.history: list[Evaluation] = []
        self.events: list[FreezeEvent] = []
        self.predicted: list[np.ndarray] = []
        self._began = time.monotonic()
        self._best: tuple[float, dict[str, torch.Tensor]] | None = None
        self._logged = (0, 0.0)  # step of the last log, sum of the epoch's training losses until then

    @property
    def frozen(self) -> tuple[int, ...]:
        """Layers frozen so far, ascending."""
        return tuple(sorted(layer for event in self.events for layer in event.layers))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the untrained model; freeze what is frozen from the start."""
        if self.freeze_embeddings:
            freeze_word_embeddings(self.model, kwargs["optimizer"])
            log.info("freeze: word embeddings, from the start")
        self._evaluate(0, state.global_step, kwargs["optimizer"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the epoch, then freeze; ask for a log so that the epoch's training loss is whole."""
        self._evaluate(len(self.history), state.global_step, kwargs["optimizer"])
        self._note_train_loss()
        control.should_log = True  # unless the last step was logged already

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add up the training loss: a logged one is the mean since the log before."""
        logs = kwargs.get("logs") or {}
        if "loss" not in logs:
            return
        step, total = self._logged
        self._logged = (state.global_step, total + logs["loss"] * (state.global_step - step))
        self._note_train_loss()

    def _note_train_loss(self) -> None:
        """Give the last evaluation its epoch's mean loss once all of the epoch's steps are logged."""
        last = self.history[-1]
        step, total = self._logged
        if last.epoch > 0 and last.train_loss is None and step == last.step:
            steps = last.step - self.history[-2].step
            self.history[-1] = dataclasses.replace(last, train_loss=total / steps)
            self._logged = (step, 0.0)

    def _evaluate(self, epoch: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        logits = compute_logits(self.model, self.tokenizer, self.dev.tokens)
        if not np.isfinite(logits).all():
            raise ValueError(
                f"finetune: epoch {epoch}, step {step}: the model's output is not finite; lower "
                "finetune.learning_rate or finetune.head_learning_rate"
            )
        scores = score_languages(logits, self.dev.y, self.dev.language)
        seconds = time.monotonic() - self._began
        self.history.append(
            Evaluation(epoch=epoch, step=step, scores=scores, frozen=self.frozen, seconds=seconds)
        )
        self.predicted.append(logits.argmax(axis=1).astype(np.int64))
        self._keep_best()
        event = self.watch.rule(self.history)
        if event is not None:
            freeze_layers(self.model, event.layers, optimizer)
            self.events.append(event)
            log.info("freeze: epoch %d: layers %s (%s)", epoch, list(event.layers), event.reason)
        self._write(event)

    def _keep_best(self) -> None:
        """Copy the weights of the best epoch so far; `last` needs no copy, it takes what is there."""
        now = self.history[-1]
        if self.watch.protocol == "last" or now.epoch == 0:
            return
        score = watched_score(now.scores, self.watch.protocol, self.watch.source_language)
        if self._best is None or score > self._best[0]:
            weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self._best = (score, weights)

    def _write(self, event: FreezeEvent | None) -> None:
        if self.writer is None:
            return
        now = self.history[-1]
        for language, score in now.scores.items():
            self.writer.add_scalar(f"accuracy/{language}", score.accuracy, now.step)
            self.writer.add_scalar(f"dev_loss/{language}", score.loss, now.step)
        self.writer.add_text("frozen", ", ".join(map(str, self.frozen)) or "none", now.step)
        if event is not None:
            self.writer.add_text("freeze event", f"layers {list(event.layers)}: {event.reason}", now.step)

    def finish(self) -> Training:
        """Put the chosen epoch's weights into the model."""
        for evaluation in self.history[1:]:
            if evaluation.train_loss is None or not math.isfinite(evaluation.train_loss):
                raise ValueError(
                    f"finetune: epoch {evaluation.epoch}: the training loss is {evaluation.train_loss}; "
                    "lower finetune.learning_rate"
                )
        chosen = choose_epoch(self.history, self.watch.protocol, self.watch.source_language)
        if self._best is not None:
            self.model.load_state_dict(self._best[1])
        return Training(
            history=self.history, events=self.events, chosen=chosen, dev_predicted=self.predicted[chosen]
        )
