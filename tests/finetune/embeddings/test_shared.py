"""Two processes that share a training of sentence embeddings."""

import dataclasses
import json
import shutil

import pytest
from safetensors.torch import load_file

from mcbert.finetune.embeddings.training import run_embeddings_job
from tests.finetune.test_distributed import together


def measured(job):
    rows = json.loads(job.result.read_text(encoding="utf-8"))["embeddings"]
    return {(row["step"], row["language"]): row["loss"] for row in rows}


def test_two_processes_make_the_steps_of_one(make_embeddings_job, encoder, tmp_path):
    """Without dropout, which they draw apart; ranking has each process's own pairs as wrong answers."""
    still = tmp_path / "encoder"
    shutil.copytree(encoder, still)
    config = json.loads((still / "config.json").read_text(encoding="utf-8"))
    (still / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.0}), encoding="utf-8")
    jobs = [
        dataclasses.replace(make_embeddings_job(tmp_path / name, **options), encoder=still)
        for name, options in (
            ("alone", {}),
            ("shared", {}),
            ("ranked", {"objective": "ranking", "freeze_lower": 1, "epochs": 1}),
        )
    ]
    run_embeddings_job(jobs[0])
    statuses, done = together(jobs[1:], tmp_path)
    assert statuses == [0, 0]
    assert [error for _, error in done] == [None, None]
    assert measured(jobs[1]) == pytest.approx(measured(jobs[0]), rel=1e-3)
    expected, found = (load_file(job.out / "models/embeddings/model.safetensors") for job in jobs[:2])
    for name, tensor in expected.items():
        far = (found[name] - tensor).abs().max()  # of the keys' biases, whose gradient is 0 but for rounding
        assert far < (1e-2 if name.endswith("key.bias") else 1e-5), name
    assert len(measured(jobs[2])) == 4
