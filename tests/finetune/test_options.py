"""Each option of the training does what it says."""

import dataclasses

import numpy as np
import pytest
import torch

from mcbert.finetune.evaluation import watched_score
from mcbert.finetune.rows import protocol_of
from mcbert.finetune.systems import build
from mcbert.finetune.training.data import Texts
from mcbert.finetune.training.fit import OPTIMIZERS, parameter_groups, precision_of
from tests.finetune.conftest import corpus_table


def losses(training):
    return [evaluation.train_loss for evaluation in training.history[1:]]


def _without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def test_the_loss_of_a_step_is_the_mean_over_its_texts_however_it_is_parted(make_job, train_job, tmp_path):
    """One step of all texts, in parts of unlike sizes, is the same step."""
    norms = []
    for parts in (1, 3):
        job = make_job(batch_size=24, gradient_accumulation=parts, epochs=1)
        still = _without_dropout
        training = train_job(job, tmp_path / str(parts), tamper=still, gradient_norms=True)[1]
        norms.append([*training.history[1].gradient_norms, *losses(training)])
        assert training.history[1].step == 1
    np.testing.assert_allclose(norms[0], norms[1], rtol=1e-4)


def test_steps_by_tokens_hold_unlike_numbers_of_texts(make_job, train_job, tmp_path):
    _, training, _, _ = train_job(make_job(batch_tokens=60), tmp_path)
    steps = training.history[1].step
    assert steps > 3
    assert [e.step for e in training.history] == [0, steps, 2 * steps, 3 * steps]


def test_evaluations_come_at_steps_and_at_the_ends_of_epochs_once(make_job, train_job, tmp_path):
    _, training, _, _ = train_job(make_job(eval_steps=2, protocol="source-dev"), tmp_path)
    moments = [(e.epoch, e.step) for e in training.history]
    assert moments == [(0, 0), (0, 2), (1, 3), (1, 4), (2, 6), (2, 8), (3, 9)]
    assert all(np.isfinite(losses(training)))


def test_patience_stops_and_the_best_weights_are_kept(make_job, train_job, tmp_path, monkeypatch):
    scores = [0.5, 0.9, 0.2, 0.3, 0.4, 0.99]  # of evaluations 1, 2, ...
    steps = [2, 3, 4, 6, 8, 9]

    def score(evaluation, *_):
        return scored[id(evaluation.scores)]

    scored = {}
    monkeypatch.setattr("mcbert.finetune.evaluation.watched_score", score)
    monkeypatch.setattr("mcbert.finetune.training.callback.watched_score", score)
    original = Texts.scores
    kept = []

    def scoring(*args):
        found = original(*args)
        kept.append(found)  # so that no id is given twice
        scored[id(found)] = ([0.0] + scores)[len(kept) - 1]
        return found

    monkeypatch.setattr(Texts, "scores", scoring)
    job = make_job(eval_steps=2, protocol="source-dev", patience=2)
    _, training, _, _ = train_job(job, tmp_path)
    assert [e.step for e in training.history] == [0, *steps[:4]]
    assert training.history[training.chosen].step == 3


def test_a_deeper_head_is_trained_at_the_head_s_rate(make_job, train_job, tmp_path):
    start = {}
    job = make_job(head_layers=2, head_learning_rate=0.05, learning_rate=1e-5, epochs=1)
    model, head_parameters = build(job, ("cancel", "refund"))
    head = {name for name, _ in model.named_parameters() if name.startswith(("hidden.", "classifier."))}
    assert head_parameters == head
    assert len(head) == 6
    model, _, _, _ = train_job(job, tmp_path, tamper=lambda m: start.update(
        {name: p.detach().clone() for name, p in m.named_parameters()}))  # fmt: skip
    moved = {name: (p - start[name]).abs().max().item() for name, p in model.named_parameters()}
    assert (
        min(moved[name] for name in head) > 100 * max(moved[name] for name in moved if name not in head) > 0
    )


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_optimizer_is_the_one_named(make_job, train_job, tmp_path, monkeypatch, name):
    made = []
    original = OPTIMIZERS[name]
    monkeypatch.setitem(OPTIMIZERS, name, lambda *a, **k: made.append(original(*a, **k)) or made[-1])
    train_job(make_job(optimizer=name), tmp_path)
    assert type(made[0]) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]


def test_lower_layers_learn_at_lower_rates(make_job):
    job = make_job(lower_layer_decay=0.5, learning_rate=0.8, head_learning_rate=0.9)
    model, head_parameters = build(job, ("cancel", "refund"))
    of = {
        id(p): group["lr"]
        for group in parameter_groups(model, head_parameters, job.settings)
        for p in group["params"]
    }
    named = {name: of[id(p)] for name, p in model.named_parameters()}
    assert named["classifier.weight"] == 0.9
    assert named["encoder.encoder.layer.2.output.dense.weight"] == 0.8
    assert named["encoder.encoder.layer.0.output.LayerNorm.bias"] == 0.2
    assert named["encoder.embeddings.word_embeddings.weight"] == 0.1
    assert len(of) == len(list(model.parameters()))


def test_precisions(make_job, train_job, tmp_path):
    model, _ = build(make_job(), ("cancel", "refund"))
    assert precision_of(make_job().settings, model) == "float32"  # 32 columns are too few to pay
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"finetune\.precision: got 'float16' without a GPU"):
            precision_of(make_job(precision="float16").settings, model)
    plain, _, _, _ = train_job(make_job(), tmp_path / "a")
    half, _, _, _ = train_job(make_job(precision="bfloat16"), tmp_path / "b")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    logits = half(input_ids=torch.tensor([[2, 5, 3]])).logits
    assert logits.dtype == torch.float32
    assert "autocast" not in repr(half.forward)
    moved = [(a - b).abs().max().item() for a, b in zip(plain.parameters(), half.parameters(), strict=True)]
    assert 0 < max(moved) < 0.05


def test_gradients_are_scaled_down_to_the_norm(make_job, train_job, tmp_path, monkeypatch):
    seen, original = [], torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        grads = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(float(torch.nn.utils.get_total_norm(grads)))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train_job(make_job(max_gradient_norm=0.01, epochs=1), tmp_path / "a")
    assert all(norm <= 0.0101 for norm in seen)
    seen.clear()
    train_job(make_job(max_gradient_norm=0.0, epochs=1), tmp_path / "b")
    assert max(seen) > 0.02


def test_the_weights_kept_and_the_moment_of_freezing_may_read_agreement(make_job, train_job, tmp_path):
    corpus_table(n_eval=20).to_csv(tmp_path / "texts.csv", index=False)
    watched = {"freeze_rule": "plateau", "freeze_watch": "agreement", "freeze_patience": 1}
    job = make_job("mcbert_wf", freeze={1: (3,), 2: (1,)}, protocol="agreement", eval_steps=2, **watched)
    _, training, _, _ = train_job(dataclasses.replace(job, corpus=tmp_path / "texts.csv"), tmp_path)
    scores = [watched_score(evaluation, "agreement", "en") for evaluation in training.history]
    assert training.chosen == 1 + int(np.argmax(scores[1:]))
    assert training.events
    assert all(event.reason.startswith("plateau: agreement ") for event in training.events)
    assert protocol_of(job) == "agreement"
