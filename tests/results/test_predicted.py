import numpy as np
import pandas as pd
import pytest

from mcbert.results import csv_files, predicted
from mcbert.results.csv_rows import TableError
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import PREDICTIONS
from tests.results import synthetic


def frame(systems=("probe",), n=40, split="test"):
    """Rows of two languages: of every text n/2 are right in de, all are in en."""
    rows = [
        {"system": system, "seed": str(seed), "id": f"t{k}" + ("" if language == "en" else f"-{language}"),
         "language": language, "split": split, "label": "a",
         "predicted": "a" if language == "en" or k % 2 else "b", "unit": f"t{k}"}
        for system in systems for seed in range(2) for language in ("en", "de") for k in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_accuracies_have_intervals_by_language_and_over_the_targets():
    found = predicted.accuracies(frame(("probe", "mcbert")), "en")
    assert set(found) == {"probe", "mcbert"}
    assert (found["probe"]["en"].low, found["probe"]["en"].high) == (1, 1)
    one = found["probe"]["de"]
    assert one.low < 0.5 == one.difference < one.high
    assert found["probe"]["mean"] == one  # of one target it is its own
    half = 1.96 * np.sqrt(0.25 / 40)
    assert one.low == pytest.approx(0.5 - half, abs=0.03)


def test_accuracies_are_those_of_table_1(run_dir):
    run = RunTables.read(run_dir)
    assert set(run.accuracies) == {"probe", "baseline", "mcbert", "mcbert_wf"}
    table = run.tables["table1"].set_index(["system", "language"])["accuracy"]
    for system, cells in run.accuracies.items():
        for language, cell in cells.items():
            assert cell.difference == pytest.approx(table[system, language])
            assert cell.low <= cell.difference <= cell.high


def test_translations_that_are_labelled_alike_are_counted_beside_their_originals():
    rows = frame().query("seed == '0'")
    share, n = predicted.likeness(rows, "en")["de"]
    assert (share, n) == (0.5, 40)
    assert predicted.likeness(rows[rows["language"] == "de"], "en") == {}


def test_the_kept_model_is_that_of_the_lowest_seed_by_number():
    rows = pd.concat([frame().assign(seed=seed) for seed in ("10", "9")])
    assert set(predicted.of_system(rows, "probe")["seed"]) == {"9"}
    assert predicted.of_system(rows, "mcbert").empty


def test_majorities_are_of_the_true_labels_whatever_was_predicted():
    rows = frame().assign(label=["a", "b", "b", "c"] * 40)
    assert predicted.majorities(rows) == {"de": 0.5, "en": 0.5}


def test_files_without_texts_and_probabilities_are_read_and_a_broken_one_is_named(tmp_path):
    assert predicted.read(None).empty
    assert predicted.read(tmp_path).empty
    rows = synthetic.predictions(("probe",))
    csv_files.write(PREDICTIONS, rows, tmp_path / "predictions_gridsearch.csv")
    whole = predicted.read(tmp_path)
    old = pd.read_csv(tmp_path / "predictions_gridsearch.csv").drop(columns=["text", "probability"])
    old.to_csv(tmp_path / "predictions_gridsearch.csv", index=False)
    pd.testing.assert_frame_equal(predicted.read(tmp_path), whole)
    assert csv_files.read(PREDICTIONS, tmp_path / "predictions_gridsearch.csv")["text"].eq("").all()
    old.drop(columns="label").to_csv(tmp_path / "predictions_gridsearch.csv", index=False)
    with pytest.raises(TableError, match=r"predictions_gridsearch.csv: header, column label: missing"):
        predicted.read(tmp_path)


def test_without_test_texts_the_dev_texts_stand_in(tmp_path):
    rows = synthetic.predictions(("probe",)).assign(split="dev")
    csv_files.write(PREDICTIONS, rows, tmp_path / "predictions_gridsearch.csv")
    assert set(predicted.read(tmp_path)["split"]) == {"dev"}
