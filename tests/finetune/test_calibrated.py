"""A trained model's softmax(logits) is calibrated in its weights or its config, and no label changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.calibrated import calibrate_model, divide_logits
from mcbert.finetune.calibration import calibrate, softmax
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.predict import label_texts
from mcbert.finetune.training.tasks import Texts
from tests.families import FAMILIES, save_family

LABELS = ("cancel", "human", "refund")
TEXTS = ["where is my money", "cancel it now please", "wo ist mein geld", "late", "the order", "parcel human"]


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
    assert found.temperature == pytest.approx(calibrate(before[english], dev.y[english]))
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
