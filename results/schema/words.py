"""The closed lists, and the columns that several tables share.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from typing import Literal, get_args

from mcbert.results.column import Column, Sums, count, stamp, text

MEAN = "mean"
"""Stands for the target languages where a row sums them up."""
CLASSIFIERS = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
ENSEMBLE = "ensemble"
"""Classifier of the mean of many candidates (`search.ensemble`), which is none of the searched space."""
Protocol = Literal["agreement", "source-dev", "target-dev", "last"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
"""Protocols, by which a choice is made; the column `protocol` explains each."""
SYSTEMS = ("probe", "baseline", "mcbert", "mcbert_wf")
SPLITS = ("train", "dev", "test")
NOT_STATED = "not stated"
STAMP = tuple(column.name for column in stamp())
"""The columns that every row of a run carries."""

SYSTEM = text(
    "system",
    "probe: the searched winner on the frozen encoder; baseline: fine-tuned [CLS]; "
    "mcbert: fine-tuned winning layers; mcbert_wf: the same with dynamic freezing",
    SYSTEMS,
)
SEED = count("seed", "random seed")
LANGUAGE = Column(
    name="language",
    dtype="string",
    meaning="language of the texts, as in the corpus",
    form=rf"(?!{MEAN}\Z)(?s:.+)",
    form_meaning=f"text other than {MEAN}",
)
SPLIT = text("split", "part of the corpus", SPLITS)
SCORED_SPLIT = text("split", "part of the corpus that was scored", ("dev", "test"))
LABEL = text("label", "true label")
PREDICTED = text("predicted", "predicted label")
PROTOCOL = text(
    "protocol",
    "how the choice was made: agreement (dev labels of the source language, and how far predictions for "
    "texts and their translations agree), source-dev (dev labels of the source language only), target-dev "
    "(mean over the target languages' dev labels: an oracle), last (no selection); where several choices "
    "were made (layers, pooling, epoch), the one that looked at most",
    PROTOCOLS,
)
Metric = Literal["f1_micro", "f1_macro", "accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
"""Scores that a search may choose by."""


AGREEMENT = "agreement"
"""Beside `METRICS` what may compare models: agreement less log-loss, as the protocol of that name does."""


def metric_words(metric: str) -> str:
    """Return a metric as it is written in prose: micro-F1."""
    if metric == AGREEMENT:
        return "agreement less log-loss"
    return f"{metric.removeprefix('f1_')}-F1" if metric.startswith("f1_") else metric


METRIC = text(
    "metric",
    "score of the dev texts that the search chose by; accuracy equals micro-F1 where a text has one label",
    METRICS,
)
PRECISION = text(
    "precision",
    "of the products in training, whatever was asked for: what auto chose depends on the CPU or GPU",
    ("float32", "bfloat16", "float16"),
)
EPOCH = count("epoch", "epochs trained when the row was made; 0 = before training")
STEP = count("step", "optimiser steps made by then")
CANDIDATE = text(
    "candidate_id",
    "stable id of the candidate (layers, pooling, classifier and its parameters, and the seed where it draws "
    "random numbers)",
)


def over_targets(row: str, *columns: Column, without: tuple[str, ...] = ()) -> Sums:
    """Declare rows that sum up those of the target languages; `row` says what one is."""
    language = text("language", f"{MEAN}: the mean over the target languages", (MEAN,))
    return Sums(row=row, by={"language": MEAN}, columns=(language, *columns), without=without)
