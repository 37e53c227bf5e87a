import numpy as np
import pandas as pd
import pytest

from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.repeats import Repeats, items_of, leaks, translations_of, without_conflicts

COLUMNS = ["id", "text", "label", "language", "split"]


def table(*rows):
    return pd.DataFrame(rows, columns=COLUMNS).assign(text_pair="")


PARALLEL = table(
    ("1", "where is it", "x", "en", "train"),
    ("2", "give it back", "y", "en", "train"),
    ("3", "Where is it?", "x", "en", "test"),
    ("3-de", "Wo ist das?", "x", "de", "test"),
    ("4", "who knows", "y", "en", "test"),
    ("4-de", "wer weiß", "y", "de", "test"),
)


def leaked(frame):
    return frame["id"][leaks(frame, items_of(frame))].tolist()


def test_a_leak_is_one_in_every_language():
    assert leaked(PARALLEL) == ["3", "3-de"]


def test_a_translation_of_a_train_text_is_a_leak():
    frame = pd.concat([PARALLEL, table(("2-de", "gib es zurück", "y", "de", "test"))], ignore_index=True)
    assert leaked(frame) == ["3", "3-de", "2-de"]


def test_a_translation_that_reads_like_a_train_text_is_a_leak_in_its_language_alone():
    frame = PARALLEL.assign(text=PARALLEL["text"].replace("wer weiß", "where is it!"))
    assert leaked(frame) == ["3", "3-de", "4-de"]


def test_ids_that_each_language_counts_for_itself_tell_no_translations():
    rows = [(f"{k}", f"text {k}", "xy"[k % 2], "en", "train") for k in range(6)]
    rows += [(f"{k}-de", f"anderes {k}", "xyz"[k % 3], "de", "test") for k in range(6)]
    assert leaked(table(*rows)) == []


def test_pairs_are_leaks_as_pairs():
    frame = PARALLEL.assign(text_pair=["a", "b", "c", "c", "b", "b"])
    assert leaked(frame) == []
    assert leaked(frame.assign(text_pair="A.")) == ["3", "3-de"]


def test_what_is_left_out_is_counted_and_named(caplog):
    out = Repeats().settled(PARALLEL, "t", "en")
    assert out["id"].tolist() == ["1", "2", "4", "4-de"]
    (record,) = caplog.records
    assert "2 of 4 test texts occur in train" in record.getMessage()
    assert "de 1, en 1; of 1 label: x 2; the first: '3', '3-de'; they are left out" in record.getMessage()


def test_what_is_left_out_is_taken_down():
    bad, placed = BadRows(), PARALLEL.assign(_file="a.csv", _row=range(1, 7), _line=range(2, 8))
    Repeats().settled(placed, "t", "en", bad)
    assert bad.frame()[["file", "row", "line", "column", "id"]].to_numpy().tolist() == [
        ["a.csv", 3, 4, "text", "3"],
        ["a.csv", 4, 5, "text", "3-de"],
    ]
    assert [reason.split(";")[0] for reason in bad.frame()["reason"]] == [
        "this test text occurs in train as '1', up to Unicode form, case, blanks and punctuation at the end",
        "this test text translates one that occurs in train",
    ]
    kept = BadRows()
    Repeats(leaks="keep").settled(PARALLEL, "t", "en", kept)
    assert kept.frame().empty


def test_texts_without_a_majority_are_taken_down():
    bad = BadRows()
    Repeats(conflicts="majority").settled(CONFLICT, "t", "en", bad)
    assert bad.frame()[["file", "row", "column", "id"]].to_numpy().tolist() == [
        ["t", 4, "label", "4"],
        ["t", 5, "label", "5"],
    ]
    assert bad.frame()["reason"].str.startswith("no majority").all()


def test_a_table_without_repeats_comes_back_itself(caplog):
    frame = PARALLEL[PARALLEL["id"].str[0] != "3"].reset_index(drop=True)
    assert Repeats().settled(frame, "t", "en") is frame
    assert not caplog.records


CONFLICT = table(
    ("1", "where is it", "x", "en", "train"),
    ("2", "Where  is it", "y", "en", "train"),
    ("3", "WHERE IS IT", "y", "en", "train"),
    ("4", "who knows", "x", "en", "train"),
    ("5", "who knows", "y", "en", "train"),
    ("6", "plain", "x", "en", "test"),
)


