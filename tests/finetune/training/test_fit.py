import dataclasses

import torch

from mcbert.finetune.systems import build
from mcbert.finetune.training.callback import Monitor
from mcbert.finetune.training.data import classification
from mcbert.finetune.training.fit import Output, fit, parameter_groups


def test_the_head_learns_at_its_own_rate_and_biases_do_not_decay(make_job):
    job = make_job("baseline", head_learning_rate=0.5, weight_decay=0.25)
    model, head_parameters = build(job, ("cancel", "refund"))
    of = {}
    for group in parameter_groups(model, head_parameters, job.settings):
        of |= {id(p): (group["lr"], group["weight_decay"]) for p in group["params"]}
    named = {name: of[id(p)] for name, p in model.named_parameters()}
    assert named["classifier.weight"] == (0.5, 0.25)
    assert named["classifier.bias"] == (0.5, 0.0)
    assert named["bert.pooler.dense.weight"] == (0.5, 0.25)  # newly initialised: the encoder has none
    assert named["bert.encoder.layer.0.output.dense.weight"] == (1e-3, 0.25)
    assert named["bert.encoder.layer.0.output.LayerNorm.weight"] == (1e-3, 0.0)
    same = dataclasses.replace(job.settings, head_learning_rate=None)
    assert {group["lr"] for group in parameter_groups(model, head_parameters, same)} == {1e-3}


def test_nothing_is_printed(make_job, train_job, tmp_path, capfd):
    train_job(make_job(), tmp_path)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_old_log_is_replaced(make_job, train_job, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.old").write_text("of an interrupted training", encoding="utf-8")
    train_job(make_job(), tmp_path)
    assert not (tmp_path / "logs" / "events.old").exists()


def test_it_trains_without_tensorboard(make_job, train_job, tmp_path, monkeypatch):
    monkeypatch.setattr("mcbert.finetune.training.curves.importlib.util.find_spec", lambda _: None)
    _, training, _, _ = train_job(make_job(), tmp_path)
    assert len(training.history) == 4
    assert not (tmp_path / "logs").exists()


def test_a_trained_model_trains_again_in_the_precision_asked_for_and_is_left_as_it_was(
    make_job, train_job, tmp_path
):
    job = make_job(precision="bfloat16", epochs=1)
    kinds = []

    def listen(model):
        layer = model.encoder.encoder.layer[0].output.dense
        layer.register_forward_hook(lambda _module, _inputs, output: kinds.append(output.dtype))

    model, _, dev, tokenizer = train_job(job, tmp_path, tamper=listen)
    assert set(kinds) == {torch.bfloat16}
    assert "forward" not in vars(model)
    kinds.clear()
    monitor = Monitor(rule=lambda _: None, protocol="last", source_language="en")
    data = classification(tokenizer, dev, dev, source_language="en")
    fit(model, data, settings=job.settings, seed=0, monitor=monitor, out=Output())
    assert set(kinds) == {torch.bfloat16}
