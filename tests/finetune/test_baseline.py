"""The baseline is the encoder's own classifier."""

import pytest
import torch
from transformers import AutoModel, GPT2Config

from mcbert.finetune.baseline import build_baseline
from tests.families import FAMILIES, save_family

LABELS = ("cancel", "refund", "other")


def test_the_baseline_says_what_starts_random(encoder, caplog):
    with caplog.at_level("INFO", logger="mcbert.finetune.baseline"):
        model, newly_initialised = build_baseline(encoder, dropout=0.3, labels=LABELS)
    assert newly_initialised == {
        "classifier.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    assert "bert.pooler.dense.weight; these weights are newly initialised" in caplog.text
    assert model.dropout.p == 0.3
    assert model(input_ids=torch.tensor([[2, 5, 3], [2, 6, 3]])).logits.shape == (2, 3)
    assert model.dtype == torch.float32


@pytest.mark.parametrize("family", list(FAMILIES))
def test_of_any_family_the_head_starts_random_with_the_dropout_asked_for(tmp_path, family):
    model, newly_initialised = build_baseline(save_family(family, tmp_path), dropout=0.37, labels=LABELS)
    assert any(name.endswith(".weight") for name in newly_initialised)
    encoder = {f"{model.base_model_prefix}.{name}" for name, _ in model.base_model.named_parameters()}
    heads = {name for name, _ in model.named_parameters()} - encoder
    assert heads <= newly_initialised
    own = set(model.modules()) - set(model.base_model.modules())
    assert 0.37 in {module.p for module in own if isinstance(module, torch.nn.Dropout)}
    batch = {"input_ids": torch.tensor([[2, 5, 3], [2, 6, 3]]), "labels": torch.tensor([0, 2])}
    model.train().base_model.eval()
    assert not torch.equal(model(**batch).logits, model(**batch).logits)
    out = model.train()(**batch)
    assert out.logits.shape == (2, 3)
    out.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if name in heads)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_without_dropout_the_head_drops_nothing(tmp_path, family):
    model, _ = build_baseline(str(save_family(family, tmp_path)), dropout=0.0, labels=LABELS)
    batch = {"input_ids": torch.tensor([[2, 5, 3], [2, 6, 3]])}
    expected = model.eval()(**batch).logits
    model.train().base_model.eval()
    torch.testing.assert_close(model(**batch).logits, expected)


def test_a_head_that_cannot_drop_says_so(tmp_path, caplog):
    config = GPT2Config(vocab_size=60, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    build_baseline(tmp_path, dropout=0.0, labels=LABELS)
    assert "no dropout" not in caplog.text
    build_baseline(tmp_path, dropout=0.3, labels=LABELS)
    assert "the head of gpt2 has no dropout: finetune.dropout is not used" in caplog.text
