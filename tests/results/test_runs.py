import shutil

import pandas as pd
import pytest

import mcbert
from mcbert.results import csv_files
from mcbert.results.runs import KINDS
from mcbert.results.schema.search import GRIDSEARCH, PREDICTIONS, TOP
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import TABLE1
from tests.results import synthetic


def texts(label="a", test=2):
    return pd.DataFrame(
        {
            "id": [f"t{n}" for n in range(test + 1)], "text": "words, of a text", "text_pair": "",
            "label": label, "language": "en", "split": ["train", *["test"] * test],
        }
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        csv_files.write(GRIDSEARCH, synthetic.gridsearch(), tmp_path / name / "gridsearch.csv")
        csv_files.write(TEXTS, texts(), tmp_path / name / "texts.csv")
    return tmp_path


def test_a_table_of_a_run_is_read_by_name_and_typed(runs):
    frame = mcbert.read_results("gridsearch", "one", runs=runs)
    assert str(frame["rank"].dtype) == "Int64"
    assert str(frame["score"].dtype) == "float64"
    for run in (runs / "one", str(runs / "one")):
        assert mcbert.read_results("gridsearch", run).equals(frame)


def test_predictions_of_all_systems_are_one_table(run_dir):
    frame = mcbert.read_results("predictions", run_dir)
    assert set(frame["system"]) == {"probe", "baseline", "mcbert", "mcbert_wf"}


@pytest.mark.parametrize(
    ("name", "run", "message"),
    [
        ("grid", "one", r"table: got 'grid', accepted: predictions, texts, .*gridsearch"),
        ("labels*", "one", r"table: got 'labels\*'"),
        ("gridsearch", "three", r"run: got 'three', accepted: one of one, two in"),
        ("table1", "one", r"table1.csv: no such file"),
        ("predictions", "one", r"predictions_\*.csv: no such file"),
    ],
)
def test_what_is_not_there_is_said(runs, name, run, message):
    with pytest.raises(ValueError, match=message):
        mcbert.read_results(name, run, runs=runs)


def test_like_runs_are_joined_and_told_apart_by_the_folder(runs):
    both = mcbert.compare_results(["one", "two"], folder=runs)
    assert both.equals(mcbert.compare_results([str(runs / "one"), runs / "two"]))
    single = mcbert.read_results("gridsearch", "one", runs=runs)
    assert both["run"].value_counts().to_dict() == {"one": len(single), "two": len(single)}
    assert both.dtypes.drop("run").equals(single.dtypes.drop("run"))


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [("protocol", "protocol", "source-dev"), ("transfer", "transfer", "translate-test")],
)
def test_unlike_runs_are_refused_unless_allowed(runs, kind, column, value):
    other = synthetic.gridsearch().assign(**{column: value})
    csv_files.write(GRIDSEARCH, other, runs / "two" / "gridsearch.csv")
    with pytest.raises(ValueError, match=rf"runs differ in {KINDS[kind]}: one: .*; two: {value};.*allow="):
        mcbert.compare_results(["one", "two"], folder=runs)
    assert set(mcbert.compare_results(["one", "two"], allow=[kind], folder=runs)[column]) >= {value}


def test_unlike_splits_are_refused(runs, run_dir):
    for name in ("one", "two"):
        shutil.copy(run_dir / "top.csv", runs / name)
    top = csv_files.read_with_sums(TOP, run_dir / "top.csv")
    csv_files.write_with_sums(TOP, top[top["split"] == "dev"], runs / "two" / "top.csv")
    with pytest.raises(ValueError, match=r"split \(dev or test\): one: dev, test; two: dev"):
        mcbert.compare_results(["one", "two"], "top", folder=runs)


def test_unlike_test_texts_are_refused_other_training_texts_are_not(runs):
    more = pd.concat([texts(), texts().iloc[:1].assign(id="t9")])
    csv_files.write(TEXTS, more, runs / "two" / "texts.csv")
    mcbert.compare_results(["one", "two"], folder=runs)
    csv_files.write(TEXTS, texts(label="b"), runs / "two" / "texts.csv")
    with pytest.raises(ValueError, match="test texts: one: [0-9a-f]{12}; two: [0-9a-f]{12}"):
        mcbert.compare_results(["one", "two"], folder=runs)
    (runs / "two" / "texts.csv").unlink()
    with pytest.raises(ValueError, match="two: not known"):
        mcbert.compare_results(["one", "two"], folder=runs)
    (runs / "one" / "texts.csv").unlink()
    with pytest.raises(ValueError, match="test texts: one: not known; two: not known"):
        mcbert.compare_results(["one", "two"], folder=runs)
    assert set(mcbert.compare_results(["one", "two"], allow=["texts"], folder=runs)["run"]) == {"one", "two"}


def test_protocols_are_compared_by_system(runs, run_dir):
    for name in ("one", "two"):
        shutil.copy(run_dir / "table1.csv", runs / name)
    mcbert.compare_results(["one", "two"], "table1", folder=runs)
    table = csv_files.read_with_sums(TABLE1, run_dir / "table1.csv")
    probe = table["system"] == "probe"
    other = table.assign(protocol=table["protocol"].where(~probe, "source-dev"))
    csv_files.write_with_sums(TABLE1, other, runs / "two" / "table1.csv")
    with pytest.raises(ValueError, match="two: .*probe source-dev"):
        mcbert.compare_results(["one", "two"], "table1", folder=runs)


def test_predictions_of_unlike_protocols_are_refused(runs, run_dir):
    name = "predictions_gridsearch.csv"
    for run in ("one", "two"):
        shutil.copy(run_dir / name, runs / run)
    assert set(mcbert.compare_results(["one", "two"], "predictions", folder=runs)["protocol"]) == {
        "target-dev"
    }
    other = csv_files.read(PREDICTIONS, run_dir / name).assign(protocol="source-dev")
    csv_files.write(PREDICTIONS, other, runs / "two" / name)
    with pytest.raises(ValueError, match="one: probe target-dev; two: probe source-dev"):
        mcbert.compare_results(["one", "two"], "predictions", folder=runs)


@pytest.mark.parametrize("asked", [[], ["one"], ["one", "one"]])
def test_less_than_two_runs_are_no_comparison(runs, asked):
    with pytest.raises(ValueError, match="accepted: two or more, each once"):
        mcbert.compare_results(asked, folder=runs)


def test_what_cannot_be_allowed_and_unknown_names_are_errors(runs):
    with pytest.raises(ValueError, match="allow: got 'encoder', accepted: protocol, split"):
        mcbert.compare_results(["one", "two"], allow=["encoder"], folder=runs)
