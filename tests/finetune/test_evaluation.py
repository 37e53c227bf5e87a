import numpy as np
import pytest
import torch

from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.evaluation import (
    Evaluation,
    Score,
    choose,
    compute_logits,
    score_languages,
    watched_score,
)
from mcbert.finetune.model import MCBertForSequenceClassification


def test_scores_of_each_language_by_hand():
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0], [1e4, -1e4]], dtype=np.float32)
    scores = score_languages(logits, np.array([0, 0, 1, 0]), np.array(["en", "en", "de", "de"]))
    assert list(scores) == ["en", "de"]
    assert scores["en"].accuracy == 0.5
    assert scores["en"].n_texts == 2
    assert scores["en"].loss == pytest.approx(np.log1p(np.exp(-2)) + 1.0)
    assert scores["de"].accuracy == 0.5  # a tie goes to the first label
    assert scores["de"].loss == pytest.approx(np.log(2) / 2)  # the huge logits do not overflow


def history(*accuracies):
    return [
        Evaluation(epoch=k, step=k, scores={
            name: Score(accuracy=a, loss=0.0, n_texts=1)
            for name, a in zip(("en", "de", "ur"), row, strict=True)
        }) for k, row in enumerate(accuracies)
    ]  # fmt: skip


CURVE = history((0.9, 0.99, 0.99), (0.5, 0.2, 0.6), (0.7, 0.5, 0.1), (0.7, 0.4, 0.4), (0.6, 0.1, 0.7))


@pytest.mark.parametrize(("protocol", "epoch"), [("last", 4), ("source-dev", 2), ("target-dev", 1)])
def test_the_epoch_by_protocol_ties_to_the_earlier_and_never_the_untrained(protocol, epoch):
    assert choose(CURVE, protocol, "en") == epoch


def test_watched_scores():
    assert watched_score(CURVE[2].scores, "source-dev", "en") == 0.7
    assert watched_score(CURVE[2].scores, "target-dev", "en") == pytest.approx(0.3)


def test_batches_of_any_size_give_the_texts_in_order(encoder, monkeypatch):
    tokenizer = load_tokenizer(encoder)
    tokens = [
        {k: tokenizer("stop w1 " * n)[k] for k in ("input_ids", "attention_mask")} for n in (5, 1, 9, 2)
    ]
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (2,), pooling="mean", dropout=0.5, labels=("a", "b")
    )
    model.train()
    together = compute_logits(model, tokenizer, tokens)
    assert model.training
    monkeypatch.setattr("mcbert.finetune.evaluation.TOKENS_PER_BATCH", 1)
    alone = compute_logits(model, tokenizer, tokens)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    model.eval()
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([tokens[2]["input_ids"]])).logits.numpy()[0]
    np.testing.assert_allclose(together[2], expected, atol=1e-5)
    assert compute_logits(model, tokenizer, []).shape == (0, 2)
