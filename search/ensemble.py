"""The ensemble: the mean of many linear heads, which is one linear head over all of their columns.

One winner among thousands owes its place on a few hundred dev texts to luck as well. The ensemble takes
many, more of those that do better, and costs a text what any candidate costs: one pass of the encoder.

- **Members** are candidates with a linear score for each label, each with its merit m in nats: minus its
  log-loss on the protocol's dev texts, plus its agreement where the protocol reads that
  (`search.selection.merit`). Agreement tells how candidates transfer, and is trusted: of the n best, n are
  taken greedily, each the one that raises the mean's own merit most (`select`, ensemble selection, Caruana et
  al., ICML 2004). Log-loss on the source language tells it hardly: n of all are drawn, one at each
  (k + 1/2) / n of the cumulated weights exp(`SHARPNESS` * m) (`draw`, systematic sampling), so that each part
  of the space has its share and nothing is left to chance. Of either, one may come several times.
- **One scale.** Scores of unlike classifiers are divided by the temperature that fits the source's dev texts.
  The mean of logarithms of softmax shares (a logarithmic opinion pool, Genest and Zidek, Statistical Science
  1, 1986) has the largest entry where the mean of these scores has: the normalisation is the same for all
  labels of a text.
- **Folded.** z_i = X_i W_i / T_i + b_i / T_i over standardised columns, and a column is standardised alike in
  every member. So the mean is linear in the columns of all blocks, with the weights added up block by block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from mcbert.features.spec import FeatureSpec
from mcbert.results.probabilities import agreement, log_loss, softmax, temperature
from mcbert.results.schema.words import ENSEMBLE
from mcbert.search.data import Floats, Ints, Reals, RowSelection
from mcbert.search.fitting.fast_fits import Fitted, label_scores
from mcbert.search.fitting.probe import Probe
from mcbert.search.fitting.representation import LayerStates, Representation, represent
from mcbert.search.source import Source, open_source
from mcbert.search.space import Candidate
from mcbert.search.task import fit, one_thread

ROUNDS = 5  # members that one bag adds
SHARE = 5  # a bag has one candidate in so many
CELLS = 500_000  # scores of a candidate that members are selected by, at most: texts x labels
LEAST = 5  # pairs of a language, however many languages there are
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


def select(source: Source, merits: Sequence[tuple[Candidate, float]], n: int) -> dict[Candidate, int]:
    """Take n members from the n best, each the one with which the mean agrees best and loses least.

    In bags, each of a fifth of them at random, that add `ROUNDS` members each and know nothing of one
    another: what a single greedy way owes to luck is averaged, as by Caruana et al.

    Parameters
    ----------
    merits : sequence of (Candidate, float)
        In the order of the search; nats.
    n : int
        Members; also how many candidates they are taken from.

    Returns
    -------
    dict
        How often each was taken, the best first.
    """
    library = [candidate for candidate, _ in sorted(merits, key=lambda one: -one[1])[:n]]
    if len(library) < 2:
        return dict.fromkeys(library, n)
    judge = Judge.of(open_source(source)[2])
    with one_thread():
        scores = np.stack([_scaled(source, one)[1][judge.texts].astype(np.float32) for one in library])
    taken, size = np.zeros(len(library), dtype=np.int64), max(2, -(-len(library) // SHARE))
    rng = np.random.default_rng(0)
    while left := n - int(taken.sum()):
        bag = np.sort(rng.permutation(len(library))[:size])
        taken += np.bincount(bag[grown(scores[bag], min(ROUNDS, left), judge.merit)], minlength=len(library))
    return {library[k]: int(taken[k]) for k in np.flatnonzero(taken)}


def grown(scores: Reals, n: int, merit: Callable[[Floats], float]) -> list[int]:
    """Return n places in `scores`, (n_candidates, n_texts, n_labels), each the best beside those before."""
    total, places = np.zeros(scores.shape[1:]), list[int]()
    while len(places) < n:
        merits = [merit((total + one) / (len(places) + 1)) for one in scores]
        places.append(int(np.argmax(merits)))
        total += scores[places[-1]]
    return places


@dataclass(frozen=True)
class Judge:
    """Texts that a mean is judged by: the source's dev texts, pairs; at most `CELLS` scores of a candidate.

    Attributes
    ----------
    texts : int64 array of shape (n,)
        Positions among the distinct evaluation texts.
    source : tuple of int64 arrays of shape (n_dev,)
        Places in `texts` of the source's dev texts, and their label codes.
    pairs : sequence of int64 arrays of shape (2, n_pairs)
        Places in `texts`, an array for each target language.
    """

    texts: Ints
    source: tuple[Ints, Ints]
    pairs: Sequence[Ints]

    @classmethod
    def of(cls, rows: RowSelection) -> Self:
        """Spread the dev texts and the pairs of each language over those that there are, half of each."""
        half = CELLS // rows.n_classes // 2
        dev, y = (part[:: -(-len(part) // half)] for part in rows.dev[rows.source_language])
        most = max(LEAST, half // 2 // len(rows.translated))
        pairs = [both[:, :: -(-both.shape[1] // most)] for both in rows.translated.values()]
        used = np.unique(np.concatenate([dev, *(both.ravel() for both in pairs)]))  # of those watched
        places = [np.searchsorted(used, both) for both in (dev, *pairs)]
        return cls(rows.watched[used], (places[0], y), places[1:])

    def merit(self, scores: Floats) -> float:
        """Return agreement less log-loss of scores of `texts`, as `search.selection.merit` has it."""
        dev, y = self.source
        shares = softmax(scores / temperature(scores[dev], y))
        return float(np.mean([agreement(shares[a], shares[b]) for a, b in self.pairs])) - log_loss(
            shares[dev], y
        )


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
            (representation, fitted), scores, divisor = _scaled(source, member)
            share = times / n
            total = np.asarray(total + share * scores, dtype=np.float64)
            share /= divisor
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


def _scaled(source: Source, member: Candidate) -> tuple[tuple[Representation, Fitted], Reals, float]:
    """Fit a member; return it, its scores of the distinct evaluation texts over its temperature, and that."""
    representation = represent(source, member.features)
    fitted, rows = fit(representation, member), representation.rows
    scores = label_scores(representation, fitted)
    text, y = rows.dev[rows.source_language]
    divisor = temperature(scores[rows.watched][text], y)
    return (representation, fitted), scores / divisor, divisor


def _by_label(fitted: Fitted, representation: Representation) -> tuple[Reals, Floats]:
    """Return weights over columns, (n_columns, n_labels), and intercepts; a binary SVM has one of them."""
    weights = representation.column_weights(fitted.weights) if fitted.dual else fitted.weights
    if fitted.kind == "linear":
        return weights, fitted.intercept
    return np.hstack([weights, np.zeros_like(weights)]), np.append(fitted.intercept, 0.0)
