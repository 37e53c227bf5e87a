"""Executors: in this process, in processes of this machine (loky), on a dask cluster. Stages receive one.

An executor takes a function and tasks and yields ``(task, result, error)`` as tasks finish, one triple a
task. A task that raises, or that kills its worker, becomes an error; its neighbours do not.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import BrokenProcessPool

from pipeline.config import ClusterSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
Triple = tuple[T, R | None, str | None]
Execute = Callable[[Callable[[T], R], Iterable[T]], Iterator[Triple[T, R]]]

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
IN_FLIGHT = (
    2  # tasks handed out per worker: one runs, one waits, so that a slow writer never piles results up
)
WORKER_NUMBER = "MCBERT_WORKER"
DASK_TIMEOUT = 60  # seconds to wait for workers to come up


def n_workers(settings: ClusterSettings) -> int:
    """Return the worker processes asked for, or one per processor that this process may use."""
    return settings.workers or len(os.sched_getaffinity(0))


def executor(settings: ClusterSettings) -> Execute[Any, Any]:
    """Return the executor that `settings` names."""
    if settings.backend == "serial" or (settings.backend == "loky" and n_workers(settings) == 1):
        return serial
    workers = n_workers(settings)
    if settings.backend == "loky":
        return lambda function, tasks: _loky(function, tasks, workers)
    return lambda function, tasks: _dask(function, tasks, settings, workers)


def encoding_executor(settings: ClusterSettings) -> Execute[Any, Any] | None:
    """Return the executor of processes that encode, or None when this process does it alone."""
    if settings.extract_workers == 1 and not settings.scheduler:
        return None
    return lambda function, tasks: _dask(function, tasks, settings, settings.extract_workers)


def threads_per_encoder(settings: ClusterSettings) -> int:
    """Return the threads of each encoding process: its share of this machine; 0 for as many as it finds."""
    if settings.scheduler or settings.extract_workers == 1:
        return 0
    return max(1, len(os.sched_getaffinity(0)) // settings.extract_workers)


def message(error: BaseException) -> str:
    """Return one line that says what went wrong."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def serial(function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[Triple[T, R]]:
    """Run tasks one after the other in this process."""
    for task in tasks:
        try:
            result = function(task)
        except Exception as error:  # a failing task is a result, whatever it raised
            log.debug("task failed", exc_info=True)
            yield task, None, message(error)
        else:
            yield task, result, None


def _loky(function: Callable[[T], R], tasks: Iterable[T], workers: int) -> Iterator[Triple[T, R]]:
    """Run tasks in worker processes; what was in flight when a worker died is run again, one at a time."""
    waiting: deque[T] = deque()
    suspects: deque[T] = deque()
    source = iter(tasks)
    while True:
        waiting.extend(islice(source, max(0, workers * IN_FLIGHT - len(waiting))))
        if suspects:
            yield _alone(function, suspects.popleft())
        elif waiting:
            yield from _pool(function, waiting, source, suspects=suspects, workers=workers)
        else:
            return


def _pool(
    function: Callable[[T], R],
    waiting: deque[T],
    source: Iterator[T],
    *,
    suspects: deque[T],
    workers: int,
) -> Iterator[Triple[T, R]]:
    """Work off `waiting` and `source`; when the pool breaks, the unfinished become suspects."""
    with ProcessPoolExecutor(max_workers=workers, env=ONE_THREAD) as pool:
        running: dict[Future[R], T] = {}
        try:
            while waiting or running:
                while waiting and len(running) < workers * IN_FLIGHT:
                    running[pool.submit(function, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    triple = _outcome(running[future], future)
                    del running[future]
                    yield triple
                waiting.extend(islice(source, workers * IN_FLIGHT - len(running)))
        except BrokenProcessPool:
            log.warning("a worker died; running its %d tasks one at a time", len(running))
            suspects.extend(running.values())


def _outcome(task: T, future: Future[R]) -> Triple[T, R]:
    try:
        return task, future.result(), None
    except BrokenProcessPool:
        raise
    except Exception as error:
        return task, None, message(error)


def _alone(function: Callable[[T], R], task: T) -> Triple[T, R]:
    """Run a suspect in a process of its own, twice at most: whoever dies alone twice is to blame."""
    for _ in range(2):
        with ProcessPoolExecutor(max_workers=1, env=ONE_THREAD) as pool:
            try:
                return _outcome(task, pool.submit(function, task))
            except BrokenProcessPool as error:
                last: BaseException = error
    return task, None, f"the task killed its worker twice, alone: {message(last)}"


def _dask(
    function: Callable[[T], R], tasks: Iterable[T], settings: ClusterSettings, workers: int
) -> Iterator[Triple[T, R]]:
    """Run tasks on the dask cluster that `settings` names, or on one of this machine, on loopback only."""
    import dask
    from distributed import KilledWorker

    patience = dask.config.set(
        {"distributed.scheduler.allowed-failures": 2, "distributed.comm.timeouts.connect": DASK_TIMEOUT}
    )
    with patience, _client(settings, workers) as client:
        most = IN_FLIGHT * max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        suspects: list[T] = []
        run = partial(_on_worker, function)
        for task, future in _in_flight(client, run, iter(tasks), most):
            if isinstance(future.exception(), KilledWorker):
                suspects.append(task)  # or a neighbour of the culprit: whoever was there when workers died
            else:
                yield _settled(task, future)
        for task, future in _in_flight(client, run, iter(suspects), 1):
            yield _settled(task, future)


@contextmanager
def _client(settings: ClusterSettings, workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster, Security

    if settings.scheduler:
        security = None
        if settings.tls_ca:
            security = Security(
                tls_ca_file=settings.tls_ca,
                tls_client_cert=settings.tls_cert,
                tls_client_key=settings.tls_key,
                require_encryption=True,
            )
        try:
            client = Client(settings.scheduler, security=security, timeout=DASK_TIMEOUT)
        except OSError as error:
            raise ValueError(f"cluster.scheduler: {settings.scheduler} cannot be reached: {error}") from error
        with client:
            client.wait_for_workers(1, timeout=DASK_TIMEOUT)
            log.info("dask: %s", settings.scheduler)
            yield client
        return
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.ERROR,
    )
    with cluster, Client(cluster) as client:
        log.info("dask: %d workers, dashboard %s", workers, cluster.dashboard_link)
        yield client


def _on_worker(function: Callable[[T], R], task: T) -> R:
    """Run a task where it lands; a worker named by a number uses the GPU of that number."""
    from distributed import get_worker

    os.environ[WORKER_NUMBER] = str(get_worker().name)
    return function(task)


def _in_flight(
    client: Any, function: Callable[[T], R], source: Iterator[T], most: int
) -> Iterator[tuple[T, Any]]:
    """Submit tasks, at most `most` at a time; yield each with its future once that has finished."""
    from distributed import as_completed

    running: dict[str, T] = {}

    def submit(task: T) -> Any:
        future = client.submit(function, task, pure=False)
        running[future.key] = task
        return future

    finished = as_completed([submit(task) for task in islice(source, most)], raise_errors=False)
    for future in finished:
        yield running.pop(future.key), future
        for task in islice(source, 1):
            finished.add(submit(task))


def _settled(task: T, future: Any) -> Triple[T, Any]:
    if future.status == "finished":
        return task, future.result(), None
    error = future.exception()
    return task, None, message(error if error is not None else RuntimeError(future.status))
