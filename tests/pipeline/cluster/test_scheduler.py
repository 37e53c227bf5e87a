"""Encoding on dask: processes of this machine, and a scheduler that already runs, with and without TLS."""

import json
import shutil
import subprocess

import pandas as pd
import pytest
from distributed import CancelledError, LocalCluster, Security
from distributed.comm import CommClosedError

from mcbert.pipeline.cli import main
from mcbert.pipeline.cluster import encoding_executor, threads_per_encoder
from mcbert.pipeline.cluster.dask import LostClusterError, outcome_of
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.config import load
from tests.features.extraction.test_extract import contents


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate of its own authority, as PEM files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return folder


TLS = {"tls_ca": "a", "tls_cert": "b", "tls_key": "c"}


def word_count(text):
    return len(text.split())


def test_one_process_needs_no_executor():
    assert encoding_executor(ClusterSettings()) is None
    assert threads_per_encoder(ClusterSettings()) == 0


def test_processes_share_the_processors():
    assert threads_per_encoder(ClusterSettings(extract_workers=1000)) == 1


@pytest.mark.slow
def test_a_running_scheduler_is_used_over_tls(certificates):
    cert, key = str(certificates / "cert.pem"), str(certificates / "key.pem")
    own = Security(
        tls_ca_file=cert,
        require_encryption=True,
        **{f"tls_{role}_{part}": file for role in ("scheduler", "worker", "client")
           for part, file in (("cert", cert), ("key", key))},
    )  # fmt: skip
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tls://", host="127.0.0.1", security=own,
        dashboard_address="127.0.0.1:0",
    ) as cluster:  # fmt: skip
        settings = ClusterSettings(
            scheduler=cluster.scheduler_address, tls_ca=cert, tls_cert=cert, tls_key=key, extract_workers=1
        )
        execute = encoding_executor(settings)
        triples = list(execute(word_count, ["a b", "c", "d e f"]))
    assert sorted(triples) == [("a b", 2, None), ("c", 1, None), ("d e f", 3, None)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scheduler": "tcp://10.0.0.7:8786"}, "is on another machine without TLS; use tls://"),
        ({"scheduler": "tls://10.0.0.7:8786"}, "cluster.tls_ca: a tls:// scheduler needs"),
        ({"scheduler": "10.0.0.7:8786"}, "accepted: tls://host:port or tcp://host:port"),
        ({"tls_ca": "ca.pem"}, "tls_ca, tls_cert and tls_key are needed together"),
        (TLS, "TLS files are given and no scheduler"),
        ({"plain_tcp": True}, "cluster.plain_tcp: got true and no scheduler"),
        ({"scheduler": "tcp://[::1]:1", "backend": "loky"}, "backend: got 'loky' with a scheduler"),
        ({"scheduler": "tcp://[::1]:1", "workers": 2}, "cluster.workers: means nothing with a scheduler"),
        ({"scheduler": "tcp://[::1]:1", "extract_workers": 2}, "extract_workers: means nothing with a sch"),
        ({"scheduler": "tcp://[::1]:1"} | TLS, "and TLS files, accepted: tls://"),
        ({"scheduler": "tls://h:1", "plain_tcp": True} | TLS, "accepted with tcp:// only"),
        ({"connect_timeout": 0.0}, "cluster.connect_timeout: got 0.0"),
        ({"extract_workers": 0}, "cluster.extract_workers: got 0"),
        ({"lock_wait": -1.0}, "cluster.lock_wait: got -1.0"),
    ],
)
def test_settings_that_are_unsafe_or_cannot_work(settings, said):
    with pytest.raises(ValueError, match=said):
        ClusterSettings(**settings)


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:8786", "tcp://localhost:1"])
def test_plain_tcp_is_allowed_on_this_machine(scheduler):
    assert ClusterSettings(scheduler=scheduler).scheduler == scheduler
    assert ClusterSettings(scheduler="tcp://10.0.0.7:8786", plain_tcp=True).plain_tcp


def test_a_scheduler_that_does_not_answer_is_one_line():
    execute = encoding_executor(ClusterSettings(scheduler="tcp://127.0.0.1:9", connect_timeout=1.0))
    with pytest.raises(ValueError, match=r"cluster\.scheduler: tcp://127\.0\.0\.1:9 "):
        list(execute(word_count, ["a"]))


@pytest.mark.parametrize("error", [CommClosedError("reset by peer"), CancelledError()], ids=repr)
def test_a_connection_that_closes_under_a_result_is_no_error_of_its_task(error):
    class Future:
        status = "finished"

        def result(self, timeout):
            raise error

    with pytest.raises(LostClusterError, match="the scheduler went away"):
        outcome_of(Future(), crew=None)
    Future.status = "error"  # what a task raised itself
    if isinstance(error, OSError):
        assert outcome_of(Future(), crew=None) == (None, error)


def test_a_result_that_was_lost_is_waited_for_as_long_as_there_are_workers():
    class Future:
        status, calls = "pending", 0

        def result(self, timeout):
            Future.calls += 1
            if Future.calls < 3:
                raise TimeoutError
            return 7

    class Crew:
        def size(self):
            if Future.status == "gone":
                raise LostClusterError("no workers")

    assert outcome_of(Future(), Crew()) == (7, None)
    Future.status, Future.calls = "gone", 0
    with pytest.raises(LostClusterError):
        outcome_of(Future(), Crew())
    Future.status, Future.calls = "error", 0  # raised by the task
    _, error = outcome_of(Future(), Crew())
    assert isinstance(error, TimeoutError)


def test_where_it_runs_is_not_part_of_what_it_is():
    assert load("demo").digest == load("demo", ["cluster.extract_workers=4", "cluster.lock_wait=9"]).digest


@pytest.mark.slow
def test_two_processes_make_the_same_cache_as_one(tmp_path, encoder_folder, texts_table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts_table.to_csv("texts.csv", index=False)
    (tmp_path / "mine.toml").write_text(
        f"""
corpus.path = "texts.csv"
encoder.path = "{encoder_folder}"
encoder.max_length = 32
extract.unit_rows = 8
extract.units_per_task = 2
"""
    )
    for name, *options in (("one",), ("two", "--workers", "2")):
        command = ["extract", "--config", "mine.toml", "--run", name, "--cache", name, *options]
        assert main(command) == 0
    digest = json.loads((tmp_path / "results/runs/two/cache.json").read_text())["digest"]
    whole = contents(tmp_path / "one" / digest)
    assert len({file for file, _ in whole}) == -(-len(pd.read_csv("texts.csv")["text"].unique()) // 8)
    assert contents(tmp_path / "two" / digest) == whole
