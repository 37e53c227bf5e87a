import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import psutil
import pytest

from mcbert.pipeline.cluster import executor, kept_executor, serial
from mcbert.pipeline.cluster.settings import ClusterSettings


def square(task):
    kind, value = task
    if kind == "raise":
        raise ValueError(f"no {value}\nof that")
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "die once":
        marker = Path(value)
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return -1
    return value * value


def threads(_):
    return os.environ.get("OMP_NUM_THREADS")


def run(backend, tasks, workers=2):
    return list(executor(ClusterSettings(backend=backend, workers=workers))(square, tasks))


def test_a_long_message_keeps_its_beginning_and_its_end():
    def fail(task):
        raise ValueError(f"step 5 {'x ' * task}what to lower")

    (_, _, short), (_, _, long) = serial(fail, [800, 8000])
    assert short == f"ValueError: step 5 {'x ' * 800}what to lower"
    assert long.startswith("ValueError: step 5 x x")
    assert long.endswith("x x what to lower")
    assert len(long) < 2100


@pytest.mark.parametrize("backend", ["serial", "loky", "dask"])
def test_one_triple_a_task_and_errors_stay_with_their_task(backend):
    tasks = [("ok", k) for k in range(20)] + [("raise", 7)]
    triples = run(backend, tasks)
    assert sorted(t for t, _, _ in triples) == sorted(tasks)
    assert [t for t, _, e in triples if e is not None] == [("raise", 7)], triples
    assert {t[1]: r for t, r, e in triples if e is None} == {k: k * k for k in range(20)}
    assert [e for _, _, e in triples if e is not None] == ["ValueError: no 7 of that"]


def test_workers_use_one_thread():
    assert {r for _, r, _ in executor(ClusterSettings(backend="loky", workers=2))(threads, range(4))} == {"1"}


KEPT = []


def keep(megabytes):
    KEPT.append(bytearray(b"x") * (megabytes * 2**20))
    time.sleep(0.6)
    return os.getpid()


def test_a_worker_that_keeps_much_memory_is_not_taken_for_leaking(recwarn):
    execute = executor(ClusterSettings(backend="loky", workers=2))
    pids = [pid for _, pid, _ in execute(keep, [1, 1, 400, 400, 1, 1, 1, 1, 1, 1])]
    assert len(set(pids)) == 2
    assert not [warning for warning in recwarn if "memory leak" in str(warning.message)]


def whose(value):
    if value == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)  # so that each worker has one
    return os.getpid()


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_processes_that_are_kept_serve_every_execution_and_end_with_the_block(backend):
    with kept_executor(ClusterSettings(backend=backend, workers=2)) as execute:
        rounds = [{pid for _, pid, _ in execute(whose, range(6))} for _ in range(2)]
        assert rounds[0] == rounds[1]
        assert len(rounds[0]) == 2
        assert list(execute(whose, [])) == []
    _, alive = psutil.wait_procs([psutil.Process(p) for p in rounds[0] if psutil.pid_exists(p)], timeout=5)
    assert not alive


def test_kept_processes_that_died_or_were_left_at_work_are_replaced():
    with kept_executor(ClusterSettings(backend="loky", workers=2)) as execute:
        (_, died, error), *_ = [t for t in execute(whose, ["die", 1, 2]) if t[0] == "die"]
        assert died is None
        assert error.startswith("the task killed its worker 2 times, alone")
        first = next(running := execute(whose, range(50)))[1]
        running.close()
        assert not psutil.pid_exists(first)
        pids = {pid for _, pid, _ in execute(whose, range(6))}
        assert first not in pids
        assert len(pids) == 2
        last = next(running := execute(whose, range(50)))[1]
    assert not psutil.pid_exists(last)
    running.close()


def test_what_is_kept_of_one_process_is_that_process():
    with kept_executor(ClusterSettings(backend="loky", workers=1)) as execute:
        assert execute is serial


def test_one_worker_is_this_process():
    assert executor(ClusterSettings(backend="loky", workers=1)) is serial


