"""Comparisons that the published conclusions call for, as weights of candidates, from gridsearch.csv.

A contrast is a weighted sum of the candidates' scores. What it compares is fixed in advance or ranked best on
dev by the run's protocol; its size and interval come from the predictions on test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd

from mcbert.features.spec import POOLINGS, layers_text, parse_layers
from mcbert.results.summaries import searched

PUBLISHED_LAYERS = "6+8+11"
"""Layers that the paper found best together, pooled by max."""

DEEPER = "mlp"
LINEAR = ("logistic_regression", "linear_svm", "ridge", "lda")
_REST = ["layers", "classifier", "params", "seed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrast:
    """A comparison within a search: the weight of each candidate by its id, or why there is none."""

    claim: str
    """The claim (of `results.conclusions.claims.CLAIMS`) that predicts it to be above 0."""

    comparison: str
    """The two things compared, the first minus the second."""

    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Candidate id -> weight; the weights sum to 0."""

    why: str = ""
    """Reason that there are no weights."""

    chosen: bool = False
    """True if candidates were chosen on dev; else all that could be compared were."""


def contrasts(gridsearch: pd.DataFrame) -> list[Contrast]:
    """Make the comparisons that the conclusions call for.

    Parameters
    ----------
    gridsearch : DataFrame
        Rows of table GRIDSEARCH. Candidates that failed, or have a pooling for each layer, are left aside.
    """
    rows = searched(gridsearch)
    rows = rows[rows["pooling"].isin(POOLINGS)]
    return [
        _poolings(rows, "tokens", ("max", "mean"), "cls"),
        _poolings(rows, "max", ("max",), "mean"),
        _poolings(rows, "max", ("max",), "cls"),
        _one_against_all(rows),
        _middle_against_outer(rows),
        _published_layers(rows),
        _deeper_head(rows),
    ]


def _poolings(rows: pd.DataFrame, claim: str, ours: tuple[str, ...], other: str) -> Contrast:
    """Compare poolings within candidates that are equal in the rest."""
    names = f"{' and '.join(ours)} pooling minus {other}"
    wide = rows.pivot_table(index=_REST, columns="pooling", values="candidate_id", aggfunc="first")
    if other not in wide or not set(ours) <= set(wide):
        return Contrast(claim=claim, comparison=names, why="the search did not try these poolings")
    pairs = wide[[*ours, other]].dropna()
    if pairs.empty:
        return Contrast(claim=claim, comparison=names, why="no two candidates differ in the pooling alone")
    weights = dict.fromkeys(pairs[other], -1 / len(pairs))
    for pooling in ours:
        weights |= dict.fromkeys(pairs[pooling], 1 / (len(pairs) * len(ours)))
    return Contrast(
        claim=claim,
        comparison=f"{names}, mean over {len(pairs)} choices of layers and classifier",
        weights=weights,
    )


def _one_against_all(rows: pd.DataFrame) -> Contrast:
    """Compare the best candidate of one layer with the best one of all layers searched."""
    everything = layers_text(_layers(rows))
    one, every = _best(rows[rows["n_layers"] == 1]), _best(rows[rows["layers"] == everything])
    if one is None or every is None or len(_layers(rows)) == 1:
        why = "the search lacks a candidate of one layer or one of all its layers"
        return Contrast(claim="fewer", comparison="best single layer minus all layers", why=why)
    return _against(
        "fewer", f"best single layer ({_named(one)}) minus best of all layers ({_named(every)})", one, every
    )


def _middle_against_outer(rows: pd.DataFrame) -> Contrast:
    """Compare single layers of the inner half of those searched with the outer ones, all else equal."""
    single = rows[rows["n_layers"] == 1]
    layers = sorted({int(layer) for layer in single["layers"]})
    trimmed = max(1, len(layers) // 4)
    middle, outer = layers[trimmed:-trimmed], layers[:trimmed] + layers[-trimmed:]
    if not middle:
        why = f"{len(layers)} layers were tried alone; there must be at least 3"
        return Contrast(claim="middle", comparison="middle layers minus outer ones, each alone", why=why)
    groups = single.groupby(["pooling", "classifier", "params", "seed"])["layers"].transform("nunique")
    whole = single[groups == len(layers)]
    shown = f"layers {_listed(middle)} minus {_listed(outer)}, each alone"
    if whole.empty:
        return Contrast(
            claim="middle", comparison=shown, why="no pooling and classifier was tried on each of them"
        )
    n_groups = len(whole) // len(layers)
    share = {str(layer): 1 / len(middle) for layer in middle} | {
        str(layer): -1 / len(outer) for layer in outer
    }
    best = str(single.iloc[0]["layers"])  # `searched` sorted them
    return Contrast(
        claim="middle",
        comparison=f"{shown}, over {n_groups} poolings and classifiers (best alone on dev: layer {best})",
        weights={
            name: share[layer] / n_groups
            for name, layer in zip(whole["candidate_id"], whole["layers"], strict=True)
        },
    )


def _published_layers(rows: pd.DataFrame) -> Contrast:
    """Compare the best candidate of the published layers with the best single layer of its classifier."""
    shown = f"layers {PUBLISHED_LAYERS} (max) minus the best single layer, same classifier"
    ours = _best(rows[(rows["layers"] == PUBLISHED_LAYERS) & (rows["pooling"] == "max")])
    if ours is None:
        return Contrast(
            claim="together", comparison=shown, why="the search did not try these layers with max pooling"
        )
    single = _best(rows[(rows["n_layers"] == 1) & (rows["classifier"] == ours["classifier"])])
    if single is None:
        why = f"the search tried no single layer with {ours['classifier']}"
        return Contrast(claim="together", comparison=shown, why=why)
    return _against(
        "together", f"{_named(ours)} minus the best single layer ({_named(single)})", ours, single
    )


def _deeper_head(rows: pd.DataFrame) -> Contrast:
    """Compare the best linear classifier with the best one that has a hidden layer."""
    shown = "best linear classifier minus best deeper one, frozen"
    linear = _best(rows[rows["classifier"].isin(LINEAR)])
    deeper = _best(rows[rows["classifier"] == DEEPER])
    if linear is None or deeper is None:
        return Contrast(claim="head", comparison=shown, why=f"the search tried no classifier {DEEPER}")
    return _against("head", f"{shown} ({_named(linear)}; {_named(deeper)})", linear, deeper)


def _against(claim: str, comparison: str, a: pd.Series, b: pd.Series) -> Contrast:
    weights = {str(a["candidate_id"]): 1.0, str(b["candidate_id"]): -1.0}
    return Contrast(claim=claim, comparison=comparison, weights=weights, chosen=True)


def _best(rows: pd.DataFrame) -> pd.Series | None:
    """Return the row that ranks first on dev by the run's protocol; `searched` sorted them."""
    return None if rows.empty else rows.iloc[0]


def _named(row: pd.Series) -> str:
    return f"{row['layers']} {row['pooling']} {row['classifier']}"


def _listed(layers: list[int]) -> str:
    return ", ".join(map(str, layers))


def _layers(rows: pd.DataFrame) -> list[int]:
    return sorted({layer for layers in rows["layers"] for layer in parse_layers(layers)})
