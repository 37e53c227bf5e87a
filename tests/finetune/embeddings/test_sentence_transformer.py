"""Exported folders give sentence-transformers the vectors that the model gives here."""

import ast
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from huggingface_hub import metadata_load

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_transformer import (
    pooling_source,
    recorded_blocks,
    save_sentence_transformer,
)
from mcbert.finetune.export.cards import describe_sentence_transformer
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.model import MCBertModel
from tests.families import save_family

TEXTS = [
    "where is my money",
    "please cancel it now",
    "the order is late late late late late late late late",
    "",
    "wo ist mein geld",
    "money",
]
CARD = "---\nlanguage:\n- en\n- de\n---\n\n# Vectors of a test\n\nTrained on nothing.\n"
ELSEWHERE = """
import sys, json
import numpy as np
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], trust_remote_code=True)
np.save("out.npy", model.encode(json.loads(sys.argv[2])))
model.save_pretrained("again")
np.save("again.npy", SentenceTransformer("again", trust_remote_code=True).encode(json.loads(sys.argv[2])))
taken = sorted({name.split(".")[0] for name in sys.modules} & {"features", "finetune", "pipeline", "search"})
assert not taken, taken
"""


@pytest.fixture
def export(tmp_path):
    """Export layers of a family: (family, layers, pooling) -> model, its encoder's folder, the export's."""

    def run(family, layers, pooling, max_length=12):
        encoder = save_family(family, tmp_path / "encoder")
        model = MCBertModel.from_encoder(encoder, layers, pooling=pooling, dropout=0.1, labels=()).eval()
        save_sentence_transformer(
            model, load_tokenizer(encoder), tmp_path / "st", max_length=max_length, card=CARD
        )
        return model, encoder, tmp_path / "st"

    return run


def vectors_here(model, encoder, texts=TEXTS, max_length=12):
    """Encode text by text, by the model's own forward."""
    tokenizer = load_tokenizer(encoder)
    with torch.no_grad():
        rows = [
            model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=max_length)).pooler_output
            for t in texts
        ]
    return torch.cat(rows).numpy()


def encode_there(folder, texts=TEXTS, **options):
    from sentence_transformers import SentenceTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return SentenceTransformer(str(folder), **options).encode(texts)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize(
    ("layers", "pooling"), [((3,), "mean"), ((2,), "max"), ((1,), "cls"), ((0,), "mean")]
)
def test_a_layer_needs_modules_of_the_library_alone(export, family, layers, pooling):
    model, encoder, folder = export(family, layers, pooling)
    np.testing.assert_allclose(encode_there(folder), vectors_here(model, encoder), atol=1e-5)
    assert not list(folder.rglob("*.py"))


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize(
    ("layers", "pooling"), [((1, 3), "mean"), ((0, 2), "max+cls"), ((3, 1, 2), "cls+mean+max")]
)
def test_several_layers_come_with_a_module(export, family, layers, pooling):
    model, encoder, folder = export(family, layers, pooling)
    found = encode_there(folder, trust_remote_code=True)
    assert found.shape == (len(TEXTS), 16 * len(layers))
    np.testing.assert_allclose(found, vectors_here(model, encoder), atol=1e-5)


@pytest.mark.parametrize("family", ["t5", "mt5"])
@pytest.mark.parametrize(("layers", "pooling"), [((3,), "mean"), ((2,), "max"), ((1, 3), "mean")])
def test_the_encoder_of_t5_is_loaded_without_a_decoder(export, family, layers, pooling):
    model, encoder, folder = export(family, layers, pooling)
    found = encode_there(folder, trust_remote_code=True)
    np.testing.assert_allclose(found, vectors_here(model, encoder), atol=1e-5)
    np.testing.assert_allclose(open_sentence_encoder(folder).encode(TEXTS), found, atol=1e-5)


@pytest.mark.parametrize("family", ["bart", "mbart", "m2m_100"])
def test_an_encoder_that_the_library_would_load_with_its_decoder_is_refused(family, tmp_path, export):
    kind = family.partition("_")[0]
    with pytest.raises(EncoderError, match=rf"model type '{kind}\w*': .*Model") as told:
        export(family, (2,), "mean")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "st").exists()
    model = MCBertModel.from_encoder(
        tmp_path / "encoder", (2,), pooling="mean", dropout=0.1, labels=()
    ).eval()
    save_model(model, load_tokenizer(tmp_path / "encoder"), tmp_path / "own", max_length=12)
    found = open_sentence_encoder(tmp_path / "own").encode(TEXTS)
    np.testing.assert_allclose(found, vectors_here(model, tmp_path / "encoder"), atol=1e-5)


