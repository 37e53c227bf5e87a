"""A small search on disk: a feature cache with structure in it and its examples; nothing is encoded."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreSpec, begin, finish, write_unit
from mcbert.search import data

LABELS = ("apple", "pear", "plum", "quince")


@dataclass(frozen=True)
class Made:
    """Where a made search lies, and the arrays it was made of."""

    store: Path
    examples: Path
    states: np.ndarray  # (n_texts, n_layers, n_poolings, hidden_size)
    index: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large a made search is."""

    n_train: int = 40
    n_duplicates: int = 12
    n_eval: int = 15
    hidden_size: int = 6
    layers: tuple[int, ...] = (1, 2, 3)
    poolings: tuple[str, ...] = ("max", "cls")
    languages: tuple[str, ...] = ("en", "de", "zh")
    n_classes: int = 3
    dtype: str = "float32"
    constant: bool = False
    not_finite: tuple[int, int] | None = None  # a text and the position of a layer
    translated: bool = False  # dev and test texts of other languages are noisy copies of the source's


def make(folder: Path, shape: Shape, seed: int = 0) -> Made:
    rng = np.random.default_rng(seed)
    y = list(np.arange(shape.n_train) % shape.n_classes)
    index = list(range(shape.n_train))
    for original in rng.integers(shape.n_train, size=shape.n_duplicates):
        y.append(y[original])
        index.append(int(original))
    language, split = ["en"] * len(y), ["train"] * len(y)
    n_texts, drawn = shape.n_train, {}
    for name in shape.languages:
        for part in ("dev", "test"):
            of_part = rng.integers(shape.n_classes, size=shape.n_eval)
            y += list(drawn.setdefault(part, of_part) if shape.translated else of_part)
            index += range(n_texts, n_texts + shape.n_eval)
            n_texts += shape.n_eval
            language += [name] * shape.n_eval
            split += [part] * shape.n_eval
    texts = np.empty(n_texts, dtype=int)
    texts[index] = y
    latent = rng.normal(size=(n_texts, 8)) + 1.5 * np.eye(8)[texts]
    pairs = _translate(latent, shape, rng) if shape.translated else {}
    states = np.empty((n_texts, len(shape.layers), len(shape.poolings), shape.hidden_size))
    for layer in range(len(shape.layers)):
        for pooling in range(len(shape.poolings)):
            mixed = latent @ rng.normal(size=(8, shape.hidden_size))
            states[:, layer, pooling] = mixed + rng.normal(size=mixed.shape) + 3 * rng.normal()
    if shape.constant:
        states[..., 0] = 0.5
    if shape.not_finite:
        states[shape.not_finite] = np.nan
    store = folder / "cache"
    spec = StoreSpec(
        layers=shape.layers,
        poolings=shape.poolings,
        hidden_size=shape.hidden_size,
        storage_dtype=shape.dtype,
    )
    begin(store, {"layers": shape.layers, "poolings": shape.poolings, "seed": seed}, {})
    bounds = [*range(0, n_texts, 32), n_texts]
    units = list(pairwise(bounds))
    for start, stop in units:
        write_unit(store, spec, start=start, states=states[start:stop].astype(shape.dtype))
    finish(store, spec, units, np.asarray(index))
    data.write_examples(
        folder / "examples.npz",
        y,
        language=language,
        split=split,
        labels=LABELS[: shape.n_classes],
        source_language="en",
        pairs=pairs,
    )
    return Made(store, folder / "examples.npz", states.astype(np.float32), np.asarray(index))


def _translate(latent: np.ndarray, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Make the texts of other languages noisy copies of the source's; return the dev rows of both."""
    n, pairs = 2 * shape.n_eval, {}
    original = latent[shape.n_train : shape.n_train + n].copy()
    for at, name in enumerate(shape.languages[1:], start=1):
        first = shape.n_train + at * n
        latent[first : first + n] = original + rng.normal(size=(n, 8))
        rows = shape.n_train + shape.n_duplicates + np.arange(shape.n_eval)
        pairs[name] = np.stack([rows, rows + at * n])
    return pairs


@pytest.fixture
def make_search(tmp_path):
    def build(seed=0, name="made", **sizes):
        folder = tmp_path / name
        folder.mkdir()
        return make(folder, Shape(**sizes), seed)

    return build


@pytest.fixture
def source_of():
    from mcbert.search.source import Source

    def build(made, languages=("en", "de", "zh")):
        digests = (FeatureStore.open(made.store).digest, data.Examples.read(made.examples).digest)
        return Source(store=made.store, examples=made.examples, languages=languages, digests=digests)

    return build


@pytest.fixture
def serial():
    def execute(function, tasks):
        for task in tasks:
            yield task, function(task), None

    return execute


STAMP = {"run": "r", "config_digest": "c", "encoder": "e", "versions": "mcbert 0", "transfer": "zero-shot"}


@pytest.fixture
def stamp():
    return dict(STAMP)


@pytest.fixture
def searched(make_search, serial, stamp, tmp_path):
    """Run a search of these settings on a cache of these sizes; return its folder and what was made."""
    from mcbert.search.gridsearch import gridsearch
    from mcbert.search.source import Inputs

    caches = {}

    def run(settings, out="out", execute=serial, **sizes):
        key = tuple(sorted(sizes.items()))
        if key not in caches:
            caches[key] = make_search(name=f"searched-{len(caches)}", **sizes)
        made, folder = caches[key], tmp_path / out
        folder.mkdir(exist_ok=True)
        gridsearch(
            settings,
            Inputs(store=made.store, examples=made.examples),
            out=folder,
            execute=execute,
            stamp=stamp,
        )
        return folder, made

    return run
