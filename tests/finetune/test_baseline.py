"""The baseline is the encoder's own classifier."""

import torch

from finetune.baseline import build_baseline

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
