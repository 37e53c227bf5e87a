import csv
import io
import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcbert
from mcbert.results import csv_files
from mcbert.results.csv_files import read, validate, write, writing
from mcbert.results.csv_rows import TableError
from mcbert.results.schema import TABLES
from mcbert.results.schema.embeddings import STS, TATOEBA
from mcbert.results.schema.search import EFFECTS, GRIDSEARCH, PREDICTIONS, TOP
from mcbert.results.schema.texts import LABELS, TEXTS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1
from mcbert.results.schema.words import MEAN, STAMP
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


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(NOT_EMPTY, TEXT | ODD | st.just(""), NOT_EMPTY), min_size=1, max_size=6))
def test_any_text_survives_the_file(rows, tmp_path_factory):
    frame = texts([(f"t{n}", text, pair, label, "de", "test") for n, (text, pair, label) in enumerate(rows)])
    path = tmp_path_factory.mktemp("t") / "texts.csv"
    csv_files.write(TEXTS, frame, path)
    pd.testing.assert_frame_equal(csv_files.read(TEXTS, path), frame)
    assert csv_files.validate(path) == []


@settings(max_examples=60)
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
    csv_files.write(FINETUNE, frame, path)
    back = csv_files.read(FINETUNE, path)
    for name in ("loss", "accuracy", "train_loss"):
        np.testing.assert_array_equal(back[name].to_numpy(), frame[name].to_numpy())
    assert back["chosen"].dtype == bool


def test_other_readers_see_rfc_4180(tmp_path):
    path = tmp_path / "texts.csv"
    awkward = 'a "quoted", text\rwith\nbreaks'
    csv_files.write(TEXTS, texts([("1", awkward, "", "NA", "en", "dev")]), path)
    raw = path.read_bytes().decode()
    header, row = csv.reader(io.StringIO(raw, newline=""), strict=True)
    assert header == ["id", "text", "text_pair", "label", "language", "split"]
    assert row == ["1", awkward, "", "NA", "en", "dev"]
    assert raw.endswith("dev\n")
    assert pd.read_csv(path, keep_default_na=False, dtype="str").loc[0, "text"] == awkward


def test_typed_and_ordered_whatever_the_order_and_line_ends(tmp_path):
    frame = synthetic.gridsearch()
    path = tmp_path / "gridsearch.csv"
    csv_files.write(GRIDSEARCH, frame[frame.columns[::-1]], path)
    spreadsheet = "\ufeff" + path.read_text().replace("\n", "\r\n")
    path.write_bytes(spreadsheet.encode())
    back = csv_files.read(GRIDSEARCH, path)
    assert list(back.columns[:3]) == ["rank", "candidate_id", "layers"]
    assert back["rank"].dtype == "Int64"
    assert back["rank"].isna().sum() == 1
    assert back["dev_f1_micro_zh"].dtype == "float64"
    assert back["n_layers"].dtype == "int64"
    np.testing.assert_array_equal(back["dev_f1_micro_zh"], frame["dev_f1_micro_zh"].astype("float64"))


def test_an_empty_table_is_a_header(tmp_path):
    path = tmp_path / "freezing.csv"
    csv_files.write(FREEZING, freezing().iloc[:0], path)
    assert path.read_text().count("\n") == 1
    assert csv_files.read(FREEZING, path).empty
    assert csv_files.validate(path) == []


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
    with pytest.raises(csv_files.TableError, match=message):
        csv_files.write(FREEZING, freezing(**changes), path)
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_a_missing_column_and_a_doubled_row(tmp_path):
    with pytest.raises(csv_files.TableError, match="header, column reason: missing; given: system"):
        csv_files.write(FREEZING, freezing().drop(columns="reason"), tmp_path / "freezing.csv")
    with pytest.raises(
        csv_files.TableError, match=r"row 2, column system, .* as in row 1; accepted: each once"
    ):
        csv_files.write(FREEZING, pd.concat([freezing()] * 2), tmp_path / "freezing.csv")


def broken(tmp_path, change):
    path = tmp_path / "freezing.csv"
    csv_files.write(
        FREEZING, pd.concat([freezing(seed=seed, reason="two\nlines") for seed in range(9)]), path
    )
    path.write_bytes(change(path.read_text()).encode("utf-8", "surrogateescape"))
    return csv_files.validate(path)


