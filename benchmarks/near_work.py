"""The choices of two papers of near work beside those of a finished search's protocols, on its test texts.

    python benchmarks/near_work.py --run results/runs/demo --store cache/DIGEST

**LOES** (Batra et al., ICML 2026, arXiv 2605.23033) takes k layers one by one, each time the one of the least
score; weights, and k = 4, as in its authors' experiments on texts. Without labels the score is

    ALPHA (1 - I(X)) + GAMMA max_chosen R(X, Z),    I: mean over standard deviation of the covariance's
                                                    eigenvalues, R = |X'Z| / (|X| |Z|), Frobenius norms

With labels it adds the squared error of a ridge regression of the residual on what the chosen layers leave of
X, less ETA times the mean area of the triangles between the labels' centroids (all; its authors draw 200).
States are raw, of source train texts or of dev texts of all languages, and the head is the reference's on the
chosen layers: logistic regression at its defaults, mean. Layers are those of the search, or all blocks.

**LMS**, Learned Model Selection (Chen and Ritter, EMNLP 2021, arXiv 2010.06127), ranks candidates for a
target language by a network that has learnt from the others, its pivots, which of two candidates is right
more often: cross-entropy of the difference of their scores (RankNet, Burges et al. 2005); kept are the
weights that rank held-out candidates best in the pivots (Kendall). So it READS DEV LABELS OF TARGET
LANGUAGES, though never of the one that it chooses for. Its authors describe a fine-tuned model by its last
states, averaged over unlabelled texts of the language; frozen candidates share those and differ in layers,
pooling and classifier, so here it is the mean and covariance of a candidate's calibrated probabilities over
the language's dev texts. Vectors of languages (lang2vec) are left out, and with them the bilinear layer that
joins both. It chooses, a language at a time, among candidates drawn; what protocols take of these is beside.

Prints mean test accuracy over the target languages with paired 95% bootstrap intervals of the differences to
target-dev and to the reference, and Kendall's tau of scores and test accuracy; the last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from mcbert.features.cache import FeatureStore
from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.files.objects import read_object
from mcbert.results.csv_files import read
from mcbert.results.probabilities import softmax, temperature
from mcbert.results.schema.search import GRIDSEARCH, PROTOCOL_CHOICES
from mcbert.results.schema.words import MEAN
from mcbert.results.statistics import Interval
from mcbert.search.data import Examples, Floats, Ints, Reals, RowSelection
from mcbert.search.fitting.classifiers import CLASSIFIERS
from mcbert.search.fitting.fast_fits import label_scores
from mcbert.search.fitting.probe import decide_linear
from mcbert.search.fitting.representation import represent
from mcbert.search.outcome.comparisons import ORACLE, REFERENCE
from mcbert.search.outcome.intervals import Sample, intervals
from mcbert.search.outcome.predictions import Predictions
from mcbert.search.source import Source, open_source
from mcbert.search.space import Candidate, reference
from mcbert.search.task import fit, one_thread

ALPHA, GAMMA, ETA, RIDGE, EPSILON = 1.0, 0.5, 0.1, 1e-3, 1e-9
HIDDEN, RATE, BATCH, STEPS, LOOKS = 64, 1e-3, 256, 1000, 20

Choices = dict[str, list[Ints]]  # by name of a way to choose: label codes of all dev and test rows, by seed


def isotropy(states: Floats) -> float:
    """Return the mean over the standard deviation of the eigenvalues of the covariance of (n, d) states."""
    centred = states - states.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(centred)).clip(min=0)
    return float(values.mean() / (values.std() + EPSILON))


def redundancy(a: Floats, b: Floats) -> float:
    """Return |a'b| / (|a| |b|) of states of the same texts, Frobenius norms."""
    return float(np.linalg.norm(a.T @ b) / (np.linalg.norm(a) * np.linalg.norm(b) + EPSILON))


