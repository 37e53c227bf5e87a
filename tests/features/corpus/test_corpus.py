import numpy as np
import pandas as pd
import pytest

from features.corpus import Corpus, CorpusSettings, read_corpus
from features.corpus.readers import CorpusError


def table(**changes):
    rows = [
        ("a", "one", "", "x", "en", "train"),
        ("b", "two", "", "x", "en", "train"),
        ("c", "three", "", "y", "en", "train"),
        ("d", "four", "", "y", "en", "train"),
        ("e", "five", "", "x", "en", "dev"),
        ("f", "fuenf", "", "x", "de", "dev"),
        ("g", "wu", "", "y", "zh", "test"),
    ]
    frame = pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])
    for column, (row, value) in changes.items():
        frame.loc[row, column] = value
    return frame


def test_what_it_knows():
    corpus = Corpus.of(table(), "en", "t.csv")
    assert corpus.labels == ("x", "y")
    assert corpus.languages == ("en", "de", "zh")
    assert corpus.target_languages == ("de", "zh")
    assert corpus.y.tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert corpus.y.dtype == np.int64
    assert corpus.rows("dev").tolist() == [4, 5]
    assert corpus.rows("dev", "de").tolist() == [5]
    assert corpus.rows(language="zh").tolist() == [6]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": (1, "  \u200b ")}, "row 2: column text: it is empty"),
        ({"text": (2, float("nan"))}, "row 3: column text: got nan"),
        ({"text": (2, "a\ud800")}, "row 3: column text: a lone surrogate"),
        ({"id": (3, "a")}, "row 4: column id: 'a' is already in row 1"),
        ({"id": (3, "")}, "row 4: column id: got ''"),
        ({"split": (0, "training")}, "row 1: column split: got 'training', accepted: train, dev, test"),
        ({"label": (6, "z")}, "row 7: column label: 'z' of split test is not among the train labels: x, y"),
        ({"label": (4, "")}, "row 5: column label: it is empty"),
        ({"label": (3, "x")}, "column label: 'y' has one train row; at least 2"),
        ({"language": (4, "de")}, "the source language 'en' has no dev rows"),
    ],
)
def test_bad_rows_are_named(changes, said):
    with pytest.raises(CorpusError, match=f"^t.csv: .*{said}"):
        Corpus.of(table(**changes), "en", "t.csv")


def test_one_class_only():
    with pytest.raises(CorpusError, match="one label only, 'x'"):
        Corpus.of(table().iloc[[0, 1, 4]], "en", "t.csv")


def test_read_keeps_the_languages_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    table().drop(columns="text_pair").to_csv(path, index=False)
    assert Corpus.read(path).table["text_pair"].eq("").all()
    kept = read_corpus(CorpusSettings(path=str(path), languages=("en", "de")))
    assert sorted(set(kept["language"])) == ["de", "en"]
    with pytest.raises(CorpusError, match="column language: no rows for fr"):
        read_corpus(CorpusSettings(path=str(path), languages=("en", "fr")))


def test_missing_column(tmp_path):
    path = tmp_path / "t.csv"
    table().drop(columns="language").to_csv(path, index=False)
    with pytest.raises(CorpusError, match="column 'language' is missing"):
        Corpus.read(path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "tsv"}, "corpus.format: got 'tsv', accepted: table, xnli"),
        ({"languages": ("de",)}, "corpus.languages: the source language 'en' is not among them"),
        ({"format": "xnli"}, "corpus.languages: name the XNLI languages"),
    ],
)
def test_settings_that_cannot_work(settings, said):
    with pytest.raises(ValueError, match=said):
        CorpusSettings(**settings)
