"""Training in bfloat16 on a processor: dropout from raw bits, attention step by step."""

import pytest
import torch
from torch.nn import functional

from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.training.dropout import BitDropout, dropout, suited_to


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_so_many_values_become_zero_and_the_others_are_scaled(share, dtype):
    torch.manual_seed(0)
    states = torch.ones(1001, 999, dtype=dtype)
    dropped = dropout(states, share)
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.002)  # 4 standard errors
    assert dropped[dropped != 0].unique().tolist() == [torch.tensor(1 / (1 - share), dtype=dtype).item()]
    assert dropped.dtype == dtype
    assert (states == 1).all()


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    zero = (dropout(torch.ones(400_003), 0.5) == 0).float() - 0.5
    for distance in range(1, 9):  # four neighbours come from one draw
        assert abs((zero[distance:] * zero[:-distance]).mean().item()) < 0.25 * 0.01


def test_the_gradient_passes_where_values_were_kept():
    torch.manual_seed(0)
    states = torch.randn(7, 5, requires_grad=True)
    dropped = dropout(states, 0.4)
    dropped.sum().backward()
    torch.testing.assert_close(states.grad, dropped.detach() / states.detach())


def test_equal_seeds_drop_the_same():
    def draw():
        torch.manual_seed(3)
        return dropout(torch.ones(50), 0.5)

    assert torch.equal(draw(), draw())
    assert not torch.equal(draw(), dropout(torch.ones(50), 0.5))


def test_a_module_drops_by_bits_within_and_as_ever_outside():
    states, module = torch.ones(6, 7), torch.nn.Dropout(0.5)

    def draw():
        torch.manual_seed(3)
        return module(states)

    ever = draw()
    with BitDropout():
        by_bits = draw()
        torch.manual_seed(3)
        assert torch.equal(by_bits, functional.dropout(states, p=0.5))
    torch.manual_seed(3)
    assert torch.equal(by_bits, dropout(states, 0.5))
    assert not torch.equal(by_bits, ever)
    assert torch.equal(draw(), ever)


def test_evaluation_and_shares_of_zero_and_one_are_torchs_own():
    states = torch.ones(6, 7)
    with BitDropout():
        assert functional.dropout(states, 0.5, training=False) is states
        assert torch.equal(functional.dropout(states, 0.0), states)
        assert torch.equal(functional.dropout(states, 1.0), torch.zeros(6, 7))
        in_place = states.clone()
        assert functional.dropout(in_place, 0.5, inplace=True) is in_place


@pytest.mark.parametrize("system", ["baseline", "mcbert"])
def test_attention_is_eager_in_bfloat16_and_put_back_after_an_error(encoder, system):
    model = (
        build_baseline(encoder, dropout=0.1, labels=["a", "b"])[0]
        if system == "baseline"
        else MCBertForSequenceClassification.from_encoder(
            encoder, [1, 3], pooling="max", dropout=0.1, labels=["a", "b"]
        )
    )
    config = model.base_model.config
    assert config._attn_implementation == "sdpa"
    with suited_to(model, "float32"):
        assert config._attn_implementation == "sdpa"
    with pytest.raises(KeyError), suited_to(model, "bfloat16"):
        assert config._attn_implementation == "eager"
        assert all(
            module.config._attn_implementation == "eager"
            for module in model.base_model.modules()
            if hasattr(module, "config")
        )
        raise KeyError
    assert config._attn_implementation == "sdpa"


def test_training_in_bfloat16_on_a_processor_learns_as_in_float32(make_job, train_job, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        _, training, _, _ = train_job(make_job(precision=precision, epochs=8), tmp_path / precision)
        losses[precision] = training.history[-1].train_loss
    assert losses["float32"] < training.history[1].train_loss  # it does learn
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.5)
