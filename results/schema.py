"""Every column of every CSV file, declared once; writers, readers, validator and README follow it.

python -m results.dictionary > results/README.md
"""

from __future__ import annotations

from results.columns import Column, Table
from results.kinds import count as _count
from results.kinds import difference as _difference
from results.kinds import layers as _layers
from results.kinds import number as _number
from results.kinds import share as _share
from results.kinds import stamp as _stamp
from results.kinds import text as _text

POOLINGS = ("max", "mean", "cls")
CLASSIFIERS = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
PROTOCOLS = ("source-dev", "target-dev", "last")
SYSTEMS = ("probe", "baseline", "mcbert", "mcbert_wf")
SPLITS = ("train", "dev", "test")
NOT_STATED = "not stated"

_SYSTEM = _text(
    "system",
    "probe: the searched winner on the frozen encoder; baseline: fine-tuned [CLS]; "
    "mcbert: fine-tuned winning layers; mcbert_wf: the same with dynamic freezing",
    SYSTEMS,
)
_SEED = _count("seed", "random seed")
_LANGUAGE = _text("language", "language of the texts, as in the corpus")
_SPLIT = _text("split", "part of the corpus", SPLITS)
_SCORED_SPLIT = _text("split", "part of the corpus that was scored", ("dev", "test"))
_LABEL = _text("label", "true label")
_PREDICTED = _text("predicted", "predicted label")
_PROTOCOL = _text(
    "protocol",
    "how the choice was made: source-dev (dev labels of the source language only), target-dev (mean over "
    "the target languages' dev labels: an oracle), last (no selection); where several choices were made "
    "(layers, pooling, epoch), the one that looked at most",
    PROTOCOLS,
)
_EPOCH = _count("epoch", "epochs trained when the row was made; 0 = before training")
_STEP = _count("step", "optimiser steps made by then")
_CANDIDATE = _text(
    "candidate_id", "stable id of the candidate (layers, pooling, classifier and its parameters)"
)

TEXTS = Table(
    file_name="texts.csv",
    meaning="The corpus: every labelled text, in all languages.",
    row="a text (or pair of texts)",
    key=("id",),
    columns=(
        _text("id", "id; a translation has the id of its original, `-` and its language"),
        _text("text", "the text; in the source language, whatever `language` says, under translate-test"),
        _text("text_pair", "second text of a pair; empty for single texts", nullable=True),
        _LABEL,
        _LANGUAGE,
        _SPLIT,
    ),
)

REJECTED = Table(
    file_name="rejected.csv",
    meaning='Rows of the input that could not be used and were left out, with `corpus.on_bad = "skip"`.',
    row="a row of an input file",
    key=("run", "file", "row"),
    columns=(
        _text("file", "the file, as far as it tells the input files apart"),
        _count("row", "data row in it, from 1", least=1),
        _count("line", "its first physical line; empty where the form has no lines", least=1, nullable=True),
        _text("column", "column at fault; empty where it is the whole row", nullable=True),
        _text("id", "id of the row, where it is known", nullable=True),
        _text("reason", "what was given and what is accepted; texts are not repeated"),
        *_stamp(),
    ),
)

CORPUS = Table(
    file_name="corpus.csv",
    meaning="Counts of the corpus as the encoder's tokenizer sees it.",
    row="a label of a language and split",
    key=("run", "language", "split", "label"),
    columns=(
        _LANGUAGE,
        _SPLIT,
        _LABEL,
        _count("n_texts", "texts", "texts"),
        _count("n_distinct", "distinct texts among them", "texts"),
        _number("tokens_median", "median length, special tokens included", "tokens", least=0),
        _count("tokens_max", "greatest length, before truncation", "tokens"),
        _share("unknown_share", "tokens that the vocabulary does not hold, of all tokens"),
        _share(
            "marks_lost_share",
            "combining marks (accents, vowel signs) that the tokenizer drops, of all in the texts; 0 where "
            "there are none",
        ),
        _share("truncated_share", "texts longer than the encoder's maximum, of all texts"),
        *_stamp(),
    ),
)

