"""The service of docs/deploy.md, as it stands there, over the graph of a small model."""

import contextlib
import re

import pytest

from mcbert.finetune.export.onnx import export_onnx
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.predict import label_texts
from mcbert.home import HOME
from tests.finetune.export.test_onnx import saved_model

testclient = pytest.importorskip("fastapi.testclient")

PAGE = (HOME / "docs/deploy.md").read_text(encoding="utf-8")
(SOURCE,) = re.findall(r"^```py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
TEXTS = ["where is my money", "cancel it now please the parcel is late", "wo ist mein geld"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, encoder_folder):
    return saved_model(tmp_path_factory.mktemp("model"), encoder_folder, pooling="mean")


@pytest.fixture(scope="module")
def served(model):
    """Names of the service's module, and a client of it."""
    export_onnx(str(model), model.parent / "onnx")
    namespace = {}
    with contextlib.chdir(model.parent):
        exec(compile(SOURCE, "serve.py", "exec"), namespace)
    return namespace, testclient.TestClient(namespace["app"])


def test_it_answers_as_predict_does(served, model):
    namespace, client = served
    expected, _ = label_texts(load_model(model), [(text, "") for text in TEXTS])
    answer = client.post("/labels", json={"texts": [f"  {text}\n" for text in TEXTS]})
    assert answer.status_code == 200
    shares = [one["probability"] for one in answer.json()]
    assert shares == pytest.approx(expected["probability"].tolist(), abs=1e-4)
    sure = expected["probability"] >= namespace["ABSTAIN"]
    assert [one["label"] for one in answer.json()] == [
        label if is_sure else None for label, is_sure in zip(expected["label"], sure, strict=True)
    ]


def test_unsure_texts_get_no_label(served, monkeypatch):
    namespace, client = served
    for threshold, is_given in ((0.0, True), (1.01, False)):
        monkeypatch.setitem(namespace, "ABSTAIN", threshold)
        answer = client.post("/labels", json={"texts": TEXTS}).json()
        assert {one["label"] is not None for one in answer} == {is_given}


def test_long_texts_are_cut(served):
    _, client = served
    answer = client.post("/labels", json={"texts": ["money " * 500, "money " * 600]}).json()
    assert answer[0]["probability"] == pytest.approx(answer[1]["probability"], abs=1e-6)


@pytest.mark.parametrize(
    "texts",
    [[], [""], [" \n"], ["a" * 5001], ["a"] * 65, ["a", 3], [None], "a"],
    ids=["none", "empty", "blank", "long", "many", "number", "null", "text"],
)
def test_requests_beyond_the_limits_are_refused(served, texts):
    _, client = served
    assert client.post("/labels", json={"texts": texts}).status_code == 422