def test_different_labels_of_a_text_are_refused_by_default():
    said = "t: column label: 2 texts .* different labels, the first: '1' x and '2' y; '4' x and '5' y"
    with pytest.raises(CorpusError, match=said):
        Repeats().settled(CONFLICT, "t", "en")


def test_a_majority_decides_and_ties_are_left_out(caplog):
    out = Repeats(conflicts="majority").settled(CONFLICT, "t", "en")
    assert dict(zip(out["id"], out["label"], strict=True)) == {"1": "y", "2": "y", "3": "y", "6": "x"}
    assert "1 rows take the label" in caplog.text
    assert "2 of texts without a majority are left out, of 2 labels: x 1, y 1" in caplog.text


def test_kept_conflicts_are_named(caplog):
    assert Repeats(conflicts="keep").settled(CONFLICT, "t", "en") is CONFLICT
    assert "2 texts (the same up to Unicode form, case and blanks) carry different labels" in caplog.text


def test_labels_of_test_change_none_of_train():
    frame = CONFLICT.assign(split=["train", "test", "test", "train", "train", "test"])
    out = Repeats(leaks="keep", conflicts="majority").settled(frame, "t", "en")
    assert dict(zip(out["id"], out["label"], strict=True)) == {"1": "x", "2": "y", "3": "y", "6": "x"}


def test_what_becomes_of_a_text_becomes_of_its_translations():
    held_out = CONFLICT.iloc[:5].assign(split="test")
    german = held_out.assign(id=held_out["id"] + "-de", language="de", text=[f"wort {k}" for k in range(5)])
    train = table(("7", "a", "x", "en", "train"), ("8", "b", "y", "en", "train"))
    frame = pd.concat([train, held_out, german], ignore_index=True)
    out = Repeats(conflicts="majority").settled(frame, "t", "en").set_index("id")["label"]
    assert out[["1", "1-de", "2-de"]].tolist() == ["y", "y", "y"]
    assert not {"4", "4-de", "5-de"} & set(out.index)


def test_two_texts_may_have_the_same_translation():
    frame = PARALLEL.assign(text=PARALLEL["text"].replace("Wo ist das?", "wer weiß"))
    assert len(Repeats(leaks="keep").settled(frame, "t", "en")) == 6


def test_a_table_of_one_language_without_splits():
    raw = CONFLICT[["id", "text", "label"]]
    assert without_conflicts(raw, "majority", "t")["id"].tolist() == ["1", "2", "3", "6"]
    assert without_conflicts(raw.iloc[3:4].reset_index(drop=True), "error", "t")["id"].tolist() == ["4"]


def test_translations_are_found_by_ids_within_the_split_and_in_the_order_of_the_source():
    frame = table(
        ("2", "two", "y", "en", "dev"),
        ("1-de", "eins", "x", "de", "dev"),
        ("1", "one", "x", "en", "dev"),
        ("9", "nine", "y", "en", "test"),
        ("9-de", "neun", "y", "de", "test"),
        ("1", "un", "x", "fr", "dev"),
        ("2-de", "zwei", "y", "de", "dev"),
        ("3-de", "drei", "x", "de", "dev"),
        ("4-zh", "四", "x", "zh", "dev"),
    )
    found = translations_of(frame, "en", "dev")
    assert {name: both.tolist() for name, both in found.items()} == {
        "de": [[0, 2], [6, 1]],
        "fr": [[2], [5]],
    }
    assert all(both.dtype == np.int64 for both in found.values())
    assert {name: both.tolist() for name, both in translations_of(frame, "de", "test").items()} == {
        "en": [[4], [3]]
    }


def test_a_corpus_whose_equal_ids_are_no_translations_has_no_pairs():
    rows = [(f"{k}", f"text {k}", "xy"[k % 2], "en", "dev") for k in range(6)]
    rows += [(f"{k}", f"anderes {k}", "xyz"[k % 3], "de", "dev") for k in range(6)]
    assert translations_of(table(*rows), "en", "dev") == {}
    assert translations_of(table(*rows[:6]), "en", "dev") == {}
