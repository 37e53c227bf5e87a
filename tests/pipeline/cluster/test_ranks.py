"""What torchrun's processes refuse before they meet; how they work together is in tests/finetune."""

import os
import signal
import sys

import pytest

from mcbert.pipeline.cli import main
from mcbert.pipeline.cluster import ranks, training_executor
from mcbert.pipeline.cluster.settings import ClusterSettings


@pytest.fixture(params=["0", "1"])
def process(request, monkeypatch):
    """One of two processes, as torchrun starts them."""
    monkeypatch.setenv("RANK", request.param)
    monkeypatch.setenv("LOCAL_RANK", request.param)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    return int(request.param)


@pytest.fixture
def met(monkeypatch):
    """Let a process think that it has met the other; return what it gave torch."""
    torch = pytest.importorskip("torch")
    used, store = [], torch.distributed.HashStore()
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: used.append(backend))
    for name in ("new_group", "broadcast_object_list", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda *_, **__: None)
    monkeypatch.setattr(
        sys.modules["torch.distributed.rendezvous"], "rendezvous", lambda _: iter([(store, 0, 2)])
    )
    return used


@pytest.mark.parametrize("command", ["prepare", "gridsearch", "tune", "report", "show"])
def test_other_commands_than_trainings_are_refused_in_one_line(process, command, capsys, met):
    assert main([command, "--config", "demo"]) == 2
    line = (
        f"torchrun: got {command} in 2 processes, accepted: finetune, embeddings; start the others without "
        "torchrun"
    )
    assert capsys.readouterr().err == (f"mcbert: error: {line}\n" if process == 0 else "")
    assert met == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--workers=2", ("workers: got 2", "accepted: 0")),
        ("--dask", ("backend: got 'dask'", "accepted: 'auto' or 'serial'")),
        ("--scheduler=tcp://127.0.0.1:1", ("scheduler: got 'tcp://127.0.0.1:1'", "accepted: ''")),
    ],
)
def test_options_that_spread_trainings_are_refused(option, said, capsys, monkeypatch, met, tmp_path):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["finetune", "--config", "demo", option, "--runs", str(tmp_path)]) == 2
    given, accepted = said
    line = f"{given} under torchrun, whose 2 processes share every training; {accepted}"
    assert capsys.readouterr().err == f"mcbert: error: cluster.{line}\n"
    assert not list(tmp_path.iterdir())


def test_one_process_of_torchrun_is_like_none(monkeypatch, capsys):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["show"]) == 0
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"} & os.environ.keys()
    assert training_executor(ClusterSettings(backend="serial")) is not ranks.execute


def test_more_processes_than_gpus_are_refused(process, monkeypatch, met):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests keep their own handlers
    if process == 1:
        with (
            pytest.raises(ValueError, match="got 2 processes .*, accepted: at most 1"),
            ranks.joined("finetune"),
        ):
            pass
    else:
        with ranks.joined("finetune"):
            assert met == [0, "cpu:gloo,cuda:nccl"]
