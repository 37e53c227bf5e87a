"""Growth of the search's time and memory with texts, columns and layers: `gridsearch.py --growth`.

Every size has a process of its own, which times one feature set of half the layers, one classifier after the
other, with one BLAS thread, kernels and scatters of single layers already kept as they are after the first
few feature sets. `all` extrapolates that to every subset under three poolings on two cores. Memory is the
peak of one worker after a feature set of all layers; a search has two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import made_states
import numpy as np
import peak

from mcbert.features.spec import FeatureSpec
from mcbert.search.data import Examples, select_rows
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.representation import PoolingStates, Representation
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Space
from mcbert.search.task import fit, one_thread

CORES = 2
SLOWEST_SVM = 8_000  # texts; beyond, libsvm computes kernels itself, as the plain way does
BASE = {"texts": 1500, "hidden_size": 768, "layers": 8}
VARIED = {
    "texts": (500, 1500, 5000, 20_000),
    "hidden_size": (128, 256, 512, 768, 1024),
    "layers": (4, 8, 12),
}
QUICK = {"texts": (100, 300), "hidden_size": (32, 64), "layers": (2, 4)}


def main(*, quick: bool) -> None:
    """Print a line for each size as it is measured, then all of them as JSON."""
    base = {"texts": 200, "hidden_size": 48, "layers": 4} if quick else BASE
    names = GridsearchSettings().classifiers
    print("| texts | hidden | layers | by | sums, ms | " + ", ms | ".join(names) + ", ms | all, s | MB |")
    print("|" + "---|" * (len(names) + 7))
    lines = []
    for size in sizes(base, QUICK if quick else VARIED):
        command = [sys.executable, __file__, *(str(size[name]) for name in BASE)]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        line = size | json.loads(found.stdout.splitlines()[-1])
        lines.append(line)
        cells = [line.get(name, "") for name in ("sums", *names)]
        print(f"| {' | '.join(str(line[name]) for name in (*BASE, 'by'))} | ", end="")
        print(" | ".join(str(cell) for cell in (*cells, line["all_s"], line["mb"])), end=" |\n", flush=True)
    print(json.dumps({"growth": lines}))


def sizes(base: dict[str, int], varied: dict[str, tuple[int, ...]]) -> Iterator[dict[str, int]]:
    """Yield sizes that differ from the base in one way each, and the base once."""
    yield base
    for name, values in varied.items():
        for value in values:
            if value != base[name]:
                yield base | {name: value}


def measure(n_texts: int, hidden_size: int, n_layers: int) -> dict[str, object]:
    """Time one feature set of half the layers; return milliseconds, seconds of all and peak memory."""
    shape = made_states.Shape(
        n_train=n_texts, hidden_size=hidden_size, layers=tuple(range(13 - n_layers, 13)), poolings=("max",)
    )
    rng = np.random.default_rng(0)
    texts = made_states.corpus(shape, rng)
    corpus = Examples(
        y=texts.y,
        language=texts.language,
        split=texts.split,
        ids=texts.split,
        labels=made_states.LABELS,
        source_language="en",
        digest="",
    )
    rows = select_rows(corpus, np.arange(shape.n_texts), made_states.LANGUAGES)
    store = Made({layer: states for layer, _, states in made_states.blocks(shape, texts, rng)})
    space = Space(GridsearchSettings(layers=shape.layers, poolings=("max",)))
    pooled = PoolingStates(store, rows, "max")
    half = shape.layers[: n_layers // 2]
    with one_thread():
        timed(space, pooled, half, n_texts)  # keeps what single layers give
        took = timed(space, pooled, half, n_texts)
        whole = Representation(pooled, shape.layers)
        whole.prepare()
        (model,) = (c for c in space.models(FeatureSpec.of(shape.layers, "max")) if c.classifier == "ridge")
        fit(whole, model)
    feature_sets = 3 * (2**n_layers - 1)
    return {
        "by": "texts" if Representation(pooled, half).by_gram else "columns",
        **{name: round(seconds * 1e3) for name, seconds in took.items()},
        "all_s": round(sum(took.values()) * feature_sets / CORES),
        "mb": round(peak.highest_mb()),
    }


def timed(space: Space, pooled: PoolingStates, layers: tuple[int, ...], n_texts: int) -> dict[str, float]:
    """Return the seconds of the shared sums and of each classifier, scores included."""
    representation = Representation(pooled, layers)
    began = time.perf_counter()
    representation.prepare()
    took = {"sums": time.perf_counter() - began}
    for candidate in space.models(FeatureSpec.of(layers, "max")):
        if candidate.classifier == "linear_svm" and n_texts > SLOWEST_SVM:
            continue
        began = time.perf_counter()
        fast_fits.predict(representation, fit(representation, candidate))
        took[candidate.classifier] = time.perf_counter() - began
    return took


class Made:
    """States in memory as the search reads them from a cache."""

    def __init__(self, states: dict[int, np.ndarray]) -> None:
        self._states = states

    def states(self, *, layers: tuple[int, ...], rows: np.ndarray, **_: str) -> np.ndarray:
        """Return the states of one layer, float32."""
        (layer,) = layers
        return self._states[layer][rows].astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in BASE:
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    print(json.dumps(measure(given.texts, given.hidden_size, given.layers)))
