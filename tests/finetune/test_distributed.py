"""Two processes that share each training, on the processor: started as by torchrun, and by torchrun."""

import dataclasses
import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mcbert.finetune.systems import train_system
from mcbert.pipeline.cli import main
from mcbert.results.csv_files import read
from mcbert.results.schema.training import FINETUNE, FREEZING
from tests import processes
from tests.finetune import ranked
from tests.finetune.ranked import Kill, Shared
from tests.finetune.test_kill import left

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SECONDS = 60
CONFIG = """
[corpus]
path = "{corpus}"
source_language = "en"
[encoder]
path = "{encoder}"
max_length = 32
[finetune]
systems = ["baseline", "mcbert_wf"]
seeds = [0]
layers = [1, 3]
pooling = "max"
epochs = 2
batch_size = 8
learning_rate = 1e-3
dropout = 0.0
freeze = {{ 1 = [0, 1] }}
"""

STARTS = """
import os
if "TORCHELASTIC_RUN_ID" in os.environ:
    from pathlib import Path
    from mcbert.pipeline import config
    from tests.finetune import ranked
    config.PRESETS = Path(__file__).parent
    in_the_save_after_the_event = ranked.Kill(0, "sync", 28)
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]) == ("0", "0"):
        ranked.kill_at(in_the_save_after_the_event)
"""


@pytest.fixture(scope="module")
def still_encoder(encoder, tmp_path_factory):
    """The tiny encoder without dropout, which processes draw apart."""
    folder = tmp_path_factory.mktemp("still") / "encoder"
    shutil.copytree(encoder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["hidden_dropout_prob"] = 0.0
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def together(tasks, folder, kill=None):
    """Run tasks in two processes; return their exit statuses and each task's result and error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = folder / "done.pickle"
    out.unlink(missing_ok=True)
    both = [processes.begin(ranked.run, k, port, tasks, out, kill) for k in (0, 1)]
    try:
        for process in both:
            process.join(SECONDS)
        statuses = [process.exitcode for process in both]
    finally:
        for process in both:
            process.kill()
    return statuses, pickle.loads(out.read_bytes()) if out.exists() else None


def kept(folder):
    return [pickle.loads((folder / f"left-{rank}.pickle").read_bytes()) for rank in (0, 1)]


@pytest.fixture
def still_job(make_job, still_encoder):
    def still_job(**options):
        job = make_job("mcbert_wf", freeze={1: (0, 1, 3)}, dropout=0.0, **options)
        return dataclasses.replace(job, encoder=still_encoder)

    return still_job


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_accumulation": 2, "eval_steps": 2},
        {"batch_tokens": 40, "freeze_embeddings": True, "optimizer": "adam"},
        {"batch_tokens": 64, "gradient_accumulation": 2, "protocol": "target-dev"},
    ],
)
def test_two_processes_train_as_one_does(still_job, train_job, tmp_path, options):
    job = still_job(**options)
    other = dataclasses.replace(job, freeze={1: (2,)})  # what the second process decides must not matter
    shared, alone, in_use = (tmp_path / name for name in ("shared", "alone", "in use"))
    shared.mkdir()
    in_use.mkdir()
    tasks = [Shared((job, other), shared, whole=True), Shared((job, other), in_use)]
    assert together(tasks, tmp_path) == ([0, 0], [(2, None)] * 2)
    first, second = (found["weights"] for found in kept(shared))
    # to the bit on any CPU: both add the same gathered gradients to the same weights
    assert all(torch.equal(first[name], second[name]) for name in first)
    for found, whole in zip(kept(in_use), kept(shared), strict=True):
        require_same_but_idle_rows(found["weights"], whole["weights"])
        require_alike(found["training"].history, whole["training"].history, to=0)
    one, training, _, _ = train_job(job, alone, whole=True)
    for name, tensor in one.state_dict().items():
        # the sums of gradients have another order; Adam magnifies what is left of the key biases', which is 0
        far = (first[name] - tensor).abs().max()
        assert far < (2e-3 if name.endswith("key.bias") else 2e-6), name
    at_event, sizes = kept(shared)[0]["at event"], [found["sizes"] for found in kept(shared)]
    for name in first:
        if "embeddings" in name or "layer.0." in name or "layer.2." in name:
            assert torch.equal(first[name], at_event[name]), name
        elif "weight" in name and job.settings.protocol == "last":
            assert not torch.equal(first[name], at_event[name]), name
    assert all(0 <= mine - others <= 1 for mine, others in zip(*sizes, strict=True))
    for found in kept(shared):
        assert found["training"].events == training.events
        assert [event.layers for event in found["training"].events] == [(0, 1, 3)]
        require_alike(found["training"].history, training.history)


def require_same_but_idle_rows(found, whole):
    """To the bit: two processes' sums have one order, and rows of zeros add nothing to them."""
    for name, tensor in whole.items():
        if "word_embeddings" not in name:
            assert torch.equal(found[name], tensor), name
            continue
        differ = (found[name] != tensor).any(dim=1)
        assert len(differ) // 2 > differ.sum()
        assert torch.allclose(found[name], tensor, rtol=1e-5, atol=0)  # decay of idle rows, by their product


def require_alike(found, expected, to=1e-5):
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.step, mine.frozen) == (theirs.step, theirs.frozen)
        assert mine.scores.keys() == theirs.scores.keys()
        for language, score in mine.scores.items():
            assert score.loss == pytest.approx(theirs.scores[language].loss, abs=to)
        assert mine.train_loss == pytest.approx(theirs.train_loss, abs=to)