GRIDSEARCH = Table(
    file_name="gridsearch.csv",
    meaning="The search: every candidate on the frozen encoder with its score in every language.",
    row="a candidate",
    key=("run", "candidate_id"),
    columns=(
        _count("rank", "1 = best by `score`; empty where the candidate failed", least=1, nullable=True),
        _CANDIDATE,
        _layers("layers", "layers whose pooled states are concatenated"),
        _count("n_layers", "how many layers", "layers", least=1),
        _text("pooling", "pooling over the tokens", POOLINGS),
        _text("classifier", "classifier on the pooled states", CLASSIFIERS),
        _text("params", "the classifier's parameters, JSON with sorted keys"),
        _SEED,
        _PROTOCOL,
        _number("score", "what the protocol ranks by; empty where there is none", "", nullable=True),
        _share("dev_f1_mean", "dev micro-F1, mean over the target languages", nullable=True),
        _share("test_f1_mean", "test micro-F1, mean over the target languages", nullable=True),
        _share("dev_f1_{language}", "dev micro-F1 of the language", nullable=True),
        _share("test_f1_{language}", "test micro-F1 of the language", nullable=True),
        _number("fit_seconds", "time to fit", "seconds", least=0, nullable=True),
        _number("score_seconds", "time to predict and score", "seconds", least=0, nullable=True),
        _text("status", "whether the candidate was fitted and scored", ("ok", "error")),
        _text("message", "what went wrong; empty for ok", nullable=True),
        *_stamp(),
    ),
)

LABELS = Table(
    file_name="labels*.csv",
    meaning="Labels that a trained model gave to texts: `python -m pipeline predict`.",
    row="a text of the input, in its order",
    key=("row",),
    columns=(
        _count("row", "data row of the input, from 1; rows that were left out are missing", least=1),
        _text("id", "id in the input; empty where it has none", nullable=True),
        _text("label", "predicted label"),
        _share("probability", "probability of that label, as the model's config.json says how to make it"),
        _share("probability_{label}", "probability of the label"),
    ),
)

CONFUSION = Table(
    file_name="confusion.csv",
    meaning="Confusion matrices of the best candidates, tidy.",
    row="a cell (true label, predicted label) of a candidate's matrix for a language and split",
    key=("run", "candidate_id", "language", "split", "label", "predicted"),
    columns=(
        _CANDIDATE,
        _count("rank", "rank of the candidate in gridsearch.csv", least=1),
        _PROTOCOL,
        _LANGUAGE,
        _SCORED_SPLIT,
        _LABEL,
        _PREDICTED,
        _count("n", "texts with that label and prediction", "texts"),
        *_stamp(),
    ),
)

PREDICTIONS = Table(
    file_name="predictions_*.csv",
    meaning="What each system predicted for every dev and test text.",
    row="a text and a trained system (system, seed)",
    key=("run", "system", "seed", "language", "split", "id"),
    columns=(
        _SYSTEM,
        _SEED,
        _text("id", "id of the text in texts.csv"),
        _LANGUAGE,
        _SCORED_SPLIT,
        _LABEL,
        _PREDICTED,
        *_stamp(),
    ),
)

FINETUNE = Table(
    file_name="finetune.csv",
    meaning="Training curves. Test rows exist for the chosen epoch only: test is scored once, at the end.",
    row="an epoch, language and split of a system's training with one seed",
    key=("run", "system", "seed", "epoch", "language", "split"),
    columns=(
        _SYSTEM,
        _SEED,
        _EPOCH,
        _STEP,
        _LANGUAGE,
        _SCORED_SPLIT,
        _share("accuracy", "texts classified rightly, of all texts"),
        _number("loss", "mean cross-entropy", "nats", least=0),
        _count("n_texts", "texts scored", "texts"),
        _layers("layers", "layers whose pooled states feed the head; empty for the baseline", nullable=True),
        _text("pooling", "pooling over the tokens; empty for the baseline", POOLINGS, nullable=True),
        _layers("frozen_layers", "layers frozen at that moment; empty for none", nullable=True),
        _PROTOCOL,
        Column(name="chosen", dtype="bool", meaning="whether the protocol takes this epoch"),
        _number("seconds", "time since the start of this training", "seconds", least=0),
        _number("train_loss", "mean training loss of the epoch; empty for epoch 0", "nats", nullable=True),
        *_stamp(),
    ),
)

