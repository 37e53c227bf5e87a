import dataclasses
import json
import os
import pickle
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from mcbert.features.encoder.loading import load_encoder
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.training import run_embeddings_job
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.training.resumable import ResumableTrainer
from tests import processes
from tests.finetune.training.test_resumable import StopError, stopping

OBJECTIVES = ("softmax", "ranking")


def weights(job):
    return load_file(job.out / "models" / "embeddings" / "model.safetensors")


def plain(job):
    """Return what a job measured, without what it took."""
    content = json.loads(job.result.read_text(encoding="utf-8"))
    for row in content["trainings"]:
        del row["seconds"]
    return content


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_learns_and_the_folder_holds_what_it_learned(make_embeddings_job, encoder, objective):
    job = make_embeddings_job(objective=objective, epochs=6, layers=(3,))
    run_embeddings_job(job)
    rows = [row for row in plain(job)["embeddings"] if row["language"] == "en"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < 0.95 * rows[1]["train_loss"]
    assert rows[-1]["accuracy"] > 0.6
    assert [row["chosen"] for row in rows] == [False] * 6 + [True]
    before = load_encoder(encoder, 3).state_dict()
    after = {name.removeprefix("encoder."): tensor for name, tensor in weights(job).items()}
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {"embeddings.word_embeddings.weight"}
    assert not job.checkpoints.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "softmax", "head_learning_rate": 0.01, "dropout": 0.2},
        {"objective": "ranking", "batch_tokens": 200, "freeze_lower": 1, "precision": "bfloat16"},
        {"objective": "softmax", "freeze": {1: (1, 3)}, "protocol": "target-dev", "checkpoint_steps": 2},
    ],
)
def test_an_interrupted_training_ends_bit_identical(make_embeddings_job, tmp_path, monkeypatch, options):
    jobs = [make_embeddings_job(tmp_path / name, **options) for name in ("whole", "cut")]
    with monkeypatch.context() as patched:
        whole = stopping(patched, -1)
        run_embeddings_job(jobs[0])
    with monkeypatch.context() as patched:
        stopping(patched, len(whole) * 2 // 3 + 1)
        with pytest.raises(StopError):
            run_embeddings_job(jobs[1])
    with monkeypatch.context() as patched:
        rest = stopping(patched, -1)
        torch.rand(7)
        run_embeddings_job(jobs[1])
    assert 0 < len(rest) < len(whole)
    expected, found = map(weights, jobs)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert plain(jobs[0]) == plain(jobs[1])


def _run_until(job, step):
    """Run a training that is killed in its `step`-th step."""
    torch.set_num_threads(1)
    original, seen = ResumableTrainer.training_step, []

    def counted(self, *args, **kwargs):
        seen.append(1)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *args, **kwargs)

    ResumableTrainer.training_step = counted
    run_embeddings_job(job)


def test_a_killed_training_resumes_with_its_objectives_weights(make_embeddings_job, tmp_path):
    """Of sentence-transformers' own checkpoints the classifier over (u, v, |u - v|) is missing."""
    jobs = [make_embeddings_job(tmp_path / name) for name in ("whole", "killed")]
    run_embeddings_job(jobs[0])
    process = processes.begin(_run_until, jobs[1], 9)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (checkpoint,) = jobs[1].checkpoints.glob("step-*")
    kept = load_file(checkpoint / "model.safetensors")
    assert kept["objective.classifier.weight"].shape == (3, 3 * 64)
    run_embeddings_job(jobs[1])
    expected, found = map(weights, jobs)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert plain(jobs[0]) == plain(jobs[1])


def test_lower_blocks_frozen_from_the_start_stay_as_they_are(make_embeddings_job, encoder):
    job = make_embeddings_job(objective="ranking", freeze_lower=2, freeze={1: (3,)}, layers=(4,))
    run_embeddings_job(job)
    before = load_encoder(encoder).state_dict()
    for name, tensor in weights(job).items():
        frozen = name.startswith(("encoder.embeddings", "encoder.encoder.layer.0", "encoder.encoder.layer.1"))
        assert torch.equal(tensor, before[name.removeprefix("encoder.")]) is frozen, name
    content = plain(job)
    assert [(row["step"], row["layers"]) for row in content["freezing"]] == [(0, "0+1+2"), (2, "3")]
    assert content["freezing"][0]["reason"] == "from the start"
    assert content["embeddings"][0]["frozen_layers"] == "0+1+2"


def test_seeds_differ_and_the_same_seed_does_not(make_embeddings_job, tmp_path):
    jobs = [make_embeddings_job(tmp_path / str(k), seed=seed, epochs=1) for k, seed in enumerate((0, 0, 1))]
    for job in jobs:
        run_embeddings_job(job)
    one, same, other = (row["embeddings"] for row in map(plain, jobs))
    assert one == same
    assert one[-1]["loss"] != other[-1]["loss"]


def test_test_pairs_are_scored_once_with_the_chosen_weights(make_embeddings_job, pairs, tmp_path):
    table = pd.read_csv(pairs, dtype=str, keep_default_na=False)
    dev = table[table["split"] == "dev"]
    test = dev.assign(id="t-" + dev["id"], split="test")
    pd.concat([table, test]).to_csv(tmp_path / "texts.csv", index=False)
    job = dataclasses.replace(make_embeddings_job(epochs=1), corpus=tmp_path / "texts.csv")
    run_embeddings_job(job)
    rows = plain(job)["embeddings"]
    tested = [row for row in rows if row["split"] == "test"]
    chosen = [row | {"split": "test"} for row in rows if row["split"] == "dev" and row["chosen"]]
    assert [row["language"] for row in tested] == ["en", "de"]
    assert tested == chosen  # the same pairs under other names


def test_the_saved_encoder_gives_the_vectors_that_were_scored(make_embeddings_job):
    job = make_embeddings_job(epochs=1)
    run_embeddings_job(job)
    ours = open_sentence_encoder(str(job.out / "models" / "embeddings")).encode(["w1 w2 w3", "w4"])
    assert ours.shape == (2, 64)
    assert np.isfinite(ours).all()
    card = (job.out / "models" / "embeddings" / "README.md").read_text(encoding="utf-8")
    assert ModelCard(card).data.language == ["en", "de"]
    assert "trained on 48 pairs" in card
    assert "- en: 0." in card
    with pytest.raises(ValueError, match="not a"):
        load_model(str(job.out / "models" / "embeddings"))


def test_a_job_travels_to_a_worker(make_embeddings_job):
    job = make_embeddings_job()
    assert isinstance(job, EmbeddingsJob)
    assert pickle.loads(pickle.dumps(job)) == job
    assert job.name == "embeddings-0"
