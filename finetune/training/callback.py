"""Between the steps of a training: evaluate every language, keep the best weights, freeze by rule.

python -m pytest tests/finetune/training/test_callback.py
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from mcbert.finetune.evaluation import Evaluation, Score, Transfer, choose, watched_score
from mcbert.finetune.freezing.mechanism import LayerNorms, freeze_layers, freeze_word_embeddings
from mcbert.finetune.freezing.rules import FreezeEvent, Rule
from mcbert.finetune.settings import TrainingSettings
from mcbert.finetune.training import ranks
from mcbert.finetune.training.curves import write_evaluation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

PREDICTED = "predicted dev codes"  # among the tensors, whose other names are the weights'


@dataclasses.dataclass(frozen=True, kw_only=True)
class DevScores:
    """What a model as it is makes of dev."""

    scores: Mapping[str, Score]
    """Per language."""

    predicted: np.ndarray
    """Of each text or pair, int64 (n_dev,)."""

    transfer: Transfer | None = None
    """Of labelled texts, where the source language has some."""


Evaluate = Callable[[PreTrainedModel], DevScores]
"""Scores dev with a model as it is.

FloatingPointError: the model's output is not finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """Results of a training; the model holds the weights of the chosen evaluation."""

    history: list[Evaluation]
    """Dev scores before training, after every epoch and every so many steps."""

    events: list[FreezeEvent]
    """Layers that froze, with the moment and the reason."""

    chosen: int
    """The evaluation that the protocol takes: its place in `history`."""

    dev_predicted: np.ndarray
    """Predictions of `Evaluate` at the chosen evaluation, int64 (n_dev,): of texts their label codes."""

    precision: str
    """Precision of its products: float32, bfloat16 or float16, as ``auto`` chose it where it did."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
    """The choice of the weights to keep and of the layers to freeze, from dev scores."""

    rule: Rule
    """Returns the layers to freeze after each evaluation."""

    protocol: str
    """Chooses the evaluation whose weights are kept: last, agreement, source-dev, target-dev."""

    source_language: str
    """Language of the training texts."""

    gradient_norms: bool = False
    """Whether the rule looks at the evaluations' `gradient_norms`; they cost a pass over the gradients."""

    frozen: tuple[int, ...] = ()
    """Layers that are frozen from the start, ascending."""


