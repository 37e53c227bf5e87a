"""What each process of a shared training does; the fork server imports it once, so each starts in no time."""

import dataclasses
import os
import pickle
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import torch

from mcbert import files
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.training import run_embeddings_job
from mcbert.finetune.systems import train_system
from mcbert.finetune.training import ranks
from mcbert.pipeline.cluster import ranks as processes
from tests.finetune.conftest import train


@dataclasses.dataclass(frozen=True)
class Shared:
    """A training of both processes, each by its own job; they differ in nothing that should matter."""

    jobs: tuple
    folder: Path
    spoilt: tuple = ()
    """(process, forward pass in training, exception or NaN that comes of it)."""
    whole: bool = False
    """Whether every row of the word embeddings is held, not only those in use."""


@dataclasses.dataclass(frozen=True)
class Kill:
    """The end of a process: at the `number`-th time of a moment."""

    rank: int
    moment: str
    number: int


MOMENTS = {"sync": (files, "sync"), "step": (torch.optim.AdamW, "step")}


def train_and_keep(shared):
    """Train; keep weights, their values at the freeze event, what was measured, the sizes of the batches."""
    rank, at_event, sizes = ranks.rank(), {}, []

    def keep(model, _):
        at_event.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    def watch(model):
        model.register_forward_hook(noted)

    def noted(model, _, output):
        if not model.training:
            return
        sizes.append(len(output.logits))
        if shared.spoilt[:2] == (rank, len(sizes)):
            if isinstance(shared.spoilt[2], Exception):
                raise shared.spoilt[2]
            output.logits = output.logits * shared.spoilt[2]

    model, training, _, _ = train(shared.jobs[rank], shared.folder, keep, tamper=watch, whole=shared.whole)
    left = {"weights": model.state_dict(), "at event": at_event, "training": training, "sizes": sizes}
    (shared.folder / f"left-{rank}.pickle").write_bytes(pickle.dumps(left))
    return ranks.count()


def do(task):
    """Do one of the tasks: a shared training of the tests', or a job as the stage runs it."""
    if isinstance(task, EmbeddingsJob):
        return run_embeddings_job(task)
    return train_and_keep(task) if isinstance(task, Shared) else train_system(task)


def kill_at(kill):
    """Have this process killed at a moment."""
    holder, name = MOMENTS[kill.moment]
    function, seen = getattr(holder, name), []

    def counted(*args, **kwargs):
        result = function(*args, **kwargs)
        seen.append(1)
        if len(seen) == kill.number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, counted)


def run(rank, port, tasks, out, kill=None):
    """Be one of two processes, started as torchrun would."""
    torch.set_num_threads(1)
    os.dup2(os.open(out.with_name(f"stderr-{rank}"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE="2",
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), CUDA_VISIBLE_DEVICES="")  # fmt: skip
    processes.LEAVE = timedelta(seconds=1)
    if kill and kill.rank == rank:
        kill_at(kill)
    try:
        with processes.joined("finetune") as runs_it:
            if runs_it:
                done = [(result, error) for _, result, error in processes.execute(do, tasks)]
                out.write_bytes(pickle.dumps(done))
    except processes.LostProcessError:
        traceback.print_exc()
        sys.exit(3)
