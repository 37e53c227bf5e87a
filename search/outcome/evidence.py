"""Files of a finished `python -m mcbert gridsearch` for checking its choice.

scores.csv (every score), predictions.npz (the predictions that they are computed from), and top.csv,
effects.csv and protocols.csv, which set the choice against chance (`search.outcome.comparisons`).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.results import csv_files
from mcbert.results.column import Table
from mcbert.results.schema.search import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP
from mcbert.results.schema.words import ENSEMBLE, MEAN, PROTOCOLS, metric_words
from mcbert.results.summaries import near_chance, standings, told
from mcbert.search.data import Ints, RowSelection
from mcbert.search.outcome.artifacts import Outcome, Ranking
from mcbert.search.outcome.comparisons import effect_rows, effects, protocol_rows, top_rows
from mcbert.search.outcome.intervals import Sample
from mcbert.search.outcome.predictions import Predictions, decode
from mcbert.search.scoring import scores
from mcbert.search.space import Candidate
from mcbert.search.task import one_thread

LOG = logging.getLogger(__name__)
SPLITS = ("dev", "test")


def write_evidence(outcome: Outcome, ranking: Ranking, rows: RowSelection, out: Path) -> None:
    """Write the files into `out`, and warn of languages near chance; a table without rows is removed.

    Parameters
    ----------
    outcome : Outcome
    ranking : list of (Candidate, score)
        Best first, not empty.
    rows : RowSelection
        Corpus rows of the predictions.
    out : Path
    """
    candidates = [candidate for candidate, _ in ranking]
    searched = [candidate for candidate in candidates if candidate != outcome.ensemble]
    predictions = gather(outcome, candidates, rows)
    predictions.save(out / "predictions.npz")
    _write(SCORES, score_table(outcome, candidates), outcome, out)
    samples = [sample for split in SPLITS if (sample := Sample.of(predictions, split)) is not None]
    protocol, metric, found = outcome.protocol, outcome.settings.metric, effects(candidates)
    chosen: dict[str, str | None] = {name: _first(outcome.ranking(name)) for name in PROTOCOLS}
    chosen |= {name: c.id for name, c in outcome.beside.items()}
    beside = gather(outcome, [*dict.fromkeys([*outcome.beside.values(), *searched])], rows)
    judged = [sample for split in SPLITS if (sample := Sample.of(beside, split)) is not None]
    with one_thread():  # the last digits of a sum must not depend on the number of CPUs
        top = pd.DataFrame(
            [row for sample in samples for row in top_rows(sample, outcome.settings.top, metric)]
        )
        sizes = pd.DataFrame([row for sample in samples for row in effect_rows(sample, found)])
        price = pd.DataFrame(
            [row for sample in judged for row in protocol_rows(sample, chosen, len(searched))]
        )
    of_all = {*candidates, *outcome.beside.values()}
    seeds = pd.Series({candidate.id: candidate.seed for candidate in of_all}, dtype="Int64")
    top, price = (frame.assign(seed=seeds.reindex(frame["candidate_id"]).array) for frame in (top, price))
    _write(TOP, top.assign(protocol=protocol, metric=metric), outcome, out)
    _write(EFFECTS, sizes, outcome, out)
    used = ENSEMBLE if outcome.ensemble else protocol
    _write(PROTOCOL_CHOICES, price.assign(used=price["protocol"] == used, metric=metric), outcome, out)
    top = top.assign(metric=metric)
    _tell(top, outcome.languages[0])
    _warn(near_chance(top, outcome.languages[0]))


def gather(outcome: Outcome, candidates: Sequence[Candidate], rows: RowSelection) -> Predictions:
    """Collect the predictions of candidates that did not fail from their rows of the ledger."""
    examples, at, n_classes = outcome.examples, rows.scored_rows, len(outcome.examples.labels)
    n_texts, codes = len(rows.eval_rows), []
    for candidate in candidates:
        codes.append(decode(outcome.rows[candidate.id]["predictions"], n_classes, most=n_texts))
        if len(codes[-1]) != n_texts:
            raise ValueError(
                f"gridsearch.jsonl: {candidate.id}: predictions: got {len(codes[-1])} labels, accepted: "
                f"{n_texts}, one for each distinct text; move the file away"
            )
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


def score_table(outcome: Outcome, candidates: Sequence[Candidate]) -> pd.DataFrame:
    """Score candidates, best first, by split and language: columns of table SCORES but the stamp."""
    parts = []
    for split in SPLITS:
        means = [outcome.mean_f1(candidate, split) for candidate in candidates]
        parted = [_scores(outcome.matrices(candidate, split)) for candidate in candidates]
        by_language = {name: pd.DataFrame([rows[name] for rows in parted]) for name in parted[0]}
        if means[0] is not None:  # all candidates have the same languages
            by_language[MEAN] = _means([by_language[name] for name in outcome.languages[1:]], means)
        parts += [frame.assign(split=split, language=name) for name, frame in by_language.items()]
    whole = pd.concat([frame.assign(rank=range(1, len(candidates) + 1)) for frame in parts])
    return whole.sort_index(kind="stable").reset_index(drop=True)


def _scores(matrices: Mapping[str, Ints]) -> dict[str, dict[str, float]]:
    """Score one candidate's matrices, a row for each language."""
    if not matrices:
        return {}
    stacked = np.stack(list(matrices.values()))
    found = {"n_texts": stacked.sum(axis=(1, 2)), **scores(stacked)}
    return {language: {name: found[name][k] for name in found} for k, language in enumerate(matrices)}


def _means(targets: Sequence[pd.DataFrame], f1_micro: Sequence[float | None]) -> pd.DataFrame:
    """Average the target languages; their texts are summed, and the ranking's own mean is kept."""
    f1_macro = sum(frame["f1_macro"] for frame in targets) / len(targets)
    exact = np.asarray(f1_micro, dtype=np.float64)
    n_texts = sum(frame["n_texts"] for frame in targets)
    return pd.DataFrame({"n_texts": n_texts, "f1_micro": exact, "f1_macro": f1_macro})


def _write(table: Table, frame: pd.DataFrame, outcome: Outcome, out: Path) -> None:
    if not frame.empty:
        csv_files.write_with_sums(table, frame.assign(**dict[str, Any](outcome.stamp)), out / table.file_name)
        return
    for name in table.file_names:
        (out / name).unlink(missing_ok=True)


def _first(ranking: Ranking) -> str | None:
    return ranking[0][0].id if ranking else None


def _tell(top: pd.DataFrame, source_language: str) -> None:
    """Log how the best stand beside the winner, in each split."""
    said = []
    for split, rows in top.groupby("split", sort=False):
        shown = MEAN if MEAN in set(rows["language"]) else source_language
        said.append(f"on {split} {told(standings(rows[rows['language'] == shown]))}")
    if top["rank"].max() > 1:
        n_others = int(top["rank"].max()) - 1
        LOG.info("gridsearch: the next %d beside the winner: %s", n_others, "; ".join(said))


def _warn(near: pd.DataFrame) -> None:
    for row in near[near["alarm"]].to_dict("records"):
        LOG.warning(
            "gridsearch: %s is near chance though the source language is fine: the winner's %s %s is "
            "%.1f%%, always giving the most frequent label scores %.1f%%",
            row["language"],
            row["split"],
            metric_words(row["metric"]),
            100 * row["score"],
            100 * row["chance"],
        )
