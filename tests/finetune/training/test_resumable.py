"""What goes wrong in a training is said in one line; what is resumed is not done again."""

import hashlib
import json
import logging
import re
import shutil

import numpy as np
import pytest
import torch

from mcbert import files
from mcbert.features.encoder import hardware
from mcbert.finetune.training import checkpoints
from mcbert.finetune.training.fit import within_memory
from mcbert.finetune.training.resumable import ResumableTrainer, TrainingError


class StopError(Exception):
    """An interruption."""


def stopping(monkeypatch, at, error=None):
    """Make the training step raise at its `at`-th call; return the list of the steps taken."""
    steps, original = [], ResumableTrainer.training_step

    def step(self, *args, **kwargs):
        if len(steps) == at - 1:
            raise error or StopError
        steps.append(self.state.global_step)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(ResumableTrainer, "training_step", step)
    return steps


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"protocol": "source-dev", "eval_steps": 2, "optimizer": "adam"},
        {"gradient_accumulation": 2, "batch_tokens": 64, "checkpoint_steps": 1},
        {"precision": "bfloat16"},
        {"lower_layer_decay": 0.5, "head_learning_rate": 0.01},
    ],
)
def test_a_resumed_training_makes_the_steps_that_are_left_and_ends_the_same(
    make_job, train_job, tmp_path, monkeypatch, options, caplog
):
    job = make_job("mcbert_wf", freeze={1: (1, 3)}, **options)
    with monkeypatch.context() as patched:
        whole = stopping(patched, -1)
        expected, training, _, _ = train_job(job, tmp_path / "whole", gradient_norms=True)
    at = len(whole) * 2 // 3 + 1
    with monkeypatch.context() as patched:
        stopping(patched, at)
        with pytest.raises(StopError):
            train_job(job, tmp_path / "cut", gradient_norms=True)
    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        rest = stopping(patched, -1)
        torch.rand(7)  # another process has drawn other numbers
        model, resumed, _, _ = train_job(job, tmp_path / "cut", gradient_norms=True)
    assert rest == whole[-len(rest) :]
    assert 0 < len(rest) < len(whole)
    assert f"resumed at step {rest[0]}" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    plain = [[{**vars(e), "seconds": 0} for e in t.history] for t in (resumed, training)]
    assert plain[0] == plain[1]
    assert resumed.events == training.events
    np.testing.assert_array_equal(resumed.dev_predicted, training.dev_predicted)


@pytest.mark.parametrize(
    ("options", "freeze", "at"),
    [
        # at such a rate no score changes, and a group freezes at each evaluation: steps 3 and 6
        ({"freeze_rule": "plateau", "freeze_groups": ((2,), (0, 1)), "learning_rate": 1e-6},
         {0: (2,), 1: (0, 1)}, 5),
        # cut between two evaluations, after the first event: sums of norms are kept
        ({"freeze_rule": "gradient", "freeze_percentile": 100.0, "eval_steps": 2, "checkpoint_steps": 1},
         {0: (0, 1, 2)}, 6),
    ],
)  # fmt: skip
def test_a_rule_goes_on_from_the_history_that_it_had(
    make_job, train_job, tmp_path, monkeypatch, options, freeze, at
):
    job = make_job("mcbert_wf", freeze=freeze, **options)
    model, whole, _, _ = train_job(job, tmp_path / "whole")
    before = [event for event in whole.events if event.step < at]
    assert before
    with monkeypatch.context() as patched:
        stopping(patched, at)
        with pytest.raises(StopError):
            train_job(job, tmp_path / "cut")
    again, resumed, _, _ = train_job(job, tmp_path / "cut")
    assert resumed.events == whole.events
    assert [{**vars(e), "seconds": 0} for e in resumed.history] == [
        {**vars(e), "seconds": 0} for e in whole.history
    ]
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    frozen = [p.requires_grad for p in model.parameters()]
    assert [p.requires_grad for p in again.parameters()] == frozen
    assert not all(frozen)


def test_a_finished_training_is_not_trained_again(make_job, train_job, tmp_path, monkeypatch):
    first = train_job(make_job(), tmp_path)[1]
    stopping(monkeypatch, 1)
    assert train_job(make_job(), tmp_path)[1].history == first.history


def test_a_checkpoint_of_a_machine_with_bfloat16_is_refused_by_name(
    make_job, train_job, tmp_path, monkeypatch
):
    """The settings say auto on both machines; what it chose differs."""
    with monkeypatch.context() as patched:
        patched.setattr(hardware, "compute_dtype", lambda *_: "bfloat16")
        training = train_job(make_job(), tmp_path)[1]
    assert training.precision == "bfloat16"
    with pytest.raises(ValueError, match="precision: got 'float32', accepted: 'bfloat16'"):
        train_job(make_job(), tmp_path)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"callback": []}, "state.json: damaged .'callback' is "),
        ({"callback": {}}, "not a checkpoint of this training"),
        ({"groups": [3]}, "not a checkpoint of this training"),
        ({"schedule": {"last_epoch": "x"}}, "not a checkpoint of this training"),
        ({"random": []}, "not a checkpoint of this training"),
        ({"random": [{"python": 3}]}, "not a checkpoint of this training"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(make_job, train_job, tmp_path, values, said):
    train_job(make_job(), tmp_path)
    shutil.rmtree(checkpoints.numbered(tmp_path / "scratch")[0])  # so that there are steps left
    for path in checkpoints.numbered(tmp_path / "scratch"):
        state = json.loads((path / "state.json").read_text()) | values
        (path / "state.json").write_text(json.dumps(state))
        record = json.loads((path / checkpoints.MANIFEST).read_text())
        del record["digest"]
        record["files"]["state.json"] = files.sha256(path / "state.json")
        digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        (path / checkpoints.MANIFEST).write_text(json.dumps(record | {"digest": digest}))
    with pytest.raises(ValueError, match=said) as caught:
        train_job(make_job(), tmp_path)
    assert "\n" not in str(caught.value)
    assert "remove" in str(caught.value)


def test_other_settings_are_refused(make_job, train_job, tmp_path):
    train_job(make_job(), tmp_path)
    with pytest.raises(ValueError, match=r"settings\.learning_rate: got 0\.002, accepted: 0\.001"):
        train_job(make_job(learning_rate=0.002), tmp_path)
    assert len(list((tmp_path / "scratch").glob("step-*"))) == 2


def test_a_loss_that_is_not_finite_names_texts_and_checkpoint(make_job, train_job, tmp_path, monkeypatch):
    original = torch.nn.functional.cross_entropy
    calls = []

    def loss(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs) * (float("nan") if len(calls) == 5 else 1)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", loss)
    with pytest.raises(TrainingError) as caught:
        train_job(make_job(), tmp_path)
    said = str(caught.value)
    assert said.startswith("finetune: step 5, texts train")
    assert len(re.findall(r"train\d+\b", said)) == 8
    assert "scratch/step-3: the training loss is nan; lower finetune.learning_rate" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_out_of_memory_says_where_and_what_to_lower(make_job, train_job, tmp_path, monkeypatch, error):
    stopping(monkeypatch, 2, error)
    with pytest.raises(TrainingError) as caught:
        train_job(make_job(), tmp_path)
    assert "step 2, texts train" in str(caught.value)
    assert "no checkpoint yet: out of memory; lower finetune.max_length or finetune.batch_size" in str(
        caught.value
    )


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes") as caught, within_memory(str):
        raise RuntimeError("shapes do not fit")
    assert not isinstance(caught.value, TrainingError)
