"""The tables of the search on the frozen encoder: its candidates, and how they compare.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.column import (
    Column,
    Table,
    classifier,
    correlation,
    count,
    difference,
    later,
    layers,
    number,
    optional,
    poolings,
    share,
    stamp,
    text,
)
from mcbert.results.schema.words import (
    CANDIDATE,
    ENSEMBLE,
    LABEL,
    LANGUAGE,
    METRIC,
    PREDICTED,
    PROTOCOL,
    PROTOCOLS,
    SCORED_SPLIT,
    SEED,
    SYSTEM,
    over_targets,
)

GRIDSEARCH = Table(
    file_name="gridsearch.csv",
    meaning="The search: every candidate on the frozen encoder with its score in every language.",
    row="a candidate",
    key=("candidate_id",),
    columns=(
        count(
            "rank",
            "1 = the winner: the ensemble where the run made one, whatever its `score`; the candidates "
            "follow by `score`, best first; empty where the candidate failed",
            least=1,
            nullable=True,
        ),
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
            "what the protocol ranks by: of source-dev and target-dev in terms of `metric`; of agreement "
            "`agreement` minus `log_loss`; empty where there is none",
            "",
            nullable=True,
        ),
        later(
            number(
                "log_loss",
                "mean of -log of the true label's probability on the source language's dev texts; empty "
                "where there are none",
                "nats",
                least=0,
            )
        ),
        later(
            correlation(
                "agreement",
                "how far the probabilities of source texts and of their translations agree, beyond chance "
                "(kappa of distributions), mean over the target languages; empty where there are no such "
                "pairs",
            )
        ),
        share("dev_f1_micro_mean", "dev micro-F1, mean over the target languages", nullable=True),
        share("test_f1_micro_mean", "test micro-F1, mean over the target languages", nullable=True),
        share("dev_f1_micro_{language}", "dev micro-F1 of the language", nullable=True),
        share("test_f1_micro_{language}", "test micro-F1 of the language", nullable=True),
        number("fit_seconds", "time to fit", "seconds", least=0, nullable=True),
        number("score_seconds", "time to predict and score", "seconds", least=0, nullable=True),
        text("status", "whether the candidate was fitted and scored", ("ok", "error")),
        text("message", "what went wrong; empty for ok", nullable=True),
        *stamp(),
    ),
)

CONFUSION = Table(
    file_name="confusion.csv",
    meaning="Confusion matrices of the best candidates, tidy; cells without a text are left out.",
    row="a cell (true label, predicted label) of a candidate's matrix for a language and split",
    key=("candidate_id", "language", "split", "label", "predicted"),
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
    key=("system", "seed", "language", "split", "id"),
    columns=(
        text("id", "id of the text in texts.csv"),
        LANGUAGE,
        SCORED_SPLIT,
        later(text("text", "the text, as in texts.csv; empty where it was not known")),
        optional(text("text_pair", "second text of a pair")),
        LABEL,
        PREDICTED,
        later(
            share(
                "probability",
                "probability of the predicted label, calibrated as `python -m mcbert predict` gives it: a "
                "softmax of the scores over a temperature fitted to the source language's dev texts; empty "
                "where the classifier has no scores of its labels",
            )
        ),
        SYSTEM,
        SEED,
        PROTOCOL,
        *stamp(),
    ),
)

_N_TEXTS = count("n_texts", "texts scored", "texts")
_N_TEXTS_OF_ALL = count("n_texts", "texts scored, of all target languages together", "texts")
_PAIRED_TESTS = (
    count("n_only_candidate", "texts that only this candidate classified correctly; empty for the winner",
          "texts", nullable=True),
    count("n_only_winner", "texts that only the winner classified correctly", "texts", nullable=True),
    share("p_value", "two-sided exact McNemar test of those two numbers", nullable=True),
    share("p_holm", "the same by Holm's method for all comparisons of the split (candidates x languages)",
          nullable=True),
)  # fmt: skip
_LOW = share("score_low", "lower end of the paired 95% bootstrap interval of `score`")
_HIGH = share("score_high", "upper end of it")
STANDINGS = ("better", "tied", "worse")
"""Outcomes of comparing one of the best candidates with the winner."""
WINNER = "winner"
"""Stands for an outcome in the rows of the winner itself, so that counts of `tied` leave it out."""

SCORES = Table(
    file_name="scores.csv",
    meaning="Every score of every candidate that did not fail, tidy. With one label per text, accuracy "
    "equals micro-F1.",
    row="a candidate, split and language",
    key=("rank", "split", "language"),
    columns=(
        count("rank", "rank of the candidate in gridsearch.csv, which has its id", least=1),
        SCORED_SPLIT,
        LANGUAGE,
        _N_TEXTS,
        share("f1_micro", "2 TP / (2 TP + FP + FN), TP, FP and FN summed over the labels"),
        share("f1_macro", "mean of the labels' F1; a label neither given nor predicted counts 0"),
        *stamp(),
    ),
    sums=over_targets("a candidate and split", _N_TEXTS_OF_ALL),
)

TOP = Table(
    file_name="top.csv",
    meaning="The best candidates compared with the winner, and whether chance alone explains the difference. "
    "Dev rows favour the winner, which was chosen by them; test rows do not.",
    row="one of the best candidates, a split and language",
    key=("candidate_id", "split", "language"),
    columns=(
        CANDIDATE,
        count("rank", "rank of the candidate in gridsearch.csv", least=1),
        PROTOCOL,
        METRIC,
        SCORED_SPLIT,
        LANGUAGE,
        _N_TEXTS,
        share(
            "chance",
            "score of always giving the most frequent label of the language and split; of micro-F1 the share "
            "of that label, never below the uniform rate, one over the number of labels",
        ),
        share("score", "the score that `metric` names"),
        _LOW,
        _HIGH,
        difference("versus_winner", "score minus the winner's"),
        difference("versus_winner_low", "lower end of the paired 95% bootstrap interval of that difference"),
        difference("versus_winner_high", "upper end of it"),
        *_PAIRED_TESTS,
        text(
            "standing",
            "beside the winner: better or worse where chance alone does not explain the difference (`p_holm` "
            "is below 0.05, by McNemar's test after Holm's correction, so that an interval that just "
            "excludes 0 may be tied; of macro-F1: the interval of `versus_winner` excludes 0), else tied; "
            "the winner itself: winner, or tied in files of earlier versions",
            (WINNER, *STANDINGS),
        ),
        SEED,
        *stamp(),
    ),
    sums=over_targets(
        "one of the best candidates and a split",
        _N_TEXTS_OF_ALL,
        text(
            "standing",
            "beside the winner: better or worse where the interval of `versus_winner` excludes 0, else tied; "
            "the winner itself: winner, or tied in files of earlier versions",
            (WINNER, *STANDINGS),
        ),
        without=tuple(column.name for column in _PAIRED_TESTS),
    ),
)

EFFECTS = Table(
    file_name="effects.csv",
    meaning="What each layer, pooling, classifier and number of layers adds to micro-F1, all else equal.",
    row="a level of a factor, a split and language",
    key=("factor", "level", "split", "language"),
    columns=(
        text(
            "factor",
            "layer: with it against the same candidate without it; the others: the level against the mean "
            "over the levels, candidates being equal in the rest",
            ("layer", "pooling", "classifier", "n_layers"),
        ),
        text("level", "the layer, pooling, classifier or number of layers"),
        SCORED_SPLIT,
        LANGUAGE,
        count("n", "comparisons averaged", "comparisons", least=1),
        difference("effect", "mean difference of micro-F1"),
        difference("effect_low", "lower end of the 95% bootstrap interval of `effect`"),
        difference("effect_high", "upper end of it"),
        *stamp(),
    ),
    sums=over_targets("a level of a factor and a split"),
)

REFERENCE = "reference"
UNCHOSEN = (ENSEMBLE, REFERENCE, "random")
"""What protocols.csv has beside the choices of the protocols."""

PROTOCOL_CHOICES = Table(
    file_name="protocols.csv",
    meaning="What each protocol would have chosen and how it scores: the price of having no target labels.",
    row="a protocol, split and language",
    key=("protocol", "split", "language"),
    columns=(
        text(
            "protocol",
            "how the choice was made, as elsewhere; ensemble: the mean of many candidates by the run's "
            "protocol; reference: no choice, the mean of the deepest layer with logistic regression; random: "
            "no choice, the mean over all candidates",
            (*PROTOCOLS, *UNCHOSEN),
        ),
        text("candidate_id", "id of the candidate chosen; empty for random", nullable=True),
        Column(name="used", dtype="bool", meaning="whether it is this run's winner"),
        METRIC,
        SCORED_SPLIT,
        LANGUAGE,
        share("score", "micro-F1"),
        _LOW,
        _HIGH,
        difference(
            "versus_oracle", "score minus that of the choice of target-dev; empty where that cannot choose"
        ),
        difference("versus_oracle_low", "lower end of the paired 95% bootstrap interval of that difference"),
        difference("versus_oracle_high", "upper end of it"),
        later(difference("versus_reference", "score minus that of the reference; empty where there is none")),
        later(
            difference(
                "versus_reference_low", "lower end of the paired 95% bootstrap interval of that difference"
            )
        ),
        later(difference("versus_reference_high", "upper end of it")),
        count("seed", "random seed of the candidate; empty for random", nullable=True),
        *stamp(),
    ),
    sums=over_targets("a protocol and a split"),
)
