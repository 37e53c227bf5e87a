"""The shipped corpus is what its README says."""

import re
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.formats.readers import read_table
from mcbert.features.corpus.preparation.prepare import prepare
from mcbert.home import HOME
from mcbert.pipeline.config import load

FOLDER = HOME / "samples" / "intents"
LANGUAGES = ("ar", "de", "es", "fr", "ur", "zh")
SCRIPT = {"ar": r"[\u0600-\u06ff]", "ur": r"[\u0600-\u06ff]", "zh": r"[\u4e00-\u9fff]"}


@pytest.fixture(scope="module")
def raw():
    return read_table(FOLDER / "raw.csv", ("id", "text", "label"))


@pytest.fixture(scope="module")
def corpus():
    return Corpus.of(prepare(load("demo").prepare), "en", "demo")


def test_raw_counts(raw):
    counts = raw["label"].value_counts().to_dict()
    assert counts == {
        "delivery_problem": 340,
        "refund_status": 280,
        "cancel_order": 230,
        "talk_to_person": 190,
        "product_question": 115,
        "change_account_details": 90,
    }
    assert raw["id"].is_unique


def test_no_near_duplicates(raw):
    alike = []
    for _, texts in raw.groupby("label")["text"]:
        bags = [(text, frozenset(re.findall(r"\w+", text.lower()))) for text in texts]
        alike += [(s, t) for (s, a), (t, b) in combinations(bags, 2) if 2 * len(a & b) >= len(a | b)]
    assert alike == []


def test_prepared_counts(corpus):
    sizes = corpus.table.groupby(["language", "split", "label"]).size()
    assert corpus.languages == ("en", *LANGUAGES)
    assert sizes["en", "train"].nunique() == 1
    for language in corpus.languages:
        assert sizes[language, "dev"].min() >= 25
        assert sizes[language, "test"].min() >= 50
        assert sizes[language, "test"].to_dict() == sizes["en", "test"].to_dict()


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations(raw, language):
    given = read_table(FOLDER / "translations" / f"{language}.csv", ("id", "text"))
    english = raw.set_index("id")["text"]
    assert len(given) == 422
    assert given["id"].is_unique
    same = [i for i, text in zip(given["id"], given["text"], strict=True) if text == english[i]]
    assert same == []
    if language in SCRIPT:
        assert given["text"].str.contains(SCRIPT[language]).all()
    lengths = pd.Series(given["text"].str.len().to_numpy() / english[given["id"]].str.len().to_numpy())
    assert lengths.between(0.08 if language == "zh" else 0.35, 3.0).all()


def test_the_card_quotes_the_prepared_counts(corpus):
    card = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    english = corpus.table[
        (corpus.table["language"] == "en") & ~corpus.table["id"].str.contains("+", regex=False)
    ]
    for label, rows in english.groupby("label"):
        n = rows["split"].value_counts()
        assert f"| yes | {n['train']} | {n['dev']} | {n['test']} |" in next(
            line for line in card.splitlines() if line.startswith(f"| {label} ")
        )
