"""SIGKILL of the search's driver and workers at any moment: the same command ends with the same table."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from mcbert.pipeline.cluster import kept_executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.search.gridsearch import gridsearch
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs
from tests import processes
from tests.search.conftest import STAMP, Shape, make

ROOT = Path(__file__).parents[2]
N = 63 * 3 * 3
pytestmark = pytest.mark.slow


def drive(folder, place, out, said):
    """Search in this process, in processes of this machine, or where a scheduler listens."""
    processes.say_in(said)
    where = ClusterSettings(scheduler=place) if "://" in place else ClusterSettings(backend=place, workers=2)
    with kept_executor(where) as execute:
        gridsearch(
            GridsearchSettings(
                layers=(1, 2, 3, 4, 5, 6), classifiers=("ridge", "knn", "lda"), protocol="target-dev"
            ),
            Inputs(store=folder / "cache", examples=folder / "examples.npz"),
            out=out,
            execute=execute,
            stamp=STAMP,
        )


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Starts the search of a small made cache, in a process of its own."""
    folder = tmp_path_factory.mktemp("search")
    layers, poolings = (1, 2, 3, 4, 5, 6), ("max", "mean", "cls")
    make(folder, Shape(n_train=300, layers=layers, poolings=poolings, hidden_size=24))

    def start(out, place):
        out.mkdir(exist_ok=True)
        return processes.begin(drive, folder, place, out, out / "said")

    return start


def wait_for_rows(process, out, least):
    """Wait until the ledger has that many rows, or the search is done."""
    path = out / "gridsearch.jsonl"
    while process.is_alive() and (not path.exists() or path.read_bytes().count(b"\n") <= least):
        time.sleep(0.001)


def ids(out):
    lines = (out / "gridsearch.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["row"]["candidate_id"] for line in lines[1:]]


def table(out):
    return pd.read_csv(out / "gridsearch.csv").drop(columns=["fit_seconds", "score_seconds"])


def scored(table):
    """Return the ids of the ledger: an ensemble is none of them, the reference is, though not searched."""
    searched = table.loc[table["classifier"] != "ensemble", "candidate_id"]
    return sorted([*searched, "6-mean-logistic_regression-C=0.003"])


@pytest.fixture(scope="module")
def expected(search, tmp_path_factory):
    out = tmp_path_factory.mktemp("serial")
    processes.finish(search(out, "serial"))
    assert len(table(out)) == N + 1  # and the ensemble
    return table(out)


def test_killed_six_times_on_three_backends_the_search_ends_the_same(search, expected, tmp_path):
    draw = random.Random(0)
    known = 0
    for number in range(6):
        process = search(tmp_path, ("loky", "serial", "dask")[number % 3])
        if number == 4:  # before, or while, it starts
            time.sleep(draw.uniform(0, 0.5))
        else:
            wait_for_rows(process, tmp_path, known + draw.randrange(1, 8))
            time.sleep(draw.uniform(0, 0.01))
        process.kill()
        process.join()
        assert not (tmp_path / "gridsearch.csv").exists()
        found = (tmp_path / "gridsearch.jsonl").read_bytes().count(b"\n")
        assert found >= known
        known = found
    assert 6 < known < N
    processes.finish(search(tmp_path, "loky"))
    assert sorted(ids(tmp_path)) == scored(expected)
    pd.testing.assert_frame_equal(table(tmp_path), expected)


@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_killed_worker_costs_no_row(search, expected, tmp_path, backend):
    process = search(tmp_path, backend)
    wait_for_rows(process, tmp_path, 10)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    random.Random(0).choice(workers).kill()
    processes.finish(process)
    assert sorted(ids(tmp_path)) == scored(expected)
    pd.testing.assert_frame_equal(table(tmp_path), expected)


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and a worker, as processes of their own; the address and the processes."""
    dask = [sys.executable, "-m", "dask"]
    loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    file = tmp_path / "scheduler.json"
    environment = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stderr": subprocess.DEVNULL}
    command = [*dask, "scheduler", "--port", "0", "--scheduler-file", str(file), *loopback]
    with subprocess.Popen(command, **environment) as scheduler:
        while not file.exists() or not file.read_text().endswith("}"):
            assert scheduler.poll() is None
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        with subprocess.Popen(
            [*dask, "worker", address, "--nthreads", "1", *loopback], **environment
        ) as worker:
            yield address, scheduler
            scheduler.kill()
            worker.terminate()


def test_a_lost_scheduler_ends_the_search_at_once_and_its_rows_stay(search, expected, tmp_path, cluster):
    address, scheduler = cluster
    out = tmp_path / "out"
    process = search(out, address)
    wait_for_rows(process, out, 10)
    scheduler.kill()
    began = time.monotonic()
    process.join(60)
    assert time.monotonic() - began < 30
    assert process.exitcode == 1
    lost = "LostClusterError: dask: the scheduler went away; run the same command again to resume"
    assert (out / "said").read_text().rstrip().endswith(lost)
    known = ids(out)
    assert 10 <= len(known) < N
    processes.finish(search(out, "serial"))
    assert ids(out)[: len(known)] == known
    assert sorted(ids(out)) == scored(expected)
    pd.testing.assert_frame_equal(table(out), expected)
