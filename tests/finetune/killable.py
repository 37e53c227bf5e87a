"""What a process that the tests kill runs; the fork server imports it once, so each starts in no time."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch

from mcbert import files
from mcbert.finetune import systems
from mcbert.finetune.stage import finetune
from mcbert.finetune.training import checkpoints
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.interruption import Interrupted, Interruption

MOMENTS = {
    "sync": (files, "sync", False),  # a file of a checkpoint is on the disk
    "rename": (Path, "replace", True),  # a checkpoint is complete but for its name, or a file of it is
    "saved": (checkpoints, "write", False),
    "step": (torch.optim.AdamW, "step", False),
    "scored": (systems, "compute_logits", False),  # test, at the end
}


def run(task):
    """Run a training with one thread."""
    torch.set_num_threads(1)
    systems.train_system(task)


def run_until(task, moment, number):
    """Run a training that is killed at the `number`-th time of a moment."""
    strike_at(moment, number, signal.SIGKILL)
    run(task)


def strike_at(moment, number, kind):
    """Have this process get a signal at the `number`-th time of a moment."""
    holder, name, before = MOMENTS[moment]
    function, seen = getattr(holder, name), [0]

    def count():
        seen[0] += 1
        if seen[0] == number:
            os.kill(os.getpid(), kind)

    def counted(*args, **kwargs):
        if before:
            count()
        result = function(*args, **kwargs)
        if not before:
            count()
        return result

    setattr(holder, name, counted)


def stage(settings, inputs, stamp, *strike):
    """Run the stage as the command line does, perhaps with Ctrl-C at a moment: its name and number."""
    if strike:
        strike_at(*strike, signal.SIGINT)
    try:
        with Interruption():
            finetune(settings, inputs, execute=executor(ClusterSettings(backend="serial")), stamp=stamp)
    except Interrupted as error:
        sys.exit(error.status)


def command(task, backend):
    """Run two trainings as the command line does, and leave with its status when a signal comes."""
    settings = ClusterSettings(backend=backend, workers=2)
    try:
        with Interruption():
            list(executor(settings)(systems.train_system, [task, dataclasses.replace(task, seed=1)]))
    except Interrupted as error:
        sys.exit(error.status)