FREEZING = Table(
    file_name="freezing.csv",
    meaning="Freeze events: which layers stopped training, and when.",
    row="an event in a system's training with one seed",
    key=("run", "system", "seed", "epoch", "step", "layers"),
    columns=(
        _SYSTEM,
        _SEED,
        _EPOCH,
        _STEP,
        _layers("layers", "layers frozen by the event"),
        _text("reason", "why then"),
        *_stamp(),
    ),
)

TABLE1 = Table(
    file_name="table1.csv",
    meaning="Test accuracy of measured systems and published ones, with the difference to the baseline.",
    row="a system and language; language `mean` is the mean over its target languages",
    key=("system", "source", "casing", "protocol", "language"),
    columns=(
        _text("system", "measured: as in predictions_*.csv; published: the name in the source"),
        _text("source", "measured in this run, or published elsewhere", ("measured", "published")),
        _text("citation", "where a published figure stands; empty for measured ones", nullable=True),
        _text("corpus", "corpus of the test texts: figures of unlike corpora are not comparable"),
        _text("casing", "casing of the encoder", ("cased", "uncased", NOT_STATED)),
        _text("protocol", "how the choice was made, as elsewhere", (*PROTOCOLS, NOT_STATED)),
        _LANGUAGE,
        _share("accuracy", "test accuracy, mean over the seeds"),
        _number(
            "sd", "standard deviation over the seeds; empty for single runs", "share 0-1", 0, nullable=True
        ),
        _count("n_seeds", "trainings averaged; empty where the source does not say", nullable=True),
        _difference("versus_baseline", "accuracy minus the measured baseline's; empty where there is none"),
        _difference("low", "lower end of the paired 95% bootstrap interval of that difference"),
        _difference("high", "upper end of it"),
        *_stamp(nullable=True),
    ),
)

PUBLISHED = Table(
    file_name="xnli.csv",
    meaning="Published XNLI test accuracies, one source per row (results/published/).",
    row="a published system and language",
    key=("system", "language"),
    columns=(
        _text("system", "name in the source, with the setting"),
        _text("corpus", "corpus of the test texts"),
        _LANGUAGE,
        _share("accuracy", "test accuracy"),
        _text("casing", "casing of the encoder", ("cased", "uncased", NOT_STATED)),
        _text("protocol", "how the choice was made, as elsewhere", (*PROTOCOLS, NOT_STATED)),
        _text("citation", "where the figure stands"),
    ),
)

TATOEBA = Table(
    file_name="tatoeba.csv",
    meaning="Bilingual similarity search on the frozen encoder: whose nearest sentence is its translation.",
    row="a language, direction, layer, pooling and score",
    key=("run", "language", "direction", "layer", "pooling", "score"),
    columns=(
        _text("language", "language beside English, by its code as asked for or in the file names"),
        _text(
            "direction",
            "to-en: for each sentence the nearest English one; from-en: for each English one the nearest",
            ("to-en", "from-en"),
        ),
        _count("layer", "layer whose pooled states were compared, 0 = the embedding output"),
        _text("pooling", "pooling over the tokens", POOLINGS),
        _text(
            "score",
            "how near: cosine; margin: cosine over the mean one to the nearest of the other side "
            "(ratio margin, Artetxe & Schwenk 2019)",
            ("cosine", "margin"),
        ),
        _count("n", "pairs of sentences", "pairs", least=1),
        _count("n_skipped", "pairs of which a sentence has no finite state; they count as wrong", "pairs"),
        _count("n_right", "sentences whose nearest one is their own translation", "pairs"),
        _share("accuracy", "n_right / n"),
        _share("error_rate", "1 - accuracy"),
        *_stamp(),
    ),
)

_MEASURED = (CORPUS, GRIDSEARCH, CONFUSION, PREDICTIONS, FINETUNE, FREEZING, TABLE1, TATOEBA)
TABLES = (TEXTS, REJECTED, *_MEASURED, LABELS, PUBLISHED)
"""Every declared table."""
STAMP = tuple(column.name for column in _stamp())
"""The columns that every row of a run carries."""
