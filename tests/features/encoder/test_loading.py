"""What a folder says is data: no code, no download, no traceback; and what disagrees is told."""

import builtins
import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from mcbert.features.encoder.files import EncoderError, resolve
from mcbert.features.encoder.loading import CODE_KEYS, load_encoder, read_config
from mcbert.features.encoder.opening import verdict
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.model import MCBertConfig

HOSTILE = ("kernels-community/flash-attn", "../../evil", "flash_attention_2", {"a": "b/c"}, True)


@pytest.fixture
def folder(encoder_folder, tmp_path):
    return shutil.copytree(encoder_folder, tmp_path / "encoder")


def change(folder, name="config.json", **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def watched(monkeypatch):
    """Fail at the first connection or import of a package that loads kernels or other code."""

    def refuse(*_, **__):
        pytest.fail("a connection was tried")

    own = builtins.__import__

    def importing(name, *rest, **more):
        assert name.split(".")[0] not in ("kernels", "flash_attn", "bitsandbytes", "evil"), name
        return own(name, *rest, **more)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(builtins, "__import__", importing)


@pytest.mark.parametrize("value", HOSTILE, ids=str)
@pytest.mark.parametrize("key", [*sorted(CODE_KEYS), "_attn_implementation", "_name_or_path"])
def test_no_key_chooses_code_or_a_download(folder, key, value, watched):
    plain = load_encoder(folder)
    change(folder, **{key: value})
    found = load_encoder(folder)
    assert found.config._attn_implementation == plain.config._attn_implementation
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        torch.testing.assert_close(found.eval()(input_ids=ids)[0], plain.eval()(input_ids=ids)[0])


@pytest.mark.parametrize("key", ["auto_map", "tokenizer_file", "vocab_file", "name_or_path", "_commit_hash"])
def test_no_key_of_a_tokenizer_does_either(folder, key, watched):
    plain = load_tokenizer(folder)("where is my money")["input_ids"]
    value = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]} if key == "auto_map" else "evil/evil"
    change(folder, "tokenizer_config.json", **{key: value})
    try:
        found = load_tokenizer(folder)("where is my money")["input_ids"]
    except EncoderError as error:
        assert "its tokenizer cannot be read" in str(error)
    else:
        assert found == plain


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_hidden_layers": "12"}, "config.json: "),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers: got 1000000000000, accepted: 1 to 1000"),
        ({"num_hidden_layers": True}, "config.json: "),
        ({"layer_norm_eps": "x"}, "config.json: "),
        ({"num_attention_heads": 0}, "num_attention_heads: got 0, accepted: 1 to"),
        ({"num_attention_heads": 3}, "model type 'bert': it cannot be loaded"),
        ({"hidden_size": -4}, "hidden_size: got -4"),
        ({"hidden_act": "no_such"}, "model type 'bert': it cannot be loaded"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config: the weights are"),
        ({"model_type": "no_such"}, "model_type: got 'no_such', accepted: one of those that transformers"),
        (
            {"vocab_size": 7},
            r"disagree: embeddings\.word_embeddings\.weight is \(\d+, 32\) in the weights, \(7, 32\)",
        ),
        ({"num_hidden_layers": 6}, "32 weights are missing, first encoder.layer.4"),
        (
            {"max_position_embeddings": 10**30},
            "max_position_embeddings: got 1000000000000000000000000000000,",
        ),
        ({"id2label": ["a"]}, "config.json: it cannot be used"),
    ],
    ids=str,
)
def test_a_configuration_is_input(folder, values, said, watched):
    change(folder, **values)
    with pytest.raises(EncoderError, match=f"encoder.path: {folder}: .*{said}") as caught:
        load_encoder(folder)
    assert "\n" not in str(caught.value)


def test_blocks_beyond_those_of_the_configuration_are_told_once(folder, caplog):
    change(folder, num_hidden_layers=3)
    encoders = [load_encoder(folder) for _ in range(2)]
    assert [len(encoder.encoder.layer) for encoder in encoders] == [3, 3]
    told = [r.getMessage() for r in caplog.records if "beyond those of config.json" in r.getMessage()]
    assert len(told) == 1
    assert "16 weights of blocks beyond those of config.json are not used, first encoder.layer.3." in told[0]


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"model_type": ["bert"]}', '{"model_type": "bert", "vocab_size": "9"}']
)
def test_a_damaged_configuration_is_not_put_down_to_the_tokenizer(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(EncoderError, match=r"config\.json: ") as caught:
        load_tokenizer(folder)
    assert "tokenizer" not in str(caught.value)


def test_a_saved_model_hides_nothing_in_its_encoders_configuration(folder, tmp_path, watched):
    config = json.loads((folder / "config.json").read_text())
    inner = config | {"attn_implementation": "kernels-community/flash-attn"}
    outer = {"model_type": "mcbert", "encoder_config": inner, "layers": [1], "pooling": "max"}
    (tmp_path / "config.json").write_text(json.dumps(outer))
    found = read_config(tmp_path, "--model")
    assert isinstance(found, MCBertConfig)
    assert not hasattr(found.encoder_config, "attn_implementation")
    assert found.encoder_config._attn_implementation is None


@pytest.mark.parametrize("bad", ["../model.safetensors", "other.bin", "none.safetensors", 3])
def test_an_index_names_files_of_the_folder_alone(folder, bad):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": bad}}))
    with pytest.raises(EncoderError, match=r"model\.safetensors\.index\.json: weight_map: got"):
        load_encoder(folder)


def test_weights_in_several_files_are_those_of_one(folder):
    whole = load_encoder(folder).state_dict()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, some in halves.items():
        save_file({name: weights[name] for name in some}, folder / file, {"format": "pt"})
    index = {name: file for file, some in halves.items() for name in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    found = load_encoder(folder).state_dict()
    assert all(torch.equal(whole[name], found[name]) for name in whole)


def test_half_precision_is_widened_and_said(folder, caplog):
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with caplog.at_level("INFO"):
        model = load_encoder(folder)
        load_encoder(folder)
    assert caplog.text.count("its weights are float16; widened to float32") == 1  # not at every load
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_weights_that_are_not_finite_are_named(folder):
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.2.output.dense.bias"][3] = float("inf")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r": encoder\.layer\.2\.output\.dense\.bias: 1 of 32 values"):
        load_encoder(folder)


def test_a_tokenizer_larger_than_the_embeddings_is_told_at_load(folder):
    tokenizer = load_tokenizer(folder)
    tokenizer.add_tokens(["[ORDER]"])
    tokenizer.save_pretrained(folder)
    n = len(tokenizer)
    with pytest.raises(EncoderError, match=f"tokenizer .*{n} .*{n - 1}"):
        verdict(folder)


@pytest.mark.parametrize("name", ["/nonexistent", "./nope", "../nope", "a/b/c", "~/nope", "nope/"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(EncoderError, match=f"^--model: '{name}' .*accepted: a folder"):
        resolve(name, key="--model")


def test_a_file_is_no_folder_of_a_model(tmp_path):
    (tmp_path / "model").write_text("x")
    with pytest.raises(EncoderError, match="model' is a file; accepted: a folder"):
        resolve(str(tmp_path / "model"))