def loes(states: Mapping[int, Floats], k: int, targets: Floats | None = None) -> list[tuple[int, float]]:
    """Choose k layers by LOES; return them, in the order taken, with their scores.

    `states` are (n, d) of each layer; `targets`, (n, n_labels), 1 for a text's label, are of the supervised
    variant. Of equal scores the lowest layer's counts.
    """
    alone = {layer: ALPHA * (1 - isotropy(found)) for layer, found in states.items()}
    chosen: list[tuple[int, float]] = []
    residual, y = targets, None if targets is None else targets.argmax(axis=1)
    while len(chosen) < min(k, len(states)):
        taken = [states[layer] for layer, _ in chosen]
        scores, left = {}, {}
        for layer in sorted(states.keys() - {layer for layer, _ in chosen}):
            scores[layer] = alone[layer]
            scores[layer] += GAMMA * max((redundancy(states[layer], other) for other in taken), default=0.0)
            if residual is not None and y is not None:
                own = _beyond(states[layer], taken)
                left[layer] = residual - _regression(own, residual)
                scores[layer] += float(np.mean(left[layer] ** 2))
                scores[layer] -= ETA * spread(own, y) if taken else 0.0
        best = min(scores, key=scores.__getitem__)
        chosen.append((best, scores[best]))
        residual = left.get(best)
    return chosen


def _beyond(states: Floats, taken: Sequence[Floats]) -> Floats:
    """Return what a linear regression on the states taken leaves of others, centred."""
    if not taken:
        return np.asarray(states - states.mean(axis=0))
    return states - _regression(np.hstack(taken), states, penalty=1e-6)


def _regression(x: Floats, y: Floats, penalty: float = RIDGE) -> Floats:
    """Return the values that ridge regression with an intercept fits to y, (n, m)."""
    centred, mean = x - x.mean(axis=0), y.mean(axis=0)
    scatter = centred.T @ centred + penalty * np.eye(centred.shape[1])
    return np.asarray(centred @ np.linalg.solve(scatter, centred.T @ (y - mean)) + mean)


def spread(states: Floats, y: Ints) -> float:
    """Return the mean area of the triangles between the labels' centroids; 0 with fewer than three labels."""
    centroids = np.stack([states[y == label].mean(axis=0) for label in np.unique(y)])
    corners = np.asarray(list(itertools.combinations(range(len(centroids)), 3)), dtype=np.int64)
    if not len(corners):
        return 0.0
    a, b, c = corners.T
    side, other = centroids[b] - centroids[a], centroids[c] - centroids[a]
    squares = (side**2).sum(axis=1) * (other**2).sum(axis=1) - (side * other).sum(axis=1) ** 2
    return float(np.sqrt(squares.clip(min=0)).mean() / 2)


def language_features(shares: Floats) -> Floats:
    """Return mean and covariance of probabilities, (n, K), as one vector of K + K (K + 1) / 2 numbers."""
    covariance = np.cov(shares, rowvar=False, bias=True)
    return np.concatenate([shares.mean(axis=0), covariance[np.triu_indices(len(covariance))]])


