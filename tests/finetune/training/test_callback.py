import dataclasses
import functools

import numpy as np
import pytest
import torch

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.evaluation import compute_logits, score_languages
from mcbert.finetune.freezing.mechanism import LayerNorms, layer_parameters
from mcbert.finetune.freezing.rules import Watched, plan_freezing
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.systems import build, tokenised
from mcbert.finetune.training.callback import Monitor
from mcbert.finetune.training.data import classification
from mcbert.finetune.training.fit import Output, fit
from tests.families import FAMILIES, save_family


def bits(parameters):
    return [p.detach().clone() for p in parameters]


def test_a_scheduled_layer_is_bit_identical_from_the_event_to_the_end(make_job, train_job, tmp_path):
    kept = {}

    def on_event(model, event):
        kept["frozen"] = [bits(layer_parameters(model, layer)) for layer in event.layers]
        kept["below"] = bits(layer_parameters(model, 1))

    job = make_job("mcbert_wf", freeze={1: (2, 3)})
    model, training, _, _ = train_job(job, tmp_path, on_event)
    assert [(e.epoch, e.step, e.layers) for e in training.events] == [(1, 3, (2, 3))]
    for layer, before in zip((2, 3), kept["frozen"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(before, layer_parameters(model, layer), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(kept["below"], layer_parameters(model, 1), strict=True))
    assert [e.frozen for e in training.history] == [(), (), (2, 3), (2, 3)]


def test_word_embeddings_frozen_from_the_start_do_not_move(make_job, train_job, tmp_path):
    start = {}
    job = make_job(freeze_embeddings=True)
    model, _, _, _ = train_job(
        job, tmp_path, tamper=lambda m: start.update(bits=bits(m.encoder.embeddings.parameters()))
    )
    moved = [
        not torch.equal(a, b)
        for a, b in zip(start["bits"], model.encoder.embeddings.parameters(), strict=True)
    ]
    assert moved[0] is False  # the word vectors
    assert all(moved[1:])


def bits_of(model):
    return {layer: bits(layer_parameters(model, layer)) for layer in range(4)}


def falling(monkeypatch):
    monkeypatch.setattr(Watched, "__call__", lambda _, evaluation: 1 - evaluation.step / 100)


def settling_below_the_deepest(monkeypatch):
    """Let the norms of the deepest layer grow tenfold from one evaluation to the next."""
    original, factors = LayerNorms.mean, iter((1.0, 1.0, 10.0, 100.0))

    def mean(self):
        found = original(self)
        factor = next(factors)
        return (*found[:-1], factor * found[-1]) if found else found

    monkeypatch.setattr(LayerNorms, "mean", mean)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize(
    ("rule", "options", "force", "expected"),
    [
        # at such a rate no score changes: the first is not beaten
        ("plateau", {"freeze_groups": ((2,), (0, 1)), "learning_rate": 1e-6}, None, [(1, (2,)), (2, (0, 1))]),
        ("slope", {"freeze_groups": ((3,), (1,)), "freeze_window": 2}, falling, [(1, (3,)), (2, (1,))]),
        ("gradient", {"freeze_percentile": 100.0}, settling_below_the_deepest, [(2, (0, 1, 2))]),
    ],
)
def test_what_a_rule_froze_in_a_training_is_bit_identical_from_then_on(
    make_job, train_job, tmp_path, monkeypatch, rule, options, force, expected, optimizer
):
    if force:
        force(monkeypatch)
    settings = {"freeze_rule": rule, "optimizer": optimizer} | options
    freeze = plan_freezing(FinetuneSettings(**settings), 3)
    kept = []
    model, training, _, _ = train_job(
        make_job("mcbert_wf", freeze=freeze, **settings),
        tmp_path,
        lambda model, event: kept.append((event.layers, bits_of(model))),
        whole=True,
    )
    assert [(event.epoch, event.layers) for event in training.events] == expected
    assert all(event.reason.startswith(f"{rule}: ") for event in training.events)
    frozen = set()
    for layers, at in kept:
        frozen |= set(layers)
        for layer in range(4):
            same = [torch.equal(a, b) for a, b in zip(at[layer], layer_parameters(model, layer), strict=True)]
            assert all(same) if layer in frozen else not any(same), layer
    trainable = {layer for layer in range(4) if all(p.requires_grad for p in layer_parameters(model, layer))}
    assert trainable == set(range(4)) - frozen
    assert [set(e.frozen) for e in training.history][-1] == frozen


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "bert"])
def test_an_encoder_of_any_family_is_trained_and_its_bottom_frozen(make_job, train_job, tmp_path, family):
    job = make_job("mcbert_wf", freeze={1: (0, 1)}, epochs=2, optimizer="adam")
    job = dataclasses.replace(job, encoder=save_family(family, tmp_path / "encoder"))
    kept = []
    model, training, _, _ = train_job(job, tmp_path, lambda model, _: kept.append(bits_of(model)), whole=True)
    assert [(event.step, event.layers) for event in training.events] == [(3, (0, 1))]
    for layer in range(4):
        parameters = layer_parameters(model, layer)
        same = [torch.equal(a, b) for a, b in zip(kept[0][layer], parameters, strict=True)]
        assert all(same) if layer < 2 else not all(same), layer
    frozen = [all(not p.requires_grad for p in layer_parameters(model, layer)) for layer in range(4)]
    assert frozen == [True, True, False, False]


