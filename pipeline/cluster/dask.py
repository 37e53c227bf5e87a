"""A dask cluster: one of this machine, on loopback only, or a scheduler that runs already.

Native dask, not joblib's dask backend, which hangs for ever on a task that keeps killing its worker. Workers
never write results; this process does, once a task.
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import dask
from distributed import Client, KilledWorker, LocalCluster, Security, get_worker

from mcbert import __version__
from mcbert.execution import Triple
from mcbert.pipeline.cluster.tasks import IN_FLIGHT, message
from mcbert.pipeline.interruption import deferred

if TYPE_CHECKING:
    from mcbert.pipeline.cluster.settings import ClusterSettings

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

WORKER_NUMBER = "MCBERT_WORKER"
WORKER_SECONDS = 60.0  # to wait for a worker: for the first, and for another once all are gone
LOOK_SECONDS = 5.0  # between two looks at how many workers there are
NEVER = "1000 days"
LIVES = 3  # workers that a task may lose: dask's allowed failures, and one


class LostClusterError(RuntimeError):
    """The scheduler, or every worker, is gone; results yielded before stay valid."""


def execute(
    function: Callable[[T], R], tasks: Iterable[T], settings: ClusterSettings, workers: int
) -> Iterator[Triple[T, R]]:
    """Run tasks on the cluster that `settings` names, or on one of `workers` processes of this machine.

    Raises
    ------
    ValueError
        The scheduler cannot be reached, has no workers, or has workers of another kind.
    LostClusterError
        The scheduler, or every worker, went away.
    """
    with opened(settings, workers) as client:
        yield from run(client, function, tasks)


@contextmanager
def opened(settings: ClusterSettings, workers: int) -> Iterator[Client]:
    """Yield a client of the cluster for any number of `run`; raises as `execute` does."""
    if not log.isEnabledFor(logging.DEBUG):
        # importing distributed set its own levels; it logs every worker that comes and goes, and tracebacks
        # of connections that close while a command ends
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    with (
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": LIVES - 1,
                "distributed.comm.timeouts.connect": settings.connect_timeout,
                # a local worker that is gone for longer is given up, though its nanny is starting it again
                "distributed.deploy.lost-worker-timeout": NEVER,
            }
        ),
        _client(settings, workers) as client,
    ):
        yield client


def run(client: Client, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[Triple[T, R]]:
    """Run tasks where a client is connected.

    A task whose workers died is run again when all others are done, alone: it may have been a neighbour of
    the culprit.
    """
    suspects: list[T] = []
    placed = partial(_on_worker, function)
    for task, result, error in _finished(client, placed, iter(tasks)):
        if isinstance(error, KilledWorker):
            log.warning("dask: a task's workers died %d times; it is run again at the end", LIVES)
            suspects.append(task)
        else:
            yield task, result, message(error) if error else None
    for task, result, error in _finished(client, placed, iter(suspects), alone=True):
        blame = (
            f"the task killed its worker {LIVES} times, alone: " if isinstance(error, KilledWorker) else ""
        )
        yield task, result, blame + message(error) if error else None


@contextmanager
def _client(settings: ClusterSettings, workers: int) -> Iterator[Client]:
    """Connect to the scheduler of `settings`, or start one here with workers that have one thread each."""
    if settings.scheduler:
        with _connected(settings) as client:
            _wait_for_workers(client, settings.scheduler)
            _require_alike(client)
            log.info("dask: %s, dashboard %s", settings.scheduler, client.dashboard_link)
            yield client
        return
    with ExitStack() as stack:
        with deferred():  # half started, a cluster fails to close, with a traceback at the process's end
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
        client = stack.enter_context(Client(cluster))
        log.info("dask: %d workers, dashboard %s", workers, cluster.dashboard_link)
        yield client
        with suppress(TimeoutError):  # a cluster that is closed while it starts a worker again fails
            client.wait_for_workers(workers, timeout=WORKER_SECONDS)


def _connected(settings: ClusterSettings) -> Client:
    security = None
    try:
        if settings.tls_ca:
            security = Security(
                tls_ca_file=settings.tls_ca,
                tls_client_cert=settings.tls_cert,
                tls_client_key=settings.tls_key,
                require_encryption=True,
            )
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is our one line
        return Client(settings.scheduler, security=security, timeout=settings.connect_timeout)
    except OSError as error:
        raise ValueError(f"cluster.scheduler: {settings.scheduler} cannot be reached: {error}") from error


def _wait_for_workers(client: Client, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError as error:
        raise ValueError(
            f"cluster.scheduler: {scheduler} has no workers after {WORKER_SECONDS:.0f} s; start one with "
            f"dask worker {scheduler} --nthreads 1"
        ) from error


def versions() -> dict[str, str]:
    """Return the versions that a worker must share with this process."""
    found = {"mcbert": __version__, "python": platform.python_version()}
    for name in ("numpy", "scikit-learn"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _require_alike(client: Client) -> None:
    """Refuse workers that would compute something else, or two tasks at once in one process."""
    try:
        found = client.run(versions)
    except Exception as error:
        raise ValueError(
            f"cluster.scheduler: a worker cannot run mcbert {__version__}: {message(error)}"
        ) from error
    wanted = versions()
    for worker, others in sorted(found.items()):
        for name, other in others.items():
            if other != wanted[name]:
                raise ValueError(
                    f"cluster.scheduler: worker {worker}: {name}: got {other}, accepted: {wanted[name]}, "
                    "the version of this process"
                )
    for worker, threads in sorted(client.nthreads().items()):
        if threads != 1:
            raise ValueError(
                f"cluster.scheduler: worker {worker}: got {threads} threads, accepted: 1; start several "
                "processes instead: dask worker --nworkers 8 --nthreads 1"
            )


def _on_worker(function: Callable[[T], R], task: T) -> R:
    """Run a task where it lands; a worker named by a number uses the GPU of that number."""
    os.environ[WORKER_NUMBER] = str(get_worker().name)
    return function(task)


def _finished(
    client: Client, function: Callable[[T], R], source: Iterator[T], *, alone: bool = False
) -> Iterator[tuple[T, R | None, Exception | None]]:
    """Keep each worker supplied with tasks, or run one at a time; yield each as it finishes."""
    done: SimpleQueue[Any] = SimpleQueue()
    running: dict[Any, tuple[T, Any]] = {}
    crew = _Crew(client)
    while True:
        n_workers = crew.size()  # looked at when alone, too: with no worker left, nothing would ever finish
        room = (1 if alone else IN_FLIGHT * max(1, n_workers)) - len(running)
        for task in islice(source, max(0, room)):
            future = client.submit(function, task, pure=False)
            running[future.key] = (task, future)
            future.add_done_callback(done.put)
        if not running:
            return
        try:
            future = done.get(timeout=LOOK_SECONDS)
        except Empty:
            continue
        if future.status in ("lost", "pending"):  # the worker died with the result: it is computed again
            future.add_done_callback(done.put)
            continue
        task, _ = running.pop(future.key)
        yield task, *outcome_of(future, crew)


class _Crew:
    """Number of workers, asked for now and then: they may come and go."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._size = 0
        self._looked = self._seen = float("-inf")

    def size(self) -> int:
        """Return the number of workers.

        Raises
        ------
        LostClusterError
            There has been none for `WORKER_SECONDS`.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._size = len(self._client.nthreads())
            if self._size or self._seen == float("-inf"):
                self._seen = now
            if now - self._seen >= WORKER_SECONDS:
                raise LostClusterError(
                    f"dask: no workers for {WORKER_SECONDS:.0f} s; run the same command again to resume"
                )
        return self._size


def outcome_of(future: Any, crew: _Crew) -> tuple[Any, Exception | None]:
    """Return a task's result or error; a result lost on the way is computed again."""
    while True:
        try:
            return future.result(timeout=WORKER_SECONDS), None
        except Exception as error:
            # what a task raises marks its future; time that is up, or a connection that closes, does not
            if isinstance(error, TimeoutError) and future.status != "error":
                crew.size()
                continue
            if isinstance(error, CancelledError) or (isinstance(error, OSError) and future.status != "error"):
                raise LostClusterError(
                    "dask: the scheduler went away; run the same command again to resume"
                ) from error
            return None, error
