import dataclasses

import numpy as np
import pytest
import torch
import transformers

from features.corpus import Corpus
from features.encoder.tokens import load_tokenizer
from finetune.freezing.mechanism import layer_parameters
from finetune.freezing.rules import FreezeEvent
from finetune.running import build, tokenised
from finetune.training.callback import Watch
from finetune.training.tasks import classification, require_finite
from finetune.training.trainer import Output, fit, train


@pytest.fixture
def start(make_job):
    """Return a job, and a function that builds its model, always the same, with its texts."""
    job = make_job(epochs=2)
    corpus, tokenizer = Corpus.read(job.corpus), load_tokenizer(job.encoder)
    texts = tuple(tokenised(corpus, corpus.rows(split=s), tokenizer, max_length=32) for s in ("train", "dev"))

    def make():
        transformers.set_seed(0)
        return build(job, corpus.labels)[0], tokenizer, texts

    return job, make


def test_any_task_is_trained_as_texts_are(start):
    job, make = start
    watch = Watch(rule=lambda _: None, protocol="last", source_language="en")
    common = {"settings": job.settings, "seed": 3, "watch": watch, "out": Output()}
    model, tokenizer, texts = make()
    expected = train(model, tokenizer, texts=texts, **common)
    other, tokenizer, texts = make()
    training = fit(other, classification(tokenizer, *texts), **common)
    # to the bit on any CPU: the same steps by the same code, one after the other in one process
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    np.testing.assert_array_equal(training.dev_predicted, expected.dev_predicted)
    assert [e.scores for e in training.history] == [e.scores for e in expected.history]


def test_messages_name_the_section_of_the_settings(start):
    job, make = start
    model, tokenizer, texts = make()
    task = dataclasses.replace(
        classification(tokenizer, *texts), evaluate=lambda _: require_finite(np.array([np.nan]))
    )

    class Other(type(job.settings)):
        section = "other"

    settings = Other(**{f.name: getattr(job.settings, f.name) for f in dataclasses.fields(job.settings)})
    watch = Watch(rule=lambda _: None, protocol="last", source_language="en")
    with pytest.raises(
        ValueError, match=r"^other: epoch 0, step 0: .* lower other\.learning_rate or other\."
    ):
        fit(model, task, settings=settings, seed=0, watch=watch, out=Output())


def test_layers_frozen_from_the_start_never_move_and_are_an_event(start):
    job, make = start
    model, tokenizer, texts = make()
    before = [p.detach().clone() for layer in (0, 1) for p in layer_parameters(model, layer)]
    above = [p.detach().clone() for p in layer_parameters(model, 2)]
    watch = Watch(rule=lambda _: None, protocol="last", source_language="en", frozen=(0, 1))
    training = train(model, tokenizer, settings=job.settings, seed=0, texts=texts, watch=watch, out=Output())
    after = [p for layer in (0, 1) for p in layer_parameters(model, layer)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(above, layer_parameters(model, 2), strict=True))
    assert training.events == [FreezeEvent(epoch=0, step=0, layers=(0, 1), reason="from the start")]
    assert [e.frozen for e in training.history] == [(0, 1)] * 3