def kendall(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return pairs in the same order less those in the other one, of all pairs (Kendall's tau a)."""
    signs = [np.sign(np.subtract.outer(values, values)) for values in (np.asarray(a), np.asarray(b))]
    return float((signs[0] * signs[1]).sum() / (signs[0].size - len(signs[0])))


def learn_ranking(features: Floats, right: Floats, seed: int = 0) -> Callable[[Floats], Floats]:
    """Learn to rank candidates from pivot languages; return a function from a language's features to scores.

    `features` are (n_pivots, n_candidates, n_features), `right` the share of dev texts that a candidate is
    right on, (n_pivots, n_candidates). Held out is a quarter of the candidates.
    """
    rng, (n_pivots, n, width) = np.random.default_rng(seed), features.shape
    torch.manual_seed(seed)
    mean, scale = features.mean(axis=(0, 1)), features.std(axis=(0, 1))
    scale[scale < EPSILON] = 1.0
    held_out, known = np.split(rng.permutation(n), [max(2, n // 4)])
    sizes = itertools.pairwise((width, HIDDEN, HIDDEN))
    hidden = [part for size in sizes for part in (torch.nn.Linear(*size), torch.nn.ReLU())]
    net = torch.nn.Sequential(*hidden, torch.nn.Linear(HIDDEN, 1))

    def scores(found: Floats) -> torch.Tensor:
        return torch.squeeze(net(torch.as_tensor((found - mean) / scale, dtype=torch.float32)), -1)

    optimiser, loss = torch.optim.Adam(net.parameters(), lr=RATE), torch.nn.BCEWithLogitsLoss()
    best, kept = -np.inf, net.state_dict()
    for step in range(1, STEPS + 1):
        pivots = rng.integers(n_pivots, size=BATCH)
        first, second = rng.choice(known, size=(2, BATCH))
        wanted = (1 + np.sign(right[pivots, first] - right[pivots, second])) / 2
        difference = scores(features[pivots, first]) - scores(features[pivots, second])
        optimiser.zero_grad()
        loss(difference, torch.as_tensor(wanted, dtype=torch.float32)).backward()
        optimiser.step()
        if step % (STEPS // LOOKS) == 0:
            with torch.no_grad():
                ranked = scores(features[:, held_out]).numpy()
            look = float(np.mean(list(map(kendall, ranked, right[:, held_out]))))
            if look > best:
                best, kept = look, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return lambda found: scores(found).detach().numpy().astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Search:
    """A finished search: where its cache is, its rows and labels, predictions and tables."""

    source: Source
    rows: RowSelection
    cache: FeatureStore
    predictions: Predictions
    frame: pd.DataFrame
    protocols: Mapping[str, str]
    base: Candidate

    @classmethod
    def open(cls, run: Path, store: Path) -> Search:
        """Read a run's folder and its cache; ValueError where they are not of one search."""
        winner = read_object(run / "winner.json", {"store": str, "target_languages": list})
        cache, examples = FeatureStore.open(store), Examples.read(run / "examples.npz")
        if cache.digest != winner["store"]:
            raise ValueError(f"--store: got {store} of {cache.digest}, accepted: {winner['store']}")
        source = Source(
            store=store,
            examples=run / "examples.npz",
            languages=(examples.source_language, *winner["target_languages"]),
            digests=(cache.digest, examples.digest),
        )
        rows, base = open_source(source)[2], reference(cache.layers, cache.poolings)
        if base is None or rows.dev.keys() != set(source.languages):
            raise ValueError(f"{run}: accepted: mean among the poolings, and dev texts of all languages")
        frame = read(GRIDSEARCH, run / "gridsearch.csv")
        protocols = read(PROTOCOL_CHOICES, run / "protocols.csv")
        return cls(
            source=source,
            rows=rows,
            cache=cache,
            predictions=Predictions.load(run / "predictions.npz"),
            frame=frame[frame["status"].eq("ok") & frame["classifier"].isin(list(CLASSIFIERS))],
            protocols=dict(zip(protocols["protocol"], protocols["candidate_id"], strict=True)),
            base=base,
        )

    def scores(self, candidate: Candidate) -> Reals:
        """Fit a candidate; return its scores of the distinct dev and test texts, (n, n_labels)."""
        with one_thread():
            representation = represent(self.source, candidate.features)
            return label_scores(representation, fit(representation, candidate))

    def labelled(self, candidate: Candidate) -> Ints:
        """Fit a candidate; return its label codes of the dev and test rows, (n_rows,)."""
        return np.asarray(decide_linear(self.scores(candidate))[self.rows.scored_text])


def layer_choices(search: Search, k: int) -> tuple[Choices, dict[str, list[tuple[int, float]]]]:
    """Return predictions of the heads on the layers of each variant of LOES, and those layers in order."""
    rows, cache = search.rows, search.cache
    searched = sorted({layer for text in search.frame["layers"] for layer in map(int, text.split("+"))})
    blocks = [layer for layer in cache.layers if layer > 0]
    dev = [at for at, (_, split) in enumerate(rows.groups) if split == "dev"]
    train = rows.train_rows[rows.train_text]
    texts: dict[str, tuple[Ints, Floats | None]] = {
        "source train": (train, None),
        "dev of all languages": (rows.scored_rows[np.isin(rows.scored_group, dev)], None),
        "supervised, source train": (train, np.eye(rows.n_classes)[rows.train_y]),
    }
    choices, taken = {}, {}
    for layers in dict.fromkeys([tuple(searched), tuple(blocks)]):
        for name, (which, targets) in texts.items():
            states = {
                layer: cache.states(layers=[layer], pooling="mean", rows=which).astype(np.float64)
                for layer in layers
            }
            found = loes(states, k, targets)
            head = FeatureSpec.of(layers_text(sorted(layer for layer, _ in found)), "mean")
            label = f"LOES, {name}, of layers {layers[0]}-{layers[-1]}"
            taken[label], choices[label] = found, [search.labelled(replace(search.base, features=head))]
    return choices, taken


def drawn_candidates(frame: pd.DataFrame, n: int) -> tuple[pd.DataFrame, list[Candidate]]:
    """Draw n candidates (0: all) in the order of their ranks."""
    if 0 < n < len(frame):
        frame = frame.iloc[np.sort(np.random.default_rng(0).choice(len(frame), size=n, replace=False))]
    return frame, [
        Candidate(
            features=FeatureSpec.of(row["layers"], row["pooling"]),
            classifier=row["classifier"],
            params=tuple(sorted(json.loads(row["params"]).items())),
            seed=row["seed"],
            seeded=CLASSIFIERS[row["classifier"]].stochastic,
        )
        for row in frame.to_dict("records")
    ]


def describe_candidates(search: Search, candidates: Sequence[Candidate]) -> tuple[Ints, Floats]:
    """Fit candidates; return labels, (n, n_rows), and features by target, (n_targets, n, n_features)."""
    rows, (source_language, *targets) = search.rows, search.source.languages
    text, y = rows.dev[source_language]
    codes, features = {}, {}
    for candidate in sorted(candidates, key=lambda c: (c.features.is_mixed, c.pooling)):  # a pooling is kept
        scores = search.scores(candidate)
        watched, codes[candidate] = scores[rows.watched], decide_linear(scores)[rows.scored_text]
        shares = softmax(watched / temperature(watched[text], y))
        features[candidate] = [language_features(shares[rows.dev[name][0]]) for name in targets]
    found = np.asarray([features[candidate] for candidate in candidates])
    return np.stack([codes[candidate] for candidate in candidates]), np.swapaxes(found, 0, 1)


def candidate_choices(
    search: Search, n: int, seeds: Sequence[int]
) -> tuple[Choices, dict[str, float], dict[str, Any]]:
    """Return predictions of LMS and of protocols among the same candidates, Kendall's taus, the chosen."""
    source_language, *targets = search.source.languages
    if len(targets) < 2:
        print("LMS: no pivot, the search has one target language")
        return {}, {}, {}
    frame, candidates = drawn_candidates(search.frame, n)
    labelled, features = describe_candidates(search, candidates)
    right = frame[[f"dev_f1_micro_{language}" for language in targets]].to_numpy(dtype=np.float64).T
    source_dev = frame[f"dev_f1_micro_{source_language}"] - 1e-6 * frame["log_loss"]
    ways = {
        "source-dev": np.tile(source_dev, (len(targets), 1)),
        "agreement": np.tile(frame["agreement"] - frame["log_loss"], (len(targets), 1)),
        ORACLE: np.tile(right.mean(axis=0), (len(targets), 1)),
        "target-dev, a language at a time": right,
    }
    ranked = {name: [scores] for name, scores in ways.items() if not np.isnan(scores).any()}
    ranked["LMS"] = []
    for seed in seeds:
        rankings = [
            learn_ranking(np.delete(features, at, axis=0), np.delete(right, at, axis=0), seed)(features[at])
            for at in range(len(targets))
        ]
        ranked["LMS"].append(np.stack(rankings))
    columns = {language: column for column, language in enumerate(targets)}
    at = np.asarray([columns.get(name, 0) for name in search.predictions.language])  # the source: by any
    test = [frame[f"test_f1_micro_{language}"] for language in targets]
    choices, taus, chosen = {}, {}, {}
    for name, several in ranked.items():
        label = f"{name}, of {len(frame)} drawn"
        firsts = [scores.argmax(axis=1) for scores in several]
        choices[label] = [labelled[places[at], np.arange(len(at))] for places in firsts]
        taus[label] = float(np.mean([kendall(*both) for s in several for both in zip(s, test, strict=True)]))
        chosen[label] = [frame["candidate_id"].iloc[places].tolist() for places in firsts]
    return choices, taus, chosen


def protocol_choices(search: Search) -> Choices:
    """Return predictions of what each protocol of the run chose, and of its ensemble and reference."""
    known = search.predictions
    place = {candidate: at for at, candidate in enumerate(known.candidates)}
    found = {
        name: [known.codes[place[candidate], known.text].astype(np.int64)]
        for name, candidate in search.protocols.items()
        if candidate in place
    }
    return found | {REFERENCE: [search.labelled(search.base)]}


def judge(search: Search, choices: Choices) -> dict[str, dict[str, Interval]]:
    """Return each choice's test accuracy, mean over targets and seeds, and less that of two others."""
    columns = np.concatenate(list(choices.values()))
    judged = replace(
        search.predictions,
        candidates=tuple(map(str, range(len(columns)))),
        codes=columns.astype(search.predictions.codes.dtype),
        text=np.arange(columns.shape[1], dtype=np.int64),
    )
    sample = Sample.of(judged, "test")
    if sample is None or ORACLE not in choices:
        raise ValueError("predictions.npz: accepted: test texts, and a choice by target-dev")
    groups = np.repeat(np.arange(len(choices)), [len(found) for found in choices.values()])
    own = (groups == np.arange(len(choices))[:, None]) / np.bincount(groups)[:, None]
    bases = [own[list(choices).index(base)] for base in (ORACLE, REFERENCE)]
    found = intervals(sample, np.concatenate([own, *(own - base for base in bases)]))
    parts = [found[part * len(choices) :] for part in range(3)]
    return {
        name: {part: of[row][MEAN] for part, of in zip(("score", ORACLE, REFERENCE), parts, strict=True)}
        for row, name in enumerate(choices)
    }


def main() -> None:
    """Print the table and the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a run with a finished search")
    parser.add_argument("--store", type=Path, required=True, help="folder of its feature cache")
    parser.add_argument("--k", type=int, default=4, help="layers that LOES takes")
    parser.add_argument("--candidates", type=int, default=240, help="drawn for LMS; 0: all of the search")
    parser.add_argument("--seeds", type=int, default=3, help="networks of LMS")
    args = parser.parse_args()
    torch.set_num_threads(1)
    search = Search.open(args.run, args.store)
    choices, layers = layer_choices(search, args.k)
    others, taus, chosen = candidate_choices(search, args.candidates, range(args.seeds))
    rows = judge(search, protocol_choices(search) | choices | others)
    print("\n| choice | test accuracy | less target-dev | less reference | tau | layers, in order |")
    print("|---|---|---|---|---|---|")
    for name, found in rows.items():
        cells = [f"{found['score'].difference:.3f}", *(shown(found[base]) for base in (ORACLE, REFERENCE))]
        tau = f"{taus[name]:.2f}" if name in taus else ""
        print(
            f"| {name} | {' | '.join(cells)} | {tau} | {layers_text(at for at, _ in layers.get(name, ()))} |"
        )
    figures = {name: {part: [*vars(i).values()] for part, i in found.items()} for name, found in rows.items()}
    print(json.dumps({"rows": figures, "tau": taus, "layers": layers, "chosen": chosen}))


def shown(interval: Interval) -> str:
    """Write a difference with its interval, in points."""
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * value for value in vars(interval).values()))


if __name__ == "__main__":
    main()
