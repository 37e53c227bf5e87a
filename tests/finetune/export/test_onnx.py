"""The graph answers as torch does, for every family, decision and shape."""

import json
import sys

import numpy as np
import pytest
import torch

from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.calibration import softmax
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.export import onnx
from mcbert.finetune.export.estimator import FILE
from mcbert.finetune.export.onnx import export_onnx
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.model import MCBertForSequenceClassification, MCBertModel
from mcbert.finetune.predict import label_texts
from mcbert.pipeline.cli import main
from tests.families import FAMILIES, save_family

LABELS = ("cancel", "human", "refund")
TEXTS = [
    ("where is my money", ""),
    ("cancel it now please the parcel is late", ""),
    ("wo ist mein geld", "my order"),
]
BERTS = ("bert", "mpnet")  # the same operators, but for the positions
LINEAR = {"pooling": "max+mean", "standardised": True}  # cls has a case of its own below


def saved_model(folder, encoder, *, pooling, temperature=2.0, **head):
    torch.manual_seed(2)
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 2), pooling=pooling, dropout=0.3, labels=LABELS, **head
    )
    for name, tensor in model.state_dict().items():
        if not name.startswith("encoder."):
            tensor.normal_() if "scale" not in name else tensor.uniform_(0.5, 2)
    model.config.probability_temperature = temperature
    save_model(model, load_tokenizer(encoder), folder, max_length=16)
    return folder


def run_graph(folder, texts=TEXTS):
    """Label texts with what a user of the folder has: the graph, its metadata, the tokenizer."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / onnx.FILE)
    metadata = session.get_modelmeta().custom_metadata_map
    tokenizer = load_tokenizer(folder)
    assert tokenizer.model_max_length == int(metadata["max_length"]) == 16
    batch = tokenizer.pad(tokenise(tokenizer, texts, 16), return_tensors="np")
    given = {one.name: batch[one.name] for one in session.get_inputs()}
    return *session.run(["logits", "probabilities"], given), json.loads(metadata["labels"])


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("bert", LINEAR),
        pytest.param("bert", {"pooling": "mean", "decision": "pairwise"}, marks=pytest.mark.slow),
        pytest.param("bert", {"pooling": "cls", "head_layers": 1}, marks=pytest.mark.slow),
        *(pytest.param(name, LINEAR, marks=pytest.mark.slow) for name in FAMILIES if name not in BERTS),
    ],
)
def test_the_graph_answers_as_torch_does(tmp_path, family, head):
    folder = saved_model(tmp_path / "model", save_family(family, tmp_path / "encoder"), **head)
    assert main(["export-onnx", "--model", str(folder), "--output", str(tmp_path / "graph")]) == 0
    saved = load_model(str(folder))
    expected = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, TEXTS, 16))
    logits, probabilities, labels = run_graph(tmp_path / "graph")
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(expected), atol=1e-4)
    assert labels == list(LABELS)
    shares = label_texts(saved, TEXTS)[0][[f"probability_{label}" for label in LABELS]].to_numpy()
    np.testing.assert_allclose(probabilities, shares, atol=1e-4)
    for text, row in zip(TEXTS, expected, strict=True):  # another batch and another length
        np.testing.assert_allclose(run_graph(tmp_path / "graph", [text])[0][0], row, atol=1e-4)


@pytest.mark.slow
def test_the_baseline_is_exported_too(tmp_path):
    encoder = save_family("bert", tmp_path / "encoder")
    torch.manual_seed(0)
    model, _ = build_baseline(encoder, dropout=0.1, labels=LABELS)
    save_model(model, load_tokenizer(encoder), tmp_path / "model", max_length=16)
    files = export_onnx(str(tmp_path / "model"), tmp_path / "graph")
    assert {"config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json"} <= set(files)
    saved = load_model(str(tmp_path / "model"))
    expected = compute_logits(saved.model, saved.tokenizer, tokenise(saved.tokenizer, TEXTS, 16))
    np.testing.assert_allclose(run_graph(tmp_path / "graph")[0], expected, atol=1e-4)


@pytest.fixture
def model(tmp_path, encoder):
    return saved_model(tmp_path / "model", encoder, pooling="max")


def test_a_graph_that_computes_something_else_is_not_kept(model, tmp_path, monkeypatch):
    class Wrong:
        def __init__(self, _):
            pass

        def run(self, _, given):
            return [np.full((len(given["input_ids"]), 3), 0.5, dtype=np.float32)] * 2

    monkeypatch.setattr("onnxruntime.InferenceSession", Wrong)
    with pytest.raises(RuntimeError, match=r"model\.onnx: differs from torch by .*, accepted: 1e-03"):
        export_onnx(str(model), tmp_path / "graph")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_what_no_graph_can_hold_is_refused(encoder, tmp_path, capsys):
    import skops.io
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    fitted = make_pipeline(KNeighborsClassifier(1)).fit(np.eye(3, 32), [0, 1, 2])
    body = MCBertModel.from_encoder(encoder, (1,), pooling="max", dropout=0.0, labels=LABELS)
    tokenizer = load_tokenizer(encoder)
    save_model(body, tokenizer, tmp_path / "knn", max_length=16, extra={FILE: skops.io.dumps(fitted)})
    assert main(["export-onnx", "--model", str(tmp_path / "knn"), "--output", str(tmp_path / "graph")]) == 2
    assert (
        "got a classifier of scikit-learn, KNeighborsClassifier" in capsys.readouterr().err.splitlines()[-1]
    )
    assert not (tmp_path / "graph").exists()


def test_an_encoder_that_cannot_be_traced_is_named(model, monkeypatch):
    def fail(*_, **__):
        raise TypeError("data-dependent\n\x1b[96mcontrol\x1b[0m flow. Create an issue with the library")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(RuntimeError, match=r"model: .*\(TypeError: data-dependent control flow\)$"):
        export_onnx(str(model), model.parent / "graph")


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ("graph/model.onnx", [], "it already exists; accepted: a new folder, or --replace"),
        ("graph/notes.txt", ["--replace"], "it has no model.onnx, so it is not replaced"),
        ("graph", ["--replace"], "it has no model.onnx, so it is not replaced"),
        (None, ["--output", "no/such/graph"], "no folder"),
    ],
)
def test_nothing_is_overwritten_by_mistake(model, tmp_path, capsys, made, options, said):
    if made:
        (tmp_path / made).parent.mkdir(exist_ok=True)
        (tmp_path / made).write_text("mine")
    assert main(["export-onnx", "--model", str(model), "--output", str(tmp_path / "graph"), *options]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert made is None or (tmp_path / made).read_text() == "mine"


def test_without_the_packages_it_is_said_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'mcbert\[onnx\]'"):
        export_onnx(str(model), tmp_path / "graph")
