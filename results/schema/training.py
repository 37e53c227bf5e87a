"""The tables of fine-tuning, and of what is compared at the end.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.column import (
    Column,
    Table,
    correlation,
    count,
    difference,
    later,
    layers,
    number,
    poolings,
    published_source,
    share,
    stamp,
    text,
)
from mcbert.results.schema.words import (
    EPOCH,
    LANGUAGE,
    NOT_STATED,
    PRECISION,
    PROTOCOL,
    PROTOCOLS,
    SCORED_SPLIT,
    SEED,
    STEP,
    SYSTEM,
    over_targets,
)

_MOMENT = (
    layers("frozen_layers", "layers frozen at that moment; empty for none", nullable=True),
    PROTOCOL,
    Column(name="chosen", dtype="bool", meaning="whether the protocol takes the weights of this moment"),
    number(
        "train_loss",
        "mean training loss since the evaluation before; empty for step 0",
        "nats",
        nullable=True,
    ),
)

_TRAINED = (
    PROTOCOL,
    PRECISION,
    count("epoch", "epochs after which the weights kept were those of the model"),
    count("step", "optimiser steps by then"),
    number("seconds", "time of the training, evaluations included", "seconds", least=0),
)

FINETUNE = Table(
    file_name="finetune.csv",
    meaning="Training curves. Test rows exist for the chosen moment only: test is scored once, at the end.",
    row="an evaluation, language and split of a system's training with one seed",
    key=("system", "seed", "epoch", "step", "language", "split"),
    columns=(
        SYSTEM,
        SEED,
        EPOCH,
        STEP,
        LANGUAGE,
        SCORED_SPLIT,
        share("accuracy", "share of the texts classified correctly"),
        number("loss", "mean cross-entropy", "nats", least=0),
        count("n_texts", "texts scored", "texts"),
        later(
            count(
                "sample_of",
                "texts of the split and language that the scored ones were drawn from (finetune.eval_texts); "
                "empty: all were scored",
                "texts",
            )
        ),
        later(
            number(
                "log_loss",
                "of the source's dev texts at this moment, scaled by the temperature that suits them; the "
                "same in each language's row; empty for test",
                "nats",
                least=0,
            )
        ),
        later(
            correlation(
                "agreement",
                "of the predictions for source texts and for their translations at this moment, beyond "
                "chance; the same in each language's row; empty for test, and without translations",
            )
        ),
        *_MOMENT,
        *stamp(),
    ),
)

TRAININGS = Table(
    file_name="trainings.csv",
    meaning="The trainings of finetune.csv: what was trained from what, what was kept, how long it took.",
    row="a system's training with one seed",
    key=("system", "seed"),
    columns=(
        SYSTEM,
        SEED,
        layers("layers", "layers whose pooled states feed the head; empty for the baseline", nullable=True),
        poolings("pooling", "pooling over the tokens; empty for the baseline", nullable=True),
        text(
            "start",
            "candidate of the search whose classifier the head started as; empty for a newly initialised one",
            nullable=True,
        ),
        *_TRAINED,
        *stamp(),
    ),
)

FREEZING = Table(
    file_name="freezing.csv",
    meaning="Freeze events: which layers stopped training, and when.",
    row="an event in a system's training with one seed",
    key=("system", "seed", "epoch", "step", "layers"),
    columns=(
        SYSTEM,
        SEED,
        EPOCH,
        STEP,
        layers("layers", "layers frozen by the event"),
        text("reason", "why then"),
        PROTOCOL,
        *stamp(),
    ),
)

_OBJECTIVE = text(
    "objective",
    "softmax: classify a pair from (u, v, abs(u - v)); ranking: find what a premise entails among the "
    "sentences of the batch",
    ("softmax", "ranking"),
)

EMBEDDINGS = Table(
    file_name="embeddings.csv",
    meaning="Training curves of sentence embeddings, on pairs of sentences. Test rows exist for the chosen "
    "moment only.",
    row="an evaluation, language and split of a training with one seed",
    key=("seed", "epoch", "step", "language", "split"),
    columns=(
        _OBJECTIVE,
        SEED,
        EPOCH,
        STEP,
        LANGUAGE,
        SCORED_SPLIT,
        share(
            "accuracy",
            "softmax: pairs classified correctly; ranking: premises whose entailed sentence is nearer than "
            "the one that contradicts them",
        ),
        number("loss", "mean cross-entropy of that choice", "nats", least=0),
        count("n_pairs", "pairs, or premises, scored", "pairs"),
        *_MOMENT,
        *stamp(),
    ),
)

EMBEDDINGS_TRAININGS = Table(
    file_name="embeddings_trainings.csv",
    meaning="The trainings of embeddings.csv: what was trained, what was kept, how long it took.",
    row="a training with one seed",
    key=("seed",),
    columns=(
        _OBJECTIVE,
        SEED,
        layers("layers", "layers whose pooled states are the vector"),
        poolings("pooling", "pooling over the tokens"),
        *_TRAINED,
        *stamp(),
    ),
)

EMBEDDINGS_FREEZING = Table(
    file_name="embeddings_freezing.csv",
    meaning="Freeze events of the training of sentence embeddings.",
    row="an event in a training with one seed",
    key=("seed", "epoch", "step", "layers"),
    columns=(
        _OBJECTIVE,
        SEED,
        EPOCH,
        STEP,
        layers("layers", "layers frozen by the event"),
        text("reason", "why then"),
        PROTOCOL,
        *stamp(),
    ),
)

TABLE1 = Table(
    file_name="table1.csv",
    meaning="Test accuracy of the systems with its interval, and the difference to the baseline. The "
    "reference, which is none of them, is in protocols.csv.",
    row="a system and language",
    key=("system", "language"),
    sums=over_targets("a system, over the target languages that it has"),
    columns=(
        SYSTEM,
        text("casing", "casing of the encoder", ("cased", "uncased", NOT_STATED)),
        PROTOCOL,
        LANGUAGE,
        share("accuracy", "test accuracy, mean over the seeds"),
        later(share("accuracy_low", "lower end of the 95% bootstrap interval of `accuracy` over texts")),
        later(share("accuracy_high", "upper end of it")),
        number(
            "sd", "standard deviation over the seeds; empty for single runs", "share 0-1", 0, nullable=True
        ),
        count("n_seeds", "trainings averaged"),
        difference(
            "dev_versus_probe",
            "dev accuracy, mean over the seeds, minus the probe's on the same texts; empty for the probe, "
            "and where there is none",
        ),
        text(
            "below_probe",
            "whether the model that the run kept of a trained system is below the probe on dev, by the run's "
            "metric and protocol: then the probe is the one to deploy; empty for the probe, and where there "
            "is none",
            ("yes", "no"),
            nullable=True,
        ),
        difference("versus_baseline", "accuracy minus the measured baseline's; empty where there is none"),
        difference(
            "versus_baseline_low", "lower end of the paired 95% bootstrap interval of that difference"
        ),
        difference("versus_baseline_high", "upper end of it"),
        difference(
            "versus_mcbert",
            "accuracy minus measured mcbert's, on the same texts: of mcbert_wf what freezing adds, of the "
            "probe what training takes; empty for baseline and mcbert, and where there is no mcbert",
        ),
        difference("versus_mcbert_low", "lower end of the paired 95% bootstrap interval of that difference"),
        difference("versus_mcbert_high", "upper end of it"),
        *stamp(),
    ),
)

PUBLISHED = Table(
    file_name="published/xnli.csv",
    meaning="Published XNLI accuracies, one source per row (results/published/).",
    row="a published system and language",
    key=("system", "language"),
    columns=(
        text("system", "name in the source, with the setting"),
        text("corpus", "corpus and split of the texts, as the source calls them"),
        LANGUAGE,
        share("accuracy", "accuracy on them"),
        text("casing", "casing of the encoder", ("cased", "uncased", NOT_STATED)),
        text("protocol", "how the choice was made, as elsewhere", (*PROTOCOLS, NOT_STATED)),
        *published_source(),
    ),
)
