"""Artifacts of a finished `python -m mcbert gridsearch`: the tables, the winner and its probe."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcbert import files
from mcbert.features.spec import layers_text
from mcbert.results.csv_files import write
from mcbert.results.probabilities import softmax, temperature
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS
from mcbert.results.schema.words import ENSEMBLE, PROTOCOLS, Protocol
from mcbert.search.data import Examples, Floats, Ints, Reals, RowSelection
from mcbert.search.fitting.fast_fits import Fitted
from mcbert.search.fitting.probe import Probe
from mcbert.search.fitting.representation import Representation
from mcbert.search.scoring import SCORERS, Score, mean_f1, packed_f1, unpack
from mcbert.search.selection import mean_agreement, merit, rank
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Candidate

Ranking = list[tuple[Candidate, float | None]]
DECIMALS = 6  # of a probability: the rest of its digits differs between CPUs


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished search: its settings, its data and every candidate's row of the ledger.

    Attributes
    ----------
    settings : GridsearchSettings
    candidates : sequence of Candidate
        In the order of the search.
    rows : mapping of candidate id to ledger row
    examples : Examples
    languages : tuple of str
        Those scored, the source first.
    stamp : mapping
        Columns of every row.
    tried : mapping or None
        How many of all candidates a budget let the search try (`search.order.coverage`); None: all.
    ensemble : Candidate or None
        The winner where it is one, which is none of `candidates`; `rows` has its row.
    members : mapping of Candidate to int
        How often each of the ensemble's was drawn.
    reference : Candidate or None
        What a choice has to beat, whether it is one of `candidates` or not.
    """

    settings: GridsearchSettings
    candidates: Sequence[Candidate]
    rows: Mapping[str, Mapping[str, Any]]
    examples: Examples
    languages: tuple[str, ...]
    stamp: Mapping[str, object]
    tried: Mapping[str, Any] | None = None
    ensemble: Candidate | None = None
    members: Mapping[Candidate, int] = field(default_factory=dict)
    reference: Candidate | None = None

    @property
    def protocol(self) -> Protocol:
        """Protocol that chooses the winner."""
        if self.settings.protocol == "auto":
            raise ValueError("gridsearch.protocol: got 'auto', accepted: a protocol that was settled")
        return self.settings.protocol

    def matrices(self, candidate: Candidate, split: str) -> dict[str, Ints]:
        """Return a candidate's confusion matrices of one split by language; empty if it failed."""
        n_classes = len(self.examples.labels)
        packed = self._packed(candidate, split)
        return {language: unpack(cells, n_classes) for language, cells in packed.items()}

    def f1(self, candidate: Candidate, split: str) -> dict[str, Fraction]:
        """Return a candidate's micro-F1 on one split by language; empty if it failed."""
        n_classes = len(self.examples.labels)
        packed = self._packed(candidate, split)
        return {language: packed_f1(cells, n_classes) for language, cells in packed.items()}

    def scores(self, candidate: Candidate, split: str) -> dict[str, Score]:
        """Return a candidate's scores by the metric on one split, by language; empty if it failed."""
        score, n_classes = SCORERS[self.settings.metric], len(self.examples.labels)
        packed = self._packed(candidate, split)
        return {language: score(cells, n_classes) for language, cells in packed.items()}

    def _packed(self, candidate: Candidate, split: str) -> dict[str, Sequence[int]]:
        found = self.rows[candidate.id]["matrices"]
        return {language: found[language][split] for language in found if split in found[language]}

    def mean_f1(self, candidate: Candidate, split: str) -> float | None:
        """Return the mean micro-F1 over the target languages; None unless each has rows."""
        found, targets = self.f1(candidate, split), self.languages[1:]
        if not targets or any(language not in found for language in targets):
            return None
        return mean_f1([found[language] for language in targets])

    def mean_agreement(self, candidate: Candidate) -> float | None:
        """Return the mean agreement over the target languages that have pairs; None where none has."""
        return mean_agreement(self.rows[candidate.id])

    def log_loss(self, candidate: Candidate) -> float | None:
        """Return the log-loss on the source language's dev texts; None where there are none."""
        found: float | None = self.rows[candidate.id]["log_loss"].get(self.languages[0])
        return found

    @property
    def beside(self) -> dict[str, Candidate]:
        """What stands beside the choices of the protocols: an ensemble, the reference."""
        failed = self.reference is None or self.rows[self.reference.id]["status"] != "ok"
        return {
            **({ENSEMBLE: self.ensemble} if self.ensemble else {}),
            **({} if failed or self.reference is None else {"reference": self.reference}),
        }

    def merits(self, classifiers: Collection[str]) -> list[tuple[Candidate, float]]:
        """Return candidates of some classifiers that have a merit by the protocol, and it, in their order."""
        found = [
            (c, merit(self.rows[c.id], self.protocol, self.languages[0], self.languages[1:]))
            for c in self.candidates
            if c.classifier in classifiers and self.rows[c.id]["status"] == "ok"
        ]
        return [(candidate, value) for candidate, value in found if value is not None]

    def ranking(self, protocol: Protocol) -> Ranking:
        """Order the candidates that did not fail as a protocol does; it is given dev scores only."""
        return self._rank([c for c in self.candidates if self.rows[c.id]["status"] == "ok"], protocol)

    def ranked_ensemble(self) -> Ranking:
        """Return the ensemble with its score by the protocol; nothing where there is none."""
        return self._rank([self.ensemble], self.protocol) if self.ensemble else []

    def _rank(self, fine: Sequence[Candidate], protocol: Protocol) -> Ranking:
        return rank(
            fine,
            {candidate.id: self.scores(candidate, "dev") for candidate in fine},
            {candidate.id: self.rows[candidate.id] for candidate in fine},
            protocol=protocol,
            source_language=self.languages[0],
            target_languages=self.languages[1:],
        )