def tasks_that_kill(folder):
    """200 tasks: five kill their worker once, two always; with the results that the rest must have."""
    tasks = [("ok", k) for k in range(193)]
    for k, position in enumerate((0, 40, 41, 90, 150)):
        tasks.insert(position, ("die once", str(folder / f"marker{k}")))
    for value, position in ((-1, 60), (-2, 199)):
        tasks.insert(position, ("die", value))
    return tasks


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_of_200_tasks_seven_kill_workers_and_two_are_errors_and_none_is_lost_or_twice(backend, tmp_path):
    tasks = tasks_that_kill(tmp_path)
    triples = run(backend, tasks)
    assert len(triples) == len(tasks) == 200
    assert sorted(t for t, _, _ in triples) == sorted(tasks)
    assert len(list(tmp_path.iterdir())) == 5
    errors = {task: error for task, _, error in triples if error is not None}
    assert sorted(errors) == [("die", -2), ("die", -1)]
    assert all(re.match(r"the task killed its worker \d times, alone: ", e) for e in errors.values()), errors
    fine = [task for task in tasks if task[0] != "die"]
    expected = dict(
        (task, result) for task, result, _ in serial(square, fine)
    )  # markers exist: none dies now
    assert {task: result for task, result, error in triples if error is None} == expected


def test_a_worker_that_is_long_in_coming_back_is_not_given_up(tmp_path):
    """By dask's defaults it would be after 15 s, and with it, on a busy machine, all of them."""
    tasks = [("die once", str(tmp_path / "marker")), ("ok", 3)]
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "100ms"}):
        triples = run("dask", tasks, workers=1)
    assert sorted(triples) == [(tasks[0], -1, None), (tasks[1], 9, None)]


LISTENING = """
import sys
sys.path.insert(0, sys.argv[1])
import psutil
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings

def wait_a_little(_):
    import time
    time.sleep(0.5)

if __name__ == "__main__":
    settings = ClusterSettings(backend=sys.argv[2], workers=2)
    for _ in executor(settings)(wait_a_little, [0, 1]):
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        ports = [c.laddr for p in family for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    print(len(family), sorted(ports))
"""


@pytest.mark.parametrize(("backend", "least"), [("dask", 6), ("loky", 0)])
def test_whatever_is_started_here_listens_on_loopback_only(tmp_path, backend, least):
    """Scheduler and its dashboard, two nannies, two workers and their dashboards; loky listens to nobody."""
    script = tmp_path / "listening.py"
    script.write_text(LISTENING)
    command = [sys.executable, str(script), str(Path(__file__).parents[3]), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n_processes, _, ports = done.stdout.partition(" ")
    addresses = re.findall(r"ip='([^']*)'", ports)
    assert int(n_processes) >= 3
    assert len(addresses) >= least
    assert set(addresses) <= {"127.0.0.1"}


def test_the_address_of_the_dashboard_is_told(caplog):
    with caplog.at_level("INFO", "mcbert.pipeline.cluster.dask"):
        run("dask", [("ok", 1)], workers=1)
    assert re.search(r"dask: 1 workers, dashboard http://127\.0\.0\.1:\d+/status", caplog.text)


SLOW = """
import sys, time
sys.path.insert(0, sys.argv[1])
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings

def task(seconds):
    import time
    time.sleep(seconds)

if __name__ == "__main__":
    for triple in executor(ClusterSettings(backend=sys.argv[2], workers=2))(task, [0, 600, 600]):
        print("going", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("to", ["driver", "group"])
@pytest.mark.parametrize("backend", ["serial", "loky", "dask"])
def test_an_interrupt_ends_it_and_its_workers_within_seconds(tmp_path, backend, to):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    command = [sys.executable, str(script), str(Path(__file__).parents[3]), backend]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "going\n"
        family = psutil.Process(process.pid).children(recursive=True)
        began = time.monotonic()
        os.kill(process.pid if to == "driver" else -process.pid, signal.SIGINT)
        assert process.wait(timeout=10) != 0
        assert time.monotonic() - began < 10
        _, alive = psutil.wait_procs(family, timeout=5)
        assert not alive


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_workers_die_with_a_driver_that_is_killed(tmp_path, backend):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    command = [sys.executable, str(script), str(Path(__file__).parents[3]), backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "going\n"
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(family, timeout=20)
        for one in alive:
            one.kill()
        assert not alive
