"""Commands that compute nothing start quickly: they import no torch, and none of what takes as long."""

import subprocess
import sys

import pytest

from mcbert.pipeline.commands.runs import folders_of

HEAVY = ("torch", "transformers", "sklearn", "scipy.stats", "scipy.optimize", "dask", "distributed", "joblib")
COMMAND = """
import sys
from mcbert.pipeline.cli import main
try:
    status = main(sys.argv[2:])
except SystemExit as left:
    status = left.code
print(status, [name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
"""


def said(tmp_path, *arguments):
    command = [sys.executable, "-c", COMMAND, ",".join(HEAVY), *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


@pytest.fixture
def runs(tmp_path):
    """Return a folder of runs with one that holds no tables."""
    (tmp_path / "runs/mine/stages").mkdir(parents=True)
    record = '{"inputs": {}, "outputs": {}, "seconds": 1.0, "machine": {}, "versions": {}}'
    (tmp_path / "runs/mine/stages/report.json").write_text(record)
    assert [path.name for path in folders_of(tmp_path / "runs")] == ["mine"]
    return tmp_path / "runs"


@pytest.mark.parametrize("command", [["--help"], ["show", "--config", "demo"], ["caches"]])
def test_what_reads_no_results_imports_nothing_heavy(tmp_path, command):
    assert said(tmp_path, *command)[-1] == "0 []"


def test_listing_and_checking_runs_imports_nothing_heavy(tmp_path, runs):
    assert said(tmp_path, "runs", "--runs", runs)[-1] == "0 []"
    assert said(tmp_path, "validate", runs / "mine")[-1].endswith(" []")


def test_an_output_that_is_there_is_told_before_a_model_is_loaded(tmp_path):
    (tmp_path / "texts.csv").write_text("text\nWhere is it?\n")
    (tmp_path / "labels.csv").write_text("mine")
    paths = ["--input", tmp_path / "texts.csv", "--output", tmp_path / "labels.csv"]
    problem, imported = said(tmp_path, "predict", "--model", "m", *paths)[-2:]
    assert "it already exists" in problem
    assert imported == "2 []"