def write_gridsearch(outcome: Outcome, ranking: Ranking, path: Path) -> None:
    """Write gridsearch.csv: a row per candidate, best first, failed ones last."""
    ranked = {candidate.id for candidate, _ in ranking}
    failed = [(candidate, None) for candidate in outcome.candidates if candidate.id not in ranked]
    places: list[int | None] = [*range(1, len(ranking) + 1), *(None for _ in failed)]
    rows = []
    for place, (candidate, score) in zip(places, [*ranking, *failed], strict=True):
        row = outcome.rows[candidate.id]
        record: dict[str, object] = {
            "rank": place,
            **_describe(candidate),
            "n_layers": len(candidate.layers),
            "seed": candidate.seed,
            "protocol": outcome.protocol,
            "metric": outcome.settings.metric,
            "score": score,
            "log_loss": outcome.log_loss(candidate),
            "agreement": outcome.mean_agreement(candidate),
        }
        for split in ("dev", "test"):
            found = outcome.f1(candidate, split)
            record[f"{split}_f1_micro_mean"] = outcome.mean_f1(candidate, split)
            for language in outcome.languages:
                record[f"{split}_f1_micro_{language}"] = float(found[language]) if language in found else None
        record |= {name: row[name] for name in ("fit_seconds", "score_seconds", "status", "message")}
        rows.append(record | dict(outcome.stamp))
    frame = pd.DataFrame(rows)
    numbers = [
        name
        for name in frame.columns
        if "_f1_micro_" in str(name) or name in ("score", "log_loss", "agreement")
    ]
    frame = frame.astype(dict.fromkeys(numbers, "float64") | {"rank": "Int64"})
    write(GRIDSEARCH, frame, path)


def write_confusion(outcome: Outcome, ranking: Ranking, path: Path) -> None:
    """Write confusion.csv: the matrices of the best candidates, a row per cell that is not 0."""
    labels = outcome.examples.labels
    rows = [
        {
            "candidate_id": candidate.id,
            "rank": place,
            "protocol": outcome.protocol,
            "language": language,
            "split": split,
            "label": labels[true],
            "predicted": labels[predicted],
            "n": int(matrix[true, predicted]),
            "seed": candidate.seed,
            **outcome.stamp,
        }
        for place, (candidate, _) in enumerate(ranking[: outcome.settings.top], start=1)
        for split in ("dev", "test")
        for language, matrix in outcome.matrices(candidate, split).items()
        for true, predicted in np.argwhere(matrix)
    ]
    write(CONFUSION, pd.DataFrame(rows), path)


@dataclass(frozen=True)
class Scored:
    """What a classifier makes of the distinct evaluation texts.

    Attributes
    ----------
    predicted : int64 array of shape (n_eval_texts,)
        Label codes.
    probability : float64 array of shape (n_eval_texts,)
        Of the predicted label, in whole millionths; NaN where the classifier has no scores of its labels.
    """

    predicted: Ints
    probability: Floats

    @classmethod
    def of(cls, predicted: Ints, scores: Reals | None, rows: RowSelection) -> "Scored":
        """Return the predictions with the softmax of scores, over the temperature that an export fits."""
        if scores is None or not np.isfinite(scores).all():
            return cls(predicted, np.full(len(predicted), np.nan))
        source, divisor = rows.dev.get(rows.source_language), 1.0
        if source is not None:
            text, y = source
            divisor = temperature(scores[rows.watched][text], y)
        shares = softmax(scores / divisor)
        return cls(predicted, shares[np.arange(len(predicted)), predicted].round(DECIMALS))


