"""benchmarks/real_sentences.py: what it configures, what it takes from the tables, what it prints."""

import importlib
import json
import sys

import numpy as np
import pytest

from mcbert.home import HOME
from mcbert.pipeline.config import load
from mcbert.results import csv_files
from mcbert.results.schema.embeddings import TATOEBA

sys.path.insert(0, str(HOME / "benchmarks"))
sentences = importlib.import_module("real_sentences")


class Vectors:
    """Stands in for an encoder that is no part of the project: the same vector for the same text."""

    name = "mUSE"

    def identity(self):
        return {"package": "none", "version": "0"}

    def encode(self, texts):
        return np.array([np.random.default_rng(len(text)).normal(size=8) for text in texts], dtype="float32")


def test_figures_over_seeds_are_means_between_the_lowest_and_the_highest_end():
    found = sentences.widest([[0.1, 0.0, 0.2], [0.3, 0.1, 0.5]])
    assert found == [0.2, 0.0, 0.5]
    assert sentences.interval(found) == "0.200 [0.000, 0.500]"
    assert sentences.interval(found, percent=True) == "20% [0%, 50%]"
    assert sentences.over_seeds([0.5, 0.75]) == "0.625 (0.500-0.750)"
    assert sentences.digits(None) == ""


def test_every_system_is_one_that_the_product_trains(tmp_path, monkeypatch):
    commands = []

    def call(command, **_):
        commands.append(command)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(sentences.subprocess, "run", call)
    args = sentences.argparse.Namespace(
        encoder=HOME / "samples/encoder", prompt='say "query": ', data=None, seeds=2, cut=False, out=tmp_path
    )
    settings = sentences.tomllib.loads(sentences.real.SETTINGS.read_text(encoding="utf-8"))["sentences"]
    made = sentences.Benchmark(args, settings)
    for number, system in enumerate(settings["systems"]):
        runs = made.train(number, system)
        assert [run.name for run in runs] == [f"system{number}-seed0", f"system{number}-seed1"]
        for seed, run in enumerate(runs):
            config = load(str(tmp_path / f"{run.name}.toml"))
            assert config.encoder.prompt == 'say "query": '
            assert config.embeddings.seeds == (seed,)
            assert config.embeddings.layers == tuple(system["embeddings"]["layers"])
            assert config.embeddings.freeze_embeddings
            assert config.embeddings.corpus.format == "nli"
    assert len(commands) == 2 * len(settings["systems"])


def test_layers_and_other_encoders_are_measured_alike_and_found_up_to_date(
    encoder_folder, tmp_path, monkeypatch, capsys
):
    """On the samples; a stand-in takes the place of the package that is not installed."""
    out = tmp_path / "out"
    monkeypatch.setattr(sentences.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(sentences, "UniversalSentenceEncoder", Vectors)
    for _ in range(2):
        sentences.main(["--encoder", str(encoder_folder), "--systems", "0", "--cut", "--out", str(out)])
        printed = capsys.readouterr().out
    figures = json.loads(printed.splitlines()[-1])
    assert list(figures["frozen"]) == ["0", "1", "2", "3", "4"]
    assert set(figures["frozen"]["4"]) == {"mean", "max", "cls"}
    errors = csv_files.read_with_sums(TATOEBA, out / "runs/frozen/tatoeba.csv")
    (row,) = sentences.rows_of(errors, system="other", **sentences.HEADLINE).to_dict("records")
    assert figures["others"]["mUSE"]["tatoeba"][0] == pytest.approx(row["error_rate"], abs=1e-4)
    assert "| mUSE |" in printed
    assert printed.index("Published elsewhere under other conditions") < printed.index("| LaBSE |")
    assert figures["trained"] == {}
