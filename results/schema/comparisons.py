"""The tables that set the search against chance.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.columns import Column, Table
from mcbert.results.kinds import count, difference, share, stamp, text
from mcbert.results.schema.words import (
    CANDIDATE,
    LANGUAGE,
    METRIC,
    PROTOCOL,
    PROTOCOLS,
    SCORED_SPLIT,
    SEED,
    over_targets,
)

_N_TEXTS = count("n_texts", "texts scored", "texts")
_N_TEXTS_OF_ALL = count("n_texts", "texts scored, of all target languages together", "texts")
_PAIRED_TESTS = (
    count("n_only_candidate", "texts that only this candidate classified rightly; empty for the winner",
          "texts", nullable=True),
    count("n_only_winner", "texts that only the winner classified rightly", "texts", nullable=True),
    share("p_value", "two-sided exact McNemar test of those two numbers", nullable=True),
    share("p_holm", "the same by Holm's method for all comparisons of the split (candidates x languages)",
          nullable=True),
)  # fmt: skip
_LOW = share("low", "lower end of the paired 95% bootstrap interval of `score`")
_HIGH = share("high", "upper end of it")
STANDINGS = ("better", "tied", "worse")
"""What one of the best candidates may be beside the winner."""

SCORES = Table(
    file_name="scores.csv",
    meaning="Every score of every candidate that did not fail, tidy. With one label per text, accuracy "
    "equals micro-F1.",
    row="a candidate, split and language",
    key=("run", "candidate_id", "split", "language"),
    columns=(
        CANDIDATE,
        SCORED_SPLIT,
        LANGUAGE,
        _N_TEXTS,
        share("micro_f1", "2 TP / (2 TP + FP + FN), TP, FP and FN summed over the labels"),
        share("macro_f1", "mean of the labels' F1; a label neither given nor predicted counts 0"),
        share("accuracy", "texts classified rightly, of all texts"),
        SEED,
        PROTOCOL,
        *stamp(),
    ),
    sums=over_targets("a candidate and split", _N_TEXTS_OF_ALL),
)

TOP = Table(
    file_name="top.csv",
    meaning="The best candidates beside the winner: what chance alone could have done. Dev rows flatter the "
    "winner, which was chosen by them; test rows do not.",
    row="one of the best candidates, a split and language",
    key=("run", "candidate_id", "split", "language"),
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
            "is below 0.05; of macro-F1: the interval of `versus_winner` excludes 0), else tied, as the "
            "winner is with itself",
            STANDINGS,
        ),
        SEED,
        *stamp(),
    ),
    sums=over_targets(
        "one of the best candidates and a split",
        _N_TEXTS_OF_ALL,
        text(
            "standing",
            "beside the winner: better or worse where the interval of `versus_winner` excludes 0, else tied",
            STANDINGS,
        ),
        without=tuple(column.name for column in _PAIRED_TESTS),
    ),
)

EFFECTS = Table(
    file_name="effects.csv",
    meaning="What each layer, pooling, classifier and number of layers adds to micro-F1, all else equal.",
    row="a level of a factor, a split and language",
    key=("run", "factor", "level", "split", "language"),
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
        difference("low", "lower end of the 95% bootstrap interval of `effect`"),
        difference("high", "upper end of it"),
        *stamp(),
    ),
    sums=over_targets("a level of a factor and a split"),
)

PROTOCOL_CHOICES = Table(
    file_name="protocols.csv",
    meaning="What each protocol would have chosen and how it scores: the price of having no target labels.",
    row="a protocol, split and language",
    key=("run", "protocol", "split", "language"),
    columns=(
        text(
            "protocol",
            "how the choice was made, as elsewhere; random: no choice, the mean over all candidates",
            (*PROTOCOLS, "random"),
        ),
        text("candidate_id", "id of the candidate chosen; empty for random", nullable=True),
        Column(name="used", dtype="bool", meaning="whether this run chose by the protocol"),
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
        count("seed", "random seed of the candidate; empty for random", nullable=True),
        *stamp(),
    ),
    sums=over_targets("a protocol and a split"),
)
