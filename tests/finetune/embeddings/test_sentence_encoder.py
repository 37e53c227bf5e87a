"""Vectors of any model: those of sentence-transformers, whatever the order, the window or the batch."""

import json
import shutil
import sys

import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from mcbert.features.encoder import trust
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.files import RefusedFileError
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_encoder import (
    EncodeSettings,
    SentenceTransformerEncoder,
    VectorError,
)
from mcbert.finetune.embeddings.sentence_transformer import save_sentence_transformer
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.model import MCBertModel
from tests.families import save_family

WORDS = "where is my money order the a parcel please cancel it now late".split()
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, n)) for n in RNG.integers(1, 20, 40)]


def export(folder, encoder, layers=(1, 3), pooling="max+cls", max_length=12):
    model = MCBertModel.from_encoder(encoder, layers, pooling=pooling, dropout=0.0, labels=()).eval()
    tokenizer = load_tokenizer(encoder)
    save_sentence_transformer(model, tokenizer, folder / "st", max_length=max_length, card="# A model")
    save_model(model, tokenizer, folder / "ours", max_length=max_length)
    return model


def of_library(folder, texts=TEXTS, **options):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), **options).encode(texts)


@pytest.fixture
def plain(tmp_path):
    return save_family("bert", tmp_path / "bert")


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "modernbert", "deberta-v2"])
def test_our_folders_give_the_librarys_vectors(tmp_path, family):
    encoder = save_family(family, tmp_path / family)
    export(tmp_path, encoder)
    expected = of_library(tmp_path / "st", trust_remote_code=True)
    for folder in ("ours", "st"):
        opened = open_sentence_encoder(str(tmp_path / folder))
        found = opened.encode(TEXTS)
        assert (found.dtype, found.shape) == (np.float32, (len(TEXTS), opened.dimension))
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_our_folders_need_neither_the_library_nor_trust(tmp_path, plain, monkeypatch):
    export(tmp_path, plain)
    (tmp_path / "st/layer_pooling.py").write_text("raise SystemExit('ran')")
    (tmp_path / "st/checksums.json").unlink()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert open_sentence_encoder(str(tmp_path / "st")).encode(["money"]).shape == (1, 32)


def test_a_folder_is_named_by_path_or_text(tmp_path, plain):
    export(tmp_path, str(plain))
    of_path, of_text = (open_sentence_encoder(name) for name in (tmp_path / "ours", str(tmp_path / "ours")))
    assert of_path.name == of_text.name
    # to the bit: the same weights, aligned when they are loaded, and the same batches
    np.testing.assert_array_equal(of_path.encode(TEXTS[:3]), of_text.encode(TEXTS[:3]))
    assert encoder_identity(str(plain)) == encoder_identity(plain)


def test_a_plain_encoder_with_layers_and_pooling(plain):
    pooled = PooledEncoder(plain, layers=(0, 2), poolings=("mean",))
    tokens = load_tokenizer(plain)(TEXTS, truncation=True, max_length=64)
    expected = pooled([{name: tokens[name][k] for name in tokens} for k in range(len(TEXTS))])
    for layers in ((0, 2), (2, 0)):
        found = open_sentence_encoder(str(plain), layers=layers, pooling="mean").encode(TEXTS)
        wanted = expected if layers == (0, 2) else expected.flip(1)
        np.testing.assert_allclose(found, wanted.flatten(1).numpy(), atol=1e-5)


@pytest.mark.parametrize("folder", ["ours", "st"])
def test_layers_asked_for_are_taken_instead(tmp_path, plain, folder):
    export(tmp_path, plain)
    found = open_sentence_encoder(str(tmp_path / folder), layers=(2,), pooling="mean").encode(TEXTS)
    expected = open_sentence_encoder(
        str(plain), layers=(2,), pooling="mean", settings=EncodeSettings(max_length=12)
    ).encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def changed(folder, modules):
    """Turn an export of one layer into any other sentence-transformers model."""
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "checksums.json").unlink(missing_ok=True)
    return folder


@pytest.fixture
def theirs(tmp_path, plain):
    """A sentence-transformers model: mean pooling, scaled to length 1."""
    export(tmp_path, plain, layers=(3,), pooling="mean")
    modules = json.loads((tmp_path / "st/modules.json").read_text())
    last = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
    (tmp_path / "st/2_Normalize").mkdir()
    return changed(tmp_path / "st", [*modules, last])


def test_any_other_model_is_the_librarys(theirs):
    opened = open_sentence_encoder(str(theirs))
    assert isinstance(opened, SentenceTransformerEncoder)
    assert opened.dimension == 16
    found = opened.encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found, of_library(theirs), atol=1e-5)


def test_the_library_takes_the_settings_too(theirs):
    settings = EncodeSettings(max_length=5, tokens_per_batch=20)
    opened = open_sentence_encoder(str(theirs), settings=settings)
    assert (opened.identity()["batch_size"], opened.identity()["max_length"]) == (4, 5)
    np.testing.assert_allclose(
        opened.encode(["money " * 9]), open_sentence_encoder(str(theirs)).encode(["money " * 3]), atol=1e-5
    )
    rounded = open_sentence_encoder(str(theirs), settings=EncodeSettings(precision="bfloat16"))
    assert rounded.identity()["dtype"] == "bfloat16"
    assert (rounded.encode(TEXTS) * of_library(theirs)).sum(axis=1).min() > 0.99


