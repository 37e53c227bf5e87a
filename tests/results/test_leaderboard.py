import pytest

from mcbert.results import csv_files
from mcbert.results.leaderboard import grouped, is_known, leaderboard, shared
from mcbert.results.runs import digest_of_test
from mcbert.results.schema.runs import RUNS
from mcbert.results.schema.search import GRIDSEARCH, PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import TABLE1
from tests.results import synthetic
from tests.results.test_runs import texts


def test_a_run_is_summed_up_by_its_winner_and_its_systems(run_dir):
    (row,) = leaderboard([run_dir]).to_dict("records")
    best = csv_files.read(GRIDSEARCH, run_dir / "gridsearch.csv").iloc[0]
    assert (row["winner"], row["winner_dev"]) == (best["candidate_id"], best["dev_f1_micro_mean"])
    assert row["winner_test"] == best["test_f1_micro_mean"]
    assert row["winner_test_low"] < row["winner_test_high"]
    own = csv_files.read_with_sums(TABLE1, run_dir / "table1.csv").query("language == 'mean'")
    means = own.set_index("system")["accuracy"]
    assert {name: row[name] for name in ("baseline", "mcbert", "mcbert_wf")} == means.drop("probe").to_dict()
    assert row["mcbert_versus_baseline_low"] == own.set_index("system").loc["mcbert", "versus_baseline_low"]
    assert (row["languages"], row["transfer"]) == ("ar de es fr ur zh", "zero-shot")


def test_the_best_winner_on_dev_comes_first_whatever_test_says(tmp_path):
    for name, shift in (("lower", -0.05), ("upper", 0.0)):
        rows = synthetic.gridsearch(n_errors=0)
        rows = rows.assign(
            dev_f1_micro_mean=rows["dev_f1_micro_mean"] + shift,
            test_f1_micro_mean=rows["test_f1_micro_mean"] - shift,
        )
        (tmp_path / name).mkdir()
        csv_files.write(GRIDSEARCH, rows, tmp_path / name / "gridsearch.csv")
        csv_files.write(TEXTS, texts(), tmp_path / name / "texts.csv")
    frame = leaderboard([tmp_path / "lower", tmp_path / "upper"])
    assert frame["run"].tolist() == ["upper", "lower"]
    assert frame["winner_test"].is_monotonic_increasing


def test_runs_of_other_test_texts_or_languages_are_never_ranked_together(tmp_path):
    made = {
        "a1": ("a", 0.0),
        "a2": ("a", 0.05),
        "b1": ("b", 0.1),
        "b2": ("b", -0.1),
        "c": ("a", 0.2),
        "d": ("", 0.3),
    }
    for name, (label, shift) in made.items():
        rows = synthetic.gridsearch(n_errors=0)
        rows = rows.assign(dev_f1_micro_mean=rows["dev_f1_micro_mean"] + shift - 0.4)
        if name == "c":  # the same texts, of which the search looked at fewer languages
            rows = rows.drop(columns=["dev_f1_micro_zh", "test_f1_micro_zh"])
        (tmp_path / name).mkdir()
        csv_files.write(GRIDSEARCH, rows, tmp_path / name / "gridsearch.csv")
        if label:
            csv_files.write(TEXTS, texts(label=label), tmp_path / name / "texts.csv")
    frame = leaderboard([tmp_path / name for name in made])
    groups = grouped(frame)
    assert [group["run"].tolist() for group in groups] == [["a2", "a1"], ["b1", "b2"], ["c"], ["d"]]
    assert [is_known(group) for group in groups] == [True, True, True, False]
    assert frame["run"].tolist() == [name for group in groups for name in group["run"]]
    assert "ar, de, es, fr, ur, zh" in shared(groups[0])
    assert "not ranked" in shared(groups[-1])


def test_predictions_tell_the_test_texts_as_texts_csv_does(tmp_path):
    for name in ("whole", "part"):
        (tmp_path / name).mkdir()
    rows = synthetic.predictions(("probe",))
    csv_files.write(PREDICTIONS, rows, tmp_path / "part" / "predictions_gridsearch.csv")
    whole = rows[["id", "language", "label", "split"]].assign(text="words", text_pair="")
    csv_files.write(TEXTS, whole, tmp_path / "whole" / "texts.csv")
    assert digest_of_test(tmp_path / "part") == digest_of_test(tmp_path / "whole") != ""


def test_a_table_that_cannot_be_read_is_told_and_the_others_count(tmp_path):
    (tmp_path / "table1.csv").write_text("system\nmcbert\n")
    csv_files.write(GRIDSEARCH, synthetic.gridsearch(), tmp_path / "gridsearch.csv")
    (row,) = leaderboard([tmp_path]).to_dict("records")
    assert "table1.csv: header, column casing: missing" in row["problem"]
    assert row["winner"]


def test_without_targets_the_source_counts(tmp_path):
    rows = synthetic.gridsearch(n_errors=0).assign(
        dev_f1_micro_mean=float("nan"), test_f1_micro_mean=float("nan")
    )
    csv_files.write(GRIDSEARCH, rows, tmp_path / "gridsearch.csv")
    (row,) = leaderboard([tmp_path]).to_dict("records")
    assert row["winner_dev"] == rows.iloc[0]["dev_f1_micro_en"]


def test_the_rows_are_a_table(run_dir, tmp_path):
    (tmp_path / "nothing").mkdir()
    path = tmp_path / "runs.csv"
    csv_files.write(RUNS, leaderboard([run_dir, tmp_path / "nothing"]), path)
    back = csv_files.read(RUNS, path)
    assert back["run"].tolist() == ["demo", "nothing"]
    assert back.loc[0, "winner_dev"] == pytest.approx(leaderboard([run_dir]).loc[0, "winner_dev"])


def test_targets_without_dev_texts_count_on_test(tmp_path):
    rows = synthetic.gridsearch(n_errors=0)
    csv_files.write(GRIDSEARCH, rows.assign(dev_f1_micro_mean=float("nan")), tmp_path / "gridsearch.csv")
    (row,) = leaderboard([tmp_path]).to_dict("records")
    assert row["winner_dev"] == rows.iloc[0]["dev_f1_micro_en"]
    assert row["winner_test"] == rows.iloc[0]["test_f1_micro_mean"] != rows.iloc[0]["test_f1_micro_en"]


def test_an_ensemble_is_the_winner_and_not_counted_among_the_candidates(tmp_path):
    for name, rows in (
        ("plain", synthetic.gridsearch()),
        ("ensemble", synthetic.with_ensemble(synthetic.gridsearch())),
    ):
        (tmp_path / name).mkdir()
        csv_files.write(GRIDSEARCH, rows, tmp_path / name / "gridsearch.csv")
    found = leaderboard([tmp_path / "plain", tmp_path / "ensemble"]).set_index("run")
    assert found.loc["ensemble", "winner"] == "ensemble-members=100"
    assert found.loc["ensemble", "n_candidates"] == found.loc["plain", "n_candidates"]
