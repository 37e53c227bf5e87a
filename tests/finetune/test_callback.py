import functools

import numpy as np
import pytest
import torch

from features.corpus import Corpus
from features.encoder.tokens import load_tokenizer
from finetune.callback import EpochCallback, Watch
from finetune.evaluation import compute_logits, score_languages
from finetune.freezing import layer_parameters
from finetune.job import build, tokenised
from finetune.trainer import Output, train


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
    monkeypatch.setattr("finetune.callback.watched_score", lambda *_: next(scores))
    monkeypatch.setattr("finetune.callback.choose", lambda *_: 1)
    first = {}
    original = EpochCallback._keep_best

    def keep_best(self, predicted):
        original(self, predicted)
        if self.history[-1].epoch == 1:
            first.update({k: v.clone() for k, v in self.model.state_dict().items()})

    monkeypatch.setattr(EpochCallback, "_keep_best", keep_best)
    next(scores)
    model, training, _, _ = train_job(make_job(protocol="source-dev"), tmp_path)
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


def test_a_model_that_gives_nan_is_an_error(make_job, train_job, tmp_path):
    def tamper(model):
        model.classifier.bias.data.fill_(float("nan"))

    with pytest.raises(
        ValueError, match=r"epoch 0, step 0: the model's output is not finite; lower finetune\.learn"
    ):
        train_job(make_job(), tmp_path, tamper=tamper)


def test_tensorboard_holds_the_curves_and_the_frozen_set(make_job, train_job, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, training, _, _ = train_job(make_job("mcbert_wf", freeze={1: (3,)}), tmp_path)
    log = events.EventAccumulator(str(tmp_path / "logs"))
    log.Reload()
    tags = log.Tags()
    assert {"train/loss", "train/learning_rate", "accuracy/en", "accuracy/de"} <= set(tags["scalars"])
    curve = [(e.step, e.value) for e in log.Scalars("accuracy/zh")]
    assert curve == [(e.step, pytest.approx(e.scores["zh"].accuracy)) for e in training.history]
    texts = [e.tensor_proto.string_val[0].decode() for e in log.Tensors("frozen/text_summary")]
    assert texts == ["none", "3", "3", "3"]


def test_the_rule_is_asked_once_an_evaluation_with_the_history_so_far(make_job, train_job, tmp_path):
    lengths = []

    def rule(lengths, history):
        lengths.append(len(history))

    job = make_job()
    corpus, tokenizer = Corpus.read(job.corpus), load_tokenizer(job.encoder)
    texts = tuple(tokenised(corpus, corpus.rows(split=s), tokenizer, max_length=32) for s in ("train", "dev"))
    model, _ = build(job, corpus.labels)
    watch = Watch(rule=functools.partial(rule, lengths), protocol="last", source_language="en")
    train(
        model,
        tokenizer,
        settings=job.settings,
        seed=0,
        texts=texts,
        watch=watch,
        out=Output(checkpoints=tmp_path / "a", log=tmp_path / "b"),
    )
    assert lengths == [1, 2, 3, 4]