@pytest.mark.parametrize("protocol", ["source-dev", "target-dev", "last"])
def test_the_model_ends_with_the_chosen_epochs_weights(make_job, train_job, tmp_path, protocol):
    job = make_job(epochs=4, learning_rate=1e-2, protocol=protocol)
    model, training, dev, tokenizer = train_job(job, tmp_path)
    logits = compute_logits(model, tokenizer, dev.tokens)
    assert score_languages(logits, dev.y, dev.language) == dict(training.history[training.chosen].scores)
    np.testing.assert_array_equal(logits.argmax(axis=1), training.dev_predicted)


def test_an_earlier_epoch_is_restored(make_job, train_job, tmp_path, monkeypatch):
    """The best epoch is made the first one by force, so that the restoring cannot pass by luck."""
    scores = iter((0.0, 0.9, 0.1, 0.1))
    monkeypatch.setattr("mcbert.finetune.training.callback.watched_score", lambda *_: next(scores))
    monkeypatch.setattr("mcbert.finetune.training.callback.choose", lambda *_: 1)
    first = {}
    models = []

    def note(_writer, evaluation, *_):
        if evaluation.epoch == 1:
            first.update({k: v.clone() for k, v in models[0].state_dict().items()})

    monkeypatch.setattr("mcbert.finetune.training.callback.write_evaluation", note)
    next(scores)
    model, training, _, _ = train_job(
        make_job(protocol="source-dev"), tmp_path, tamper=models.append, whole=True
    )
    assert first
    assert training.chosen == 1
    assert all(torch.equal(first[k], v) for k, v in model.state_dict().items())


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_steps(make_job, train_job, tmp_path, monkeypatch):
    losses = []
    original = torch.nn.functional.cross_entropy

    def noted(*args, **kwargs):
        loss = original(*args, **kwargs)
        losses.append(loss.item() / len(args[1]))
        return loss

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", noted)
    for batch_size, steps in ((8, 3), (1, 24)):  # one log a step; logs that do and do not end with the epoch
        losses.clear()
        _, training, _, _ = train_job(make_job(batch_size=batch_size), tmp_path / str(steps))
        means = np.array(losses).reshape(3, steps).mean(axis=1)
        assert training.history[0].train_loss is None
        np.testing.assert_allclose([e.train_loss for e in training.history[1:]], means, rtol=1e-4)
        assert [e.step for e in training.history] == [0, steps, 2 * steps, 3 * steps]


