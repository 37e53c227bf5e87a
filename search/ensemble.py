"""The ensemble: the mean of many linear heads, which is one linear head over all of their columns.

One winner among thousands owes its place on a few hundred dev texts to luck as well. The ensemble takes
many, more of those that do better, and costs a text what any candidate costs: one pass of the encoder.

- **Members** are candidates with a linear score for each label. Candidate i, in the order of the search, has
  the weight w_i = exp(`SHARPNESS` * m_i), its merit m_i in nats: minus its log-loss on the protocol's dev
  texts, plus its agreement where the protocol reads that (`search.selection.merit`). n of them are drawn by
  systematic sampling: one at each (k + 1/2) / n of the cumulated weights. So nothing is left to chance, each
  part of the space has its share, and a fit is repeated for n candidates, not for all. One may come twice.
- **One scale.** Scores of unlike classifiers are divided by the temperature that fits the source's dev texts.
  The mean of logarithms of softmax shares (a logarithmic opinion pool, Genest and Zidek, Statistical Science
  1, 1986) has the largest entry where the mean of these scores has: the normalisation is the same for all
  labels of a text.
- **Folded.** z_i = X_i W_i / T_i + b_i / T_i over standardised columns, and a column is standardised alike in
  every member. So the mean is linear in the columns of all blocks, with the weights added up block by block.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mcbert.features.spec import FeatureSpec
from mcbert.results.probabilities import temperature
from mcbert.results.schema.words import ENSEMBLE
from mcbert.search.data import Floats, Reals
from mcbert.search.fitting.fast_fits import Fitted, label_scores
from mcbert.search.fitting.probe import Probe
from mcbert.search.fitting.representation import LayerStates, Representation, represent
from mcbert.search.source import Source
from mcbert.search.space import Candidate
from mcbert.search.task import fit, one_thread

SHARPNESS = 10.0  # per nat: a tenth of a nat is what the log-loss of a hundred dev texts may be wrong by

Members = Mapping[Candidate, int]
Block = tuple[int, str]


def draw(merits: Sequence[tuple[Candidate, float]], n: int) -> dict[Candidate, int]:
    """Draw n members; return how often each was drawn.

    Parameters
    ----------
    merits : sequence of (Candidate, float)
        In the order of the search; nats.
    n : int
        Draws.
    """
    values = np.asarray([merit for _, merit in merits], dtype=np.float64)
    if not len(values):
        return {}
    cumulated = np.cumsum(np.exp(SHARPNESS * (values - values.max())))
    points = (np.arange(n) + 0.5) / n * cumulated[-1]
    places, times = np.unique(np.searchsorted(cumulated, points), return_counts=True)
    return {merits[int(place)][0]: int(count) for place, count in zip(places, times, strict=True)}


def candidate_of(members: Members) -> Candidate:
    """Return the ensemble as a candidate: all blocks of its members."""
    blocks = {block for member in members for block in member.features.blocks}
    return Candidate(
        features=FeatureSpec.of_blocks(blocks),
        classifier=ENSEMBLE,
        params=(("members", sum(members.values())),),
    )


def fold(source: Source, members: Members, labels: Sequence[str]) -> tuple[Probe, Floats]:
    """Fit the members again and add them up.

    Returns
    -------
    Probe
        The head, over the columns of `candidate_of`.
    float64 array of shape (n_eval_texts, n_labels)
        Its scores of the distinct evaluation texts.
    """
    found: dict[Block, tuple[LayerStates, Floats]] = {}
    intercept, total, n = np.zeros(len(labels)), np.zeros((1, len(labels))), sum(members.values())
    with one_thread():
        for member, times in members.items():
            representation = represent(source, member.features)
            fitted = fit(representation, member)
            scores = label_scores(representation, fitted)
            text, y = representation.rows.dev[representation.rows.source_language]
            share = times / n / temperature(scores[representation.rows.watched][text], y)
            total = np.asarray(total + share * scores, dtype=np.float64)
            weights, own = _by_label(fitted, representation)
            intercept += share * own
            parts = np.split(weights, len(member.features.blocks))
            for block, layer, part in zip(member.features.blocks, representation.layers, parts, strict=True):
                before = found[block][1] if block in found else 0.0
                found[block] = layer, np.asarray(before + share * part, dtype=np.float64)
    features = candidate_of(members).features
    layers = [found[block] for block in features.blocks]
    nothing = np.empty(0, dtype=np.int64)
    return Probe(
        kind="linear",
        layers=features.layers,
        pooling=features.pooling,
        labels=tuple(labels),
        mean=np.concatenate([layer.mean for layer, _ in layers]),
        scale=np.concatenate([layer.scale for layer, _ in layers]),
        weights=np.concatenate([weights for _, weights in layers]),
        intercept=intercept,
        classes=nothing,
        counts=nothing,
    ), total


def _by_label(fitted: Fitted, representation: Representation) -> tuple[Reals, Floats]:
    """Return weights over columns, (n_columns, n_labels), and intercepts; a binary SVM has one of them."""
    weights = representation.column_weights(fitted.weights) if fitted.dual else fitted.weights
    if fitted.kind == "linear":
        return weights, fitted.intercept
    return np.hstack([weights, np.zeros_like(weights)]), np.append(fitted.intercept, 0.0)