def test_a_model_of_the_library_without_the_library(theirs, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(EncoderError, match=r"--model: .*st: .*pip install 'mcbert\[sbert\]'"):
        open_sentence_encoder(str(theirs))


def test_code_of_a_model_runs_only_when_allowed(tmp_path, plain, monkeypatch):
    monkeypatch.setenv(trust.REMOTE_CODE, "")
    export(tmp_path, plain)
    modules = json.loads((tmp_path / "st/modules.json").read_text())
    folder = changed(tmp_path / "st", [*modules, modules[1] | {"idx": 2, "name": "2"}])
    with pytest.raises(EncoderError, match="modules.json: layer_pooling.LayerPooling .* --remote-code"):
        open_sentence_encoder(str(folder))
    opened = open_sentence_encoder(str(folder), settings=EncodeSettings(remote_code=True))
    np.testing.assert_allclose(
        opened.encode(TEXTS), open_sentence_encoder(str(tmp_path / "ours")).encode(TEXTS), atol=1e-5
    )


def test_a_model_of_the_hub_is_fetched_with_all_its_modules(theirs, tmp_path, monkeypatch):
    expected = open_sentence_encoder(str(theirs)).encode(TEXTS)
    asked = {}

    def fetched(name, *, revision, allow_patterns):
        asked.update(name=name, revision=revision)
        names = (str(path.relative_to(theirs)) for path in theirs.rglob("*.*"))
        for name in filter_repo_objects(names, allow_patterns=allow_patterns):
            target = tmp_path / "hub" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(theirs / name, target)
        return str(tmp_path / "hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    (theirs / "pytorch_model.bin").write_text("a pickle")
    opened = open_sentence_encoder("some/model", settings=EncodeSettings(revision="main"))
    assert (asked, opened.name) == ({"name": "some/model", "revision": "main"}, "some/model")
    np.testing.assert_array_equal(opened.encode(TEXTS), expected)  # of copied files, loaded alike
    assert not (tmp_path / "hub/pytorch_model.bin").exists()


def test_code_of_the_hub_needs_a_commit():
    with pytest.raises(EncoderError, match="--revision: got 'main', accepted: .*commit"):
        open_sentence_encoder("some/model", settings=EncodeSettings(remote_code=True, revision="main"))


@pytest.mark.parametrize("window", [1, 7, 100])
def test_streaming_gives_the_same_in_windows(plain, window):
    opened = open_sentence_encoder(str(plain), layers=(1, 3), pooling="mean")
    blocks = list(opened.stream(iter(TEXTS), window=window))
    assert [len(block) for block in blocks[:-1]] == [window] * (len(blocks) - 1)
    np.testing.assert_allclose(np.concatenate(blocks), opened.encode(TEXTS), atol=1e-5)


def test_streaming_reads_no_further_than_its_window(plain):
    opened = open_sentence_encoder(str(plain), layers=(1,), pooling="mean")
    read = []
    stream = opened.stream((read.append(text) or text for text in TEXTS), window=8)
    next(stream)
    assert len(read) == 8


def test_the_order_of_texts_and_the_budget_change_nothing(plain):
    encoders = [
        open_sentence_encoder(
            str(plain), layers=(3,), pooling="max", settings=EncodeSettings(tokens_per_batch=budget)
        )
        for budget in (0, 24)
    ]
    expected = encoders[0].encode(TEXTS)
    for opened in encoders:
        np.testing.assert_allclose(opened.encode(TEXTS[::-1])[::-1], expected, atol=1e-5)


def test_bfloat16_is_near(plain):
    exact, rounded = (
        open_sentence_encoder(
            str(plain), layers=(3,), pooling="mean", settings=EncodeSettings(precision=precision)
        ).encode(TEXTS)
        for precision in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, rounded)
    cosines = (exact * rounded).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosines.min() > 0.999


def test_no_texts_give_no_vectors(plain):
    assert open_sentence_encoder(str(plain), layers=(1,), pooling="cls").encode([]).shape == (0, 16)


def test_texts_are_cut_where_positions_end(tmp_path):
    folder = save_family("xlm-roberta", tmp_path / "xlm-r")
    tokenizer = load_tokenizer(folder)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    opened = open_sentence_encoder(str(folder), layers=(1,), pooling="mean")
    long = " ".join(["money"] * 300)
    # the same tokens, so the same bits
    np.testing.assert_array_equal(opened.encode([long]), opened.encode([" ".join(["money"] * 63)]))
    with pytest.raises(ValueError, match="max_length: got 66, accepted: at most 65"):
        open_sentence_encoder(
            str(folder), layers=(1,), pooling="mean", settings=EncodeSettings(max_length=66)
        )


def test_identity_tells_models_apart(tmp_path, plain):
    first = open_sentence_encoder(str(plain), layers=(1,), pooling="mean").identity()
    assert json.loads(json.dumps(first)) == first
    assert open_sentence_encoder(str(plain), layers=(2,), pooling="mean").identity() != first
    shutil.copytree(plain, tmp_path / "copy")
    copy = str(tmp_path / "copy")
    assert open_sentence_encoder(copy, layers=(1,), pooling="mean").identity() == first
    config = json.loads((tmp_path / "copy/config.json").read_text())
    (tmp_path / "copy/config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-3}))
    assert open_sentence_encoder(copy, layers=(1,), pooling="mean").identity() != first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a plain encoder; accepted: with layers, 0 (embeddings) to 3, and a pooling"),
        ({"layers": (1,)}, "layers and pooling belong together"),
        ({"layers": (4,), "pooling": "mean"}, "layers: got 4; accepted: 0 (embeddings) to 3"),
        ({"layers": (), "pooling": "mean"}, "layers: got no layer"),
        ({"layers": (1,), "pooling": "min"}, "pooling: got 'min'"),
        ({"layers": (1, 2), "pooling": "max+mean+cls"}, "for 2 layers"),
    ],
)
def test_what_a_plain_encoder_cannot_do(plain, options, said):
    with pytest.raises(ValueError, match="--model|pooling") as caught:
        open_sentence_encoder(str(plain), **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "no config.json there"),
        ("config.json", "{", "config.json: not JSON"),
        ("model.safetensors", None, "no safetensors weights there"),
        ("model.safetensors", "PK", "bert: model.safetensors: it cannot be read"),
        ("tokenizer.json", "{", "bert: its tokenizer cannot be read"),
    ],
)
def test_a_damaged_model_is_told_in_a_line(plain, name, content, said):
    (plain / name).unlink()
    if content is not None:
        (plain / name).write_text(content)
    with pytest.raises(EncoderError) as caught:
        open_sentence_encoder(str(plain), layers=(1,), pooling="mean", key="--corpus-model")
    assert str(caught.value).startswith(f"--corpus-model: {plain}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("content", ["{", "[1]", "{}", '[{"idx": 0}]'])
def test_a_damaged_list_of_modules(theirs, content):
    (theirs / "modules.json").write_text(content)
    with pytest.raises(EncoderError, match="modules.json: not a list of modules"):
        open_sentence_encoder(str(theirs))


def test_a_damaged_model_of_the_library(theirs):
    (theirs / "1_Pooling/config.json").write_text("{")
    with pytest.raises(EncoderError, match="sentence-transformers cannot load it"):
        open_sentence_encoder(str(theirs))


def test_what_is_no_text(plain):
    opened = open_sentence_encoder(str(plain), layers=(1,), pooling="mean")
    with pytest.raises(ValueError, match="text 2: got float, accepted: str"):
        opened.encode(["money", float("nan")])


def test_a_vector_that_is_not_finite_is_named(plain):
    weights = load_file(plain / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name][load_tokenizer(plain).convert_tokens_to_ids("parcel")] = 3e38  # finite, its variance is not
    save_file(weights, plain / "model.safetensors", {"format": "pt"})
    opened = open_sentence_encoder(str(plain), layers=(0,), pooling="mean")
    with pytest.raises(VectorError, match="text 6: its vector is not finite"):
        list(opened.stream(["money"] * 5 + ["a parcel"], window=4))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"precision": "float16"}, "precision: got 'float16', accepted: auto, float32, bfloat16"),
        ({"tokens_per_batch": -1}, "tokens_per_batch: got -1"),
        ({"max_length": 2}, "max_length: got 2, accepted: 0, or 3 or more"),
    ],
)
def test_settings_that_cannot_work(setting, said):
    with pytest.raises(ValueError, match=said):
        EncodeSettings(**setting)


