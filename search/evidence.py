"""What a finished `python -m pipeline gridsearch` writes beside its choice, for whoever wants to check it.

scores.csv (every score), predictions.npz (what they were computed from), and top.csv, effects.csv and
protocols.csv, which set the choice against chance (`search.comparisons`).
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.chance import near_chance
from results.columns import Table
from results.schema import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP
from results.table1 import MEAN
from results.tables import write
from search.artifacts import Outcome, Ranking
from search.comparisons import effect_rows, protocol_rows, top_rows
from search.effects import effects
from search.intervals import Sample
from search.kernels import Ints, Rows
from search.predictions import Predictions, decode
from search.scoring import accuracy, macro_f1, micro_f1
from search.space import PROTOCOLS, Candidate
from search.task import one_thread

LOG = logging.getLogger(__name__)
SPLITS = ("dev", "test")
METRICS: dict[str, Callable[[Ints], float]] = {
    "micro_f1": lambda matrix: float(micro_f1(matrix)),
    "macro_f1": macro_f1,
    "accuracy": accuracy,
}


def write_evidence(outcome: Outcome, ranking: Ranking, rows: Rows, out: Path) -> None:
    """Write the files into `out`, and warn of languages near chance; a table without rows is removed.

    Parameters
    ----------
    outcome : Outcome
    ranking : list of (Candidate, score)
        Best first, not empty.
    rows : Rows
        Which corpus rows the predictions are of.
    out : Path
    """
    candidates = [candidate for candidate, _ in ranking]
    predictions = gather(outcome, candidates, rows)
    predictions.save(out / "predictions.npz")
    _write(SCORES, score_rows(outcome, candidates), outcome, out)
    samples = [sample for split in SPLITS if (sample := Sample.of(predictions, split)) is not None]
    protocol, found = outcome.settings.protocol, effects(candidates)
    chosen: dict[str, str | None] = {name: _first(outcome.ranking(name)) for name in PROTOCOLS}
    with one_thread():  # the last digits of a sum must not depend on how many processors there are
        top = [row for sample in samples for row in top_rows(sample, outcome.settings.top)]
        sizes = [row for sample in samples for row in effect_rows(sample, found)]
        price = [row for sample in samples for row in protocol_rows(sample, chosen)]
    _write(TOP, [row | {"protocol": protocol} for row in top], outcome, out)
    _write(EFFECTS, sizes, outcome, out)
    _write(PROTOCOL_CHOICES, [row | {"used": row["protocol"] == protocol} for row in price], outcome, out)
    _warn(near_chance(pd.DataFrame(top), outcome.languages[0]))


def gather(outcome: Outcome, candidates: Sequence[Candidate], rows: Rows) -> Predictions:
    """Collect the predictions of candidates that did not fail from their rows of the ledger."""
    examples, at, n_classes = outcome.examples, rows.scored_rows, len(outcome.examples.labels)
    codes = [decode(outcome.rows[candidate.id]["predictions"], n_classes) for candidate in candidates]
    return Predictions(
        candidates=tuple(candidate.id for candidate in candidates),
        codes=np.stack(codes),
        text=rows.scored_text,
        y=rows.scored_y,
        ids=examples.ids[at],
        language=examples.language[at],
        split=examples.split[at],
        languages=outcome.languages,
        labels=tuple(examples.labels),
    )


def score_rows(outcome: Outcome, candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Score candidates by language and split: columns of table SCORES."""
    return [
        {"candidate_id": candidate.id, "split": split, **row}
        for candidate in candidates
        for split in SPLITS
        for row in _scores(outcome, candidate, split)
    ]


def _scores(outcome: Outcome, candidate: Candidate, split: str) -> list[dict[str, Any]]:
    matrices = outcome.matrices(candidate, split)
    scored: list[dict[str, Any]] = [
        {"language": language, "n_texts": int(matrix.sum())}
        | {name: metric(matrix) for name, metric in METRICS.items()}
        for language, matrix in matrices.items()
    ]
    micro = outcome.mean_f1(candidate, split)
    if micro is None:
        return scored
    targets = [row for row in scored if row["language"] != outcome.languages[0]]
    means = {name: sum(row[name] for row in targets) / len(targets) for name in METRICS}
    n_texts = sum(row["n_texts"] for row in targets)
    exact = {"micro_f1": micro, "accuracy": micro}
    return [*scored, {"language": MEAN, "n_texts": n_texts} | means | exact]


def _write(table: Table, rows: Sequence[dict[str, Any]], outcome: Outcome, out: Path) -> None:
    path = out / table.file_name
    if not rows:
        path.unlink(missing_ok=True)
        return
    frame = pd.DataFrame(rows).assign(**dict[str, Any](outcome.stamp))
    write(table, frame, path)


def _first(ranking: Ranking) -> str | None:
    return ranking[0][0].id if ranking else None


def _warn(near: pd.DataFrame) -> None:
    for row in near[near["alarm"]].to_dict("records"):
        LOG.warning(
            "gridsearch: %s is near chance though the source language is fine: the winner's %s micro-F1 is "
            "%.1f%%, always giving the most frequent label scores %.1f%%",
            row["language"],
            row["split"],
            100 * row["score"],
            100 * row["chance"],
        )
