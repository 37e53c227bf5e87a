"""Worker processes of this machine, by joblib's loky; a dead worker breaks a pool, and never the run.

One SIGKILL fails every pending task of a pool. So what was in flight then is run again one task at a time,
each in a process of its own, before the next pool starts: whoever dies alone twice is to blame.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import TypeVar

from joblib.externals.loky import ProcessPoolExecutor, process_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

from mcbert.execution import Triple
from mcbert.pipeline.cluster.tasks import IN_FLIGHT, message

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Pool = Callable[[int], AbstractContextManager[ProcessPoolExecutor]]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
LOOK_SECONDS = 1.0
LIVES = 2  # deaths alone before a task is to blame: the first may be the machine's (no memory, a kill)


def execute(
    function: Callable[[T], R], tasks: Iterable[T], workers: int, pool: Pool | None = None
) -> Iterator[Triple[T, R]]:
    """Run tasks in `workers` processes, of a pool of their own or that given; yield each once."""
    waiting: deque[T] = deque()
    suspects: deque[T] = deque()
    source = iter(tasks)
    while True:
        waiting.extend(islice(source, max(0, workers * IN_FLIGHT - len(waiting))))
        if suspects:
            yield _alone(function, suspects.popleft())
        elif waiting:
            yield from _together(
                function, waiting, source, suspects=suspects, workers=workers, pool=pool or _pool
            )
        else:
            return


def _together(
    function: Callable[[T], R],
    waiting: deque[T],
    source: Iterator[T],
    *,
    suspects: deque[T],
    workers: int,
    pool: Pool,
) -> Iterator[Triple[T, R]]:
    """Work off `waiting` and `source`; when the pool breaks, the unfinished become suspects."""
    running: dict[Future[R], T] = {}
    try:
        with pool(workers) as processes:
            while waiting or running:
                while waiting and len(running) < workers * IN_FLIGHT:
                    running[processes.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    triple = _outcome(running[future], future)
                    del running[future]
                    yield triple
                waiting.extend(islice(source, workers * IN_FLIGHT - len(running)))
    except BrokenProcessPool:
        log.warning("a worker died; running its %d tasks one at a time", len(running))
        suspects.extend(running.values())


class Kept:
    """One pool for several executions, until the block ends.

    When the work of one ends early, by Ctrl-C say, the workers do too, in the middle of a task; a pool that
    broke or ended so is replaced.
    """

    def __init__(self) -> None:
        self._idle: ProcessPoolExecutor | None = None
        self._busy: list[ProcessPoolExecutor] = []

    @contextmanager
    def __call__(self, workers: int) -> Iterator[ProcessPoolExecutor]:
        """Yield the pool, begun when there is none."""
        pool, self._idle = self._idle or _begun(workers), None
        self._busy.append(pool)
        try:
            yield pool
            self._idle = pool
        finally:
            self._busy.remove(pool)
            if self._idle is not pool:
                pool.shutdown(wait=True, kill_workers=True)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._busy:  # of an execution that nobody ended: who took its results was interrupted
            pool.shutdown(wait=True, kill_workers=True)
        if self._idle is not None:
            self._idle.shutdown(wait=True)


def _begun(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=workers, env=ONE_THREAD, initializer=_begin, initargs=(os.getpid(),)
    )


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool for one execution."""
    with Kept() as kept, kept(workers) as pool:
        yield pool


def _begin(driver: int) -> None:
    """Let this worker keep what tasks share, and end it soon after its driver is gone.

    Of itself loky takes 300 MB of growth for a leak and starts the worker anew, which loses the kernels of a
    pooling; and it looks for its driver only between two tasks.
    """
    process_executor._USE_PSUTIL = False

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _outcome(task: T, future: Future[R]) -> Triple[T, R]:
    try:
        return task, future.result(), None
    except BrokenProcessPool:
        raise
    except Exception as error:
        return task, None, message(error)


def _alone(function: Callable[[T], R], task: T) -> Triple[T, R]:
    for _ in range(LIVES):
        try:
            with _pool(1) as pool:
                return _outcome(task, pool.submit(function, task))
        except BrokenProcessPool as error:
            last: BaseException = error
    return task, None, f"the task killed its worker {LIVES} times, alone: {message(last)}"
