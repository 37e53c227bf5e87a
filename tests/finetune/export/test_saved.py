"""A saved model is read back whole, and what is no trained classifier is refused."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from features.encoder.files import EncoderError
from features.encoder.tokens import load_tokenizer
from finetune.export.saved import load_model, save_model
from finetune.model import MCBertForSequenceClassification


@pytest.fixture
def folder(encoder_folder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder_folder, (1, 3), pooling="max", dropout=0.1, labels=["no", "yes"]
    )
    save_model(
        model, load_tokenizer(encoder_folder), tmp_path / "model", max_length=12, extra={"README.md": b"# It"}
    )
    return tmp_path / "model"


def test_what_was_saved_is_loaded_with_labels_and_length(folder):
    saved = load_model(str(folder))
    assert saved.labels == ("no", "yes")
    assert saved.max_length == 12
    assert saved.temperature == 1.0
    assert not saved.model.training
    assert (folder / "README.md").read_text() == "# It"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_saving_leaves_the_given_tokenizer_as_it_was(encoder_folder, folder):
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 12
    assert load_tokenizer(encoder_folder).model_max_length == 64


def test_an_encoder_without_a_head_is_refused(encoder_folder):
    with pytest.raises(EncoderError, match=r"--model: .* weights are missing, first .*not a trained"):
        load_model(str(encoder_folder))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"--model: .* no config.json there"):
        load_model(str(tmp_path))


def test_a_tokenizer_without_a_length_is_refused(encoder_folder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder_folder, (1,), pooling="cls", dropout=0.1, labels=["no", "yes"]
    )
    save_model(model, load_tokenizer(encoder_folder), tmp_path / "m", max_length=10**30)
    with pytest.raises(EncoderError, match="has no model_max_length"):
        load_model(str(tmp_path / "m"))
