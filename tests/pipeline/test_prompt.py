"""A prompt goes from the settings into the cache, the exported model, its labels and its vectors."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mcbert.features.encoder.opening import open_encoder
from mcbert.features.encoder.tokens import load_tokenizer, prompt_of
from mcbert.features.settings import EncoderSettings
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.finetune.embeddings.sentence_encoder import EncodeSettings
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.predict import label_texts
from mcbert.pipeline.cli import main


@pytest.fixture
def exported(tmp_path, encoder_folder, texts_table, monkeypatch):
    """The probe of a run with a prompt, by way of the command line."""
    monkeypatch.chdir(tmp_path)
    texts_table.to_csv("texts-raw.csv", index=False)
    config = f"""
[corpus]
path = "texts-raw.csv"
leaks = "keep"
conflicts = "keep"
[encoder]
path = {json.dumps(str(encoder_folder))}
max_length = 64
prompt = "human "
[gridsearch]
ensemble = 0
layers = [2, 4]
poolings = ["mean", "last"]
classifiers = ["logistic_regression"]
[extract]
poolings = ["max", "mean", "cls", "last"]
"""
    (tmp_path / "mine.toml").write_text(config)
    assert main(["export", "--config", "mine.toml"]) == 0
    return tmp_path / "results/runs/mine"


def test_an_exported_model_reads_texts_after_the_prompt_of_its_search(exported, encoder_folder):
    folder = exported / "models/probe"
    assert prompt_of(load_tokenizer(folder)) == "human "
    assert "## Prompt" in (folder / "README.md").read_text()
    (cache,) = (exported.parents[2] / "cache").glob("?" * 16)
    assert json.loads((cache / "identity.json").read_text())["fingerprint"]["prompt"] == "human "
    texts = pd.read_csv(exported / "texts.csv", dtype=str, keep_default_na=False)
    winners = pd.read_csv(exported / "predictions_gridsearch.csv").set_index("id")["predicted"]
    labels = label_texts(load_model(folder), list(zip(texts["text"], texts["text_pair"], strict=True)))[0]
    found = pd.Series(labels["label"].to_numpy(), index=texts["id"])
    assert (found[winners.index] == winners).all()


def test_that_a_stage_with_a_prompt_is_up_to_date_is_known_without_transformers(exported):
    code = "import sys; from mcbert.pipeline.cli import main; print(main(), 'transformers' in sys.modules)"
    command = [sys.executable, "-c", code, "gridsearch", "--config", "mine.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "gridsearch: up to date" in done.stderr
    assert done.stdout == "0 False\n"


def test_vectors_of_a_prompt_are_those_of_texts_that_begin_with_it(encoder_folder):
    texts = ["where is my money", "cancel it"]
    plain = open_sentence_encoder(encoder_folder, layers=(4,), pooling="last")
    settings = EncodeSettings(prompt="human ")
    prompted = open_sentence_encoder(encoder_folder, layers=(4,), pooling="last", settings=settings)
    np.testing.assert_allclose(prompted.encode(texts), plain.encode([f"human {t}" for t in texts]), atol=1e-6)
    assert prompted.identity() != plain.identity()


def test_a_prompt_that_leaves_no_token_to_the_text_is_refused(encoder_folder, tmp_path):
    long = "where is my money and my parcel now "
    settings = EncodeSettings(prompt=long, max_length=5)
    with pytest.raises(ValueError, match=r"--prompt: '.*' is \d+ tokens.*max_length 5"):
        open_sentence_encoder(encoder_folder, layers=(4,), pooling="mean", settings=settings)
    with pytest.raises(ValueError, match=r"encoder\.prompt: '.*' is \d+ tokens"):
        open_encoder(EncoderSettings(path=str(encoder_folder), prompt=long, max_length=5), tmp_path)
