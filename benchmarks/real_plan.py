"""The plan of benchmarks/real.py: a rung of a ladder, from the speeds of this machine with this encoder."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import mcbert

T = TypeVar("T")
MAX_LENGTH = 128
SHARE_OF_CORES = 0.88
"""What a core does while the others train, too: a second worker gives 1.77 times the trainings."""
FEW, MANY, BATCH = 2, 8, 32  # steps of the two trainings whose difference is timed; texts of a step
ENCODED = 512  # texts of a timed pass, at most


@dataclasses.dataclass(frozen=True)
class Speeds:
    """What was measured: tokens without padding, seconds of a clock."""

    encoded: float
    """Tokens a second through the frozen encoder, on all cores."""

    trained: float
    """Tokens a second through training steps, on one core."""

    fixed: float
    """Seconds of a training beside its steps: loading, saving."""

    cores: int
    """Cores, each of which trains on its own."""


@dataclasses.dataclass(frozen=True)
class Load:
    """Tokens of a corpus cut to a rung."""

    train: float
    """Of the train texts."""

    watched: float
    """Of the dev texts that every epoch of a training scores."""

    scored: float
    """Of all dev and test texts, which a training scores once."""


def seconds_of(speeds: Speeds, load: Load, *, epochs: int, trainings: int) -> float:
    """Return the seconds of encoding a corpus once and of `trainings` trainings, without those of the search.

    A training's evaluations run on its own core; trainings take turns on the cores.
    """
    encoded = (load.train + load.scored) / speeds.encoded
    scored = (epochs * load.watched + load.scored) / (speeds.encoded / speeds.cores)
    training = speeds.fixed + epochs * load.train / speeds.trained + scored
    at_once = min(speeds.cores, trainings)
    return encoded + trainings * training / (at_once * (SHARE_OF_CORES if at_once > 1 else 1.0))


def choose(
    ladder: Sequence[Mapping[str, int]],
    loads: Sequence[Load],
    speeds: Speeds,
    *,
    systems: int,
    seconds: float,
) -> dict[str, Any]:
    """Return the first rung that takes no longer than `seconds`, or the last.

    Parameters
    ----------
    ladder : sequence of mapping of str to int
        train, dev, test, eval, epochs, seeds; the best first.
    loads : sequence of Load
        Of the corpus cut to each rung.
    systems : int
        Trainings for each seed.

    Returns
    -------
    dict
        The rung, with the `seconds` that it is estimated to take, and `fits`: whether these are not more than
        there are.
    """
    for rung, load in zip(ladder, loads, strict=True):
        estimate = seconds_of(speeds, load, epochs=rung["epochs"], trainings=systems * rung["seeds"])
        found = {**rung, "seconds": round(estimate), "fits": estimate <= seconds}
        if found["fits"]:
            break
    return found


def load_of(table: pd.DataFrame, watched: int, token_counts: Mapping[str, float]) -> Load:
    """Return the tokens of a corpus, from the mean tokens of a text of each split.

    Parameters
    ----------
    watched : int
        Dev texts of each language that an epoch scores; 0: all.
    """
    n = table["split"].value_counts()
    train, dev, test = (float(n.get(split, 0)) * token_counts[split] for split in ("train", "dev", "test"))
    most = watched * table["language"].nunique() * token_counts["dev"]
    return Load(train=train, watched=min(dev, most) if watched else dev, scored=dev + test)


def mean_tokens(encoder: Path, prompt: str, table: pd.DataFrame, sample: int = 512) -> dict[str, float]:
    """Return the mean tokens of a text of each split, of at most `sample` texts spread over it."""
    from mcbert.features.encoder.tokens import load_tokenizer, tokenise

    tokenizer = load_tokenizer(encoder, prompt=prompt)
    means = {}
    for split, rows in table.groupby("split"):
        tokens = tokenise(tokenizer, pairs(spread(rows, sample)), MAX_LENGTH)
        means[str(split)] = sum(len(row["input_ids"]) for row in tokens) / len(tokens)
    return means


def pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return text and second text of each row, the latter empty where there is none."""
    second = rows["text_pair"] if "text_pair" in rows.columns else [""] * len(rows)
    return list(zip(rows["text"], second, strict=True))


def measure(encoder: Path, prompt: str, table: pd.DataFrame) -> Speeds:
    """Time the encoder over texts, frozen and in training.

    Of both, two runs of unlike numbers of texts are timed: their difference is that of the texts.
    """
    texts = spread(table.drop_duplicates("text"), ENCODED)
    train = spread(table[table["split"] == "train"].drop_duplicates("text"), MANY * BATCH)
    tokens = mean_tokens(encoder, prompt, pd.concat([texts.assign(split="any"), train]))
    with tempfile.TemporaryDirectory() as scratch:
        read = {"encoder": encoder, "prompt": prompt, "cache": scratch}
        mcbert.extract(["a"], **read)  # tries the encoder, once
        encoding = [_seconds_of_encoding(rows, **read) for rows in (texts.iloc[:BATCH], texts)]
        training = [_seconds_of_training(train.iloc[: steps * BATCH], **read) for steps in (FEW, MANY)]
    step = _slope(training) / (len(train) / BATCH - FEW)
    return Speeds(
        encoded=(len(texts) - BATCH) * tokens["any"] / _slope(encoding),
        trained=BATCH * tokens["train"] / step,
        fixed=max(training[0] - FEW * step, 0.0),
        cores=cores(),
    )


def _slope(seconds: Sequence[float]) -> float:
    """Return the second timing minus the first, or a hundredth of the second where it is less."""
    return max(seconds[1] - seconds[0], 0.01 * seconds[1])


def spread(rows: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return at most `n` rows, at equal distances."""
    return rows.iloc[:: max(1, -(-len(rows) // n))]


def _seconds_of_encoding(texts: pd.DataFrame, **read: Any) -> float:
    """Return the seconds of a pass over texts, all layers and poolings."""
    began = time.perf_counter()
    mcbert.extract(pairs(texts), **read)
    return time.perf_counter() - began


def _seconds_of_training(train: pd.DataFrame, **read: Any) -> float:
    """Return the seconds of an epoch on one core, all blocks in training."""
    deepest = blocks(read["encoder"])
    model = mcbert.MCBertClassifier(
        **read, layers=[deepest], pooling="mean", epochs=1, batch_size=BATCH, threads=1
    )
    began = time.perf_counter()
    model.fit(pairs(train), train["label"])
    return time.perf_counter() - began


def blocks(encoder: Path) -> int:
    """Return how many transformer blocks an encoder has."""
    from mcbert.features.encoder.loading import n_layers

    return n_layers(encoder)


def apart(function: Callable[..., T], *args: object) -> T:
    """Call a function in a process of its own, with which its memory ends."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
