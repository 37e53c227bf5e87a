import csv
import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.results import tables
from mcbert.results.schema import FINETUNE, FREEZING, GRIDSEARCH, PREDICTIONS, TEXTS
from tests.results import synthetic

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
ODD = st.text("'=+-@\t\r\n\0\uff1d\",; a", min_size=1)
NOT_EMPTY = TEXT | ODD


def texts(rows):
    columns = ["id", "text", "text_pair", "label", "language", "split"]
    return pd.DataFrame(rows, columns=columns, dtype="str")


def freezing(**changes):
    row = {"system": "mcbert_wf", "seed": 0, "epoch": 2, "step": 80, "layers": "9+11"}
    row |= {"reason": "schedule", "protocol": "last"}
    # object: with pyarrow a column of dtype str cannot hold a lone surrogate in the first place
    return pd.DataFrame([row | synthetic.STAMP | changes], dtype=object)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(NOT_EMPTY, TEXT | ODD | st.just(""), NOT_EMPTY), min_size=1, max_size=6))
def test_any_text_survives_the_file(rows, tmp_path_factory):
    frame = texts([(f"t{n}", text, pair, label, "de", "test") for n, (text, pair, label) in enumerate(rows)])
    path = tmp_path_factory.mktemp("t") / "texts.csv"
    tables.write(TEXTS, frame, path)
    pd.testing.assert_frame_equal(tables.read(TEXTS, path), frame)
    assert tables.validate(path) == []


@settings(max_examples=60, deadline=None)
@given(
    loss=st.floats(0, allow_infinity=False),
    accuracy=st.floats(0, 1),
    train_loss=st.floats(allow_infinity=False) | st.none(),
)
def test_any_number_survives_the_file(loss, accuracy, train_loss, tmp_path_factory):
    frame, _ = synthetic.finetune(epochs=1, seeds=(0,))
    frame = frame.assign(
        loss=loss, accuracy=accuracy, train_loss=math.nan if train_loss is None else train_loss
    )
    path = tmp_path_factory.mktemp("t") / "finetune.csv"
    tables.write(FINETUNE, frame, path)
    back = tables.read(FINETUNE, path)
    for name in ("loss", "accuracy", "train_loss"):
        np.testing.assert_array_equal(back[name].to_numpy(), frame[name].to_numpy())
    assert back["chosen"].dtype == bool


def test_other_readers_see_rfc_4180(tmp_path):
    path = tmp_path / "texts.csv"
    awkward = 'a "quoted", text\rwith\nbreaks'
    tables.write(TEXTS, texts([("1", awkward, "", "NA", "en", "dev")]), path)
    raw = path.read_bytes().decode()
    header, row = csv.reader(io.StringIO(raw, newline=""), strict=True)
    assert header == ["id", "text", "text_pair", "label", "language", "split"]
    assert row == ["1", awkward, "", "NA", "en", "dev"]
    assert raw.endswith("dev\n")
    assert pd.read_csv(path, keep_default_na=False, dtype="str").loc[0, "text"] == awkward


def test_typed_and_ordered_whatever_the_order_and_line_ends(tmp_path):
    frame = synthetic.gridsearch()
    path = tmp_path / "gridsearch.csv"
    tables.write(GRIDSEARCH, frame[frame.columns[::-1]], path)
    spreadsheet = "\ufeff" + path.read_text().replace("\n", "\r\n")
    path.write_bytes(spreadsheet.encode())
    back = tables.read(GRIDSEARCH, path)
    assert list(back.columns[:3]) == ["rank", "candidate_id", "layers"]
    assert back["rank"].dtype == "Int64"
    assert back["rank"].isna().sum() == 1
    assert back["dev_f1_zh"].dtype == "float64"
    assert back["n_layers"].dtype == "int64"
    np.testing.assert_array_equal(back["dev_f1_zh"], frame["dev_f1_zh"].astype("float64"))