def test_validate_names_data_row_and_physical_line(tmp_path):
    (problem,) = broken(tmp_path, lambda text: text.replace("mcbert_wf,3,2", "mcbert_wf,3,two"))
    expected = "row 4 (line 8), column epoch: given 'two'; accepted: a whole number of at least 0"
    assert problem == f"{tmp_path / 'freezing.csv'}: {expected}"


def test_validate_lists_five_cases_and_counts_the_rest(tmp_path):
    problems = broken(tmp_path, lambda text: text.replace("9+11", "9-11"))
    assert len(problems) == csv_files.MOST_CASES + 1
    assert problems[-1].endswith("column layers: 4 more rows like these")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "the file is empty"),
        (lambda text: text.replace("reason", "why", 1), "column reason: missing"),
        (lambda text: text.replace("seed", "system", 1), "column system: given twice"),
        (lambda text: text + "\n", "row 10 (line 20): 0 fields; accepted: 7"),
        (
            lambda text: text.replace("wf,0,", "wf,0,0,"),
            "row 1 (line 2): 8 fields; accepted: 7, as in the header",
        ),
        (lambda text: text + '"open', "line 20: unexpected end of data; accepted: RFC 4180 quoting"),
        (lambda text: text.replace("two", "t\udcffo", 1), "line 2: byte 70 is not UTF-8"),
        (lambda text: text.replace("wf,1,", "wf,0,"), "row 2 (line 4), column system, seed"),
    ],
)
def test_validate_finds(change, message, tmp_path):
    problems = broken(tmp_path, change)
    assert any(message in problem for problem in problems), problems


def test_validate_knows_tables_by_name(tmp_path):
    unknown = tmp_path / "marks.csv"
    unknown.write_text("a\n1\n")
    assert "unknown file name 'marks.csv'; accepted: texts.csv" in csv_files.validate(unknown)[0]
    assert csv_files.validate(tmp_path / "texts.csv")[0].endswith("no such file")
    assert csv_files.find_table(tmp_path / "predictions_finetune.csv") is PREDICTIONS


def test_a_whole_run_validates(run_dir):
    assert csv_files.validate(run_dir) == []


def test_read_says_how_much_more_is_wrong(tmp_path):
    broken(tmp_path, lambda text: text.replace("9+11", "9-11"))
    with pytest.raises(csv_files.TableError, match=r"row 1 \(line 2\), column layers.*\(and 5 more"):
        csv_files.read(FREEZING, tmp_path / "freezing.csv")


def test_texts_longer_than_csvs_own_limit(tmp_path):
    long = "x" * 200_000
    csv_files.write(TEXTS, texts([("1", long, "", "a", "en", "dev")]), tmp_path / "texts.csv")
    assert csv_files.read(TEXTS, tmp_path / "texts.csv").loc[0, "text"] == long


def test_numpy_scalars_in_object_columns_are_numbers(tmp_path):
    frame = freezing().astype(object)
    frame.loc[0, "seed"] = np.int64(7)
    csv_files.write(FREEZING, frame, tmp_path / "freezing.csv")
    assert csv_files.read(FREEZING, tmp_path / "freezing.csv").loc[0, "seed"] == 7


SUMMED = {"scores.csv", "top.csv", "effects.csv", "protocols.csv", "tune.csv", "table1.csv", "tatoeba.csv",
          "reductions.csv"}  # fmt: skip


def test_every_table_with_sums_has_a_declared_one_for_them():
    pairs = {table.file_name: table.overall for table in TABLES if table.overall}
    assert set(pairs) == SUMMED
    assert {table.file_name for table in pairs.values()} <= {table.file_name for table in TABLES}
    assert STS.overall is None
    assert STS.file_names == ("sts.csv",)
    assert TOP.file_names == ("top.csv", "top_overall.csv")


def test_no_text_counts_twice_and_nothing_is_lost(run_dir):
    for table in (EFFECTS, TOP, TABLE1):
        path = run_dir / table.file_name
        languages, means = (
            csv_files.read(table, path),
            csv_files.read(table.overall, path.with_stem(f"{path.stem}_overall")),
        )
        assert MEAN not in set(languages["language"])
        assert set(means["language"]) == {MEAN}
        both = csv_files.read_with_sums(table, path)
        assert len(both) == len(languages) + len(means)
        assert dict(both.dtypes) == dict(languages.dtypes)
    assert not {"p_value", "p_holm"} & set(csv_files.read(TOP.overall, run_dir / "top_overall.csv"))


