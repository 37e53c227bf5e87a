"""Time of a training step saved by frozen layers, measured and expected; part of `finetune.py`.

python benchmarks/finetune.py --only frozen

One training, all texts cut or repeated to one length, freezes the embeddings, then blocks 1 and 2,
3 and 4, ... up to 10 of 12, and times the steps between. Of a block forward costs 1 and backward 2, one for
the gradient of its input, one for that of its weights; below the lowest layer that trains there is no
backward. What is done once for each parameter that trains (clipping, optimizer, dropping the gradients) is
timed apart. With F and P the seconds of these two with only the embeddings frozen, a step after freezing k
blocks of L is expected to take F (3 L - 2 k) / (3 L) + P (share of the parameters that still train).
`frozen_step_ratio` is measured by expected, of the k where it is furthest from 1. Freezing the embeddings
has no such expectation: what their gradient costs depends on their number; it is printed.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from trained_ways import BATCH, Bench
from transformers import PreTrainedModel

from mcbert.finetune.freezing.mechanism import layer_parameters
from mcbert.finetune.freezing.rules import FreezeEvent
from mcbert.finetune.training.data import Texts

FROZEN = (0, 2, 4, 6, 8, 10)  # blocks of 12, the embeddings below them too
PER_STAGE = 6  # steps between freezings; the first and the last of them are not counted


def freeze(bench: Bench, *, rounds: int, length: int) -> dict[str, Any]:
    """Freeze from the bottom within a training, `rounds` times; print and return the steps' seconds."""
    stages = (-1, *FROZEN)  # blocks frozen; -1: not even the embeddings
    n_steps = len(stages) * PER_STAGE
    rows = np.resize(np.arange(len(bench.y)), n_steps * BATCH + 1)
    texts = Texts(
        tokens=[{key: np.resize(v, length).tolist() for key, v in bench.tokens[r].items()} for r in rows],
        y=bench.y[rows],
        language=np.array(["en"]).repeat(len(rows)),
    )
    found: dict[int, list[tuple[float, float]]] = {stage: [] for stage in stages}
    trains: list[int] = []
    for _ in range(rounds):
        model = bench.mcbert(layers=(6, 8, 12))
        trains = trainable(model)
        clock = bench.ours(model, n_steps, texts=texts, eval_steps=PER_STAGE, rule=next_prefix)
        for place, stage in enumerate(stages):
            steps = slice(place * PER_STAGE + 1, (place + 1) * PER_STAGE - 1)
            took, computed = (statistics.median(s[steps]) for s in (clock.took, clock.computed))
            found[stage].append((took, computed))
    return against_expectation(found, trains, length)


def next_prefix(history: Sequence[Any]) -> FreezeEvent | None:
    """Freeze the embeddings first, then two more blocks after each evaluation."""
    stage = len(history) - 2  # the first evaluation is before training
    if not 0 <= stage < len(FROZEN):
        return None
    layers = (0,) if stage == 0 else tuple(range(FROZEN[stage - 1] + 1, FROZEN[stage] + 1))
    now = history[-1]
    return FreezeEvent(epoch=now.epoch, step=now.step, layers=layers, reason="benchmark")


def trainable(model: PreTrainedModel) -> list[int]:
    """Return how many parameters train with the embeddings and so many blocks frozen, 0 to 12."""
    blocks = [sum(p.numel() for p in layer_parameters(model, layer)) for layer in range(13)]
    head = sum(p.numel() for p in model.parameters()) - sum(blocks)
    return [sum(blocks[k + 1 :]) + head for k in range(13)]


def against_expectation(
    found: dict[int, list[tuple[float, float]]], trains: Sequence[int], length: int
) -> dict[str, Any]:
    """Print what steps took beside what arithmetic expects; return it."""
    base, computed = (statistics.median(column) for column in zip(*found[0], strict=True))
    print(f"\n| blocks frozen | s a step of {BATCH} x {length} tokens, median (range) | expected | ratio |")
    print("|---|---|---|---|")
    ratios = {}
    for k, pairs in found.items():
        took = [step for step, _ in pairs]
        median = statistics.median(took)
        expected = computed * (36 - 2 * k) / 36 + (base - computed) * trains[k] / trains[0] if k > 0 else None
        cells = ["none, nor embeddings" if k < 0 else str(k)]
        cells.append(f"{median:.3f} ({min(took):.3f}-{max(took):.3f})")
        if expected:
            ratios[k] = round(median / expected, 3)
            cells += [f"{expected:.3f}", f"{ratios[k]:.2f}"]
        print("| " + " | ".join(cells + [""] * (4 - len(cells))) + " |")
    print(f"forward and backward with the embeddings frozen {computed:.3f} s, once a parameter "
          f"{base - computed:.3f} s for {trains[0] / 1e6:.0f} million")  # fmt: skip
    worst = max(ratios.values(), key=lambda ratio: abs(ratio - 1))
    seconds = {k: [step for step, _ in pairs] for k, pairs in found.items()}
    return {"frozen_step_ratio": worst, "frozen_step_ratios": ratios, "frozen_step_seconds": seconds}
