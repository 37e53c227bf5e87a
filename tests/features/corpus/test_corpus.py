import dataclasses
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest

from mcbert.features.corpus.corpus import FORMATS, Corpus, checked_corpus, read_corpus, source_files
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.settings import COLUMNS, CorpusSettings
from mcbert.features.corpus.statistics import corpus_statistics
from mcbert.features.encoder.tokens import load_tokenizer


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
    # object: a column of dtype str cannot hold all that users hand over
    frame = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    for column, (row, value) in changes.items():
        frame.loc[row, column] = value
    return frame


def test_a_table_may_be_named_by_text(tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    assert Corpus.read(str(tmp_path / "t.csv")).table.equals(Corpus.read(tmp_path / "t.csv").table)


def test_whether_it_trains_on_pairs_or_single_texts():
    pairs = ("text_pair", ["p"] * 4 + [""] * 3)
    assert Corpus.of(table(), "en", "t.csv").train_pairs is False
    assert Corpus.of(table().assign(**dict([pairs])), "en", "t.csv").train_pairs is True
    assert Corpus.of(table(text_pair=(1, "p")), "en", "t.csv").train_pairs is None


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


def test_an_index_that_is_not_a_count_does_no_harm():
    frame = table().set_index(pd.Index(["same"] * 7))
    assert Corpus.of(frame, "en", "t").table.index.tolist() == list(range(7))


def test_bad_rows_are_left_out_when_asked_and_ids_stay():
    frame = table(text=(2, ""))
    frame = pd.concat([frame, table().iloc[[2]].assign(id="h")], ignore_index=True)
    bad = BadRows("skip")
    corpus = Corpus.of(frame, "en", "t", bad=bad)
    assert corpus.table["id"].tolist() == ["a", "b", "d", "e", "f", "g", "h"]
    assert [(r.id, r.column) for r in bad.rows] == [("c", "text")]


def test_leaks_are_left_out_named_kept_or_refused(caplog):
    frame = table(text=(5, "ONE "))
    frame.loc[6, "text"] = "one"
    corpus = checked_corpus(frame, CorpusSettings(), "t", BadRows())
    assert corpus.table["id"].tolist() == ["a", "b", "c", "d", "e"]
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" (up to")[0] for line in said] == [
        "corpus: t: 1 of 2 dev texts occur in train",
        "corpus: t: 1 of 1 test texts occur in train",
    ]
    assert "de 1; of 1 label: x 1; the first: 'f'; they are left out; corpus.leaks" in said[0]
    caplog.clear()
    corpus = checked_corpus(frame, CorpusSettings(leaks="keep"), "t", BadRows())
    assert len(corpus.table) == 7
    assert "test scores count them as if they were new (corpus.leaks)" in caplog.text
    with pytest.raises(CorpusError, match='t: column text: 1 of 2 dev texts .*train .*"drop"'):
        checked_corpus(frame, CorpusSettings(leaks="error"), "t", BadRows())
    caplog.clear()
    checked_corpus(table(), CorpusSettings(), "t", BadRows())
    assert not caplog.records


def test_leaks_that_are_all_of_dev_are_told_as_what_they_are():
    with pytest.raises(CorpusError, match="t, .*left out: .*'en' .*dev"):
        checked_corpus(table(text=(4, "one")), CorpusSettings(), "t", BadRows())


def test_train_rows_of_languages_that_are_not_asked_for_are_a_warning(tmp_path, caplog):
    rows = table().assign(language=["en", "EN", "en", "en", "en", "de", "zh"])
    rows.to_csv(tmp_path / "t.csv", index=False)
    settings = CorpusSettings(path=str(tmp_path / "t.csv"), languages=("en", "de"))
    read_corpus(settings)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "'en' (4 rows), 'EN' (1 rows)" in said[0]
    assert 'corpus.language_codes = { EN = "en" } makes them one' in said[0]
    assert "2 of 7 rows, 1 of them train rows, are left out" in said[1]
    caplog.clear()
    merged = read_corpus(dataclasses.replace(settings, language_codes={"EN": "en"}))
    assert merged["language"].value_counts().to_dict() == {"en": 5, "de": 1}
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    with pytest.raises(CorpusError, match=r"corpus.language_codes: 'e' .*present: EN, de, en, zh"):
        read_corpus(dataclasses.replace(settings, language_codes={"e": "en"}))


def test_rows_left_out_are_counted_in_the_log(caplog):
    bad = BadRows("skip")
    checked_corpus(table(text=(5, " "), split=(6, "Test")), CorpusSettings(on_bad="skip"), "t", bad)
    assert [record.getMessage() for record in caplog.records] == [
        "corpus: t: 1 rows left out for split",
        "corpus: t: 1 rows left out for text",
    ]


def test_labels_by_the_text_are_refused_unless_allowed():
    rows = [(f"{k}", f"text {k}", "", f"label {k // 2}", "en", "train") for k in range(2004)]
    rows.append(("dev", "dev", "", "label 0", "en", "dev"))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    said = (
        r"t: column label: 1002 labels in 2004 train rows; accepted: at most 1000 and half the rows, unless"
    )
    with pytest.raises(CorpusError, match=said):
        checked_corpus(frame, CorpusSettings(), "t", BadRows())
    corpus = checked_corpus(frame, CorpusSettings(many_labels=True), "t", BadRows())
    assert len(corpus.labels) == 1002
    few = frame.iloc[[0, 1, 2, 4, 6, -1]]
    with pytest.raises(CorpusError, match="4 labels in 5 train rows"):
        checked_corpus(few, CorpusSettings(), "t", BadRows())


