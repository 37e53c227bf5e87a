"""A run that somebody sent: links in it lead nowhere, and what is damaged is one line that names the file."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mcbert.home import HOME
from mcbert.pipeline.cli import main

MINE = "a file of the reader's own\n"
RUN = Path("results/runs/mine")


@pytest.fixture
def project(tmp_path, texts_table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts_table.drop(columns="text_pair").to_csv("texts.csv", index=False)
    Path("mine.toml").write_text('[corpus]\npath = "texts.csv"\n[encoder]\npath = "encoder"\n')
    assert main(["prepare", "--config", "mine.toml"]) == 0
    Path("mine").write_text(MINE)
    return tmp_path


def error(capsys):
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("mcbert: error:")]
    return line


@pytest.mark.parametrize("name", ["stages/prepare.json", "texts.csv", "gridsearch.jsonl", "models", "x/y"])
@pytest.mark.parametrize("command", ["prepare", "report", "runs", "validate"])
def test_a_link_in_a_run_is_not_followed(project, name, command, capsys):
    path = RUN / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(project if name == "models" else project / "mine")
    given = {"runs": ["runs", "mine"], "validate": ["validate", str(RUN)]}
    status = main(given.get(command, [command, "--config", "mine.toml"]))
    said = capsys.readouterr()
    if command in ("prepare", "report"):
        assert status == 2
        expected = f"mcbert: error: {path}: it is a link, which is not followed; accepted: files and folders"
        assert said.err.splitlines()[-1] == expected
    assert "reader's own" not in said.out + said.err
    assert Path("mine").read_text() == MINE


def test_a_link_among_tables_is_a_problem_that_validate_names(project, capsys):
    (RUN / "corpus.csv").symlink_to(project / "mine")
    assert main(["validate", str(RUN)]) == 1
    assert (
        f"{RUN}/corpus.csv: it is a link, which is not followed; accepted: a file" in capsys.readouterr().out
    )


def test_a_run_may_be_reached_through_a_link(project):
    Path("results/runs/latest").symlink_to(project / RUN)
    assert main(["prepare", "--config", "mine.toml", "--run", "latest"]) == 0
    Path("short").symlink_to(project / "results/runs")
    assert main(["prepare", "--config", "mine.toml", "--runs", "short"]) == 0


@pytest.mark.parametrize("digest", ["../../..", "/etc", "", "x", 3, None, "0123456789abcdef0"])
def test_the_cache_that_a_run_names_is_one_below_the_folder_of_caches(project, digest, capsys):
    (RUN / "cache.json").write_text(json.dumps({"digest": digest}))
    assert main(["extract", "--config", "mine.toml"]) == 2
    assert "encoder" in (line := error(capsys)) or "cache.json: damaged (" in line


def test_a_file_that_grows_too_large_is_named(project):
    """A limit of the process stands for a disk that is full."""
    ended = subprocess.run(
        [sys.executable, "-m", "mcbert", "prepare", "--config", "mine.toml", "--run", "new"],
        env=os.environ | {"PYTHONPATH": str(HOME)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    expected = "mcbert: error: results/runs/new/texts.csv: cannot be written: File too large"
    assert ended.stderr.splitlines()[-1] == expected
