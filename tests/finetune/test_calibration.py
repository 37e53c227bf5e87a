"""Probabilities from scores; a trained model's softmax(logits) is calibrated, and no label changes."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.calibration import (
    Calibration,
    calibrate_model,
    calibration_of,
    divide_logits,
    expected_calibration_error,
)
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.predict import label_texts
from mcbert.finetune.training.data import Texts
from mcbert.results.probabilities import softmax, temperature
from tests.families import FAMILIES, save_family

LABELS = ("cancel", "human", "refund")
TEXTS = ["where is my money", "cancel it now please", "wo ist mein geld", "late", "the order", "parcel human"]


def test_softmax_of_large_logits_is_finite():
    np.testing.assert_array_equal(softmax(np.array([[1e4, 0.0], [3.0, 3.0]])), [[1, 0], [0.5, 0.5]])


def test_calibration_finds_the_temperature_that_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    shares = np.exp(logits / 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    y = (rng.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert temperature(logits, y) == pytest.approx(0.5, rel=0.05)
    certain = temperature(10 * np.eye(3)[y], y)
    assert 0.1 < certain < 10  # finite, though the logits are right everywhere


@pytest.mark.parametrize("n_labels", [2, 4, 34, 150])
@pytest.mark.parametrize("kind", ["votes", "margins"])
def test_many_labels_make_nobody_unsure_of_what_is_right_everywhere(n_labels, kind):
    rng = np.random.default_rng(2)
    ranks = rng.permuted(np.tile(np.arange(n_labels, dtype=np.float64), (132, 1)), axis=1)
    scores = ranks if kind == "votes" else rng.normal(size=ranks.shape) + 6 * (ranks == n_labels - 1)
    found = calibration_of(scores, scores.argmax(axis=1))
    assert found.after < 0.03
    assert softmax(scores / found.temperature).max() < 1


def test_the_calibration_error_is_the_gap_between_sureness_and_being_right():
    shares = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    y = np.array([0] * 5 + [1] * 5 + [0] * 6 + [1] * 4)
    assert expected_calibration_error(shares, y) == pytest.approx((0.4 * 10 + 0.0 * 10) / 20)
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1


def test_too_sure_scores_are_brought_back_and_what_abstaining_costs_is_counted():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5000, 3))
    shares = softmax(logits)
    y = (rng.random((len(logits), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    found = calibration_of(logits * 8, y)
    assert found.temperature == pytest.approx(8, rel=0.1)
    assert found.before > 0.3
    assert found.after < 0.05
    assert found.n_texts == 5000
    covered = [answered for _, answered, _ in found.abstaining]
    right = [share for _, _, share in found.abstaining]
    assert covered == sorted(covered, reverse=True)
    assert right == sorted(right)
    assert Calibration.of(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def model_of(kind, encoder):
    torch.manual_seed(1)
    if kind == "baseline":
        model, _ = build_baseline(encoder, dropout=0.0, labels=LABELS)
    else:
        decision = "pairwise" if kind == "pairwise" else "linear"
        model = MCBertForSequenceClassification.from_encoder(
            encoder, (1, 3), pooling="max", dropout=0.0, labels=LABELS, decision=decision
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("classifier"):
                parameter.normal_()
    return model


def texts_of(tokenizer):
    tokens = tokenise(tokenizer, [(text, "") for text in TEXTS], 16)
    language = np.array(["en", "en", "de", "en", "en", "en"])
    return Texts(tokens=tokens, y=np.array([2, 0, 2, 1, 1, 0]), language=language)


@pytest.mark.parametrize("kind", ["baseline", "mcbert", "pairwise"])
def test_every_way_of_loading_gives_the_same_calibrated_probabilities(encoder_folder, tmp_path, kind):
    model, tokenizer = model_of(kind, encoder_folder), load_tokenizer(encoder_folder)
    dev = texts_of(tokenizer)
    before = compute_logits(model, tokenizer, dev.tokens)
    found = calibrate_model(model, tokenizer, dev, "en")
    english = dev.language == "en"
    assert found.n_texts == 5
    assert found.temperature == pytest.approx(temperature(before[english], dev.y[english]))
    expected = softmax(before / found.temperature)
    save_model(model, tokenizer, tmp_path / "model", max_length=16)
    frame, _ = label_texts(load_model(tmp_path / "model"), [(text, "") for text in TEXTS])
    shares = frame[[f"probability_{label}" for label in LABELS]].to_numpy()
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert frame["label"].tolist() == [LABELS[code] for code in before.argmax(axis=1)]
    answers = pipeline("text-classification", model=str(tmp_path / "model"), top_k=None)(TEXTS)
    piped = [[one["score"] for one in sorted(answer, key=lambda one: one["label"])] for answer in answers]
    np.testing.assert_allclose(piped, expected, atol=1e-5)


def test_without_texts_of_the_source_language_nothing_changes(encoder_folder):
    model, tokenizer = model_of("mcbert", encoder_folder), load_tokenizer(encoder_folder)
    assert calibrate_model(model, tokenizer, texts_of(tokenizer), "fr") is None
    assert model.config.probability_temperature == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_of_every_family_takes_the_division_in(family, tmp_path):
    save_family(family, tmp_path)
    torch.manual_seed(0)
    model, _ = build_baseline(tmp_path, dropout=0.0, labels=("a", "b", "c", "d", "e"))
    ids = {"input_ids": torch.tensor([[2, 7, 8, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    model.eval()
    with torch.no_grad():
        before = model(**ids).logits
        assert divide_logits(model, 4.0)
        torch.testing.assert_close(model(**ids).logits * 4, before)
    AutoModelForSequenceClassification.from_config(model.config)
