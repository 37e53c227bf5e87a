import dataclasses

import numpy as np
import pytest
import torch

from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.evaluation import (
    Evaluation,
    Score,
    Transfer,
    choose,
    compute_logits,
    score_languages,
    watched_score,
)
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.results.probabilities import agreement, log_loss, softmax, temperature


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
    assert watched_score(CURVE[2], "source-dev", "en") == 0.7
    assert watched_score(CURVE[2], "target-dev", "en") == pytest.approx(0.3)


def test_agreement_takes_the_epoch_that_agrees_most_for_its_loss():
    losses = (0.0, 0.5, 0.3, 0.3, 0.9)
    curve = [
        dataclasses.replace(evaluation, log_loss=loss, agreement=agreed)
        for evaluation, loss, agreed in zip(CURVE, losses, (1.0, 0.4, 0.6, 0.7, 0.9), strict=True)
    ]
    assert [watched_score(evaluation, "agreement", "en") for evaluation in curve] == pytest.approx(
        [1.0, -0.1, 0.3, 0.4, 0.0]
    )
    assert choose(curve, "agreement", "en") == 3  # never the untrained
    with pytest.raises(ValueError, match="no dev texts with translations"):
        choose(CURVE, "agreement", "en")


def test_transfer_reads_labels_of_the_source_alone():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    source = np.arange(60) < 30
    pairs = {"de": np.stack([np.arange(30), np.arange(30, 60)])}
    found = Transfer.of(logits, y, source, pairs)
    others = np.where(source, y, rng.integers(0, 3, 60))
    assert Transfer.of(logits, others, source, pairs) == found
    shares = softmax(logits / temperature(logits[:30], y[:30]))
    assert found.agreement == pytest.approx(agreement(shares[:30], shares[30:]))
    assert found.log_loss == pytest.approx(log_loss(shares[:30], y[:30]))
    same = Transfer.of(np.concatenate([logits[:30]] * 2), y, source, pairs)
    assert same.agreement == pytest.approx(1.0)
    assert Transfer.of(logits, y, source, {}).agreement is None
    assert Transfer.of(logits, y, np.zeros(60, dtype=bool), pairs) is None


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