@pytest.mark.parametrize("kind", ["ours", "st", "theirs"])
def test_weights_that_are_not_numbers_are_named(tmp_path, theirs, kind):
    folder = theirs if kind == "theirs" else tmp_path / kind
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[name][6, 0] = float("inf")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "checksums.json").unlink(missing_ok=True)
    with pytest.raises(EncoderError, match=rf"--model: {folder}: .*word_embeddings.weight: 1 of \d+ values"):
        open_sentence_encoder(str(folder))


@pytest.mark.parametrize("name", ["modules.json", "1_Pooling/config.json", "model.safetensors"])
def test_a_link_in_a_model_of_the_library_is_not_followed(theirs, tmp_path, name):
    (theirs / name).rename(tmp_path / "mine")
    (theirs / name).symlink_to(tmp_path / "mine")
    with pytest.raises(RefusedFileError, match="a link, which is not followed") as refused:
        open_sentence_encoder(theirs)
    assert refused.value.filename == str(theirs / name)


@pytest.mark.parametrize("content", ["[" * 100_000, "{}", '[{"type": 3}]'])
def test_modules_that_are_none_are_refused(theirs, content):
    (theirs / "modules.json").write_text(content)
    with pytest.raises(EncoderError, match="modules.json: not a list of modules"):
        open_sentence_encoder(theirs)
