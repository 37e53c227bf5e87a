"""Executors: in this process, in processes of this machine (loky), on a dask cluster. Stages receive one.

An executor takes a function and tasks and yields ``(task, result, error)`` as tasks finish, one triple a
task. A task that raises, or that kills its worker, becomes an error; its neighbours do not. A task may run
more than once (its worker died with the result), so tasks must not mind. Backends are imported when asked
for: the command line's help needs none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mcbert.execution import Execute
from mcbert.pipeline.cluster import ranks
from mcbert.pipeline.cluster.tasks import serial

if TYPE_CHECKING:
    from mcbert.pipeline.cluster.settings import ClusterSettings

__all__ = [
    "encoding_executor",
    "executor",
    "kept_executor",
    "serial",
    "threads_per_encoder",
    "training_executor",
    "workers_of",
]


def executor(settings: ClusterSettings) -> Execute:
    """Return the executor of the search and of phase two."""
    workers = workers_of(settings)
    if settings.runs_on == "dask":
        return _on_dask(settings, workers)
    if settings.runs_on == "serial" or workers == 1:
        return serial
    from mcbert.pipeline.cluster import loky

    return lambda function, tasks: loky.execute(function, tasks, workers)


@contextmanager
def kept_executor(settings: ClusterSettings) -> Iterator[Execute]:
    """Yield the executor of a search in rounds; its processes, and what they hold, stay until the end."""
    execute = executor(settings)
    if settings.runs_on == "dask":
        from mcbert.pipeline.cluster import dask

        with dask.opened(settings, workers_of(settings)) as client:
            yield lambda function, tasks: dask.run(client, function, tasks)
    elif execute is serial:
        yield serial
    else:
        from mcbert.pipeline.cluster import loky

        with loky.Kept() as pool:
            yield lambda function, tasks: loky.execute(function, tasks, workers_of(settings), pool)


def training_executor(settings: ClusterSettings) -> Execute:
    """Return the executor of phase two's trainings: all processes on each where torchrun started several."""
    return ranks.execute if ranks.shared() else executor(settings)


def encoding_executor(settings: ClusterSettings) -> Execute | None:
    """Return the executor of processes that encode, or None when this process does it alone."""
    if settings.extract_workers == 1 and not settings.scheduler:
        return None
    return _on_dask(settings, settings.extract_workers)


def threads_per_encoder(settings: ClusterSettings) -> int:
    """Return the threads of each encoding process: its share of this machine; 0 for as many as it finds."""
    if settings.scheduler or settings.extract_workers == 1:
        return 0
    return max(1, len(os.sched_getaffinity(0)) // settings.extract_workers)


def workers_of(settings: ClusterSettings) -> int:
    """Return how many processes search and train: on this machine, where no scheduler has its own."""
    return settings.workers or len(os.sched_getaffinity(0))


def _on_dask(settings: ClusterSettings, workers: int) -> Execute:
    from mcbert.pipeline.cluster import dask

    return lambda function, tasks: dask.execute(function, tasks, settings, workers)