def test_a_sum_is_refused_among_what_it_sums_up_and_the_other_way_round(run_dir, tmp_path):
    means = (run_dir / "table1_overall.csv").read_text()
    (tmp_path / "table1.csv").write_text(means)
    problems = csv_files.validate(tmp_path / "table1.csv")
    assert "column language: given 'mean'; accepted: text other than mean, not empty" in problems[0]
    (tmp_path / "table1_overall.csv").write_text((run_dir / "table1.csv").read_text())
    assert "accepted: mean, not empty" in csv_files.validate(tmp_path / "table1_overall.csv")[0]


def found(**cells):
    row = dict.fromkeys(STAMP, "x") | {
        "transfer": "zero-shot", "system": "frozen", "layers": "3", "pooling": "max", "protocol": "last",
        "seed": None, "language": "deu", "split": "test", "direction": "to-en", "score": "cosine", "n": 4,
        "n_skipped": 0, "n_right": 3, "accuracy": 0.75, "error_rate": 0.25,
        "error_rate_low": 0.0, "error_rate_high": 0.5, "altered": 0.0, "stripped": 0.0,
    }  # fmt: skip
    return row | cells


def test_both_directions_together_sum_up_and_earlier_sums_go_when_there_are_none(tmp_path):
    path, beside = tmp_path / "tatoeba.csv", tmp_path / "tatoeba_overall.csv"
    rows = [found(), found(direction="from-en"), found(direction="both", n=8), found(language=MEAN)]
    written = csv_files.write_with_sums(TATOEBA, pd.DataFrame(rows), path)
    assert written == [path, beside]
    assert csv_files.read(TATOEBA, path)["direction"].tolist() == ["to-en", "from-en"]
    assert csv_files.read(TATOEBA.overall, beside)["language"].tolist() == [
        "deu",
        MEAN,
    ]
    assert csv_files.write_with_sums(TATOEBA, pd.DataFrame(rows[:2]), path) == [path]
    assert not beside.exists()
    assert len(csv_files.read_with_sums(TATOEBA, path)) == 2


