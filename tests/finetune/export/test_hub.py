"""A saved folder is all that another machine needs: torch, transformers, and no file of this project."""

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.export.checksums import NAME
from mcbert.finetune.export.hub import AUTO_MAP, FILE, modelling_source
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification, MCBertModel
from mcbert.finetune.predict import label_texts

LABELS = ("cancel", "refund", "other")
IDS = torch.tensor([[2, 5, 9, 3], [2, 7, 3, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
ELSEWHERE = """
import sys, json
folders, texts, ids, mask = json.loads(sys.argv[1])
import numpy as np, torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
ids, mask, found = torch.tensor(ids), torch.tensor(mask), {}
for name, folder in folders.items():
    kind = AutoModel if name == "headless" else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder, trust_remote_code=True).eval()
    assert type(AutoConfig.from_pretrained(folder, trust_remote_code=True)) is type(model.config)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask)
    np.save(f"{name}.npy", out.pooler_output if kind is AutoModel else out.logits)
    if kind is not AutoModel:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        answers = pipeline("text-classification", model=folder, trust_remote_code=True)(texts)
        found[name] = [tokenizer.model_max_length, answers]
json.dump(found, open("answers.json", "w"))
taken = sorted({name.split(".")[0] for name in sys.modules} & {"features", "finetune", "pipeline", "search"})
assert not taken, taken
"""
HEADS = {
    "standardised": {"pooling": "max+mean+cls", "standardised": True},
    "pairwise": {"pooling": "mean", "decision": "pairwise"},
    "two layers": {"pooling": "max", "head_layers": 2},
}
TEXTS = ["stop w1 w2", "money back w3"]


@pytest.fixture(scope="module")
def saved(encoder, tmp_path_factory):
    """A folder with a saved model for each kind of head and without one; the models."""
    where, models = tmp_path_factory.mktemp("saved"), {}
    torch.manual_seed(3)
    for name, head in HEADS.items():
        models[name] = MCBertForSequenceClassification.from_encoder(
            encoder, (1, 2, 3), dropout=0.1, labels=LABELS, **head
        ).eval()
        models[name].config.probability_temperature = 2.5
    models["standardised"].feature_mean.normal_()
    models["standardised"].feature_scale.uniform_(0.5, 2)
    models["headless"] = MCBertModel.from_encoder(
        encoder, (1, 3), pooling="max+cls", dropout=0.0, labels=LABELS
    ).eval()
    for name, model in models.items():
        save_model(model, load_tokenizer(encoder), where / name, max_length=12)
    return where, models


@pytest.fixture(scope="module")
def elsewhere(saved, tmp_path_factory):
    """Load the folders in a new interpreter that cannot import this project; return where its results are."""
    where = tmp_path_factory.mktemp("elsewhere")
    folders = {name: str(saved[0] / name) for name in saved[1]}
    given = json.dumps([folders, TEXTS, IDS.tolist(), MASK.tolist()])
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -P: not even the folder of a test run is on the path
    found = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, given],
        cwd=where,
        env=env | {"HF_HOME": str(where / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return where


@pytest.mark.parametrize("head", HEADS)
def test_a_folder_loads_where_the_project_is_not(saved, elsewhere, head):
    folder, model = saved[0] / head, saved[1][head]
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=MASK).logits.numpy()
    # close: transformers leaves the weights at other addresses there, which the last bits depend on
    np.testing.assert_allclose(np.load(elsewhere / f"{head}.npy"), expected, atol=1e-5, rtol=1e-5)
    max_length, answers = json.loads((elsewhere / "answers.json").read_text())[head]
    assert max_length == 12
    frame, _ = label_texts(load_model(str(folder)), [(text, "") for text in TEXTS])
    assert [answer["label"] for answer in answers] == frame["label"].tolist()
    np.testing.assert_allclose([answer["score"] for answer in answers], frame["probability"], atol=1e-5)


def test_a_folder_without_a_head_loads_there_too(saved, elsewhere):
    with torch.no_grad():
        expected = saved[1]["headless"](input_ids=IDS, attention_mask=MASK).pooler_output.numpy()
    states = np.load(elsewhere / "headless.npy")
    np.testing.assert_allclose(states, expected, atol=1e-5, rtol=1e-5)  # close, as above


def test_here_no_code_of_a_folder_runs(encoder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1,), pooling="max", dropout=0.0, labels=LABELS
    )
    save_model(model, load_tokenizer(encoder), tmp_path / "model", max_length=12)
    (tmp_path / "model" / FILE).write_text("raise SystemExit('ran')")
    with pytest.raises(EncoderError, match=f"{FILE}: changed since the model was saved"):
        load_model(str(tmp_path / "model"))
    (tmp_path / "model" / NAME).unlink()
    assert isinstance(load_model(str(tmp_path / "model")).model, MCBertForSequenceClassification)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert isinstance(again, MCBertForSequenceClassification)
    assert AutoConfig.from_pretrained(tmp_path / "model").auto_map == AUTO_MAP


def test_the_file_names_nothing_of_the_project_and_defines_what_is_mapped():
    tree = ast.parse(modelling_source())
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {one.name for n in ast.walk(tree) if isinstance(n, ast.Import) for one in n.names}
    roots = {name.split(".")[0] for name in modules}
    assert roots - sys.stdlib_module_names == {"torch", "transformers"}
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert {name.partition(".")[2] for name in AUTO_MAP.values()} < defined
    assert "from_encoder" not in modelling_source()
