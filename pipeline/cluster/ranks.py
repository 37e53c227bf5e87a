"""Processes that share each training, as torchrun starts them: the first runs the stage, the others help.

    torchrun --nproc-per-node 2 -m mcbert finetune --config demo

The first process hands each training to all and runs it with them; it alone reads the run's folder, decides
and writes. gloo joins CPUs, nccl GPUs.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from mcbert.execution import Triple
from mcbert.pipeline.cluster.tasks import message
from mcbert.pipeline.interruption import SIGNALS

if TYPE_CHECKING:
    from mcbert.pipeline.cluster.settings import ClusterSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

SHARED_STAGES = ("finetune", "embeddings")
STARTED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")  # by torchrun
PATIENCE = timedelta(days=30)  # of those who wait for the first process, which may be searching
LEAVE = timedelta(seconds=20)  # for the others to fail as well, after one has failed


class LostProcessError(RuntimeError):
    """A process failed and the others did not: they cannot continue together."""


def shared() -> bool:
    """Return whether torchrun started this process beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def first() -> bool:
    """Return whether this process is the one that speaks and writes."""
    return not shared() or os.environ.get("RANK") == "0"


def require_unspread(settings: ClusterSettings) -> None:
    """Refuse settings that spread the trainings where all processes share each of them.

    Raises
    ------
    ValueError
        Naming the setting.
    """
    if not shared():
        return
    for name, accepted in (("workers", (0,)), ("backend", ("auto", "serial")), ("scheduler", ("",))):
        given = getattr(settings, name)
        if given not in accepted:
            raise ValueError(
                f"cluster.{name}: got {given!r} under torchrun, whose {os.environ['WORLD_SIZE']} processes "
                f"share every training; accepted: {' or '.join(map(repr, accepted))}"
            )


@contextmanager
def joined(command: str) -> Iterator[bool]:
    """Join the other processes; yield whether this one runs the command, the others having helped by then.

    Raises
    ------
    ValueError
        The command is not to be shared; there are fewer GPUs than processes.
    """
    if not shared():
        for name in STARTED:  # of one process: its workers must not take themselves for it
            os.environ.pop(name, None)
        yield True
        return
    if command not in SHARED_STAGES:
        raise ValueError(
            f"torchrun: got {command} in {os.environ['WORLD_SIZE']} processes, accepted: "
            f"{', '.join(SHARED_STAGES)}; start the others without torchrun"
        )
    if not first():
        for number in SIGNALS:  # it has nothing to put in order, and the first notices
            signal.signal(number, signal.SIG_DFL)
    _join()
    if not first():
        _help()
        yield False
        return
    yield True  # an error ends this process, and the others notice
    _told(None)
    _leave()


def execute(function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[Triple[T, R]]:
    """Run tasks one after the other, each in all processes; the first's result counts.

    Raises
    ------
    LostProcessError
        A task failed in some processes only.
    """
    for task in tasks:
        _told((function, task))
        try:
            result = function(task)
        except Exception as error:  # a failing task is a result, whatever it raised
            log.debug("task failed", exc_info=True)
            _meet(LEAVE, error)
            yield task, None, message(error)
        else:
            _meet(PATIENCE)
            yield task, result, None


def _help() -> None:
    """Run the tasks that the first process sends, until it sends none."""
    logging.getLogger().setLevel(logging.WARNING)  # the first says it all
    while (said := _told(None)) is not None:
        function, task = said
        try:
            function(task)
        except Exception as error:
            log.debug("task failed", exc_info=True)
            _meet(LEAVE, error)
        else:
            _meet(PATIENCE)
    _leave()


def _join() -> None:
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    gpus = torch.cuda.device_count()
    number = int(os.environ["LOCAL_RANK"])
    if gpus and number >= gpus:
        raise ValueError(
            f"torchrun: got {os.environ['LOCAL_WORLD_SIZE']} processes on a machine, accepted: at most "
            f"{gpus}, one per GPU"
        )
    if gpus:
        torch.cuda.set_device(number)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # accelerate would choose, and overrule finetune.threads
    store, rank, world = next(rendezvous("env://"))
    life = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # of those before it, addresses are still there
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=cast(Any, distributed).PrefixStore(f"life {life}", store),  # torch does not declare it
        rank=rank,
        world_size=world,
    )
    _control()  # all make it here


def _leave() -> None:
    from torch import distributed

    distributed.destroy_process_group()
    _control.cache_clear()


def _told(said: Any) -> Any:
    """Broadcast from the first process; return its message in every process."""
    from torch import distributed

    box = [said]
    try:
        distributed.broadcast_object_list(box, src=0, group=_control())
    except RuntimeError as error:
        if first():
            _lose(error)
        sys.exit(1)  # the first is gone, and has said why
    return box[0]


def _meet(limit: timedelta, failure: Exception | None = None) -> None:
    """Wait until all have come here, for good or with the same failure."""
    from torch import distributed

    try:
        distributed.barrier(group=_control(), async_op=True).wait(limit)
    except RuntimeError as error:
        _lose(failure or error)


def _lose(error: Exception) -> NoReturn:
    """End this process, which has lost the others."""
    number = os.environ["RANK"]
    if first():
        raise LostProcessError(
            f"torchrun: process {number} cannot continue with the others: {message(error)}"
        ) from error
    log.error("torchrun: process %s: %s", number, message(error))
    sys.exit(1)


@cache
def _control() -> Any:
    """Return the group that the processes talk in, apart from the one that they train in."""
    from torch import distributed

    return distributed.new_group(backend="gloo", timeout=PATIENCE)
