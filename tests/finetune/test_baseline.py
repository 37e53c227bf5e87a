"""The baseline is the encoder's own classifier."""

import pytest
import torch

from finetune.baseline import build_baseline
from tests.finetune.families import FAMILIES, save_family

LABELS = ("cancel", "refund", "other")


def test_the_baseline_says_what_starts_random(encoder, caplog):
    with caplog.at_level("INFO", logger="finetune.baseline"):
        model, fresh = build_baseline(encoder, dropout=0.3, labels=LABELS)
    assert fresh == {
        "classifier.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    assert "bert.pooler.dense.weight; these weights start random" in caplog.text
    assert model.dropout.p == 0.3
    assert model(input_ids=torch.tensor([[2, 5, 3], [2, 6, 3]])).logits.shape == (2, 3)
    assert model.dtype == torch.float32


@pytest.mark.parametrize("family", list(FAMILIES))
def test_of_any_family_the_head_starts_random_with_the_dropout_asked_for(tmp_path, family):
    model, fresh = build_baseline(save_family(family, tmp_path), dropout=0.37, labels=LABELS)
    assert any(name.endswith(".weight") for name in fresh)
    encoder = {f"{model.base_model_prefix}.{name}" for name, _ in model.base_model.named_parameters()}
    heads = {name for name, _ in model.named_parameters()} - encoder
    assert heads <= fresh
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} & {0.37}
    batch = {"input_ids": torch.tensor([[2, 5, 3], [2, 6, 3]]), "labels": torch.tensor([0, 2])}
    out = model.train()(**batch)
    assert out.logits.shape == (2, 3)
    out.loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if name in heads)