def write_predictions(
    outcome: Outcome,
    scored: Scored,
    rows: RowSelection,
    path: Path,
    *,
    seed: int,
    texts: pd.DataFrame | None = None,
) -> None:
    """Write the winner's prediction for each dev and test row, from those of the distinct texts.

    `texts`: columns text and text_pair of the corpus's rows; None: the file repeats no text.
    """
    examples, labels, at = (
        outcome.examples,
        np.asarray(outcome.examples.labels, dtype=object),
        rows.scored_rows,
    )
    frame = pd.DataFrame(
        {
            "system": "probe",
            "seed": seed,
            "id": examples.ids[at].astype(object),
            "language": examples.language[at].astype(object),
            "split": examples.split[at].astype(object),
            "text": "",
            "label": labels[rows.scored_y],
            "predicted": labels[scored.predicted[rows.scored_text]],
            "probability": scored.probability[rows.scored_text],
            "protocol": outcome.protocol,
        }
    )
    if texts is not None:
        frame["text"] = texts["text"].to_numpy(dtype=object)[at]
        if (texts["text_pair"] != "").any():
            frame["text_pair"] = texts["text_pair"].to_numpy(dtype=object)[at]
    write(PREDICTIONS, frame.assign(**dict[str, Any](outcome.stamp)), path)


def write_winner(
    outcome: Outcome, ranking: Ranking, *, store_digest: str, probe: str | None, path: Path
) -> None:
    """Write winner.json, which the later stages read, last of all."""
    winner, best = ranking[0], ranking[bool(outcome.ensemble)]
    content = {
        **_described(winner[0]),
        "seed": winner[0].seed,
        "protocol": outcome.protocol,
        "metric": outcome.settings.metric,
        "labels": list(outcome.examples.labels),
        "source_language": outcome.languages[0],
        "target_languages": list(outcome.languages[1:]),
        "store": store_digest,
        "probe": probe,
        "scores": _scored(outcome, *winner),
        "best": _described(best[0]),
        "members": {member.id: times for member, times in outcome.members.items()},
        "by_protocol": {protocol: _first(outcome, protocol) for protocol in PROTOCOLS},
        "tried": outcome.tried,
        "n_train": len(outcome.examples.rows("train")),
        **outcome.stamp,
    }
    files.write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def make_probe(
    representation: Representation, fitted: Fitted, winner: Candidate, labels: Sequence[str]
) -> Probe | None:
    """Return a fitted candidate as a probe over raw states; None where none of its decision rules fits."""
    if fitted.kind == "plain":
        return None
    rows, by_neighbours = representation.rows, fitted.kind == "neighbours"
    weights: npt.NDArray[Any] = fitted.weights
    if by_neighbours:
        weights = representation.train_columns[rows.pair_text]
    elif fitted.dual:
        weights = representation.column_weights(fitted.weights)
    nothing = np.empty(0, dtype=np.int64)
    return Probe(
        kind=fitted.kind,
        layers=winner.layers,
        pooling=winner.pooling,
        labels=tuple(labels),
        mean=representation.mean,
        scale=representation.scale,
        weights=weights,
        intercept=fitted.intercept,
        classes=rows.pair_y if by_neighbours else nothing,
        counts=rows.pair_count if by_neighbours else nothing,
        n_neighbors=fitted.n_neighbors,
    )


def _describe(candidate: Candidate) -> dict[str, object]:
    return {
        "candidate_id": candidate.id,
        "layers": layers_text(candidate.layers),
        "pooling": candidate.pooling,
        "classifier": candidate.classifier,
        "params": json.dumps(dict(candidate.params), sort_keys=True),
    }


def _described(candidate: Candidate) -> dict[str, object]:
    return {
        **_describe(candidate),
        "layers": list(candidate.layers),
        "params": dict(candidate.params),
    }


def _first(outcome: Outcome, protocol: Protocol) -> dict[str, object] | None:
    """Return a protocol's choice and its scores; None where it lacks the dev texts."""
    ranking = outcome.ranking(protocol)
    return _scored(outcome, *ranking[0]) if ranking else None


def _scored(outcome: Outcome, candidate: Candidate, score: float | None) -> dict[str, object]:
    by_language = {
        f"{split}_f1_micro": {
            language: float(score) for language, score in outcome.f1(candidate, split).items()
        }
        for split in ("dev", "test")
    }
    return {
        **_described(candidate),
        "score": score,
        "dev_f1_micro_mean": outcome.mean_f1(candidate, "dev"),
        "test_f1_micro_mean": outcome.mean_f1(candidate, "test"),
        **by_language,
    }
