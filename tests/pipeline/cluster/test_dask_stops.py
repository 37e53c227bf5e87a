"""SIGTERM while a local dask cluster starts or works: the right exit status, and no word beside it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import logging, os, signal, sys, threading, time
import psutil
from mcbert.pipeline.cluster.dask import opened, run
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.interruption import Interrupted, Interruption

def when_a_worker_starts():
    while not psutil.Process().children():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

def begin(wait):
    if wait == "start":
        threading.Thread(target=when_a_worker_starts).start()
    with opened(ClusterSettings(backend="dask", workers=2), 2) as client:
        if wait == "work":
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
            list(run(client, time.sleep, [30, 30]))

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with Interruption():
            begin(sys.argv[1])
    except Interrupted as signalled:
        sys.exit(signalled.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["start", "work"])
def test_a_cluster_that_is_told_to_stop_says_no_more_than_that_it_ran(when, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(CODE)
    ended = subprocess.run(
        [sys.executable, str(script), when],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in ended.stderr.splitlines() if not line.startswith("dask: 2 workers, dashboard")]
    assert (ended.returncode, ended.stdout, said) == (128 + signal.SIGTERM, "", [])
