import numpy as np
import pandas as pd
import pytest

from mcbert.features.corpus.checks import MEAN, is_blank, require_source, require_train, usable_rows
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.rows import placed
from mcbert.results.schema import words

COLUMNS = ["id", "text", "text_pair", "label", "language", "split"]


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
    frame = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    for column, (row, value) in changes.items():
        frame.at[row, column] = value
    return frame


BAD = [
    ({"text": (1, "  \u200b ")}, "row 2: column text: it is empty; every row needs a text"),
    ({"text": (1, "\u200b \u2060\ufeff\u200e\u00ad\u202e\0")}, "row 2: column text: it is empty"),
    ({"text": (1, "")}, "row 2: column text: it is empty"),
    ({"text": (2, float("nan"))}, "row 3: column text: got nan, accepted: text"),
    ({"text": (2, None)}, "row 3: column text: got None, accepted: text"),
    ({"text": (2, 1.5)}, "row 3: column text: got 1.5, accepted: text"),
    ({"text": (2, b"secret")}, "row 3: column text: got bytes, accepted: text"),
    ({"text": (2, "a\ud800")}, "row 3: column text: a lone surrogate"),
    ({"text_pair": (2, "a\udc00")}, "row 3: column text_pair: a lone surrogate"),
    ({"text_pair": (2, None)}, "row 3: column text_pair: got None"),
    ({"id": (3, "a")}, "row 4: column id: 'a' is already in row 1"),
    ({"id": (3, "")}, "row 4: column id: got '', accepted: a text that is not empty and has no NUL"),
    ({"id": (3, "d\0")}, r"row 4: column id: got 'd\x00', accepted"),
    ({"id": (3, 4)}, "row 4: column id: got 4, accepted: text"),
    ({"id": (3, "\ud800")}, "row 4: column id: a lone surrogate"),
    ({"split": (0, "training")}, "row 1: column split: got 'training', accepted: train, dev, test"),
    ({"split": (0, "Train")}, "row 1: column split: got 'Train'"),
    (
        {"label": (6, "z\u202e")},
        r"row 7: column label: 'z\u202e' of split test is not among the train labels: x, y",
    ),
    ({"label": (4, "")}, "row 5: column label: got '', accepted"),
    ({"label": (4, "x\0")}, r"row 5: column label: got 'x\x00', accepted"),
    ({"language": (4, " ")}, "row 5: column language: got ' ', accepted"),
    ({"language": (4, "klingon!")}, "row 5: column language: got 'klingon!', accepted: a language code such"),
    ({"language": (4, "de DE")}, "row 5: column language: got 'de DE', accepted: a language code such as de"),
    ({"text": (2, "th\0ree")}, "row 3: column text: got NUL (U+0000) at character 3, accepted: text without"),
    ({"text_pair": (2, "\0")}, "row 3: column text_pair: got NUL (U+0000) at character 1"),
    ({"language": (4, "mean")}, "row 5: column language: got 'mean', accepted: another name; in results"),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_a_bad_row_is_named_in_one_line(changes, said):
    with pytest.raises(CorpusError) as error:
        usable_rows(table(**changes), "t.csv")
    assert str(error.value).startswith(f"t.csv: {said}")
    assert str(error.value).isprintable()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_a_bad_row_can_be_left_out(changes, said):
    bad = BadRows("skip")
    kept = usable_rows(table(**changes), "t.csv", bad)
    ((column, (position, _)),) = changes.items()
    assert [(r.place.row, r.column) for r in bad.rows] == [(position + 1, column)]
    assert said.startswith(f"row {position + 1}: column {column}: {bad.rows[0].reason[:8]}")
    assert kept["text"].tolist() == [t for k, t in enumerate(table()["text"]) if k != position]


@pytest.mark.parametrize(("n_labels", "said"), [(4, "0, 1, 2, 3"), (300, "0, 1 and 298 more")])
def test_a_label_that_train_lacks_is_told_in_a_short_line(n_labels, said):
    rows = [(f"{k}", "text", "", f"{k}", "en", "train") for k in range(n_labels)]
    rows += [(f"t{k}", "text", "", f"z{k}", "en", "test") for k in range(20)]
    with pytest.raises(
        CorpusError, match=f"'z0' of split test is not among the train labels: {said};"
    ) as error:
        usable_rows(pd.DataFrame(rows, columns=COLUMNS), "t.csv")
    assert len(str(error.value)) < 600


CODES_IN_USE = [  # of SIB-200, Home Assistant, XNLI, Tatoeba; and well-formed ones that no registry has
    *("hye_Armn", "kat_Geor", "zh-cn", "zh-tw", "sr-Latn", "de-CH", "en", "deu", "cmn", "fil", "sr-Latn-RS"),
    *("es-419", "ca-valencia", "de-1901", "x-klingon", "xx", "klingon"),
]


@pytest.mark.parametrize("code", CODES_IN_USE)
def test_codes_that_corpora_use_are_taken(code):
    assert len(usable_rows(table(language=(5, code)), "t")) == 7


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_nul_is_found_in_every_kind_of_column(storage):
    texts = pd.Series(["one", "two\0", "three"], dtype=pd.StringDtype(storage))
    bad = BadRows("skip")
    assert usable_rows(pd.DataFrame({"text": texts}), "t", bad)["text"].tolist() == ["one", "three"]
    assert bad.rows[0].reason.startswith("got NUL (U+0000) at character 4")


def test_rows_with_a_place_are_named_by_it():
    frame = placed(table(text=(2, "")), "folder/raw.csv", np.arange(11, 18), np.arange(21, 28))
    with pytest.raises(CorpusError, match=r"^folder/raw\.csv: row 13 \(line 23\): column text: "):
        usable_rows(frame, "t.csv")


def test_repeated_ids_of_two_files_name_both():
    frame = pd.concat([placed(table().iloc[:1], "a.csv"), placed(table().iloc[[1, 0]], "b.csv")])
    with pytest.raises(CorpusError, match=r"^b\.csv: row 2: column id: 'a' .*a\.csv, row 1$"):
        usable_rows(frame, "t")


def test_of_repeated_ids_the_first_that_can_be_used_stays():
    frame = table(text=(0, ""), id=(2, "a"))
    bad = BadRows("skip")
    assert usable_rows(frame, "t", bad)["text"].tolist() == ["two", "three", "four", "five", "fuenf", "wu"]
    frame = table(id=(2, "a"))
    assert usable_rows(frame, "t", BadRows("skip"))["text"].tolist()[:2] == ["one", "two"]


def test_a_row_is_left_out_once_whatever_is_wrong_with_it():
    bad = BadRows("skip")
    frame = table(text=(6, ""), id=(6, ""), split=(6, "x"))
    assert len(usable_rows(frame, "t", bad)) == 6
    assert bad.count == 1


def test_only_the_columns_that_are_there_are_checked():
    assert len(usable_rows(table()[["id", "text"]], "t")) == 7
    with pytest.raises(CorpusError, match="row 2: column id"):
        usable_rows(table(id=(1, " "))[["id", "text"]], "t")
    assert len(usable_rows(table()[["label"]], "t")) == 7


def test_many_cases_are_counted():
    frame = pd.concat([table()] * 3, ignore_index=True).assign(id=[f"{k}" for k in range(21)], text=" ")
    with pytest.raises(CorpusError, match=r"row 5: column text: .* 16 more"):
        usable_rows(frame, "t")


def test_texts_with_controls_and_marks_stay_as_they_are():
    texts = ["a\u202eb\u202c", "x\x08y\x9d", "\u200fz", "tab\there", "e\u0301", "\U0001f600"]
    frame = pd.DataFrame({"text": texts})
    assert usable_rows(frame, "t")["text"].tolist() == texts


def test_the_name_that_languages_must_not_have_is_that_of_the_results():
    assert MEAN == words.MEAN


def test_blank_texts():
    unseen = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", " ", "\u3000", "\n", "\0", "\u202e"]
    assert all(is_blank(character) and is_blank(f" {character} ") for character in ["", *unseen])
    assert not any(is_blank(f"{character}{seen}") for seen in "aä中ا.!0\u0301" for character in ["", *unseen])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([4, 5], "t: column split: no train rows"),
        ([0, 1, 4], "t: column label: the train rows have one label only, 'x'"),
        ([0, 1, 2, 4], "t: column label: labels with one train row, at least 2 are needed: y"),
    ],
)
def test_too_little_to_train_on(rows, said):
    with pytest.raises(CorpusError, match=said):
        require_train(table().iloc[rows], "t")


def test_the_source_language_needs_dev_and_may_train_on_translations():
    for language in ("en", "de"):
        require_source(table(), language, "t")
    with pytest.raises(CorpusError, match="'zh' .*dev rows; .*present: de, en, zh"):
        require_source(table(), "zh", "t")
    with pytest.raises(CorpusError, match="the source language 'en' has no dev rows"):
        require_source(table(language=(4, "de")), "en", "t")
