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
folder, texts = sys.argv[1], json.loads(sys.argv[2])
import numpy as np, torch
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline
kind = AutoModel if sys.argv[3] == "AutoModel" else AutoModelForSequenceClassification
model = kind.from_pretrained(folder, trust_remote_code=True).eval()
assert type(AutoConfig.from_pretrained(folder, trust_remote_code=True)) is type(model.config)
ids, mask = torch.tensor(json.loads(sys.argv[4])), torch.tensor(json.loads(sys.argv[5]))
with torch.no_grad():
    found = model(input_ids=ids, attention_mask=mask)
np.save("out.npy", found.pooler_output if kind is AutoModel else found.logits)
if kind is not AutoModel:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    answers = pipeline("text-classification", model=folder, trust_remote_code=True)(texts)
    json.dump([tokenizer.model_max_length, answers], open("answers.json", "w"))
taken = sorted({name.split(".")[0] for name in sys.modules} & {"features", "finetune", "pipeline", "search"})
assert not taken, taken
"""


def run_elsewhere(folder, where, *, kind="AutoModelForSequenceClassification", texts=()):
    """Load a folder in a new interpreter that cannot import this project; return what it computes."""
    where.mkdir()
    given = (str(folder), json.dumps(list(texts)), kind, json.dumps(IDS.tolist()), json.dumps(MASK.tolist()))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -P: not even the folder of a test run is on the path
    found = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, *given],
        cwd=where,
        env=env | {"HF_HOME": str(where / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return np.load(where / "out.npy")


@pytest.mark.parametrize(
    ("pooling", "head"),
    [
        ("max+mean+cls", {"standardised": True}),
        pytest.param("mean", {"decision": "pairwise"}, marks=pytest.mark.slow),
        pytest.param("max", {"head_layers": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_folder_loads_where_the_project_is_not(encoder, tmp_path, pooling, head):
    torch.manual_seed(3)
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 2, 3), pooling=pooling, dropout=0.1, labels=LABELS, **head
    ).eval()
    if head.get("standardised"):
        model.feature_mean.normal_()
        model.feature_scale.uniform_(0.5, 2)
    model.config.probability_temperature = 2.5
    save_model(model, load_tokenizer(encoder), tmp_path / "model", max_length=12)
    texts = ["stop w1 w2", "money back w3"]
    logits = run_elsewhere(tmp_path / "model", tmp_path / "elsewhere", texts=texts)
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=MASK).logits.numpy()
    # close: transformers leaves the weights at other addresses there, which the last bits depend on
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=1e-5)
    max_length, answers = json.loads((tmp_path / "elsewhere/answers.json").read_text())
    assert max_length == 12
    frame, _ = label_texts(load_model(str(tmp_path / "model")), [(text, "") for text in texts])
    assert [answer["label"] for answer in answers] == frame["label"].tolist()
    np.testing.assert_allclose([answer["score"] for answer in answers], frame["probability"], atol=1e-5)


@pytest.mark.slow
def test_a_folder_without_a_head_loads_there_too(encoder, tmp_path):
    model = MCBertModel.from_encoder(encoder, (1, 3), pooling="max+cls", dropout=0.0, labels=LABELS).eval()
    save_model(model, load_tokenizer(encoder), tmp_path / "model", max_length=12)
    states = run_elsewhere(tmp_path / "model", tmp_path / "elsewhere", kind="AutoModel")
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=MASK).pooler_output.numpy()
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
