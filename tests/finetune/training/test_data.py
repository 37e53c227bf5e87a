import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given as drawn
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.freezing.mechanism import layer_parameters
from mcbert.finetune.freezing.rules import FreezeEvent
from mcbert.finetune.systems import build, tokenised
from mcbert.finetune.training.callback import Monitor
from mcbert.finetune.training.data import Texts, balancing, classification, require_finite, translated
from mcbert.finetune.training.fit import Output, fit
from mcbert.finetune.training.resumable import NO_LABEL, mean_loss


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


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([], r'^other: epoch 0, step 0: .* set other\.precision to "float32"'),
        ([1], r"^other: epoch 1, step \d: .* lower other\.learning_rate or other\."),
    ],
)
def test_messages_name_the_section_of_the_settings_and_what_was_at_fault(start, calls, said):
    job, make = start
    model, tokenizer, texts = make()
    whole = classification(tokenizer, *texts, source_language="en")

    def evaluate(model):
        if not calls:
            require_finite(np.array([np.nan]))
        return calls.pop() and whole.evaluate(model)

    data = dataclasses.replace(whole, evaluate=evaluate)

    class Other(type(job.settings)):
        section = "other"

    settings = Other(**{f.name: getattr(job.settings, f.name) for f in dataclasses.fields(job.settings)})
    monitor = Monitor(rule=lambda _: None, protocol="last", source_language="en")
    with pytest.raises(ValueError, match=said):
        fit(model, data, settings=settings, seed=0, monitor=monitor, out=Output())


def test_layers_frozen_from_the_start_never_move_and_are_an_event(start):
    job, make = start
    model, tokenizer, texts = make()
    before = [p.detach().clone() for layer in (0, 1) for p in layer_parameters(model, layer)]
    above = [p.detach().clone() for p in layer_parameters(model, 2)]
    monitor = Monitor(rule=lambda _: None, protocol="last", source_language="en", frozen=(0, 1))
    data = classification(tokenizer, *texts, source_language="en")
    training = fit(model, data, settings=job.settings, seed=0, monitor=monitor, out=Output())
    after = [p for layer in (0, 1) for p in layer_parameters(model, layer)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(above, layer_parameters(model, 2), strict=True))
    assert training.events == [FreezeEvent(epoch=0, step=0, layers=(0, 1), reason="from the start")]
    assert [e.frozen for e in training.history] == [(0, 1)] * 3


@drawn(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_balanced_weights_are_scikit_learns_and_have_mean_1(codes):
    y = np.array(codes)
    weights = balancing(y)
    wanted = compute_class_weight("balanced", classes=np.unique(y), y=y)
    np.testing.assert_allclose(weights[np.unique(y)], wanted)
    assert weights[y].mean() == pytest.approx(1)


def test_a_weighted_loss_is_that_of_texts_that_count_so_often():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 0, 1, NO_LABEL])
    outputs = SimpleNamespace(logits=logits)
    found = mean_loss(outputs, labels, 3, weights=np.array([1.0, 2.0, 5.0]))
    again = torch.tensor([0, 1, 2, 2])  # the text of label 1 twice
    wanted = torch.nn.functional.cross_entropy(logits[again], labels[again], reduction="sum") / 3
    torch.testing.assert_close(found, wanted)
    whole = mean_loss(outputs, labels, 3)
    torch.testing.assert_close(whole, mean_loss(outputs, labels, 3, weights=np.ones(3)))
    assert found > whole


def test_class_weights_raise_the_share_of_a_rare_label(start):
    job, make = start
    monitor = Monitor(rule=lambda _: None, protocol="last", source_language="en")
    given = {}
    for class_weight in ("none", "balanced"):
        model, tokenizer, (texts, dev) = make()
        rows = np.flatnonzero((texts.y == 0) | (np.arange(len(texts.y)) < 6))  # three of label 1, twelve of 0
        few = Texts(
            tokens=[texts.tokens[row] for row in rows],
            y=texts.y[rows],
            language=texts.language[rows],
            ids=tuple(texts.ids[row] for row in rows),
        )
        data = classification(tokenizer, few, dev, balanced=class_weight == "balanced", source_language="en")
        fit(model, data, settings=job.settings, seed=0, monitor=monitor, out=Output())
        with torch.no_grad():
            given[class_weight] = torch.from_numpy(compute_logits(model, tokenizer, dev.tokens)).softmax(1)
    assert given["balanced"][:, 1].mean() > given["none"][:, 1].mean() + 0.01


def test_translations_among_dev_texts_are_told_by_their_ids():
    languages = np.array(["en"] * 25 + ["de"] * 25 + ["ur"] * 19)
    ids = tuple(f"{k}-{language}" for language, n in (("en", 25), ("de", 25), ("ur", 19)) for k in range(n))
    y = np.concatenate([np.arange(n) % 2 for n in (25, 25, 19)])
    dev = Texts(tokens=[], y=y, language=languages, ids=ids)
    found = translated(dev, "en")
    assert list(found) == ["de"]  # of Urdu too few to choose by
    np.testing.assert_array_equal(found["de"], [np.arange(25), np.arange(25, 50)])
    assert translated(dataclasses.replace(dev, ids=()), "en") == {}
