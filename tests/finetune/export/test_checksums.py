"""A byte of a saved model that changed is told by its file, before anything of it is used."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat

import pytest
from huggingface_hub.utils import filter_repo_objects

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.files import RefusedFileError
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_transformer import save_sentence_transformer
from mcbert.finetune.export.checksums import NAME, require_intact
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification, MCBertModel


@pytest.fixture(scope="module")
def saved(encoder_folder, tmp_path_factory):
    """A folder of each kind: a classifier, sentence embeddings of ours, those of sentence-transformers."""
    root = tmp_path_factory.mktemp("saved")
    given = {"pooling": "mean", "dropout": 0.0, "labels": ["no", "yes"]}
    model = MCBertForSequenceClassification.from_encoder(encoder_folder, (1, 3), **given)
    tokenizer = load_tokenizer(encoder_folder)
    vectors = MCBertModel.from_encoder(encoder_folder, (3,), **given)
    before = os.umask(0o027)
    try:
        save_model(model, tokenizer, root / "model", max_length=12, extra={"README.md": b"# It"})
        save_model(vectors, tokenizer, root / "embeddings", max_length=12)
        save_sentence_transformer(vectors, tokenizer, root / "embeddings-st", max_length=12, card="A card.")
    finally:
        os.umask(before)
    return root


@pytest.fixture(params=["model", "embeddings", "embeddings-st"])
def folder(request, saved, tmp_path):
    return shutil.copytree(saved / request.param, tmp_path / request.param)


def load(folder):
    return load_model(folder) if folder.name == "model" else open_sentence_encoder(folder)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stand in for the hub, laid out as its cache; holds a folder as some/model: folder -> blobs."""
    asked = []

    def hold(folder):
        cache = tmp_path / "cache/models--some--model"
        blobs, snapshot = cache / "blobs", cache / "snapshots/0"
        blobs.mkdir(parents=True)

        def fetched(name, *, revision, allow_patterns):
            assert (name, revision) == ("some/model", None)
            asked.append(allow_patterns)
            names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
            for one in filter_repo_objects(names, allow_patterns=allow_patterns):
                blob, link = blobs / one.replace("/", "-"), snapshot / one
                link.parent.mkdir(parents=True, exist_ok=True)
                if not blob.exists():
                    shutil.copyfile(folder / one, blob)
                    link.symlink_to(blob)
            return str(snapshot)

        monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
        return blobs

    hold.asked = asked
    return hold


def load_by_name(folder):
    return load_model("some/model") if folder.name == "model" else open_sentence_encoder("some/model")


def test_a_model_of_the_hub_is_fetched_whole_and_checked(folder, hub):
    (folder / "notes.bin").write_bytes(b"of somebody else")
    blobs = hub(folder)
    load_by_name(folder)
    named = json.loads((folder / NAME).read_text())["files"]
    assert {name.replace("/", "-") for name in named} | {NAME} == {path.name for path in blobs.iterdir()}
    assert any(name.endswith(".py") for name in named) == (len(hub.asked) == 2)
    for name in named:
        flip(blobs / name.replace("/", "-"), 0)
        with pytest.raises(EncoderError, match=rf"--model: some/model: {name}: changed"):
            load_by_name(folder)
        flip(blobs / name.replace("/", "-"), 0)
    load_by_name(folder)


def test_a_file_that_the_hub_lacks_is_told(folder, hub):
    (folder / "tokenizer_config.json").unlink()
    hub(folder)
    with pytest.raises(EncoderError, match="--model: some/model: tokenizer_config.json: is gone"):
        load_by_name(folder)


def test_a_model_of_the_hub_without_checksums_is_loaded_unchecked(folder, hub, caplog):
    caplog.set_level(logging.INFO)
    (folder / NAME).unlink()
    hub(folder)
    load_by_name(folder)
    assert f"some/model: no {NAME} there, so its files are not checked" in caplog.text
    assert len(hub.asked) == 1


def test_a_link_in_a_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (folder / "notes").symlink_to(tmp_path / "mine")
    with pytest.raises(RefusedFileError, match="a link, which is not followed") as refused:
        load(folder)
    assert refused.value.filename == str(folder / "notes")


def test_a_pipe_in_a_folder_is_not_waited_for(folder):
    os.mkfifo(folder / "added_tokens.json")
    with pytest.raises(RefusedFileError, match="a named pipe"):
        load(folder)


def test_all_files_have_the_mode_that_the_umask_gives(folder, saved):
    files = [path for path in (saved / folder.name).rglob("*") if path.is_file()]
    assert len(files) > 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o640}


def test_a_flipped_byte_of_any_file_is_told_by_the_file(folder):
    load(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    for path in files:
        for at in (0, path.stat().st_size // 2, -1):
            flip(path, at)
            with pytest.raises(EncoderError, match=rf"{folder}: {path.relative_to(folder)}: ") as caught:
                load(folder)
            assert "\n" not in str(caught.value)
            flip(path, at)
    load(folder)


def test_a_file_that_is_gone_is_told(folder):
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(EncoderError, match="tokenizer_config.json: is gone; accepted: "):
        load(folder)


def test_a_card_may_be_edited_and_files_may_be_added(folder):
    (folder / "README.md").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    load(folder)


def test_without_checksums_it_is_loaded_with_a_line_in_the_log(folder, caplog):
    caplog.set_level(logging.INFO)
    load(folder)
    assert "not checked" not in caplog.text
    (folder / NAME).unlink()
    load(folder)
    assert f"no {NAME} there, so its files are not checked" in caplog.text


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"files": 3, "digest": ""}', '{"files": {"../x": ""}, "digest": ""}', "[" * 100_000],
)
def test_checksums_that_are_none_are_refused(content, tmp_path):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(EncoderError, match=f"M: {NAME}: damaged; remove it"):
        require_intact(tmp_path, "M")


def test_checksums_name_no_file_outside(tmp_path):
    named = {"../x": "0" * 64}
    digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
    (tmp_path / NAME).write_text(json.dumps({"files": named, "digest": digest}))
    with pytest.raises(EncoderError, match="damaged"):
        require_intact(tmp_path, "M")
