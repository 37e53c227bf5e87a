"""The tables of the search on the frozen encoder.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.columns import Table
from mcbert.results.kinds import classifier, count, layers, number, poolings, share, stamp, text
from mcbert.results.schema.words import (
    CANDIDATE,
    LABEL,
    LANGUAGE,
    METRIC,
    PREDICTED,
    PROTOCOL,
    SCORED_SPLIT,
    SEED,
    SYSTEM,
)

GRIDSEARCH = Table(
    file_name="gridsearch.csv",
    meaning="The search: every candidate on the frozen encoder with its score in every language.",
    row="a candidate",
    key=("run", "candidate_id"),
    columns=(
        count("rank", "1 = best by `score`; empty where the candidate failed", least=1, nullable=True),
        CANDIDATE,
        layers("layers", "layers whose pooled states are concatenated; twice where under two poolings"),
        count("n_layers", "how many entries `layers` has", "layers", least=1),
        poolings("pooling", "pooling over the tokens"),
        classifier("classifier", "classifier on the pooled states"),
        text("params", "the classifier's parameters, JSON with sorted keys"),
        SEED,
        PROTOCOL,
        METRIC,
        number(
            "score",
            "what the protocol ranks by, in terms of `metric`; empty where there is none",
            "",
            nullable=True,
        ),
        share("dev_f1_mean", "dev micro-F1, mean over the target languages", nullable=True),
        share("test_f1_mean", "test micro-F1, mean over the target languages", nullable=True),
        share("dev_f1_{language}", "dev micro-F1 of the language", nullable=True),
        share("test_f1_{language}", "test micro-F1 of the language", nullable=True),
        number("fit_seconds", "time to fit", "seconds", least=0, nullable=True),
        number("score_seconds", "time to predict and score", "seconds", least=0, nullable=True),
        text("status", "whether the candidate was fitted and scored", ("ok", "error")),
        text("message", "what went wrong; empty for ok", nullable=True),
        *stamp(),
    ),
)

CONFUSION = Table(
    file_name="confusion.csv",
    meaning="Confusion matrices of the best candidates, tidy.",
    row="a cell (true label, predicted label) of a candidate's matrix for a language and split",
    key=("run", "candidate_id", "language", "split", "label", "predicted"),
    columns=(
        CANDIDATE,
        count("rank", "rank of the candidate in gridsearch.csv", least=1),
        PROTOCOL,
        LANGUAGE,
        SCORED_SPLIT,
        LABEL,
        PREDICTED,
        count("n", "texts with that label and prediction", "texts"),
        SEED,
        *stamp(),
    ),
)

PREDICTIONS = Table(
    file_name="predictions_*.csv",
    meaning="What each system predicted for every dev and test text.",
    row="a text and a trained system (system, seed)",
    key=("run", "system", "seed", "language", "split", "id"),
    columns=(
        SYSTEM,
        SEED,
        text("id", "id of the text in texts.csv"),
        LANGUAGE,
        SCORED_SPLIT,
        LABEL,
        PREDICTED,
        PROTOCOL,
        *stamp(),
    ),
)
