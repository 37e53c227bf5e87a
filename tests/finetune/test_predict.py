"""Labels, probabilities and their temperature, straight from a saved model."""

from __future__ import annotations

import numpy as np
import pytest

from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.predict import label_texts

TEXTS = [("money", ""), ("cancel my order", "now"), ("wo ist mein geld", "")]


@pytest.fixture(scope="module")
def saved(encoder_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = MCBertForSequenceClassification.from_encoder(
        encoder_folder, (2,), pooling="mean", dropout=0.1, labels=["a", "b", "c"]
    )
    save_model(model, load_tokenizer(encoder_folder), folder, max_length=6)
    return load_model(str(folder))


def test_every_label_has_its_probability_and_the_largest_is_taken(saved):
    frame, n_cut = label_texts(saved, TEXTS)
    shares = frame[["probability_a", "probability_b", "probability_c"]].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(frame["probability"], shares.max(axis=1))
    assert frame["label"].tolist() == [saved.labels[k] for k in shares.argmax(axis=1)]
    assert n_cut == 1  # [CLS] cancel my order [SEP] now [SEP] is seven tokens


def test_a_model_is_named_by_path_or_text(saved, tmp_path):
    save_model(saved.model, saved.tokenizer, tmp_path / "again", max_length=6)
    for name in (tmp_path / "again", str(tmp_path / "again")):
        # to the bit: loading aligns the weights, in whichever folder they are
        assert label_texts(load_model(name), TEXTS)[0].equals(label_texts(saved, TEXTS)[0])


def test_a_text_is_labelled_alike_whatever_its_neighbours(saved):
    together, _ = label_texts(saved, TEXTS)
    alone = [label_texts(saved, [text])[0]["probability_a"].item() for text in TEXTS]
    np.testing.assert_allclose(together["probability_a"], alone, atol=1e-6)


def test_a_temperature_changes_how_sure_it_is_and_not_what_it_says(saved, monkeypatch):
    plain, _ = label_texts(saved, TEXTS)
    monkeypatch.setattr(saved.model.config, "probability_temperature", 10.0)
    hotter, _ = label_texts(saved, TEXTS)
    assert hotter["label"].tolist() == plain["label"].tolist()
    assert (hotter["probability"] < plain["probability"]).all()