def test_killed_and_resumed_ends_the_same_with_every_process_dropping_its_own(make_job, tmp_path):
    options = {"epochs": 3, "batch_size": 4, "eval_steps": 4, "checkpoint_steps": 2, "protocol": "target-dev"}
    made = make_job("mcbert_wf", freeze={1: (1, 3)}, precision="bfloat16", eval_texts=4, **options)
    whole, killed = (
        dataclasses.replace(made, out=tmp_path / name, save_model=True) for name in ("whole", "killed")
    )
    assert together([whole], tmp_path) == ([0, 0], [(str(whole.result), None)])
    in_the_save_at_the_event, after_it = Kill(0, "sync", 20), Kill(1, "step", 4)
    assert together([killed], tmp_path, in_the_save_at_the_event) == ([-signal.SIGKILL, 1], None)
    assert [path.name for path in sorted(killed.checkpoints.iterdir())] == [
        ".unfinished-6",
        "step-2",
        "step-4",
    ]
    with pytest.raises(ValueError, match="processes: got 1, accepted: 2; set it back"):
        train_system(killed)
    assert together([killed], tmp_path, after_it) == ([3, -signal.SIGKILL], None)
    assert (killed.checkpoints / "step-6").exists()
    assert together([killed], tmp_path) == ([0, 0], [(str(killed.result), None)])
    assert left(killed) == left(whole)


def test_a_loss_that_is_not_finite_in_one_stops_both_and_the_next_training_runs(still_job, tmp_path):
    bad, good = tmp_path / "bad", tmp_path / "good"
    for folder in (bad, good):
        folder.mkdir()
    jobs = (still_job(epochs=1),) * 2
    tasks = [Shared(jobs, bad, spoilt=(1, 2, float("nan"))), Shared(jobs, good)]
    statuses, done = together(tasks, tmp_path)
    assert statuses == [0, 0]
    (failed, error), passed = done
    assert failed is None
    assert error.startswith("TrainingError: finetune: step 2, texts train")
    assert "the training loss is nan" in error
    assert passed == (2, None)


@pytest.mark.parametrize(("rank", "statuses"), [(0, [3, 1]), (1, [3, 1])])
def test_a_process_that_fails_alone_ends_both(still_job, tmp_path, rank, statuses):
    shared = Shared((still_job(),) * 2, tmp_path, spoilt=(rank, 2, MemoryError("nothing left")))
    assert together([shared, shared], tmp_path) == (statuses, None)
    (said,) = re.findall(
        f"torchrun: process {rank}.*", (tmp_path / f"stderr-{rank}").read_text(encoding="utf-8")
    )
    assert "out of memory; lower finetune.max_length" in said


def test_killed_under_torchrun_the_command_line_goes_on_and_writes_what_one_process_writes(
    still_encoder, corpus, tmp_path
):
    """The page's own command, `demo` being a tiny encoder and corpus, its first process killed once."""
    page = (ROOT / "docs/freezing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert re.fullmatch(r"torchrun .* -m -- mcbert finetune --config demo --run two\n", block)
    config = tmp_path / "demo.toml"
    config.write_text(CONFIG.format(corpus=corpus, encoder=still_encoder), encoding="utf-8")
    (tmp_path / "sitecustomize.py").write_text(STARTS, encoding="utf-8")
    path = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
    }
    shared = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=tmp_path,
        env={**os.environ, **path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shared.returncode == 0, shared.stderr
    found = re.findall(r"finetune: .* trainings, . to do|resumed at step 3", shared.stderr)
    assert found == ["finetune: 2 trainings, 2 to do", "finetune: 2 trainings, 1 to do", "resumed at step 3"]
    options = [f"--config={config}", f"--runs={tmp_path}", f"--cache={tmp_path / 'cache'}", "--workers", "1"]
    assert main(["finetune", *options, "--run", "alone"]) == 0
    folders = [tmp_path / "results/runs/two", tmp_path / "alone"]
    written = [
        {path.relative_to(folder) for path in folder.rglob("*") if "events." not in path.name}
        for folder in folders
    ]
    assert written[0] == written[1]
    assert len(list((folders[0] / "tensorboard").rglob("events.*"))) == 3  # the first process's, in two lives
    ours, theirs = (read(FINETUNE, folder / "finetune.csv") for folder in folders)
    assert (ours["frozen_layers"] == theirs["frozen_layers"]).all()
    assert np.allclose(ours["loss"], theirs["loss"], atol=1e-5)
    events = [read(FREEZING, folder / "freezing.csv").drop(columns="run") for folder in folders]
    assert events[0].equals(events[1])
    assert events[0]["layers"].tolist() == ["0+1"]