def test_read_keeps_the_languages_asked_for(tmp_path):
    path = tmp_path / "t.csv"
    table().drop(columns="text_pair").to_csv(path, index=False)
    assert Corpus.read(path).table["text_pair"].eq("").all()
    kept = read_corpus(CorpusSettings(path=str(path), languages=("en", "de")))
    assert sorted(set(kept["language"])) == ["de", "en"]
    with pytest.raises(CorpusError, match="column language: no rows for fr"):
        read_corpus(CorpusSettings(path=str(path), languages=("en", "fr")))


def test_splits_may_have_other_names(tmp_path):
    path = tmp_path / "t.csv"
    table().replace({"split": {"dev": "validation"}}).to_csv(path, index=False)
    with pytest.raises(
        CorpusError, match="row 5 .line 6.: column split: got 'validation', accepted: train, dev"
    ):
        Corpus.of(read_corpus(CorpusSettings(path=str(path))), "en", "t")
    kept = read_corpus(CorpusSettings(path=str(path), splits={"dev": "validation"}))
    assert kept["split"].tolist() == table()["split"].tolist()


def test_labels_are_words_verbatim(tmp_path):
    path = tmp_path / "t.csv"
    table().replace({"label": {"x": "01", "y": "1"}}).to_csv(path, index=False)
    corpus = Corpus.read(path)
    assert corpus.labels == ("01", "1")
    assert corpus.y.tolist() == [0, 0, 1, 1, 0, 0, 1]


def test_a_text_of_a_million_characters_is_counted_as_cut(tmp_path, encoder_folder):
    path = tmp_path / "t.csv"
    table(text=(0, "money " * 166_667)).to_csv(path, index=False)
    rows = corpus_statistics(Corpus.read(path), load_tokenizer(encoder_folder), 16).set_index(
        ["split", "label", "language"]
    )
    assert rows.loc[("train", "x", "en"), "truncated_share"] == 0.5
    assert rows.loc[("train", "x", "en"), "tokens_max"] == 166_669


def test_missing_column(tmp_path):
    path = tmp_path / "t.csv"
    table().drop(columns="language").to_csv(path, index=False)
    with pytest.raises(CorpusError, match="column 'language' is missing"):
        Corpus.read(path)


def test_every_format_has_a_reader():
    assert set(FORMATS) == set(get_args(get_type_hints(CorpusSettings)["format"]))


def test_source_files(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.csv", "deep/a.csv"):
        (tmp_path / name).write_text("x")
    assert source_files(CorpusSettings(path="t.csv")) == [Path("t.csv")]
    hub = CorpusSettings(path="facebook/xnli", format="huggingface")
    assert source_files(hub) == []
    local = CorpusSettings(path=str(tmp_path), format="huggingface")
    assert source_files(local) == [tmp_path / "b.csv", tmp_path / "deep" / "a.csv"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "tsv"}, "corpus.format: got 'tsv', accepted: table, huggingface, xnli"),
        ({"quoting": "some"}, "corpus.quoting: got 'some', accepted: auto, csv, none"),
        ({"on_bad": "report"}, "corpus.on_bad: got 'report', accepted: error, skip"),
        ({"languages": ("de",)}, "corpus.languages: the source language 'en' is not among them"),
        ({"format": "xnli"}, "corpus.languages: name the XNLI languages"),
        ({"format": "xnli-mt"}, "corpus.languages: name the XNLI languages"),
        ({"encoding": "utf-9"}, "corpus.encoding: got 'utf-9', accepted: a text encoding"),
        ({"encoding": "hex"}, "corpus.encoding: got 'hex', accepted: a text encoding"),
        ({"delimiter": "||"}, "corpus.delimiter: got '||', accepted: one character"),
        ({"delimiter": '"'}, "corpus.delimiter: got '\"', accepted: one character"),
        (
            {"columns": {"premise": "text"}},
            "corpus.columns: got the key 'premise', accepted: id, text, text_p",
        ),
        ({"format": "snli", "columns": {"text": "x"}}, "corpus.columns: means nothing for format 'snli'"),
        ({"format": "snli", "encoding": "utf-16"}, "corpus.encoding: means nothing for format 'snli'"),
        (
            {"config": "de"},
            "corpus.config: means nothing for format 'table', but for huggingface",
        ),
        ({"format": "snli", "splits": {"dev": "x"}}, "corpus.splits: means nothing for format 'snli'"),
        (
            {"format": "huggingface", "splits": {"validation": "dev"}},
            "corpus.splits: got the key 'validation', accepted: train, dev, test",
        ),
        (
            {"format": "huggingface", "config": "a", "configs": {"en": "en"}},
            "corpus.config: got it and corpus.configs",
        ),
    ],
)
def test_settings_that_cannot_work(settings, said):
    with pytest.raises(ValueError, match=said):
        CorpusSettings(**settings)
