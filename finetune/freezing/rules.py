"""Rules of dynamic freezing: pure functions from the evaluations so far to the layers to freeze now.

    python -m pytest tests/finetune/freezing/test_rules.py

docs/freezing.md has each rule's formula and source. A rule reads its own earlier decisions off the history:
the layers that were frozen at each evaluation.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mcbert.finetune.evaluation import Evaluation, watched_score
from mcbert.finetune.settings import TrainingSettings

log = logging.getLogger(__name__)

Schedule = Mapping[int, tuple[int, ...]]
"""Layers to freeze, by the epochs trained until then, or by their turn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreezeEvent:
    """Layers stop training."""

    epoch: int
    """Epochs trained by then."""

    step: int
    """Optimiser steps made by then."""

    layers: tuple[int, ...]
    """Layers frozen by this event, ascending."""

    reason: str
    """The rule, and the scores or norms that made it act."""


Rule = Callable[[Sequence[Evaluation]], FreezeEvent | None]
"""Takes the evaluations so far, the newest last; returns what to freeze now, None for nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watched:
    """The dev score that a rule looks at."""

    protocol: str
    """agreement, source-dev, or target-dev: the mean over the target languages, an oracle."""

    source_language: str
    """Language of the training texts."""

    def __call__(self, evaluation: Evaluation) -> float:
        """Return the score at an evaluation."""
        return watched_score(evaluation, self.protocol, self.source_language)


def scheduled(history: Sequence[Evaluation], freeze: Schedule) -> FreezeEvent | None:
    """Freeze chosen layers after a chosen number of epochs.

    Parameters
    ----------
    history : sequence of Evaluation
        The evaluations so far, the newest last.
    freeze : mapping of int to tuple of int
        Epochs trained -> layers.
    """
    now = history[-1]
    return _event(history, freeze.get(now.epoch, ()), f"schedule: after epoch {now.epoch}")


def plateau(
    history: Sequence[Evaluation], freeze: Schedule, *, watched: Watched, patience: int
) -> FreezeEvent | None:
    """Freeze the next group once the best score has not been beaten for `patience` evaluations.

    Parameters
    ----------
    history : sequence of Evaluation
        The evaluations so far, the newest last; the one before training counts.
    freeze : mapping of int to tuple of int
        Turn -> layers.
    watched : Watched
        The score; an equal one does not beat it.
    patience : int
        Evaluations after the best one, or after the last freezing, whichever is later.
    """
    scores = [watched(evaluation) for evaluation in history]
    best = int(np.argmax(scores))  # the first of equals
    now = len(history) - 1
    if now - max(best, _last_freezing(history)) < patience:
        return None
    return _event(
        history,
        _next_group(history, freeze),
        f"plateau: {watched.protocol} {scores[best]:.4f} of step {history[best].step} not beaten for "
        f"{now - best} evaluations, now {scores[now]:.4f}",
    )


def slope(
    history: Sequence[Evaluation], freeze: Schedule, *, watched: Watched, window: int
) -> FreezeEvent | None:
    """Freeze the next group when the score falls over the last `window` evaluations.

    Parameters
    ----------
    history : sequence of Evaluation
        The evaluations so far, the newest last; the one before training counts.
    freeze : mapping of int to tuple of int
        Turn -> layers.
    watched : Watched
        The score; it falls where its least-squares line over the steps does.
    window : int
        Evaluations, none of them before the last freezing.
    """
    seen = history[_last_freezing(history) :][-window:]
    if len(seen) < window:
        return None
    scores = [watched(evaluation) for evaluation in seen]
    fitted = slope_of([evaluation.step for evaluation in seen], scores)
    if fitted >= 0:
        return None
    shown = ", ".join(f"{score:.4f}" for score in scores)
    return _event(
        history,
        _next_group(history, freeze),
        f"slope: {watched.protocol} {100 * fitted:+.4f} per 100 steps over {window} evaluations ({shown})",
    )


def slope_of(steps: Sequence[int], scores: Sequence[float]) -> float:
    """Return the slope of the least-squares line; exactly 0 for equal scores."""
    x = np.asarray(steps, dtype=np.float64)
    y = np.asarray(scores, dtype=np.float64) - scores[0]  # so that equal scores leave no rounding error
    x -= x.mean()
    return float(x @ y / (x @ x))


def gradient(history: Sequence[Evaluation], freeze: Schedule, *, percentile: float) -> FreezeEvent | None:
    """Freeze the blocks from the bottom whose gradients have stopped changing, with all that is below them.

    The test of AutoFreeze (Liu, Agarwal, Venkataraman 2021, arXiv 2102.01386): with g the norm of a block's
    gradient since the evaluation before, a block's change is ``|g' - g| / g'``; the first trainable block
    from the bottom whose change is at or above the percentile over the trainable blocks stays, as do those
    above it. Embeddings freeze with the first block.

    Parameters
    ----------
    history : sequence of Evaluation
        The evaluations so far, the newest last, with `gradient_norms`.
    freeze : mapping of int to tuple of int
        Layers that may freeze.
    percentile : float
        0 to 100, linear between the changes; 50 is AutoFreeze's median.
    """
    now, before = history[-1], history[-2] if len(history) > 1 else history[-1]
    first = max(now.frozen, default=0) + 1
    old, new = (np.asarray(e.gradient_norms[first:], dtype=np.float64) for e in (before, now))
    if not (old.size == new.size > 0 and (old > 0).all()):
        return None
    changes = np.abs(old - new) / old
    threshold = float(np.percentile(changes, percentile))
    stays = first + int(np.argmax(changes >= threshold))
    if stays == first:
        return None
    shown = ", ".join(f"{layer}: {change:.3f}" for layer, change in enumerate(changes, first))
    allowed = {layer for layers in freeze.values() for layer in layers}
    return _event(
        history,
        tuple(layer for layer in range(stays) if layer in allowed),
        f"gradient: below layer {stays} norms change by less than {threshold:.3f} ({shown})",
    )


def rule_of(settings: TrainingSettings, freeze: Schedule, source_language: str) -> Rule:
    """Return the rule of the settings, over what `plan_freezing` returned; without layers, none acts."""
    if not freeze:
        return lambda _: None

    watched = Watched(protocol=settings.freeze_watch, source_language=source_language)
    rules: dict[str, Rule] = {
        "schedule": functools.partial(scheduled, freeze=freeze),
        "plateau": functools.partial(
            plateau, freeze=freeze, watched=watched, patience=settings.freeze_patience
        ),
        "slope": functools.partial(slope, freeze=freeze, watched=watched, window=settings.freeze_window),
        "gradient": functools.partial(gradient, freeze=freeze, percentile=settings.freeze_percentile),
    }
    return rules[settings.freeze_rule]


def plan_freezing(
    settings: TrainingSettings, deepest_layer: int, *, asked_by: str = "finetune.systems names mcbert_wf"
) -> dict[int, tuple[int, ...]]:
    """Return what the rule may freeze, by epoch or turn, without layers that feed nothing.

    Parameters
    ----------
    asked_by : str
        What asks for a rule that freezes, for messages.

    Raises
    ------
    ValueError
        There is nothing to freeze, or a layer feeds nothing and `ignore_unused_frozen` is off.
    """
    if settings.freeze_rule == "gradient":
        return {0: tuple(range(deepest_layer))}  # the deepest block has the greatest change, or one below has
    field, item = ("freeze", "epoch") if settings.freeze_rule == "schedule" else ("freeze_groups", "group")
    wanted = settings.freeze if field == "freeze" else dict(enumerate(settings.freeze_groups))
    example = "epoch = [layers], such as {2 = [9, 11]}" if field == "freeze" else "lists such as [[11], [9]]"
    if not wanted:
        raise ValueError(f"{settings.section}.{field}: got nothing, but {asked_by}; accepted: {example}")
    kept = require_feeding(
        wanted,
        deepest_layer,
        ignore=settings.ignore_unused_frozen,
        where=f"{settings.section}.{field}: {item}",
    )
    if not kept:
        raise ValueError(
            f"{settings.section}.{field}: every layer is deeper than {deepest_layer}, the deepest layer "
            f"used: nothing would freeze; accepted: layers from 0 to {deepest_layer}"
        )
    return kept


def require_feeding(
    freeze: Schedule, deepest_layer: int, *, ignore: bool, where: str = "finetune.freeze: epoch"
) -> dict[int, tuple[int, ...]]:
    """Return the schedule without layers that feed nothing.

    Parameters
    ----------
    freeze : mapping of int to tuple of int
        Epochs trained, or turn -> layers.
    deepest_layer : int
        The deepest layer that feeds the head.
    ignore : bool
        Leave such layers out and log it, instead of raising.
    where : str
        The setting, for messages.

    Raises
    ------
    ValueError
        A layer is deeper than the deepest layer used.
    """
    kept: dict[int, tuple[int, ...]] = {}
    for key, layers in freeze.items():
        for layer in layers:
            if layer > deepest_layer:
                why = f"{where} {key}: layer {layer} feeds nothing, the deepest layer used is {deepest_layer}"
                if not ignore:
                    raise ValueError(
                        f"{why}; accepted: layers from 0 to {deepest_layer}, or "
                        f"{where.partition('.')[0]}.ignore_unused_frozen = true"
                    )
                log.info("freeze: %s; it is left out", why)
        used = tuple(layer for layer in layers if layer <= deepest_layer)
        if used:
            kept[key] = used
    return kept


def _last_freezing(history: Sequence[Evaluation]) -> int:
    """Return the place of the evaluation after which layers froze last; 0 without any."""
    changed = (k for k in range(len(history) - 1, 0, -1) if history[k].frozen != history[k - 1].frozen)
    return next(changed, 1) - 1


def _next_group(history: Sequence[Evaluation], freeze: Schedule) -> tuple[int, ...]:
    frozen = set(history[-1].frozen)
    return next((layers for layers in freeze.values() if not frozen.issuperset(layers)), ())


def _event(history: Sequence[Evaluation], layers: Sequence[int], reason: str) -> FreezeEvent | None:
    now = history[-1]
    added = tuple(sorted(set(layers) - set(now.frozen)))
    return FreezeEvent(epoch=now.epoch, step=now.step, layers=added, reason=reason) if added else None
