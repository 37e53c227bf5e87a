"""A candidate fitted the plain way, timed, and ours and compared: for `python benchmarks/gridsearch.py`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sklearn
from sklearn.preprocessing import StandardScaler

from mcbert.search.data import RowSelection
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.classifiers import CLASSIFIERS
from mcbert.search.fitting.representation import Representation, open_pooling
from mcbert.search.source import Source, open_source
from mcbert.search.space import Candidate
from mcbert.search.task import fit, one_thread


@dataclass(frozen=True)
class Trial:
    """A candidate to fit the plain way and ours."""

    source: Source
    candidate: Candidate


@dataclass(frozen=True)
class Measured:
    """Outcome of a trial: seconds of the plain way, texts predicted, margins of those that differ."""

    seconds: float
    n_texts: int
    margins: tuple[float, ...]


@lru_cache(maxsize=1)
def states(source: Source, pooling: str) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray], RowSelection]:
    """Return train and evaluation states of every layer in float64."""
    store, _, rows = open_source(source)

    def read(corpus_rows: np.ndarray) -> dict[int, np.ndarray]:
        return {
            layer: store.states(layers=(layer,), pooling=pooling, rows=corpus_rows).astype(np.float64)
            for layer in store.layers
        }

    return read(rows.train_rows[rows.train_text]), read(rows.eval_rows), rows


def both(trial: Trial) -> Measured:
    """Fit a candidate the plain way, timed, and ours; compare."""
    candidate = trial.candidate
    with one_thread():
        train, evaluation, rows = states(trial.source, candidate.pooling)
        estimator = CLASSIFIERS[candidate.classifier].factory(**dict(candidate.params))
        with sklearn.config_context(assume_finite=False, skip_parameter_validation=False):
            began = time.perf_counter()
            X = np.concatenate([train[layer] for layer in candidate.layers], axis=1)
            scaler = StandardScaler().fit(X)
            estimator.fit(scaler.transform(X), rows.train_y)
            E = scaler.transform(np.concatenate([evaluation[k] for k in candidate.layers], axis=1))
            plain = estimator.predict(E)
            seconds = time.perf_counter() - began
        representation = Representation(open_pooling(trial.source, candidate.pooling), candidate.layers)
        ours = fast_fits.predict(representation, fit(representation, candidate))
        differ = np.flatnonzero(plain != ours)
        margins = [margin(estimator, E, row, (plain[row], ours[row])) for row in differ]
    return Measured(seconds, len(plain), tuple(margins))


def margin(estimator: Any, E: np.ndarray, row: int, classes: tuple[int, int]) -> float:
    """Return how near the plain estimator is to the other class, relative to its decision function's spread.

    Linear: the difference of the two scores. SVM: the smallest score among the pairs that either class is
    in. k-NN: the gap between the last neighbour that votes and the next, of squared distances.
    """
    if hasattr(estimator, "kneighbors"):
        k = estimator.n_neighbors
        distances = estimator.kneighbors(E[row : row + 1], n_neighbors=k + 1)[0][0] ** 2
        return float((distances[k] - distances[k - 1]) / distances.std())
    if hasattr(estimator, "decision_function_shape"):
        estimator.set_params(decision_function_shape="ovo")
        scores = estimator.decision_function(E)
        pairs = zip(*np.triu_indices(len(estimator.classes_), k=1), strict=True)
        involved = [k for k, pair in enumerate(pairs) if set(pair) & set(classes)]
        return float(np.abs(scores[row, involved]).min() / scores.std())
    scores = estimator.decision_function(E)
    return float(abs(scores[row, classes[0]] - scores[row, classes[1]]) / scores.std())
