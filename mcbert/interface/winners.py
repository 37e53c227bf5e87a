"""What a search chose, as the steps of a scikit-learn pipeline: states, standardisation, classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mcbert.interface.pooled_states import PooledStates
from mcbert.search.space import Candidate

if TYPE_CHECKING:
    from mcbert.features.cache import FeatureStore
    from mcbert.features.corpus.corpus import Corpus

Steps = list[tuple[str, Any]]
KEPT = ("prompt", "max_length", "special_tokens", "dtype", "storage_dtype", "tokens_per_batch")


def pooled_states(states: FeatureStore, best: Mapping[str, Any]) -> PooledStates:
    """Return what computes of new texts the states that a cache has, of `best`'s layers and pooling."""
    return PooledStates(
        str(states.about.get("encoder", "")),
        layers=best["layers"],
        pooling=best["pooling"],
        **{name: states.fingerprint[name] for name in KEPT},
        revision=states.about.get("revision", ""),
        cache=states.folder.parent,
    )


def fitted(candidate: Candidate, states: FeatureStore, corpus: Corpus) -> Steps:
    """Fit a candidate on the train texts as scikit-learn does; texts without states take no part."""
    from mcbert.search.task import estimator_of

    rows = corpus.rows(split="train")
    rows = rows[states.index[rows] >= 0]
    X = states.states(layers=candidate.features.layers, pooling=candidate.features.pooling, rows=rows).astype(
        np.float64
    )
    scaler, estimator = StandardScaler().fit(X), estimator_of(candidate)
    estimator.fit(scaler.transform(X), corpus.table["label"].to_numpy(dtype=object)[rows].astype(str))
    return [("standardise", scaler), ("classify", estimator)]


def folded(path: Path) -> Steps:
    """Return an ensemble's head, a linear probe in a file, as the estimators that it equals."""
    from mcbert.search.fitting.probe import Probe

    probe = Probe.load(path)
    scaler, classify = StandardScaler(), LogisticRegression()
    scaler.mean_, scaler.scale_, scaler.var_ = probe.mean, probe.scale, probe.scale**2
    scaler.n_features_in_ = classify.n_features_in_ = len(probe.mean)
    weights, intercept = probe.weights.T.astype(np.float64), probe.intercept
    if len(probe.labels) == 2:  # scikit-learn's has one score then
        weights, intercept = weights[1:] - weights[:1], intercept[1:] - intercept[:1]
    classify.coef_, classify.intercept_, classify.classes_ = weights, intercept, np.array(probe.labels)
    return [("standardise", scaler), ("classify", classify)]