def test_weights_that_are_not_numbers_are_named_and_no_learning_rate_is_blamed(make_job, train_job, tmp_path):
    def tamper(model):
        model.classifier.bias.data[1] = float("nan")

    with pytest.raises(ValueError, match=r"^finetune: before any step classifier.bias: 1 of 2 values"):
        train_job(make_job(), tmp_path, tamper=tamper)


def test_a_model_that_gives_nan_at_first_has_nothing_to_lower(make_job, train_job, tmp_path):
    def tamper(model):
        for weights in (model.classifier.weight, model.classifier.bias):
            weights.data.fill_(3e38)  # finite, but not their sum

    with pytest.raises(ValueError, match=r"epoch 0, step 0: .*finetune\.precision"):
        train_job(make_job(), tmp_path, tamper=tamper)


def test_tensorboard_holds_curves_of_each_language_the_frozen_set_and_a_marker_at_each_event(
    make_job, train_job, tmp_path
):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    job = make_job("mcbert_wf", freeze={1: (3,), 2: (0, 1)}, warmup=1 / 3)
    _, training, _, _ = train_job(job, tmp_path)
    log = events.EventAccumulator(str(tmp_path / "logs"), size_guidance={"scalars": 0, "tensors": 0})
    log.Reload()

    def texts(tag):
        return [(e.step, e.tensor_proto.string_val[0].decode()) for e in log.Tensors(f"{tag}/text_summary")]

    for language in ("en", "de", "zh"):
        for tag, field in ((f"accuracy/{language}", "accuracy"), (f"dev_loss/{language}", "loss")):
            curve = [(e.step, getattr(e.scores[language], field)) for e in training.history]
            found = [(e.step, e.value) for e in log.Scalars(tag)]
            assert found == [(step, pytest.approx(value)) for step, value in curve]
    assert texts("frozen") == [(0, "none"), (3, "3"), (6, "0, 1, 3"), (9, "0, 1, 3")]
    assert texts("freeze event") == [
        (3, "layers [3]: schedule: after epoch 1"),
        (6, "layers [0, 1]: schedule: after epoch 2"),
    ]
    assert [(e.step, e.value) for e in log.Scalars("frozen_layers")] == [(0, 0), (3, 1), (6, 3), (9, 3)]
    # of nine steps three rise from 0 and six fall from 1e-3; logged is the rate that a step was made with
    rates = {e.step: e.value for e in log.Scalars("train/learning_rate")}
    shares = [0, 1 / 3, 2 / 3, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert rates == {step: pytest.approx(1e-3 * share) for step, share in enumerate(shares, start=1)}
    means = [np.mean([e.value for e in log.Scalars("train/loss") if e.step in steps])
             for steps in (range(1, 4), range(4, 7), range(7, 10))]  # fmt: skip
    np.testing.assert_allclose(means, [e.train_loss for e in training.history[1:]], rtol=1e-3)


def test_the_rule_is_asked_once_an_evaluation_with_the_history_so_far(make_job, train_job, tmp_path):
    lengths = []

    def rule(lengths, history):
        lengths.append(len(history))

    job = make_job()
    corpus, tokenizer = Corpus.read(job.corpus), load_tokenizer(job.encoder)
    texts = tuple(tokenised(corpus, corpus.rows(split=s), tokenizer, max_length=32) for s in ("train", "dev"))
    model, _ = build(job, corpus.labels)
    monitor = Monitor(rule=functools.partial(rule, lengths), protocol="last", source_language="en")
    fit(
        model,
        classification(tokenizer, *texts, source_language="en"),
        settings=job.settings,
        seed=0,
        monitor=monitor,
        out=Output(checkpoints=tmp_path / "a", log=tmp_path / "b"),
    )
    assert lengths == [1, 2, 3, 4]
