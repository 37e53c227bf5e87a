import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster import executor, serial
from pipeline.cluster.settings import ClusterSettings


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


@pytest.mark.parametrize("backend", ["serial", "loky", "dask"])
def test_one_triple_a_task_and_errors_stay_with_their_task(backend):
    tasks = [("ok", k) for k in range(20)] + [("raise", 7)]
    triples = run(backend, tasks)
    assert sorted(t for t, _, _ in triples) == sorted(tasks)
    assert [t for t, _, e in triples if e is not None] == [("raise", 7)], triples
    assert {t[1]: r for t, r, e in triples if e is None} == {k: k * k for k in range(20)}
    assert [e for _, _, e in triples if e is not None] == ["ValueError: no 7 of that"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_task_that_kills_its_worker_takes_no_neighbour_with_it(backend, tmp_path):
    tasks = [("ok", k) for k in range(12)]
    tasks[3:3] = [("die", 0), ("die once", str(tmp_path / "marker"))]
    triples = run(backend, tasks)
    assert len(triples) == len(tasks)
    failed = [(t, e) for t, _, e in triples if e is not None]
    assert [t for t, _ in failed] == [("die", 0)]
    assert "killed" in failed[0][1].lower()
    assert next(r for t, r, _ in triples if t[0] == "die once") == -1


def test_workers_use_one_thread():
    assert {r for _, r, _ in executor(ClusterSettings(backend="loky", workers=2))(threads, range(4))} == {"1"}


def test_one_worker_is_this_process():
    assert executor(ClusterSettings(backend="loky", workers=1)) is serial


LISTENING = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from pipeline.cluster import executor
from pipeline.cluster.settings import ClusterSettings

def listening(_):
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    return {row[1].rpartition(":")[0] for row in rows if row[3] == "0A"}

if __name__ == "__main__":
    before = listening(None)
    (_, during, error), = executor(ClusterSettings(backend="dask", workers=1))(listening, [0])
    assert error is None, error
    print(sorted(during - before) or sorted(during))
"""


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_dask_listens_on_loopback_only(tmp_path):
    script = tmp_path / "listening.py"
    script.write_text(LISTENING)
    root = str(Path(__file__).parents[2])
    out = subprocess.run(
        [sys.executable, str(script), root], capture_output=True, text=True, check=True
    ).stdout
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert eval(out, {}) == [loopback]  # a list of strings that the script above printed
