import json
from pathlib import Path

import pytest

from mcbert.pipeline.run import Run, stamped_versions, versions


def work(run, calls, text="x"):
    def inner():
        calls.append(text)
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "out.csv").write_text(text)
        return ["out.csv"]

    return inner


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path, "r")


def test_a_stage_runs_once(run):
    calls = []
    run.stage("s", {"a": 1}, work(run, calls))
    run.stage("s", {"a": 1}, work(run, calls))
    assert calls == ["x"]
    record = json.loads((run.folder / "stages/s.json").read_text())
    assert record["inputs"] == {"a": 1}
    assert list(record["outputs"]) == ["out.csv"]


def test_moved_with_its_files_a_run_goes_on(tmp_path):
    calls = []
    for place in ("here", "moved"):
        base = tmp_path / place
        if place == "moved":
            (tmp_path / "here").rename(base)
        run = Run(base / "results/runs", "r", base=str(base))
        run.stage(
            "s", {"raw": str(base / "raw.csv"), "files": {str(base / "raw.csv"): "ab12"}}, work(run, calls)
        )
    assert calls == ["x"]
    with pytest.raises(ValueError, match=r'\(raw: "raw.csv" -> "/elsewhere/raw.csv"\)'):
        run.stage("s", {"raw": "/elsewhere/raw.csv", "files": {"raw.csv": "ab12"}}, work(run, calls))


def test_another_configuration_is_refused_by_name_and_nothing_changes(run):
    run.stage("s", {"gridsearch": {"protocol": "last", "seed": 0}}, work(run, []))
    with pytest.raises(ValueError, match=r'gridsearch.protocol: "last" -> "source-dev"'):
        run.stage("s", {"gridsearch": {"protocol": "source-dev", "seed": 0}}, work(run, [], "y"))
    assert (run.folder / "out.csv").read_text() == "x"


def test_results_of_another_budget_are_replaced_and_of_another_configuration_are_not(run):
    calls = []
    for budget in (10, 20, 20, 10):
        run.stage("s", {"budget": {"n": budget}, "a": 1}, work(run, calls, str(budget)), replace=("budget",))
    assert calls == ["10", "20", "10"]
    with pytest.raises(ValueError, match=r"\(a: 1 -> 2\)"):
        run.stage("s", {"budget": {"n": 10}, "a": 2}, work(run, calls), replace=("budget",))

    def killed():
        (run.folder / "out.csv").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.stage("s", {"budget": {"n": 30}, "a": 1}, killed, replace=("budget",))
    run.stage("s", {"budget": {"n": 10}, "a": 1}, work(run, calls, "10"), replace=("budget",))
    assert calls == ["10", "20", "10", "10"]


def test_a_stage_that_failed_may_be_run_again_with_a_mended_configuration(run):
    def fails():
        raise ValueError("layer 99")

    with pytest.raises(ValueError, match="layer 99"):
        run.stage("s", {"layers": [99]}, fails)
    calls = []
    run.stage("s", {"layers": [9]}, work(run, calls))
    assert calls == ["x"]


def test_a_stage_that_failed_without_a_file_leaves_no_folder(tmp_path):
    def fails():
        raise ValueError("row 3")

    run = Run(tmp_path / "runs", "r")
    with pytest.raises(ValueError, match="row 3"), run.held("prepare"):
        run.stage("prepare", {}, fails)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_its_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"^--runs: {tmp_path}/file: it is a file; accepted: a folder"):
        Run(tmp_path / "file" / "below", "r")
    message = "^--runs /proc/none: cannot make /proc/none/r: .*; accepted: a folder that can be written to$"
    with pytest.raises(ValueError, match=message), Run(Path("/proc/none"), "r").held("prepare"):
        pass


def test_a_lost_output_is_made_again_a_changed_one_is_not_overwritten(run):
    calls = []
    run.stage("s", {"a": 1}, work(run, calls))
    (run.folder / "out.csv").unlink()
    run.stage("s", {"a": 1}, work(run, calls))
    assert calls == ["x", "x"]
    (run.folder / "out.csv").write_text("edited by hand")
    with pytest.raises(ValueError, match=r"out\.csv: changed since the s stage wrote it"):
        run.stage("s", {"a": 1}, work(run, calls))
    assert (run.folder / "out.csv").read_text() == "edited by hand"


def test_what_is_derived_may_be_replaced(run):
    run.stage("s", {"a": 1}, work(run, []), replace=True)
    run.stage("s", {"a": 2}, work(run, [], "y"), replace=True)
    assert (run.folder / "out.csv").read_text() == "y"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a" * 81, "a b", "ü"])
def test_names_that_would_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="--run: got"):
        Run(tmp_path, name)


def test_rows_tell_the_versions_that_figures_depend_on():
    names = stamped_versions().split()[::2]
    assert names == ["mcbert", "torch", "transformers", "scikit-learn"]
    assert stamped_versions().split()[3] == versions()["torch"]
