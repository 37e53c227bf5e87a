import logging

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from finetune.evaluation import Evaluation
from finetune.freezing import (
    FreezeEvent,
    freeze_layers,
    freeze_word_embeddings,
    layer_parameters,
    require_feeding,
    scheduled,
)
from finetune.model import MCBertForSequenceClassification

FREEZE = {0: (1,), 2: (11, 9)}


@pytest.mark.parametrize(
    ("epoch", "frozen", "layers"),
    [(0, (), (1,)), (1, (1,), None), (2, (1,), (9, 11)), (2, (9,), (11,)), (2, (9, 11), None), (3, (), None)],
)
def test_the_schedule_from_a_table(epoch, frozen, layers):
    past = Evaluation(epoch=0, step=0, scores={})
    event = scheduled([past, Evaluation(epoch=epoch, step=7 * epoch, scores={}, frozen=frozen)], FREEZE)
    if layers is None:
        assert event is None
    else:
        assert event == FreezeEvent(
            epoch=epoch, step=7 * epoch, layers=layers, reason=f"schedule: after epoch {epoch}"
        )


def test_a_layer_that_feeds_nothing_is_refused():
    with pytest.raises(
        ValueError, match=r"finetune\.freeze: epoch 2: layer 12 feeds nothing, .* is 11; accepted"
    ):
        require_feeding({2: (9, 11, 12)}, 11, ignore=False)


def test_or_left_out_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        assert require_feeding({2: (9, 11, 12), 3: (12,)}, 11, ignore=True) == {2: (9, 11)}
    assert "layer 12 feeds nothing" in caplog.text


def tiny(encoder):
    return MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="max", dropout=0.0, labels=("a", "b")
    )


def steps(model, optimizer, n):
    for k in range(n):
        optimizer.zero_grad(set_to_none=True)
        ids = torch.arange(12).reshape(2, 6) + 5 + k
        model(input_ids=ids, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()


def copies(parameters):
    return [p.detach().clone() for p in parameters]


@pytest.mark.parametrize(
    "optimizer_class",
    [
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5, fused=True),
        lambda p: torch.optim.SGD(p, lr=1e-2, weight_decay=0.5, momentum=0.9),
    ],
    ids=["adamw", "fused", "sgd"],
)
def test_frozen_is_bit_identical_whatever_momentum_and_decay(encoder, optimizer_class):
    model = tiny(encoder)
    optimizer = optimizer_class(model.parameters())
    steps(model, optimizer, 2)
    middle, below = layer_parameters(model, 2), layer_parameters(model, 1)
    assert all(p in optimizer.state for p in middle)
    # a gradient that waits for the next step must not act either
    model(input_ids=torch.tensor([[5, 6]]), labels=torch.tensor([0])).loss.backward()
    freeze_layers(model, (2,), optimizer)
    assert all(p.grad is None and not p.requires_grad and p not in optimizer.state for p in middle)
    before, lower = copies(middle), copies(below)
    optimizer.step()
    steps(model, optimizer, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, middle, strict=True))
    assert all(p not in optimizer.state for p in middle)
    assert not any(torch.equal(a, b) for a, b in zip(lower, below, strict=True))


def test_gradient_flows_through_a_frozen_layer_to_those_below(encoder):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (3,), pooling="mean", dropout=0.0, labels=("a", "b")
    )
    freeze_layers(model, (3,))
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([0])).loss.backward()
    assert all(p.grad is None for p in layer_parameters(model, 3))
    for layer in (0, 1, 2):
        gradients = [p.grad for p in layer_parameters(model, layer)]
        assert any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


def test_layers_are_disjoint_and_cover_the_encoder(encoder):
    model = tiny(encoder)
    ids = [id(p) for layer in range(4) for p in layer_parameters(model, layer)]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(p) for p in model.encoder.parameters()}


def test_word_embeddings_alone(encoder):
    model = tiny(encoder)
    freeze_word_embeddings(model)
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["encoder.embeddings.word_embeddings.weight"]


def test_layers_of_a_plain_classifier_are_found():
    config = BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    model = BertForSequenceClassification(config)
    assert layer_parameters(model, 2)[0] is next(model.bert.encoder.layer[1].parameters())
    assert layer_parameters(model, 0)[0] is model.bert.embeddings.word_embeddings.weight
