"""A LoRA adapter is merged into its base, or refused by its name; it is never left out."""

import importlib.util
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import load_encoder
from mcbert.features.encoder.opening import open_encoder
from mcbert.features.settings import EncoderSettings
from mcbert.finetune.embeddings.opening import open_sentence_encoder

SCALE = 2.0


@pytest.fixture
def adapter(encoder_folder, tmp_path):
    """An adapter of rank 2 on the query and value of every block."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    torch.manual_seed(3)
    weights = {}
    for layer in range(4):
        for part in ("query", "value"):
            stem = f"base_model.model.encoder.layer.{layer}.attention.self.{part}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(2, 32)
            weights[f"{stem}.lora_B.weight"] = torch.randn(32, 2)
    save_file(weights, folder / "adapter_model.safetensors", {"format": "pt"})
    write(folder, base_model_name_or_path=str(encoder_folder))
    return folder


def write(folder, **values):
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["query", "value"],
              "bias": "none", "task_type": "FEATURE_EXTRACTION", "inference_mode": True}  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config | values))


def opened(folder, cache):
    return open_encoder(EncoderSettings(path=str(folder), max_length=64), cache)


def test_the_product_is_added_to_the_weights_it_belongs_to(adapter, encoder_folder, tmp_path):
    merged = load_encoder(opened(adapter, tmp_path / "cache")).state_dict()
    base, lora = load_encoder(encoder_folder).state_dict(), load_file(adapter / "adapter_model.safetensors")
    for name, weight in base.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        added = torch.zeros_like(weight)
        if f"{stem}.lora_A.weight" in lora:
            added = SCALE * lora[f"{stem}.lora_B.weight"] @ lora[f"{stem}.lora_A.weight"]
        torch.testing.assert_close(merged[name], weight + added)


def test_it_is_merged_once_and_part_of_the_identity(adapter, encoder_folder, tmp_path):
    first = opened(adapter, tmp_path / "cache")
    assert opened(adapter, tmp_path / "cache") == first
    assert encoder_identity(first)["encoder_weights"] != encoder_identity(encoder_folder)["encoder_weights"]
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({n: w * 2 for n, w in weights.items()}, adapter / "adapter_model.safetensors", {"format": "pt"})
    assert opened(adapter, tmp_path / "cache") != first


def test_one_beside_its_base_is_not_left_out(adapter, encoder_folder, tmp_path):
    beside = shutil.copytree(encoder_folder, tmp_path / "beside")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copy(adapter / name, beside / name)
    alone, both = (load_encoder(opened(one, tmp_path / "cache")).state_dict() for one in (adapter, beside))
    assert all(torch.equal(alone[name], both[name]) for name in alone)
    with pytest.raises(EncoderError, match=r"it holds an adapter \(adapter_config\.json\)"):
        open_sentence_encoder(beside, layers=(1,), pooling="mean")


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside its base"])
def test_vectors_are_those_of_the_merged_encoder(adapter, encoder_folder, tmp_path, beside):
    if beside:
        for path in encoder_folder.iterdir():
            shutil.copy(path, adapter / path.name)
    kept = tmp_path / "cache" / "encoders"
    found, merged, base = (
        open_sentence_encoder(name, layers=(2, 4), pooling="mean", verdicts=kept).encode(["the weather"])
        for name in (adapter, opened(adapter, tmp_path / "cache"), encoder_folder)
    )
    assert (found == merged).all()  # the same weights, code and batch
    assert abs(found - base).max() > 0.01


def test_without_peft_it_is_refused_by_name(adapter, tmp_path, monkeypatch):
    own = importlib.util.find_spec
    monkeypatch.setattr(
        "mcbert.features.encoder.adapters.find_spec", lambda name: None if name == "peft" else own(name)
    )
    with pytest.raises(EncoderError, match=r"adapter.*pip install 'mcbert\[adapters\]'"):
        opened(adapter, tmp_path / "cache")
    with pytest.raises(EncoderError, match=rf"^--model: {adapter}: .*mcbert\[adapters\]"):
        open_sentence_encoder(adapter, layers=(1,), pooling="mean", verdicts=tmp_path / "cache" / "encoders")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type: got 'IA3', accepted: LORA"),
        ({"base_model_name_or_path": "some/base"}, "its base 'some/base' is not on this machine"),
        ({"base_model_name_or_path": None}, "base_model_name_or_path: got None"),
        ({"r": "x"}, "the adapter cannot be merged"),
        ({"target_modules": ["query"]}, "adapter_model.safetensors: .* has no place in the base"),
        (
            {"target_modules": ["query", "value", "key"]},
            "adapter_model.safetensors: it lacks some of 12 modules",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_merged_is_one_line(adapter, tmp_path, encoder_folder, values, said):
    write(adapter, **{"base_model_name_or_path": str(encoder_folder)} | values)
    with pytest.raises(EncoderError, match=said) as caught:
        opened(adapter, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache" / "encoders").glob("*/model.safetensors"))
