import copy

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, DebertaV2Config

from mcbert.features.encoder.stack import first_parts
from mcbert.finetune.freezing.mechanism import (
    LayerNorms,
    freeze_layers,
    freeze_word_embeddings,
    layer_parameters,
)
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.model_config import MCBertConfig
from mcbert.finetune.systems import build
from tests.families import FAMILIES


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
        lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.5),
        lambda p: torch.optim.Adam(p, lr=1e-2, weight_decay=0.5, fused=True),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.5, fused=True),
        lambda p: torch.optim.SGD(p, lr=1e-2, weight_decay=0.5, momentum=0.9),
    ],
    ids=["adam", "adam fused", "adamw", "adamw fused", "sgd"],
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


def backward_passes(model):
    """Return which blocks the gradient of a loss passes, counted by hooks on their outputs."""
    passed, hooks = [], []
    for layer, block in enumerate(first_parts(model.encoder), 1):

        def watch(_module, _inputs, output, layer=layer):
            states = output[0] if isinstance(output, tuple) else output
            if states.requires_grad:
                states.register_hook(lambda _: passed.append(layer))

        hooks.append(block.register_forward_hook(watch))
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([0])).loss.backward()
    for hook in hooks:
        hook.remove()
    return sorted(set(passed))


@pytest.mark.parametrize(
    ("layers", "passed"),
    [
        ((), [1, 2, 3]),
        ((0,), [1, 2, 3]),
        ((0, 1), [2, 3]),
        ((0, 1, 2), [3]),
        ((0, 1, 2, 3), []),
        ((1, 2), [1, 2, 3]),  # the embeddings train: backward passes through all that is above
        ((0, 2), [1, 2, 3]),
    ],
)
def test_backward_stops_above_a_frozen_prefix_and_nowhere_else(encoder, layers, passed):
    model = tiny(encoder)
    freeze_layers(model, layers)
    assert backward_passes(model) == passed


def test_frozen_words_alone_are_no_frozen_prefix(encoder):
    model = tiny(encoder)
    freeze_word_embeddings(model)
    freeze_layers(model, (1, 2))
    assert backward_passes(model) == [1, 2, 3]  # positions train, below all blocks
    freeze_layers(model, (0,))
    assert backward_passes(model) == [3]


def test_a_frozen_layer_keeps_its_dropout(encoder):
    model = tiny(encoder)
    freeze_layers(model, range(4))
    ids = torch.tensor([[5, 6, 7]])
    first, second = (model(input_ids=ids).logits for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    first, second = (model(input_ids=ids).logits for _ in range(2))
    assert torch.equal(first, second)  # the same code over the same numbers


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


FAMILY_CONFIGS = {
    **FAMILIES,
    "deberta-v2 with a convolution": DebertaV2Config(
        **FAMILIES["deberta-v2"].to_diff_dict() | {"conv_kernel_size": 3, "conv_act": "gelu"}
    ),
}


@pytest.fixture(params=list(FAMILY_CONFIGS))
def of_a_family(request):
    """A model over layers 1 and 3 of a random encoder of three blocks."""
    inner = copy.deepcopy(FAMILY_CONFIGS[request.param])
    inner.tie_last_hidden_states = False
    torch.manual_seed(0)
    return MCBertForSequenceClassification(
        MCBertConfig(inner, layers=(1, 3), dropout=0.0, id2label={0: "a", 1: "b"})
    )


def gradients(model):
    """Return the names of what gets a gradient that is not zero."""
    model(input_ids=torch.tensor([[5, 6, 7, 8]]), labels=torch.tensor([0])).loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_of_any_family_what_learns_is_of_one_layer_or_of_the_head(of_a_family):
    ids = [id(p) for layer in range(4) for p in layer_parameters(of_a_family, layer)]
    assert len(ids) == len(set(ids))
    learning = gradients(of_a_family)
    outside = {name for name, p in of_a_family.named_parameters() if id(p) not in ids}
    assert outside & learning == {"classifier.weight", "classifier.bias"}
    assert all(learning & names_of(of_a_family, layer) for layer in range(4))


def names_of(model, layer):
    ids = {id(p) for p in layer_parameters(model, layer)}
    return {name for name, p in model.named_parameters() if id(p) in ids}


@pytest.mark.parametrize("frozen", [1, 2, 3])
def test_of_any_family_backward_stops_above_a_frozen_prefix(of_a_family, frozen):
    freeze_layers(of_a_family, range(frozen))
    assert backward_passes(of_a_family) == list(range(max(frozen, 1), 4))
    of_a_family.zero_grad()
    learning = gradients(of_a_family)
    for layer in range(4):
        assert bool(learning & names_of(of_a_family, layer)) == (layer >= frozen)
    assert all(p.grad is None for layer in range(frozen) for p in layer_parameters(of_a_family, layer))


def test_relative_positions_that_all_blocks_read_are_of_the_embeddings():
    config = FAMILY_CONFIGS["deberta-v2 with a convolution"]
    model = MCBertForSequenceClassification(MCBertConfig(copy.deepcopy(config), layers=(3,), dropout=0.0))
    shared = {f"encoder.encoder.{name}" for name in ("rel_embeddings.weight", "LayerNorm.weight")}
    assert shared < names_of(model, 0)
    assert "encoder.encoder.conv.conv.weight" in names_of(model, 1)
    freeze_layers(model, (1, 2))
    assert backward_passes(model) == [1, 2, 3]
    assert shared < gradients(model)  # frozen blocks pass it on to them


def test_the_mean_over_the_steps_by_hand(make_job):
    model, _ = build(make_job(), ("cancel", "refund"))
    norms = LayerNorms(model)
    assert norms.mean() == ()
    for value in (1.0, 3.0):
        for parameter in layer_parameters(model, 2):
            parameter.grad = torch.full_like(parameter, value)
        norms.note(2.0)
    n = sum(parameter.numel() for parameter in layer_parameters(model, 2))
    found = norms.mean()
    assert found == (0, 0, pytest.approx(2 * 2 * np.sqrt(n)), 0)
    assert norms.mean() == ()


@pytest.mark.parametrize("limit", [0.0, 1e-3, 1e3])
def test_they_are_those_before_clipping_and_zero_once_frozen(make_job, train_job, tmp_path, limit):
    job = make_job("mcbert_wf", freeze={1: (1,)}, epochs=2, max_gradient_norm=limit, dropout=0.0)
    _, training, _, _ = train_job(job, tmp_path, gradient_norms=True)
    free = train_job(
        make_job("mcbert_wf", freeze={1: (1,)}, epochs=2, max_gradient_norm=0.0, dropout=0.0),
        tmp_path / "free",
        gradient_norms=True,
    )[1]
    assert training.history[0].gradient_norms == ()
    first, second = (evaluation.gradient_norms for evaluation in training.history[1:])
    assert len(first) == 4
    assert all(norm > 0 for norm in first)
    assert second[1] == 0 < second[0]
    # Adam forgets the scale of gradients, so that clipping hardly changes the weights of the first steps
    np.testing.assert_allclose(first, free.history[1].gradient_norms, rtol=0.2)


def test_nothing_is_measured_where_no_rule_asks(make_job, train_job, tmp_path):
    _, training, _, _ = train_job(make_job(), tmp_path)
    assert {evaluation.gradient_norms for evaluation in training.history} == {()}
