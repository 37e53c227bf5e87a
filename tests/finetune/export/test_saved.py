"""A saved model is read back whole, and what is no trained classifier is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.export.checksums import NAME
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.predict import label_texts


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
    assert not saved.model.training
    assert (folder / "README.md").read_text() == "# It"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_saving_leaves_the_given_tokenizer_as_it_was(encoder_folder, folder):
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 12
    assert load_tokenizer(encoder_folder).model_max_length == 64


def test_an_encoder_without_a_head_is_refused(encoder_folder):
    with pytest.raises(EncoderError, match=r"--model: .* weights .*first "):
        load_model(str(encoder_folder))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"--model: .* no config.json there"):
        load_model(str(tmp_path))


def test_a_length_that_the_encoder_cannot_read_is_refused_before_a_text_is(encoder_folder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder_folder, (1,), pooling="cls", dropout=0.1, labels=["no", "yes"]
    )
    save_model(model, load_tokenizer(encoder_folder), tmp_path / "m", max_length=4096)
    with pytest.raises(EncoderError, match=r"model_max_length: got 4096, accepted: at most \d+,"):
        load_model(str(tmp_path / "m"))


def test_a_tokenizer_without_a_length_is_refused(encoder_folder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder_folder, (1,), pooling="cls", dropout=0.1, labels=["no", "yes"]
    )
    save_model(model, load_tokenizer(encoder_folder), tmp_path / "m", max_length=10**30)
    with pytest.raises(EncoderError, match="has no model_max_length"):
        load_model(str(tmp_path / "m"))


def changed(folder, name, **values):
    (folder / NAME).unlink(missing_ok=True)
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
            r"config.json: .*\(.*probability_temperature: got -1.0, accepted: a number above 0",
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": [99]}, r"layers: got \[99\], accepted: a list of layers, 0 \(embeddings\) to 3"),
        ({"layers": ["x"]}, "layers: got"),
        ({"layers": "1"}, "layers: got '1', accepted: a list"),
        ({"layers": []}, "layers: got"),
        ({"layers": None}, "layers: got None"),
        ({"layers": [True]}, "layers: got"),
        (
            {"layers": [1, 2, 3]},
            r"disagree: classifier.weight is \(2, 64\) .* \(2, 96\)",
        ),
        ({"pooling": "median"}, "pooling: got 'median' for 2 layers"),
        ({"pooling": 3}, "pooling: got 3 for 2 layers"),
        ({"pooling": None}, "pooling: got None for 2 layers"),
        ({"dropout": "x"}, "dropout: got 'x', accepted: a number"),
        ({"decision": "best"}, "decision: got 'best', accepted: linear, pairwise"),
        ({"standardised": "yes"}, "standardised: got 'yes', accepted: true, false"),
        ({"head_layers": -1}, "head_layers: got -1, accepted"),
        ({"head_layers": 1}, "disagree: classifier.weight is"),
        ({"probability_temperature": True}, "probability_temperature: got True"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, r"disagree: classifier.bias is \(2,\) .* \(3,\)"),
        ({"id2label": {"0": "a", "5": "b"}}, "id2label: got .*; accepted: a name for each code, 0, 1"),
        ({"id2label": {"0": 1, "1": 2}}, "id2label: got .*; accepted: a name for each code"),
        ({"num_labels": "x"}, "config.json: it cannot be used"),
        ({"encoder_config": 3}, "config.json: it cannot be used"),
        ({"encoder_config": {}}, "config.json: it cannot be used"),
        ({"model_type": None}, "config.json: model_type: None needs code"),
        ({"quantization_config": {"a": 1}}, "quantization_config: the weights are quantised"),
    ],
)
def test_a_config_of_nonsense_ends_in_one_line(values, message, folder):
    changed(folder, "config.json", **values)
    with pytest.raises(EncoderError, match=message) as caught:
        label_texts(load_model(folder), [("money", "")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": "3"},
        {"num_hidden_layers": 2},
        {"num_attention_heads": 0},
        {"hidden_size": 0},
        {"hidden_act": "zzz"},
        {"layer_norm_eps": None},
        {"vocab_size": -1},
        {"pad_token_id": 999},
    ],
)
def test_so_does_an_encoder_of_nonsense_in_it(values, folder):
    encoder = json.loads((folder / "config.json").read_text())["encoder_config"]
    changed(folder, "config.json", encoder_config=encoder | values)
    with pytest.raises(EncoderError, match="--model: .*model") as caught:
        label_texts(load_model(folder), [("money", "")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"added_tokens": '])
def test_a_damaged_tokenizer_is_refused(content, folder):
    (folder / NAME).unlink()
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(EncoderError, match="its tokenizer cannot be read"):
        load_model(folder)


def test_a_tokenizer_that_is_gone_is_not_made_up(folder):
    changed(
        folder, "tokenizer_config.json", tokenizer_class="BertTokenizer"
    )  # transformers makes one of 5 words
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match="accepted: .*tokenizer.json"):
        load_model(folder)


def test_a_tokenizers_configuration_of_another_kind_is_refused(folder):
    (folder / NAME).unlink()
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(EncoderError, match="its tokenizer cannot be read"):
        load_model(folder)


def test_weights_that_are_not_numbers_are_refused_by_name(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.embeddings.word_embeddings.weight"][7, 3] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / NAME).unlink()
    with pytest.raises(
        EncoderError,
        match=r"--model: .*: encoder.embeddings.word_embeddings.weight: 1 of ",
    ):
        load_model(folder)


def test_scores_that_are_not_numbers_label_nothing(folder):
    saved = load_model(folder)
    with torch.no_grad():
        saved.model.classifier.bias.fill_(torch.nan)
    with pytest.raises(EncoderError, match="its scores are not numbers"):
        label_texts(saved, [("money", "")])
