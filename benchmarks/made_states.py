"""A feature cache and its examples for benchmarks of the search: states made up, not encoded.

Widening the sample encoder's 128 columns to 768 would leave their rank, and with it every solver's work, at
that of 128; so the states are synthetic, with what makes those of an encoder hard: a decaying spectrum,
layers that repeat most of the layer below, poolings that share most of what they say, and a class signal
that is weak, weaker in target languages and strongest in the upper middle layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcbert.features.cache import StoreSpec, begin, finish, write_unit
from mcbert.search import data

LABELS = ("account", "card", "cash", "transfer")
LANGUAGES = ("en", "de", "es", "zh")
KEPT = (1.0, 0.7, 0.6, 0.45)  # of the class signal in each language
UNIT = 256
STAMP = {
    "run": "bench",
    "config_digest": "none",
    "encoder": "made",
    "versions": "mcbert 0",
    "transfer": "zero-shot",
}
"""Columns that name the run in every row of a search on made states."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Size of a made corpus; `n_dev` and `n_test` texts in each of four languages."""

    n_train: int = 1500
    n_dev: int = 100
    n_test: int = 500
    hidden_size: int = 768
    layers: tuple[int, ...] = tuple(range(5, 13))
    poolings: tuple[str, ...] = ("max", "mean", "cls")

    @property
    def n_texts(self) -> int:
        """Texts in all; each is distinct."""
        return self.n_train + len(LANGUAGES) * (self.n_dev + self.n_test)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Label code, language and split of each text."""

    y: np.ndarray
    language: np.ndarray
    split: np.ndarray


def corpus(shape: Shape, rng: np.random.Generator) -> Corpus:
    """Draw the labels, unequally often; train rows come first."""
    per_language = ["dev"] * shape.n_dev + ["test"] * shape.n_test
    return Corpus(
        y=rng.choice(len(LABELS), size=shape.n_texts, p=[0.35, 0.28, 0.22, 0.15]),
        language=np.repeat(("en", *LANGUAGES), [shape.n_train] + [len(per_language)] * len(LANGUAGES)),
        split=np.array(["train"] * shape.n_train + per_language * len(LANGUAGES)),
    )


def blocks(shape: Shape, texts: Corpus, rng: np.random.Generator) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yield (layer, pooling, float16 states of shape (n_texts, hidden_size)), layer by layer."""
    n, width = shape.n_texts, shape.hidden_size
    scales = np.arange(1, 97) ** -0.7  # of 96 directions that texts vary in
    meaning = rng.normal(size=(n, 96)).astype(np.float32)
    kept = np.array([dict(zip(LANGUAGES, KEPT, strict=True))[name] for name in texts.language])
    signal = kept[:, None] * rng.normal(size=(len(LABELS), 96))[texts.y]
    stream = np.zeros((n, width), dtype=np.float32)
    for depth, layer in enumerate(shape.layers):
        height = (depth + 1) / len(shape.layers)
        strength = 0.5 * np.exp(-(((height - 0.7) / 0.35) ** 2))
        mix = (scales[:, None] * rng.normal(size=(96, width))).astype(np.float32)
        stream = 0.85 * stream + np.tanh((meaning + strength * signal).astype(np.float32) @ mix * 0.5)
        for pooling in shape.poolings:
            turned = 0.4 * meaning @ (scales[:, None] * rng.normal(size=(96, width))).astype(np.float32)
            noise = 0.5 * rng.standard_normal(size=(n, width), dtype=np.float32)
            yield layer, pooling, (stream + turned + noise + rng.normal(size=width)).astype(np.float16)


def write(folder: Path, shape: Shape, seed: int = 0) -> tuple[Path, Path]:
    """Write cache and examples with the project's own writers; return where they lie."""
    rng = np.random.default_rng(seed)
    texts = corpus(shape, rng)
    spec = StoreSpec(
        layers=shape.layers, poolings=shape.poolings, hidden_size=shape.hidden_size, storage_dtype="float16"
    )
    states = np.empty((shape.n_texts, len(spec.layers), len(spec.poolings), spec.hidden_size), np.float16)
    for layer, pooling, block in blocks(shape, texts, rng):
        states[:, spec.layers.index(layer), spec.poolings.index(pooling)] = block
    store, table = folder / "cache", folder / "examples.npz"
    begin(store, {"made": repr(shape), "seed": seed}, {})
    units = list(itertools.pairwise((*range(0, shape.n_texts, UNIT), shape.n_texts)))
    for start, stop in units:
        write_unit(store, spec, start=start, states=states[start:stop])
    finish(store, spec, units, np.arange(shape.n_texts))
    language, split = texts.language.tolist(), texts.split.tolist()
    data.write_examples(
        table, texts.y, language=language, split=split, labels=LABELS, source_language=LANGUAGES[0]
    )
    return store, table