def test_an_empty_table_is_a_header(tmp_path):
    path = tmp_path / "freezing.csv"
    tables.write(FREEZING, freezing().iloc[:0], path)
    assert path.read_text().count("\n") == 1
    assert tables.read(FREEZING, path).empty
    assert tables.validate(path) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": 1.5},
            r"freezing.csv: row 1, column seed: given 1.5 \(float\); accepted: a whole number of at",
        ),
        ({"seed": True}, r"column seed: given True \(bool\)"),
        ({"seed": -1}, "row 1, column seed: given '-1'; accepted: a whole number of at least 0"),
        ({"seed": None}, "column seed: given an empty cell"),
        ({"layers": 9}, r"column layers: given 9 \(int\); accepted: layers, 0 the emb"),
        ({"layers": "11, 9"}, "column layers: given '11, 9'; accepted: layers, 0 the embeddings"),
        (
            {"system": "bert"},
            "column system: given 'bert'; accepted: one of probe, baseline, mcbert, mcbert_wf",
        ),
        ({"extra": 1}, "header, column extra: unknown; accepted: system, seed"),
        ({"reason": "\ud800"}, "row 1: a lone surrogate"),
    ],
)
def test_write_refuses_what_the_table_does_not_accept(changes, message, tmp_path):
    path = tmp_path / "freezing.csv"
    with pytest.raises(tables.TableError, match=message):
        tables.write(FREEZING, freezing(**changes), path)
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_a_missing_column_and_a_doubled_row(tmp_path):
    with pytest.raises(tables.TableError, match="header, column reason: missing; given: system"):
        tables.write(FREEZING, freezing().drop(columns="reason"), tmp_path / "freezing.csv")
    with pytest.raises(
        tables.TableError, match=r"row 2, column run, system, .* as in row 1; accepted: each once"
    ):
        tables.write(FREEZING, pd.concat([freezing()] * 2), tmp_path / "freezing.csv")


def broken(tmp_path, change):
    path = tmp_path / "freezing.csv"
    tables.write(FREEZING, pd.concat([freezing(seed=seed, reason="two\nlines") for seed in range(9)]), path)
    path.write_bytes(change(path.read_text()).encode("utf-8", "surrogateescape"))
    return tables.validate(path)


def test_validate_names_data_row_and_physical_line(tmp_path):
    (problem,) = broken(tmp_path, lambda text: text.replace("mcbert_wf,3,2", "mcbert_wf,3,two"))
    expected = "row 4 (line 8), column epoch: given 'two'; accepted: a whole number of at least 0"
    assert problem == f"{tmp_path / 'freezing.csv'}: {expected}"


def test_validate_lists_five_cases_and_counts_the_rest(tmp_path):
    problems = broken(tmp_path, lambda text: text.replace("9+11", "9-11"))
    assert len(problems) == tables.MOST_CASES + 1
    assert problems[-1].endswith("column layers: 4 more rows like these")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "the file is empty"),
        (lambda text: text.replace("reason", "why", 1), "column reason: missing"),
        (lambda text: text.replace("seed", "system", 1), "column system: given twice"),
        (lambda text: text + "\n", "row 10 (line 20): 0 fields; accepted: 12"),
        (
            lambda text: text.replace("wf,0,", "wf,0,0,"),
            "row 1 (line 2): 13 fields; accepted: 12, as in the header",
        ),
        (lambda text: text + '"open', "line 20: unexpected end of data; accepted: RFC 4180 quoting"),
        (lambda text: text.replace("demo", "d\udcffmo", 1), "line 3: byte 130 is not UTF-8"),
        (lambda text: text.replace("wf,1,", "wf,0,"), "row 2 (line 4), column run, system"),
    ],
)
def test_validate_finds(change, message, tmp_path):
    problems = broken(tmp_path, change)
    assert any(message in problem for problem in problems), problems


def test_validate_knows_tables_by_name(tmp_path):
    unknown = tmp_path / "marks.csv"
    unknown.write_text("a\n1\n")
    assert "unknown file name 'marks.csv'; accepted: texts.csv" in tables.validate(unknown)[0]
    assert tables.validate(tmp_path / "texts.csv")[0].endswith("no such file")
    assert tables.find_table(tmp_path / "predictions_finetune.csv") is PREDICTIONS


def test_a_whole_run_validates(run_dir):
    assert tables.validate(run_dir) == []


def test_read_says_how_much_more_is_wrong(tmp_path):
    broken(tmp_path, lambda text: text.replace("9+11", "9-11"))
    with pytest.raises(tables.TableError, match=r"row 1 \(line 2\), column layers.*\(and 5 more problems\)"):
        tables.read(FREEZING, tmp_path / "freezing.csv")


def test_texts_longer_than_csvs_own_limit(tmp_path):
    long = "x" * 200_000
    tables.write(TEXTS, texts([("1", long, "", "a", "en", "dev")]), tmp_path / "texts.csv")
    assert tables.read(TEXTS, tmp_path / "texts.csv").loc[0, "text"] == long


def test_numpy_scalars_in_object_columns_are_numbers(tmp_path):
    frame = freezing().astype(object)
    frame.loc[0, "seed"] = np.int64(7)
    tables.write(FREEZING, frame, tmp_path / "freezing.csv")
    assert tables.read(FREEZING, tmp_path / "freezing.csv").loc[0, "seed"] == 7
