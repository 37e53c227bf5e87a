"""The table of the search over phase two's own settings.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.column import (
    Table,
    count,
    difference,
    later,
    layers,
    number,
    poolings,
    share,
    stamp,
    text,
)
from mcbert.results.schema.words import LANGUAGE, PROTOCOL, SYSTEM, over_targets

TUNE = Table(
    file_name="tune.csv",
    meaning="Phase two's own settings, tried on dev: combinations of values, best first. The best of many is "
    "the luckiest too: what it gains here, it gains on dev.",
    row="a trial (a combination of values) and language",
    key=("trial", "language"),
    sums=over_targets("a trial; of a failed one without accuracy"),
    columns=(
        count("rank", "place by the score that `ranked_by` names, ties to the lower trial; empty for a "
              "failed trial", least=1, nullable=True),
        count("trial", "number of the combination; 0: the settings as they are"),
        LANGUAGE,
        share("accuracy", "dev accuracy, mean over the seeds", nullable=True),
        number(
            "sd", "standard deviation over the seeds; empty for single ones", "share 0-1", 0, nullable=True
        ),
        count("n_seeds", "trainings averaged", nullable=True),
        later(
            number(
                "agreement",
                "agreement of the predictions for dev texts and for their translations, beyond chance, less "
                "the source's log-loss, of the weights kept, mean over the seeds; empty without translations",
                "-1 to 1, less nats",
            )
        ),
        difference("versus_default", "accuracy minus that of trial 0; empty for trial 0"),
        difference("versus_default_low", "lower end of the paired 95% bootstrap interval of that difference"),
        difference("versus_default_high", "upper end of it"),
        text("changes", "the settings of `finetune` that differ from trial 0, with their values, as JSON"),
        SYSTEM,
        layers("layers", "layers whose pooled states feed the head; empty for the baseline", nullable=True),
        poolings("pooling", "pooling over the tokens; empty for the baseline", nullable=True),
        text(
            "ranked_by",
            "dev score that ranks: the accuracy of the source language, `agreement`, or the mean accuracy "
            "over the target languages",
            ("source-dev", "agreement", "target-dev"),
        ),
        PROTOCOL,
        text(
            "precision",
            "of the products in training, whatever was asked for; several, joined by +, where the trainings "
            "ran on unlike machines; empty where none went through",
            nullable=True,
        ),
        text("status", "whether every training went through", ("ok", "error")),
        text("message", "what went wrong first; empty for ok", nullable=True),
        number("seconds", "mean time of a training", "seconds", least=0),
        *stamp(),
    ),
)  # fmt: skip