class EpochCallback(TrainerCallback):
    """Evaluate dev before training, after each epoch and every so many steps, then freeze by rule."""

    def __init__(
        self,
        model: PreTrainedModel,
        evaluate: Evaluate,
        *,
        monitor: Monitor,
        settings: TrainingSettings,
        writer: SummaryWriter | None,
    ) -> None:
        self.model, self.evaluate, self.monitor = model, evaluate, monitor
        self.settings, self.writer = settings, writer
        self.history: list[Evaluation] = []
        self.events: list[FreezeEvent] = []
        self.norms = LayerNorms(model) if monitor.gradient_norms else None
        self._began = time.monotonic()
        self._predicted = np.empty(0, dtype=np.int64)
        self._best_score = -math.inf
        self._best: dict[str, torch.Tensor] = {}
        self._logged = (0, 0.0)  # step of the last log, sum of the training losses since the last evaluation

    @property
    def frozen(self) -> tuple[int, ...]:
        """Layers frozen so far, ascending."""
        return tuple(sorted(layer for event in self.events for layer in event.layers))

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the untrained model; freeze what is frozen from the start, or was when resumed."""
        optimizer = kwargs["optimizer"]
        if self.settings.freeze_embeddings:
            freeze_word_embeddings(self.model, optimizer)
            log.info("freeze: word embeddings, from the start")
        if not self.history and self.monitor.frozen:
            self.events = [FreezeEvent(epoch=0, step=0, layers=self.monitor.frozen, reason="from the start")]
            log.info("freeze: layers %s, from the start", list(self.monitor.frozen))
        freeze_layers(self.model, self.frozen, optimizer)
        if not self.history:
            self._evaluate(0, state.global_step, optimizer)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score and save every so many steps; what falls on an epoch's end is done there."""
        epoch = state.epoch or 0.0
        if epoch.is_integer():
            return
        step, settings = state.global_step, self.settings
        if settings.eval_steps and step % settings.eval_steps == 0:
            self._evaluate(int(epoch), step, kwargs["optimizer"])
            control.should_log = True
        if settings.checkpoint_steps and step % settings.checkpoint_steps == 0:
            control.should_log = control.should_save = True
        self._stop_early(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the epoch, then freeze; ask for a log so that its training loss is whole, and for a save."""
        epoch = state.epoch or 0.0
        if not epoch.is_integer():  # stopped early, within the epoch
            return
        self._evaluate(int(epoch), state.global_step, kwargs["optimizer"])
        self._note_train_loss()
        control.should_log = control.should_save = True  # no log where the last step was logged already
        self._stop_early(control)

    def _stop_early(self, control: TrainerControl) -> None:
        """Stop after `patience` evaluations without a better score, without a save: who resumes stops too."""
        if self.settings.patience and len(self.history) > 1:
            best = choose(self.history, self.monitor.protocol, self.monitor.source_language)
            if len(self.history) - 1 - best >= self.settings.patience:
                control.should_training_stop, control.should_save = True, False
                log.info("%s: stopped at step %d: no better for %d evaluations",
                         self.settings.section, self.history[-1].step, self.settings.patience)  # fmt: skip

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
        """Give the last evaluation the mean loss of its steps once all of them are logged."""
        last = self.history[-1]
        step, total = self._logged
        if last.step > 0 and last.train_loss is None and step == last.step:
            steps = last.step - self.history[-2].step
            self.history[-1] = dataclasses.replace(last, train_loss=total / steps)
            self._logged = (step, 0.0)

    def _evaluate(self, epoch: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        section = self.settings.section
        try:
            dev = self.evaluate(self.model)
        except FloatingPointError as error:
            remedy = f"lower {section}.learning_rate or {section}.head_learning_rate"
            if not step:  # no rate was used yet, and the weights were looked at before
                remedy = f'set {section}.precision to "float32", or take an encoder whose states are smaller'
            raise ValueError(f"{section}: epoch {epoch}, step {step}: {error}; {remedy}") from error
        evaluation = Evaluation(
            epoch=epoch,
            step=step,
            scores=dev.scores,
            frozen=self.frozen,
            seconds=time.monotonic() - self._began,
            log_loss=dev.transfer.log_loss if dev.transfer else None,
            agreement=dev.transfer.agreement if dev.transfer else None,
            gradient_norms=self.norms.mean() if self.norms else (),
        )
        self.history.append(evaluation)
        self._keep_best(dev.predicted)
        event = ranks.decided(lambda: self.monitor.rule(self.history))
        if event is not None:
            freeze_layers(self.model, event.layers, optimizer)
            self.events.append(event)
            log.info("freeze: epoch %d: layers %s (%s)", epoch, list(event.layers), event.reason)
        if self.writer is not None:
            write_evaluation(self.writer, evaluation, event, self.frozen)

    def _keep_best(self, predicted: np.ndarray) -> None:
        """Copy the weights of the best evaluation; `last` needs no copy, it takes what is there."""
        now = self.history[-1]
        if self.monitor.protocol == "last":
            self._predicted = predicted
            return
        if now.step == 0:
            return
        score = watched_score(now, self.monitor.protocol, self.monitor.source_language)
        if score > self._best_score:
            self._best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self._best_score, self._predicted = score, predicted

    def state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return all that a resumed training needs: what JSON holds, and tensors."""
        plain = {
            "history": [dataclasses.asdict(evaluation) for evaluation in self.history],
            "events": [dataclasses.asdict(event) for event in self.events],
            "seconds": time.monotonic() - self._began,
            "best_score": self._best_score if self._best else None,
            "logged": self._logged,
            "norms": self.norms.state() if self.norms else None,
        }
        if self.writer is not None:
            self.writer.flush()
        return plain, self._best | {PREDICTED: torch.from_numpy(self._predicted)}

    def restore(self, plain: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Go on from what `state` returned; the layers are frozen again when the training begins."""
        self.history = [Evaluation.of(record) for record in plain["history"]]
        self.events = [
            FreezeEvent(**{**event, "layers": tuple(event["layers"])}) for event in plain["events"]
        ]
        self._began = time.monotonic() - plain["seconds"]
        self._best = {name: tensor for name, tensor in tensors.items() if name != PREDICTED}
        self._best_score = plain["best_score"] if self._best else -math.inf
        self._predicted = tensors[PREDICTED].numpy()
        self._logged = (plain["logged"][0], plain["logged"][1])
        if self.norms:
            self.norms.restore(plain["norms"])

    def finish(self, precision: str) -> Training:
        """Put the weights of the chosen evaluation into the model; `precision` is what it was trained in."""
        for evaluation in self.history[1:]:
            if evaluation.train_loss is None or not math.isfinite(evaluation.train_loss):
                raise ValueError(
                    f"{self.settings.section}: epoch {evaluation.epoch}: the training loss is "
                    f"{evaluation.train_loss}; lower {self.settings.section}.learning_rate"
                )
        chosen = choose(self.history, self.monitor.protocol, self.monitor.source_language)
        if self._best:
            self.model.load_state_dict(self._best)
        return Training(
            history=self.history,
            events=self.events,
            chosen=chosen,
            dev_predicted=self._predicted,
            precision=precision,
        )