def test_a_refused_sum_leaves_both_files_as_they_were(tmp_path):
    path = tmp_path / "tatoeba.csv"
    csv_files.write_with_sums(TATOEBA, pd.DataFrame([found(), found(language=MEAN)]), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for wrong in (found(language=MEAN, accuracy=2.0), found(accuracy=2.0)):
        rows = [found(direction="from-en"), found(direction="both"), wrong]
        with pytest.raises(csv_files.TableError, match="column accuracy"):
            csv_files.write_with_sums(TATOEBA, pd.DataFrame(rows), path)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_analyst_reads_the_means_by_their_name(run_dir):
    means = mcbert.read_results("table1_overall", run_dir)
    assert set(means["language"]) == {MEAN}
    assert len(means) == 4


def block(rows, label="=refund, now"):
    return pd.DataFrame(
        {
            "row": rows,
            "id": [f"-{row}" for row in rows],
            "label": label,
            "probability": 0.75,
            f"probability_{label}": 0.75,
            "probability_b": 0.25,
        }
    )


def test_blocks_make_the_whole_table(tmp_path):
    with writing(LABELS, tmp_path / "labels.csv") as write_block:
        write_block(block([1, 2]))
        assert not (tmp_path / "labels.csv").exists()
        write_block(block([4]))
    write(LABELS, block([1, 2, 4]), tmp_path / "labels_whole.csv")
    assert (tmp_path / "labels.csv").read_bytes() == (tmp_path / "labels_whole.csv").read_bytes()
    found = read(LABELS, tmp_path / "labels.csv")
    assert list(found.columns) == ["row", "id", "label", "probability", "probability_=refund, now",
                                   "probability_b"]  # fmt: skip
    assert found["id"].tolist() == ["-1", "-2", "-4"]
    assert validate(tmp_path / "labels.csv") == []


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with (
        pytest.raises(TableError, match="column probability: given '7.0'"),
        writing(LABELS, path) as write_block,
    ):
        write_block(block([1]))
        write_block(block([2]).assign(probability=7.0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_an_earlier_version_lack_later_columns_which_are_read_as_empty(tmp_path):
    """What is written has all of them; a column that was always there is missed in a file, too."""
    whole = synthetic.gridsearch()
    csv_files.write(GRIDSEARCH, whole, tmp_path / "new.csv")
    old = [name for name in whole.columns if name not in ("log_loss", "agreement")]
    given = pd.read_csv(tmp_path / "new.csv", dtype=str, keep_default_na=False)
    given.drop(columns=["log_loss", "agreement"]).to_csv(tmp_path / "gridsearch.csv", index=False)
    known = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(known | {"gridsearch.csv": known["new.csv"]}))
    read = csv_files.read(GRIDSEARCH, tmp_path / "gridsearch.csv")
    assert read[["log_loss", "agreement"]].isna().all(axis=None)
    new = csv_files.read(GRIDSEARCH, tmp_path / "new.csv")
    pd.testing.assert_frame_equal(read[old], new[old])
    assert list(read.columns) == list(new.columns)
    assert csv_files.validate(tmp_path / "gridsearch.csv") == []
    with pytest.raises(csv_files.TableError, match="header, column log_loss: missing"):
        csv_files.write(GRIDSEARCH, whole[old], tmp_path / "again.csv")
    whole.drop(columns="score").to_csv(tmp_path / "gridsearch.csv", index=False)
    with pytest.raises(csv_files.TableError, match="header, column score: missing"):
        csv_files.read(GRIDSEARCH, tmp_path / "gridsearch.csv")


def test_what_all_rows_share_stands_once_beside_the_file(tmp_path):
    """In memory it is in every row; files of one folder share run.json and keep their own entries."""
    for name, digest in (("freezing", "one"), ("other", "two"), ("freezing", "three")):
        csv_files.write(FREEZING, freezing().assign(config_digest=digest), tmp_path / f"{name}.csv")
    header = (tmp_path / "freezing.csv").read_text().split("\n")[0].split(",")
    assert not {*header} & {*STAMP}
    known = json.loads((tmp_path / "run.json").read_text())
    assert {name: stamp["config_digest"] for name, stamp in known.items()} == {
        "freezing.csv": "three",
        "other.csv": "two",
    }
    back = csv_files.read(FREEZING, tmp_path / "freezing.csv")
    pd.testing.assert_frame_equal(back, freezing().assign(config_digest="three").astype(back.dtypes))
    assert csv_files.validate(tmp_path / "freezing.csv") == []


def test_rows_that_do_not_share_it_are_refused_and_nothing_is_written(tmp_path):
    frame = pd.concat([freezing(), freezing().assign(run="other", seed=9)], ignore_index=True)
    with pytest.raises(TableError, match="column run: given .* 'other'; accepted: one for the whole file"):
        csv_files.write(FREEZING, frame, tmp_path / "freezing.csv")
    assert not list(tmp_path.iterdir())


def test_a_file_alone_is_read_with_an_empty_stamp(tmp_path):
    csv_files.write(FREEZING, freezing(), tmp_path / "freezing.csv")
    (tmp_path / "run.json").unlink()
    assert set(csv_files.read(FREEZING, tmp_path / "freezing.csv")["run"]) == {""}
    assert csv_files.validate(tmp_path / "freezing.csv") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "run.json: damaged"),
        ('{"freezing.csv": 3}', "run.json: damaged ('freezing.csv' is 3)"),
        ('{"freezing.csv": {"transfer": "by hand"}}', "transfer: given 'by hand'; accepted: zero-shot, tr"),
        ('{"freezing.csv": {"run": 7}}', "run: given 7; accepted: text"),
    ],
)
def test_a_damaged_stamp_is_one_line(tmp_path, content, said):
    csv_files.write(FREEZING, freezing(), tmp_path / "freezing.csv")
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(said)):
        csv_files.read(FREEZING, tmp_path / "freezing.csv")
    assert said in csv_files.validate(tmp_path / "freezing.csv")[0]


def test_a_table_of_one_version_ago_with_the_stamp_in_its_rows_is_read(tmp_path):
    csv_files.write(FREEZING, freezing(), tmp_path / "freezing.csv")
    rows = pd.read_csv(tmp_path / "freezing.csv", dtype=str).assign(**dict.fromkeys(STAMP, "x"))
    rows.assign(transfer="zero-shot").to_csv(tmp_path / "freezing.csv", index=False)
    (tmp_path / "run.json").unlink()
    assert set(csv_files.read(FREEZING, tmp_path / "freezing.csv")["encoder"]) == {"x"}
