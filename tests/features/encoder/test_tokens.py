"""A tokenizer is what it does to a text, whatever files it came from."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel

from mcbert.features.encoder import tokens
from mcbert.features.encoder.files import EncoderError, text_files
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.opening import chosen_prompt, open_encoder
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import load_tokenizer, prompt_of, tokenise, tokenizer_identity
from mcbert.features.settings import EncoderSettings

WORDS = ["where is my parcel", "cancel the order", "the refund has not arrived yet"] * 50


@pytest.fixture
def roberta(tmp_path):
    """RoBERTa with vocab.json and merges.txt and no tokenizer.json, as its first checkpoints were."""
    folder = tmp_path / "roberta"
    folder.mkdir()
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        WORDS, vocab_size=320, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=320, max_position_embeddings=66, pad_token_id=1, hidden_size=16,
                           num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    trained.save_model(str(folder))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    return folder


def settings(folder, **given):
    return EncoderSettings(path=str(folder), max_length=64, **given)


def test_vocabulary_and_merges_are_a_tokenizer(roberta, tmp_path):
    folder = open_encoder(settings(roberta), tmp_path / "cache")
    known = load_tokenizer(folder).get_vocab()
    assert known == json.loads((roberta / "vocab.json").read_text())


def test_pickled_weights_bring_their_tokenizer_along(roberta, tmp_path):
    from safetensors.torch import load_file

    torch.save(load_file(roberta / "model.safetensors"), roberta / "pytorch_model.bin")
    (roberta / "model.safetensors").unlink()
    given = settings(roberta, pickled_weights=True)
    folder = open_encoder(given, tmp_path / "cache")
    text = [("where is my parcel", "")]
    assert tokenise(load_tokenizer(folder), text, 64) == tokenise(load_tokenizer(roberta), text, 64)
    (roberta / "merges.txt").write_text("#version: 0.2\n")
    assert open_encoder(given, tmp_path / "cache") != folder


def test_other_merges_are_another_tokenizer(roberta):
    before, ids = encoder_identity(roberta), load_tokenizer(roberta)("where is my parcel")["input_ids"]
    merges = (roberta / "merges.txt").read_text().splitlines()
    (roberta / "merges.txt").write_text("\n".join(merges[:5]) + "\n")
    assert load_tokenizer(roberta)("where is my parcel")["input_ids"] != ids
    after = encoder_identity(roberta)
    assert {name for name in before if before[name] != after[name]} == {"tokenizer"}


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "WhitespaceSplit"}},
    ],
    ids=str,
)
def test_whatever_changes_a_text_changes_the_identity(encoder_folder, tmp_path, change):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    before = tokenizer_identity(folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(raw | change))
    assert tokenizer_identity(folder) != before


def test_files_beside_it_and_their_form_do_not(encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    before = tokenizer_identity(folder)
    (folder / "README.md").write_text("about")
    (folder / "train_results.json").write_text("{}")
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(raw, indent=4))
    tokenizer = load_tokenizer(folder)
    tokenizer("where", truncation=True, max_length=3, padding="max_length")
    tokenizer.save_pretrained(folder)
    assert tokenizer_identity(folder) == before


@pytest.mark.parametrize(
    "name",
    ["spiece.model", "sentencepiece.bpe.model", "vocab.json", "merges.txt", "qwen.tiktoken", "source.spm"],
)
def test_files_of_any_tokenizer_are_read_and_fetched(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("x")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert [path.name for path in text_files(tmp_path)] == [name]
    asked = {}
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda _, **given: asked.update(given) or str(tmp_path)
    )
    with pytest.raises(EncoderError, match="no config.json there"):
        open_encoder(settings("some/encoder"), tmp_path / "cache")
    from fnmatch import fnmatch

    assert any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])
    assert not any(fnmatch("pytorch_model.bin", pattern) for pattern in asked["allow_patterns"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("GatedRepoError", "is gated; accept its terms there and log in"),
        ("RepositoryNotFoundError", "is missing or private"),
        ("RevisionNotFoundError", "has no revision 'main'"),
        ("LocalEntryNotFoundError", "cannot be fetched"),
    ],
)
def test_what_the_hub_refuses_is_one_line(error, said, tmp_path, monkeypatch):
    from huggingface_hub import errors

    kind = getattr(errors, error)

    def refuse(*_, **__):
        raise kind.__new__(kind)  # as it is: its constructor wants a response of the network

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(EncoderError, match=f"encoder.path: 'some/encoder'.*{said}") as caught:
        open_encoder(settings("some/encoder", revision="main"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_prompt_goes_before_each_text_and_stays_with_the_tokenizer(encoder_folder, tmp_path):
    tokenizer = load_tokenizer(encoder_folder, prompt="order ")
    pairs = [("is late", ""), ("is late", "cancel it")]
    plain = tokenise(
        load_tokenizer(encoder_folder), [("order is late", ""), ("order is late", "cancel it")], 64
    )
    assert tokenise(tokenizer, pairs, 64) == plain
    tokenizer.save_pretrained(tmp_path)
    assert tokenise(load_tokenizer(tmp_path), pairs, 64) == plain
    assert prompt_of(load_tokenizer(encoder_folder)) == ""


def test_prompts_are_part_of_the_states(encoder_folder):
    encoder = PooledEncoder(encoder_folder, layers=(4,), poolings=("mean",))
    alone = encoder(tokenise(encoder.tokenizer, [("is late", "")], 64))
    encoder.tokenizer.init_kwargs["mcbert_prompt"] = "order "
    prompted = encoder(tokenise(encoder.tokenizer, [("is late", "")], 64))
    assert not np.allclose(alone, prompted)


def test_a_prompt_by_name_is_the_one_that_the_folder_holds(encoder_folder, tmp_path, caplog):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    held = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(held))
    assert chosen_prompt(folder, settings(folder, prompt_name="query")) == "query: "
    with pytest.raises(EncoderError, match=r"encoder.prompt_name: got 'passage', accepted: query \("):
        chosen_prompt(folder, settings(folder, prompt_name="passage"))
    open_encoder(settings(folder), tmp_path / "cache")
    assert "names prompts (query), and none is used" in caplog.text
    with pytest.raises(ValueError, match=r"encoder\.prompt_name: .*encoder\.prompt"):
        settings(folder, prompt="a", prompt_name="query")


def test_the_checksum_of_a_tokenizer_is_kept_for_its_files_and_made_anew_where_damaged(
    roberta, tmp_path, monkeypatch
):
    first = encoder_identity(roberta, tmp_path)
    (file,) = tmp_path.glob("*.tokenizer")
    assert encoder_identity(roberta) == first
    config = roberta / "config.json"
    os.utime(config, (1, 1))  # so that it is asked anew
    monkeypatch.setattr(tokens, "tokenizer_identity", lambda _: "another")
    assert encoder_identity(roberta, tmp_path) == first
    os.utime(config, (2, 2))
    file.write_text("?")
    assert encoder_identity(roberta, tmp_path)["tokenizer"] == "another"
    monkeypatch.undo()
    path = roberta / "tokenizer_config.json"
    path.write_text(path.read_text().replace("{", '{"model_max_length": 7,', 1))
    encoder_identity(roberta, tmp_path)
    assert len(list(tmp_path.glob("*.tokenizer"))) == 2
