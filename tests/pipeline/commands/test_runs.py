import json

import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.commands.runs import folders_of
from mcbert.results import csv_files
from mcbert.results.schema.runs import RUNS
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.texts import TEXTS
from tests.results import synthetic
from tests.results.test_runs import texts

STAGES = ("prepare", "gridsearch", "export-6-max-lda", "embeddings-search", "similarity", "report")


@pytest.fixture
def runs(tmp_path):
    for name, protocol in (("one", "target-dev"), ("two", "source-dev")):
        stages = tmp_path / name / "stages"
        stages.mkdir(parents=True)
        inputs = {"prepare": {"raw": "/data/intents/raw.csv"}, "corpus": {"path": ""}}
        for stage in STAGES[::-1]:
            (stages / f"{stage}.json").write_text(json.dumps({"inputs": inputs, "outputs": {}, "seconds": 1}))
        rows = synthetic.gridsearch().assign(protocol=protocol)
        csv_files.write(GRIDSEARCH, rows, tmp_path / name / "gridsearch.csv")
        csv_files.write(TEXTS, texts(), tmp_path / name / "texts.csv")
    (tmp_path / "leftover").mkdir()
    return tmp_path


def test_all_runs_are_listed_with_their_scores(runs, capsys):
    assert main(["runs", "--runs", str(runs)]) == 0
    heading, header, *lines = capsys.readouterr().out.splitlines()
    assert "intents/raw.csv; ar, de, es, fr, ur, zh; texts " in heading
    assert header.split()[:6] == ["run", "protocol", "winner", "candidates", "dev", "test"]
    assert [line.split()[:2] for line in lines] == [["one", "target-dev"], ["two", "source-dev"]]
    assert all(line.endswith(" ".join(STAGES)) and "intents/raw.csv" in line for line in lines)
    best = synthetic.gridsearch().iloc[0]
    assert lines[0].split()[2:5] == [best["candidate_id"], "35", f"{100 * best['dev_f1_micro_mean']:.1f}"]


def test_a_run_without_a_search_says_nothing_of_candidates(runs, capsys):
    for path in runs.glob("*/gridsearch*.csv"):
        path.unlink()
    assert main(["runs", "--runs", str(runs)]) == 0
    _, header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[header.split().index("candidates")] for line in lines] == ["-", "-"]
    assert not any(word in line for line in lines for word in ("None", "<NA>", "nan"))


def test_runs_of_two_corpora_stand_in_two_groups(runs, capsys, tmp_path):
    csv_files.write(TEXTS, texts(label="b"), runs / "two" / "texts.csv")
    path = tmp_path / "runs.csv"
    assert main(["runs", "--runs", str(runs), "--csv", str(path)]) == 0
    groups = [part.splitlines() for part in capsys.readouterr().out.split("\n\n")]
    assert [[line.split()[0] for line in group] for group in groups] == [
        ["#", "run", "one"],
        ["#", "run", "two"],
    ]
    assert csv_files.read(RUNS, path)["test_texts"].nunique() == 2


def test_they_are_written_as_a_table_that_validates(runs, tmp_path, capsys):
    path = tmp_path / "runs-of-today.csv"
    assert main(["runs", "two", "--runs", str(runs), "--csv", str(path)]) == 0
    assert main(["validate", str(path)]) == 0
    (row,) = csv_files.read(RUNS, path).to_dict("records")
    assert (row["run"], row["corpus"], row["stages"]) == ("two", "intents/raw.csv", " ".join(STAGES))
    assert row["finished"].endswith("Z")
    assert "0 problems" in capsys.readouterr().out


def test_some_are_put_side_by_side_in_a_page(runs, tmp_path):
    path = tmp_path / "both.html"
    assert main(["runs", "one", "two", "--runs", str(runs), "--html", str(path)]) == 0
    assert "The runs differ in how the choice was made." in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("option", ["--csv", "--html"])
def test_a_file_that_is_there_is_replaced_only_when_told(runs, tmp_path, option, capsys):
    path = tmp_path / f"runs-notes.{option[2:]}"
    path.write_text("notes of mine\n")
    arguments = ["runs", "one", "two", "--runs", str(runs), option, str(path)]
    assert main(arguments) == 2
    told = f"{option}: {path}: it already exists; accepted: a new file, or --replace"
    assert told in capsys.readouterr().err
    assert path.read_text() == "notes of mine\n"
    assert main([*arguments, "--replace"]) == 0
    assert "notes of mine" not in path.read_text(encoding="utf-8")


def test_a_table_that_cannot_be_read_is_told_below(runs, capsys):
    (runs / "two" / "gridsearch.csv").write_text("rank\n1\n")
    assert main(["runs", "--runs", str(runs)]) == 0
    assert "two: " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["three"], "run: got 'three', accepted: one of leftover, one, two"),
        (["--csv", "list.csv"], "--csv: got 'list.csv', accepted: a name like runs*.csv"),
        (["one", "--html", "one.html"], "got 1 to compare, accepted: two or more"),
    ],
)
def test_unusable_arguments_are_refused(runs, arguments, message, capsys):
    assert main(["runs", "--runs", str(runs), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert folders_of(tmp_path) == []
    assert main(["runs", "--runs", str(tmp_path)]) == 2
    assert "no run in it" in capsys.readouterr().err
