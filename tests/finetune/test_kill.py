"""SIGKILL at any moment of a training: the next run goes on from the newest checkpoint, bit for bit."""

import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import time

import pandas as pd
import pytest

from mcbert.finetune.jobs import Inputs
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.training import checkpoints
from mcbert.results.schema.training import TABLE1
from tests import processes
from tests.finetune import killable
from tests.finetune.conftest import STAMP

KILLS = int(os.environ.get("MCBERT_KILLS", "6"))
OPTIONS = {
    "epochs": 3, "batch_size": 4, "eval_steps": 4, "checkpoint_steps": 2, "protocol": "target-dev",
    "gradient_accumulation": 2, "head_learning_rate": 3e-3, "freeze_embeddings": True,
}  # fmt: skip


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def job_in(make_job_in):
    """A training of 18 steps that freezes layers after step 6, and saves every 2."""

    def job_in(out, **options):
        made = make_job_in(out, "mcbert_wf", freeze={1: (1, 3)}, **{**OPTIONS, **options})
        return dataclasses.replace(made, save_model=True)

    return job_in


@pytest.fixture
def job(job_in, tmp_path):
    return lambda name, **options: job_in(tmp_path / name, **options)


@pytest.fixture(scope="module")
def expected(job_in, tmp_path_factory):
    """What is left of it when nothing happens."""
    return finish(job_in(tmp_path_factory.mktemp("whole")))


def left(job):
    """Weights, result and logged losses of a finished training, without seconds.

    They are compared to the bit: the same machine, batches and number of threads, whatever the CPU.
    """
    result = json.loads(job.result.read_text(encoding="utf-8"))
    for row in result["trainings"]:
        del row["seconds"]
    weights = (job.out / "models" / job.system / "model.safetensors").read_bytes()
    assert not job.checkpoints.exists()
    return result, hashlib.sha256(weights).hexdigest(), logged(job)


def logged(job):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = events.EventAccumulator(str(job.out / "tensorboard" / job.name), size_guidance={"scalars": 0})
    log.Reload()
    tags = ("train/loss", "train/learning_rate", "train/grad_norm", "accuracy/de", "frozen_layers")
    return {tag: [(event.step, event.value) for event in log.Scalars(tag)] for tag in tags}


def finish(job):
    processes.finish(processes.begin(killable.run, job))
    return left(job)


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("step", 1),  # before there is a checkpoint
        ("step", 6),  # just before the layers freeze
        ("saved", 3),  # the checkpoint of the freeze event
        ("step", 7),  # just after it
        ("sync", 1),  # in the middle of the first save
        ("sync", 20),  # and of the third, at the event
        ("rename", 3),
        ("rename", 8),
        ("saved", 9),  # at the end of the training
        ("scored", 1),
    ],
)
def test_killed_at_a_moment_ends_bit_identical(job, expected, moment, number):
    killed = job("killed")
    process = processes.begin(killable.run_until, killed, moment, number)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert finish(killed) == expected


@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_at_random_moments_ends_bit_identical(job, expected):
    began = time.monotonic()
    assert finish(job("whole")) == expected
    lasts = time.monotonic() - began
    moments, kills, killed = random.Random(0), 0, job("killed")
    while kills < KILLS:
        process = processes.begin(killable.run, killed)
        process.join(moments.uniform(0, lasts))
        if process.is_alive():
            kills += 1
            process.kill()
            process.join()
            continue
        assert process.exitcode == 0
        assert left(killed) == expected
        shutil.rmtree(killed.out)
    assert finish(killed) == expected


@pytest.mark.parametrize(
    ("backend", "number"), [("serial", signal.SIGINT), ("serial", signal.SIGTERM), ("loky", signal.SIGTERM)]
)  # loky and SIGINT: tests/pipeline/cluster/test_cluster.py
def test_a_signal_stops_within_ten_seconds_and_the_next_run_goes_on(job, backend, number):
    stopped = job("stopped", epochs=2000)
    process = processes.begin(killable.command, stopped, backend)
    while not list(stopped.checkpoints.glob("step-*")):
        assert process.is_alive()
        time.sleep(0.05)
    began = time.monotonic()
    os.kill(process.pid, number)
    process.join(10)
    assert process.exitcode == 128 + number
    assert time.monotonic() - began < 10
    time.sleep(0.5)
    steps = [path.name for path in checkpoints.numbered(stopped.checkpoints)]
    assert len(steps) >= 1
    time.sleep(1.5)
    assert [path.name for path in checkpoints.numbered(stopped.checkpoints)] == steps  # no worker goes on
    with pytest.raises(ValueError, match="a checkpoint of another training"):
        checkpoints.newest(stopped.checkpoints, {"settings": {"epochs": 3}})  # whole, of that training


def test_ctrl_c_in_the_stage_and_then_again_ends_with_the_tables_of_an_uninterrupted_one(
    encoder, corpus, winner, tmp_path
):
    settings = FinetuneSettings(
        systems=("mcbert", "mcbert_wf"), seeds=(0,), epochs=3, batch_size=8, learning_rate=1e-3,
        max_length=32, checkpoint_steps=2, protocol="target-dev", freeze={1: (1, 3)},
    )  # fmt: skip
    given = {"corpus": corpus, "source_language": "en", "winner": winner, "encoder": encoder}
    whole, stopped = (Inputs(out=tmp_path / name, **given) for name in ("whole", "stopped"))
    in_mcbert, in_its_save, just_after_freezing = ("step", 5), ("sync", 9), ("step", 8)
    for strike in (in_mcbert, in_its_save, just_after_freezing):
        process = processes.begin(killable.stage, settings, stopped, STAMP, *strike)
        process.join()
        assert process.exitcode == 128 + signal.SIGINT
        assert not (stopped.out / "finetune.csv").exists()
        assert list(stopped.out.glob("checkpoints/*/step-*"))
    assert (stopped.out / "jobs" / "mcbert-0.json").exists()
    tables = []
    for inputs in (stopped, whole):
        process = processes.begin(killable.stage, settings, inputs, STAMP)
        process.join()
        assert process.exitcode == 0
        trained = pd.read_csv(inputs.out / "trainings.csv").drop(columns="seconds").to_csv()
        names = ("finetune.csv", "freezing.csv", "predictions_finetune.csv", *TABLE1.file_names)
        tables.append([trained, *((inputs.out / name).read_bytes() for name in names)])
    assert tables[0] == tables[1]
    assert not (stopped.out / "checkpoints").exists()
