import pandas as pd
import pytest

from mcbert.features.corpus.corpus import Corpus, read_corpus
from mcbert.features.corpus.settings import CorpusSettings
from mcbert.home import HOME

FOLDER = HOME / "samples" / "nli"


@pytest.fixture(scope="module")
def corpus():
    table = read_corpus(CorpusSettings(path=str(FOLDER), format="nli"))
    return Corpus.of(table, "en", str(FOLDER))


def test_every_premise_has_a_pair_of_each_label_in_one_split(corpus):
    assert corpus.table.groupby(["text", "split"])["label"].agg(set).map(len).eq(3).all()
    assert corpus.table["text"].nunique() == 840
    assert corpus.table["split"].value_counts().to_dict() == {"train": 2268, "dev": 252}


def test_no_sentence_is_repeated_or_in_both_splits(corpus):
    assert corpus.table["text_pair"].is_unique
    sentences = corpus.table.groupby("split")[["text", "text_pair"]].agg(set)
    both = [{*sentences.loc[split, "text"], *sentences.loc[split, "text_pair"]} for split in ("train", "dev")]
    assert not set.intersection(*both)
    assert not set(corpus.table["text"]) & set(corpus.table["text_pair"])


def test_the_card_counts_what_there_is(corpus):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = pd.crosstab(corpus.table["label"], corpus.table["split"])
    for label, row in counts.iterrows():
        assert f"| {label} | {row.sum()} | {row['train']} | {row['dev']} |" in card
