"""A saved model is read back whole, and what is no trained classifier is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from features.encoder.files import EncoderError
from features.encoder.tokens import load_tokenizer
from finetune.export.saved import load_model, save_model
from finetune.model import MCBertForSequenceClassification
from finetune.predict import label_texts


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


def changed(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"id2label": ["no", "yes"]}, "config.json: it cannot be used"),
        (
            "config.json",
            {"id2label": {"0": "no", "1": "no"}},
            "id2label: got no, no; accepted: each name once",
        ),
        (
            "config.json",
            {"probability_temperature": -1.0},
            "probability_temperature: got -1.0, accepted: a num",
        ),
        (
            "config.json",
            {"probability_temperature": float("nan")},
            "probability_temperature: got nan, accepted",
        ),
        ("config.json", {"probability_temperature": "hot"}, "probability_temperature: got 'hot', accepted"),
    ],
)
def test_what_decides_is_checked(name, values, message, folder):
    changed(folder, name, **values)
    with pytest.raises(EncoderError, match=message):
        load_model(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"added_tokens": '])
def test_a_damaged_tokenizer_is_refused(content, folder):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(EncoderError, match="its tokenizer cannot be read"):
        load_model(folder)


def test_a_tokenizer_that_is_gone_is_not_made_up(folder):
    changed(
        folder, "tokenizer_config.json", tokenizer_class="BertTokenizer"
    )  # the library makes one of 5 words
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match="no tokenizer there; accepted: a folder with tokenizer.json"):
        load_model(folder)


def test_a_tokenizers_configuration_of_another_kind_is_refused(folder):
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(EncoderError, match="its tokenizer cannot be read"):
        load_model(folder)


def test_scores_that_are_not_numbers_label_nothing(folder):
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: torch.full_like(v, torch.nan) for k, v in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(EncoderError, match="weights: .* holds values that are not finite"):
        label_texts(load_model(folder), [("money", "")])
