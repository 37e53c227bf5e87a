import logging

import pandas as pd
import pytest

from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.settings import CorpusSettings
from mcbert.features.corpus.spelling import log_left_out, merged_labels, several_labels, spelt


def labelled(*labels):
    return pd.DataFrame({"id": [f"u{k}" for k in range(len(labels))], "label": labels})


def messages(caplog, level=logging.WARNING):
    return [r.getMessage() for r in caplog.records if r.levelno == level]


def test_labels_that_look_alike_are_named_with_the_setting(caplog):
    table = labelled("refund ", "refund ", "refund", "REFUND", "r\u00e9", "re\u0301", "other")
    assert merged_labels(table, "t.csv", merge=False) is table
    (said,) = messages(caplog)
    assert "'refund ' (2) = 'REFUND' (1) = 'refund' (1), 're\\u0301' (1) = 'r\\xe9' (1)" in said
    assert said.endswith("corpus.merge_labels = true makes 3 labels of these 6")


def test_labels_that_look_alike_become_the_commonest_spelling():
    merged = merged_labels(labelled("re\u0301 ", "re\u0301 ", "R\u00e9", "other"), "t.csv", merge=True)
    assert merged["label"].tolist() == ["r\u00e9", "r\u00e9", "r\u00e9", "other"]


def test_labels_that_differ_are_let_alone(caplog):
    table = labelled("a", "b", "a_b", "a-b")
    assert merged_labels(table, "t", merge=True) is table
    assert not caplog.records


@pytest.mark.parametrize(
    ("labels", "several"),
    [
        (["a", "b", "a;b"], {"a;b"}),
        (["a", "b", "a; B"], {"a; B"}),
        (["a", "b", "c", "a|b|c", "a,c"], {"a|b|c", "a,c"}),
        (["a;b", "b;c", "a;c"], {"a;b", "b;c", "a;c"}),
        (['["a"]', '["a", "b"]'], {'["a"]', '["a", "b"]'}),
        (["a", "['a', 'b']"], {"['a', 'b']"}),
        (["food, drink", "travel", "food"], set()),
        (["news;sport", "news;politics"], set()),
        (["science/technology", "science", "technology"], set()),
        (["a;", "a", "b"], set()),
        (["[a]", "b"], set()),
    ],
)
def test_cells_with_several_labels(labels, several):
    assert several_labels(labels) == several


def test_several_labels_in_a_cell_are_told_as_what_they_are():
    table = labelled("a", "b", "a;b", "b;a")
    said = (
        r"t: row 3: column label: got 'a;b': several labels of one text \(multi-label .*; row 4: .*\(2 rows"
    )
    with pytest.raises(CorpusError, match=said):
        spelt(table, CorpusSettings(), "t", BadRows())
    bad = BadRows("skip")
    assert spelt(table, CorpusSettings(), "t", bad)["id"].tolist() == ["u0", "u1"]
    assert [row.id for row in bad.rows] == ["u2", "u3"]


def test_a_code_that_the_settings_name_wins(caplog):
    table = labelled("a", "b", "c").assign(language=["zh_Hans", "zh-CN", "en"])
    spelt(table, CorpusSettings(languages=("en", "zh-CN")), "t", BadRows())
    (said,) = messages(caplog)
    assert 'corpus.language_codes = { zh_Hans = "zh-CN" } makes them one' in said


def test_a_source_language_that_only_its_other_code_stands_for_is_named(caplog):
    spelt(labelled("a", "b").assign(language="eng"), CorpusSettings(), "t", BadRows())
    assert 'corpus.language_codes = { eng = "en" } makes them one' in caplog.text


@pytest.mark.parametrize(("n", "level"), [(1, "INFO"), (2, "WARNING")])
def test_more_than_a_tenth_left_out_is_a_warning(caplog, n, level):
    caplog.set_level(logging.INFO)
    table = labelled(*"a" * (10 - n), *"bc"[:n])
    log_left_out(table, table["label"] == "a", "why")
    (record,) = caplog.records
    assert record.levelname == level
    names = "1 label: b 1" if n == 1 else "2 labels: b 1, c 1"
    assert record.getMessage() == f"prepare: {n} of 10 texts ({n}0.0%) are left out, of {names}; why"