def test_the_module_is_refused_unless_trusted(export):
    _, _, folder = export("bert", (1, 2), "mean")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        encode_there(folder)


@pytest.mark.parametrize(("layers", "trust"), [((2,), False), ((1, 2), True)])
def test_the_readme_says_what_and_how(export, layers, trust):
    _, _, folder = export("bert", layers, "mean")
    text = (folder / "README.md").read_text()
    metadata = metadata_load(folder / "README.md")
    assert metadata["language"] == ["en", "de"]
    assert metadata["library_name"] == "sentence-transformers"
    assert metadata["pipeline_tag"] == "sentence-similarity"
    assert metadata["tags"] == ["sentence-transformers", "sentence-similarity", "feature-extraction"]
    assert text.index("# Vectors of a test") < text.index("## Use")
    assert ("trust_remote_code=True" in text) == trust
    assert f"{16 * len(layers)} columns" in text
    assert "cut after 12 tokens" in text


def test_weights_are_safetensors_without_a_pooler(export):
    _, _, folder = export("bert", (2,), "mean")
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == [
        "1_Pooling/config.json", "README.md", "checksums.json", "config.json",
        "config_sentence_transformers.json", "model.safetensors", "modules.json",
        "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder))
    assert model.max_seq_length == 12
    assert model[0].auto_model.pooler is None
    assert model[0].auto_model.config.num_hidden_layers == 2
    assert model.similarity_fn_name == "cosine"


def test_casing_is_the_tokenizers_own(export):
    _, encoder, folder = export("bert", (1,), "cls")
    before, after = (
        json.loads((where / "tokenizer.json").read_text())["normalizer"] for where in (encoder, folder)
    )
    assert before == after == {"type": "Lowercase"}
    assert json.loads((folder / "sentence_bert_config.json").read_text())["do_lower_case"] is False


def test_a_failure_leaves_the_earlier_folder(export, monkeypatch):
    model, encoder, folder = export("bert", (1,), "mean")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    module = "mcbert.finetune.embeddings.sentence_transformer"
    monkeypatch.setattr(f"{module}.describe_sentence_transformer", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_sentence_transformer(model, load_tokenizer(encoder), folder, max_length=9, card="")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["encoder", "st"]


def test_the_file_is_self_contained():
    tree = ast.parse(pooling_source())
    names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    names |= {one.name for n in ast.walk(tree) if isinstance(n, ast.Import) for one in n.names}
    assert {name.split(".")[0] for name in names} == {
        "__future__", "collections", "json", "pathlib", "shutil", "torch", "typing",
    }  # fmt: skip


def test_a_folder_whose_modules_were_changed_is_no_longer_ours(export):
    _, _, folder = export("bert", (1, 2), "mean+max")
    assert recorded_blocks(folder) == [(1, "mean"), (2, "max")]
    modules = json.loads((folder / "modules.json").read_text())
    normalise = {
        "idx": 2,
        "name": "2",
        "path": "2_Normalize",
        "type": "sentence_transformers.models.Normalize",
    }
    (folder / "modules.json").write_text(json.dumps([*modules, normalise]))
    assert recorded_blocks(folder) is None


def test_a_folder_loads_and_saves_where_the_project_is_not(export, tmp_path):
    model, encoder, folder = export("bert", (1, 3), "max+mean")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, str(folder), json.dumps(TEXTS)],
        cwd=tmp_path,
        env=env | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = vectors_here(model, encoder)
    for name in ("out.npy", "again.npy"):
        np.testing.assert_allclose(np.load(tmp_path / name), expected, atol=1e-5)


def test_metadata_of_a_training_is_kept_beside_the_librarys(tmp_path):
    own = "---\nlanguage: [en]\nbase_model: who/what\n---\n\n# Trained\n"
    path = tmp_path / "README.md"
    card = describe_sentence_transformer(own, (2,), ("mean",), dimension=4, max_length=8)
    path.write_text(card, encoding="utf-8")
    metadata = metadata_load(path)
    assert (metadata["language"], metadata["base_model"]) == (["en"], "who/what")
    assert metadata["library_name"] == "sentence-transformers"
    assert path.read_text(encoding="utf-8").count("---\n") == 2
