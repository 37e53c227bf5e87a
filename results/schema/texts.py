"""The tables of texts: the corpus, and labels, vectors and neighbours of new ones.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.column import Column, Table, count, number, share, stamp, text
from mcbert.results.schema.words import LABEL, LANGUAGE, SPLIT

TEXTS = Table(
    file_name="texts.csv",
    meaning="The corpus: every labelled text, in all languages.",
    row="a text (or pair of texts)",
    key=("id",),
    columns=(
        text("id", "id; a translation has the id of its original, `-` and its language"),
        text("text", "the text; in the source language, whatever `language` says, under translate-test"),
        text("text_pair", "second text of a pair; empty for single texts", nullable=True),
        LABEL,
        LANGUAGE,
        SPLIT,
    ),
)

REJECTED = Table(
    file_name="rejected.csv",
    meaning='Rows of the input that were left out: with `corpus.on_bad = "skip"` those that could not be '
    "used, dev and test texts that occur in train (`corpus.leaks`), texts without a majority of one label "
    "(`corpus.conflicts`).",
    row="a text of an input file",
    key=("file", "row", "id"),
    columns=(
        text(
            "file",
            "the file, with as much of its path as distinguishes it; for a translation its original's",
        ),
        count("row", "data row in it, from 1", least=1),
        count("line", "its first physical line; empty where the form has no lines", least=1, nullable=True),
        text("column", "column at fault; empty where it is the whole row", nullable=True),
        text("id", "id of the row, where it is known", nullable=True),
        text("reason", "what was given and what is accepted; texts are not repeated"),
        *stamp(),
    ),
)

CORPUS = Table(
    file_name="corpus.csv",
    meaning="Counts of the corpus as the encoder's tokenizer sees it.",
    row="a label of a language and split",
    key=("language", "split", "label"),
    columns=(
        LANGUAGE,
        SPLIT,
        LABEL,
        count("n_texts", "texts", "texts"),
        count("n_distinct", "distinct texts among them", "texts"),
        number("tokens_median", "median length, special tokens included", "tokens", least=0),
        count("tokens_max", "greatest length, before truncation", "tokens"),
        count("n_tokens", "tokens of the texts, special ones left out", "tokens"),
        share("unknown_share", "tokens that the vocabulary does not hold, of all of them"),
        count("n_marks", "combining marks (accents, vowel signs) in the texts", "marks"),
        share("marks_lost_share", "marks that the tokenizer drops, of all of them; 0 where there are none"),
        share("truncated_share", "texts longer than the encoder's maximum, of all texts"),
        *stamp(),
    ),
)

LABELS = Table(
    file_name="labels*.csv",
    meaning="Labels that a trained model gave to texts: `python -m mcbert predict`.",
    row="a text of the input, in its order",
    key=("row",),
    columns=(
        count("row", "data row of the input, from 1; rows that were left out are missing", least=1),
        text("id", "id in the input; empty where it has none", nullable=True),
        text("label", "predicted label; empty below the threshold of `--abstain`", nullable=True),
        share(
            "probability", "probability of the predicted label, calibrated as described in the model's card"
        ),
        share("probability_{label}", "probability of the label"),
    ),
)

_ROW = count("row", "data row of the input, from 1; rows that were left out are missing", least=1)
_ID = text("id", "id in the input; empty where it has none", nullable=True)

VECTOR_IDS = Table(
    file_name="*.ids.csv",
    meaning="Whose the vectors of an array are: `python -m mcbert embed` with an output `.npy`.",
    row="a row of the array, in its order",
    key=("position",),
    columns=(count("position", "row of the array, from 0"), _ROW, _ID),
)

NEIGHBOURS = Table(
    file_name="neighbours*.csv",
    meaning="The nearest texts of a corpus for each query: `python -m mcbert nearest`.",
    row="a query and one of its neighbours; queries in the input's order, the nearest first",
    key=("query_row", "rank"),
    columns=(
        count("query_row", "data row of the query, from 1; rows that were left out are missing", least=1),
        text("query_id", "id of the query; empty where it has none", nullable=True),
        count("rank", "1 the nearest; equally near ones in the order of the corpus", least=1),
        count("row", "data row of the neighbour in the corpus, from 1", least=1),
        text("id", "id of the neighbour; empty where it has none", nullable=True),
        Column(
            name="cosine",
            dtype="float",
            meaning="cosine of the two vectors",
            unit="-1 to 1",
            bounds=(-1, 1),
        ),
    ),
)
