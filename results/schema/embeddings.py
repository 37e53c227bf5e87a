"""The tables of sentence embeddings: semantic similarity, translation retrieval, and published figures.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

import dataclasses

from mcbert.results.column import (
    Column,
    Sums,
    Table,
    correlation,
    count,
    difference,
    layers,
    number,
    poolings,
    published_source,
    share,
    stamp,
    text,
)
from mcbert.results.schema.words import LANGUAGE, MEAN, NOT_STATED, PROTOCOLS

SENTENCE_SYSTEMS = ("frozen", "fine-tuned", "other")
SEED_COMPAT = "-seed-compat"
DIRECTIONS = ("to-en", "from-en", "both")
RETRIEVAL_SCORES = ("cosine", "margin")
SIMILARITY_NAMES = ("cosine", "manhattan", "euclidean", "dot")

_SYSTEM = text(
    "system",
    "frozen: the encoder as it came, a layer (or several) pooled; fine-tuned: made by the stage embeddings; "
    "other: another sentence encoder; -seed-compat: the sentences were lower-cased and stripped of combining "
    "marks first, as the original's very likely were",
    tuple(name + end for name in SENTENCE_SYSTEMS for end in ("", SEED_COMPAT)),
)
_MADE = (
    text(
        "protocol",
        "how the system was chosen, as elsewhere; last for the layers of the frozen encoder, all of which "
        "are measured; empty for other encoders",
        PROTOCOLS,
        nullable=True,
    ),
    count("seed", "random seed of its training; empty for what was not trained here", nullable=True),
)
_LAYERS = layers("layers", "layers whose pooled states are joined; empty where not known", nullable=True)
_POOLING = poolings("pooling", "pooling over the tokens; empty where not known", nullable=True)
_SPLIT = text("split", "dev: for choosing; test: for reporting", ("dev", "test"))
_CODE = "language beside English, by its code as asked for or in the file names"
_LANGUAGE = dataclasses.replace(LANGUAGE, meaning=_CODE)
_NEAREST = "to-en: for each sentence the nearest English one; from-en: for each English one the nearest"
_DIRECTION = text("direction", _NEAREST, DIRECTIONS[:2])
_OVERALL = (
    text("language", f"{_CODE}; {MEAN}: the mean over them"),
    text("direction", f"{_NEAREST}; both: both together", DIRECTIONS),
)
_BY = {"language": MEAN, "direction": "both"}
_SCORE = text(
    "score",
    "how near: cosine (the headline); margin: cosine over the mean one to the nearest of the other side "
    "(ratio margin, Artetxe & Schwenk 2019)",
    RETRIEVAL_SCORES,
)
_SIMILARITY = text(
    "similarity",
    "measure of two vectors: cosine (the headline, fixed in advance), manhattan and euclidean (negative "
    "distances), dot (inner product)",
    SIMILARITY_NAMES,
)


def _versus(end: str, meaning: str) -> Column:
    return number(f"versus_frozen{end}", meaning, "correlation", -2, nullable=True)


_STAMP = tuple(
    dataclasses.replace(column, stamped=column.name != "encoder")  # systems have encoders of their own
    for column in stamp()
)
_SYSTEM_KEY = ("system", "encoder", "layers", "pooling")

STS = Table(
    file_name="sts.csv",
    meaning="Semantic textual similarity in English: how far each system's similarities of sentences agree "
    "with people's. The headline is the Spearman correlation of the cosine; no maximum over the four is a "
    "score.",
    row="a system, split and measure of similarity",
    key=(*_SYSTEM_KEY, "split", "similarity"),
    columns=(
        _SYSTEM,
        _LAYERS,
        _POOLING,
        *_MADE,
        _SPLIT,
        _SIMILARITY,
        count("n_pairs", "pairs of sentences", "pairs", least=2),
        correlation("pearson", "linear correlation with the scores; empty where all similarities are equal"),
        correlation("spearman", "the same of ranks"),
        correlation(
            "spearman_low", "lower end of the 95% bootstrap interval of `spearman` over pairs; cosine only"
        ),
        correlation("spearman_high", "upper end of it"),
        layers(
            "frozen_layers",
            "layers of the best frozen baseline, chosen by `spearman` of the cosine on dev",
            nullable=True,
        ),
        poolings("frozen_pooling", "its pooling", nullable=True),
        _versus("", "`spearman` minus that baseline's on the same pairs; cosine only"),
        _versus("_low", "lower end of the paired 95% bootstrap interval of that difference"),
        _versus("_high", "upper end of it"),
        share("altered", "share of the sentences that lower-casing and stripping marks alters"),
        *_STAMP,
    ),
)

TATOEBA = Table(
    file_name="tatoeba.csv",
    meaning="Bilingual similarity search: whose nearest sentence is its translation, by every layer x "
    "pooling of the frozen encoder and by each sentence encoder beside it.",
    row="a system, language, split, direction and score",
    key=(*_SYSTEM_KEY, "language", "split", "direction", "score"),
    columns=(
        _SYSTEM,
        _LAYERS,
        _POOLING,
        *_MADE,
        _LANGUAGE,
        _SPLIT,
        _DIRECTION,
        _SCORE,
        count("n", "sentences searched for", least=1),
        count("n_skipped", "those in a pair of which a sentence has no finite state; they count as wrong"),
        count("n_right", "sentences whose nearest one is their own translation"),
        share("accuracy", "n_right / n"),
        share("error_rate", "1 - accuracy"),
        share("error_rate_low", "lower end of the 95% bootstrap interval of `error_rate` over sentences"),
        share("error_rate_high", "upper end of it"),
        share("altered", "share of the language's sentences that lower-casing and stripping marks alters"),
        share("stripped", "share that loses a combining mark by it, such as an accent or a vowel sign"),
        *_STAMP,
    ),
    sums=Sums(
        row="a system, split and score, over all languages, both directions or both",
        by=_BY,
        columns=(
            *_OVERALL,
            count("n", "sentences searched for; in both directions twice as many as pairs", least=1),
            share("accuracy", f"n_right / n; for {MEAN}, the mean of the languages' shares"),
        ),
    ),
)

REDUCTIONS = Table(
    file_name="reductions.csv",
    meaning="Which share of the errors of tatoeba.csv a sentence encoder avoids beside a frozen baseline: "
    "mean, max and CLS of the last layer, and of its own layers.",
    row="a system, baseline, language, split, direction and score",
    key=(*_SYSTEM_KEY, "baseline_layers", "baseline_pooling", "language", "split", "direction", "score"),
    columns=(
        _SYSTEM,
        _LAYERS,
        _POOLING,
        *_MADE,
        layers("baseline_layers", "layers of the frozen baseline"),
        poolings("baseline_pooling", "its pooling"),
        _LANGUAGE,
        _SPLIT,
        _DIRECTION,
        _SCORE,
        share("error_rate", "the system's, as in tatoeba.csv"),
        share("baseline_error_rate", "the baseline's"),
        difference("difference", "error_rate minus baseline_error_rate"),
        number(
            "reduction",
            "1 - error_rate / baseline_error_rate, below 0 where the system errs more; empty where the "
            "baseline makes no error",
            "share of errors",
            nullable=True,
        ),
        number(
            "reduction_low",
            "lower end of the paired 95% bootstrap interval of `reduction` over sentences",
            "share of errors",
            nullable=True,
        ),
        number("reduction_high", "upper end of it", "share of errors", nullable=True),
        *_STAMP,
    ),
    sums=Sums(
        row="a system, baseline, split and score, over all languages, both directions or both",
        by=_BY,
        columns=_OVERALL,
    ),
)

_PUBLISHED_SYSTEM = text("system", "name in the source, with the setting")
_CASING = text("casing", "casing of the encoder", ("cased", "uncased", NOT_STATED))
_PROTOCOL = text("protocol", "how the choice was made, as elsewhere", (*PROTOCOLS, NOT_STATED))

PUBLISHED_TATOEBA = Table(
    file_name="published/tatoeba.csv",
    meaning="Published error rates on the Tatoeba sets of LASER, one source per row (results/published/).",
    row="a published system, language and direction",
    key=("system", "language", "direction"),
    columns=(
        _PUBLISHED_SYSTEM,
        text("corpus", "corpus of the sentences"),
        text("language", "language beside English, by its code in the file names"),
        text("direction", "as in tatoeba.csv", (*DIRECTIONS[:2], NOT_STATED)),
        share("error_rate", "by the nearest neighbour in cosine"),
        _CASING,
        _PROTOCOL,
        *published_source(),
    ),
)

PUBLISHED_STS = Table(
    file_name="published/sts.csv",
    meaning="Published correlations on STS Benchmark, one source per row (results/published/).",
    row="a published system, split and measure of similarity",
    key=("system", "split", "similarity"),
    columns=(
        _PUBLISHED_SYSTEM,
        text("corpus", "corpus of the pairs"),
        _SPLIT,
        text("similarity", "measure of two vectors, as in sts.csv", (*SIMILARITY_NAMES, NOT_STATED)),
        correlation("pearson", "linear correlation; empty where the source does not give it"),
        correlation("spearman", "rank correlation"),
        _CASING,
        _PROTOCOL,
        *published_source(),
    ),
)
