"""One command at a time writes a run; the second is told who is at it, a killed one blocks nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mcbert.features.cache import StoreError
from mcbert.pipeline.cli import main
from mcbert.pipeline.run import Run
from mcbert.pipeline.stages import STAGES

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from mcbert.pipeline.run import Run
with Run(Path(sys.argv[1]), "mine").held("finetune"):
    (Path(sys.argv[1]) / "mine" / "made.csv").write_text("x")
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def runs(tmp_path, texts_table, encoder_folder):
    """A folder of runs and a configuration."""
    texts_table.drop(columns="text_pair").to_csv(tmp_path / "texts.csv", index=False)
    (tmp_path / "mine.toml").write_text(
        f'[corpus]\npath = "texts.csv"\n[encoder]\npath = "{encoder_folder}"\nmax_length = 16\n'
    )
    return tmp_path / "runs"


@pytest.fixture
def other(runs):
    """Another process that is at the run until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(runs)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"in\n"
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        pipe.close()


def command(runs, stage, *options):
    config = str(runs.parent / "mine.toml")
    return main(
        [stage, "--config", config, "--runs", str(runs), "--cache", str(runs.parent / "cache"), *options]
    )


def test_every_stage_is_refused_in_a_line_that_says_who_is_at_the_run(runs, other, capsys):
    for stage in STAGES:
        assert command(runs, stage) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"mcbert: error: {runs / 'mine'}: ")
        assert f"process {other.pid} on " in said[0]
        assert said[0].endswith(", finetune")
    assert sorted(path.name for path in (runs / "mine").iterdir()) == [".lock", "made.csv"]


def test_another_run_and_commands_that_only_read_are_let_through(runs, other, capsys):
    assert command(runs, "prepare", "--run", "second") == 0
    assert main(["runs", "--runs", str(runs)]) == 0
    assert main(["show", "--config", str(runs.parent / "mine.toml")]) == 0
    assert main(["validate", str(runs / "second")]) == 0


def test_a_killed_holder_blocks_nothing(runs, other, caplog):
    other.kill()
    other.wait()
    assert command(runs, "prepare") == 0
    assert command(runs, "prepare") == 0
    Run(runs, "mine")


def test_waiting_gets_the_run_when_it_is_given_back(runs, other, caplog):
    caplog.set_level(logging.INFO)
    began = time.monotonic()
    other.stdin.close()
    with Run(runs, "mine").held("export", wait=30):
        assert time.monotonic() - began < 20


def test_a_command_that_fails_at_once_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="bad"), Run(tmp_path, "mine").held("prepare"):
        raise ValueError("bad")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="bad"), Run(tmp_path, "mine").held("prepare"):
        (tmp_path / "mine/texts.csv").touch()
        raise ValueError("bad")
    assert (tmp_path / "mine/texts.csv").is_file()


def test_this_process_is_named_too(tmp_path):
    run = Run(tmp_path, "mine")
    said = rf"process {os.getpid()} on .* since \d{{4}}-.*, tune$"
    with run.held("tune"), pytest.raises(StoreError, match=said), run.held("finetune"):
        pass
