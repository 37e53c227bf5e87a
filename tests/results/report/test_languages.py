import math

import pytest

from mcbert.results import csv_files
from mcbert.results.report import languages
from mcbert.results.runs import RunTables
from mcbert.results.schema.texts import CORPUS

PLAIN = {
    **{"language": "de", "score": 0.5, "low": 0.45, "high": 0.55, "chance": 0.2, "near": False},
    **{"likeness": 0.8, "unknown": 0.0, "marks_lost": 0.0, "cut": 0.0, "tokens": 10.0},
    **{"n_dev": 500, "n_test": 500},
}
SOURCE = PLAIN | {"language": "en", "score": 0.9, "likeness": math.nan}
OTHERS = [PLAIN | {"language": name, "score": 0.7} for name in ("es", "fr", "zh")]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "nothing in these figures explains it: read its errors"),
        ({"near": True, "score": 0.21}, "near chance: always answering the most frequent label scores 20.0%"),
        ({"unknown": 0.041}, "the encoder's vocabulary lacks 4.1% of its tokens"),
        ({"marks_lost": 0.3}, "the tokenizer drops 30% of its accents and vowel signs"),
        ({"cut": 0.12}, "12% of its texts are longer than the encoder reads, and cut"),
        ({"tokens": 23.0}, "its texts take 2.3 times as many tokens: the vocabulary has few of its words"),
        ({"likeness": 0.6}, "far from the source language: 60% of the translations are labelled like their "
                            "originals, of the median language's 80%"),
        ({"score": 0.88}, "as good as the source language"),
        ({"score": 0.75, "low": 0.72, "high": 0.8}, "above the mean over the target languages"),
        ({"high": 0.66}, "not significantly different from the mean over the target languages"),
        (dict.fromkeys(("unknown", "marks_lost", "cut", "tokens", "likeness"), math.nan),
         "nothing in these figures explains it: read its errors"),
    ],
)  # fmt: skip
def test_reasons_are_plain_words(changed, said):
    row = PLAIN | changed
    assert languages.reasons(row, SOURCE, [row, *OTHERS], "source-dev") == [said]


def test_few_dev_texts_count_only_where_they_took_part_in_the_choice():
    row = PLAIN | {"n_dev": 30}
    assert languages.reasons(row, SOURCE, [row, *OTHERS], "target-dev") == [
        "30 labelled dev texts took part in the choice"
    ]
    assert "dev" not in languages.reasons(row, SOURCE, [row, *OTHERS], "agreement")[0]


def test_a_source_language_near_chance_is_to_be_looked_at_first():
    assert languages.reasons(SOURCE, SOURCE, OTHERS, "last") == []
    failed = SOURCE | {"near": True}
    assert languages.reasons(failed, failed, OTHERS, "last")[-1] == "check its texts and labels first"


def test_languages_stand_by_score_with_what_the_corpus_says_of_them(run_dir):
    found = languages.languages(RunTables.read(run_dir))
    scores = [row["score"] for row in found["rows"]]
    assert scores == sorted(scores)
    assert found["system"] == "mcbert_wf"  # the highest mean, as no model to deploy is named
    corpus = csv_files.read(CORPUS, run_dir / "corpus.csv").query("language == 'ar' and split == 'test'")
    (arabic,) = [row for row in found["rows"] if row["language"] == "ar"]
    assert arabic["n_test"] == corpus["n_texts"].sum()
    assert 0 < arabic["low"] < arabic["score"] < arabic["high"]
    assert arabic["unknown"] == pytest.approx(
        (corpus["unknown_share"] * corpus["n_tokens"]).sum() / corpus["n_tokens"].sum()
    )


def test_one_language_is_no_comparison():
    assert languages.languages(RunTables("x", {}, {}, "en")) is None
