"""benchmarks/compared.py: what each way is given, what is measured of it, what is printed."""

import importlib
import importlib.util
import json
import sys

import numpy as np
import pandas as pd
import pytest

from mcbert.home import HOME

sys.path.append(str(HOME / "benchmarks"))
compared, ways = map(importlib.import_module, ("compared", "compared_ways"))

LANGUAGES = ("en", "ar", "de")


def answers(right):
    """Return rows of four texts in each language, labelled rightly where `right` says so."""
    return pd.DataFrame(
        [
            (
                f"t{k}" if language == "en" else f"t{k}-{language}",
                language,
                "a",
                "ab"[not right[language][k]],
                0,
            )
            for language in LANGUAGES
            for k in range(4)
        ],
        columns=["id", "language", "label", "predicted", "seed"],
    )


def run(tmp_path, capsys, *options):
    given = ["--benchmark", "samples", "--cut", "--seeds", "2", "--out", str(tmp_path)]
    compared.main([*given, *options])
    printed = capsys.readouterr().out
    return printed, json.loads(printed.splitlines()[-1])["samples"]


@pytest.fixture
def here(monkeypatch, encoder_folder):
    """The ways in this process, with a search of two layers; return the option of the encoder."""
    monkeypatch.setattr(compared.real_plan, "apart", lambda function, *given: function(*given))
    monkeypatch.setitem(compared.SMALL, "search", {"layers": [1, 2], "classifiers": ["ridge"]})
    return "--encoder", str(encoder_folder)


def test_ways_label_the_same_texts_and_are_not_run_twice(here, tmp_path, capsys, monkeypatch):
    chosen = ("--way", "embedded", "--way", "translated")
    printed, figures = run(tmp_path, capsys, *here, *chosen)
    assert list(figures["ways"]) == ["embedded", "translated"]
    assert figures["test_texts"] == 36
    for row in figures["ways"].values():
        low, high = row["interval"]
        assert low <= row["accuracy"]["mean"] <= high
        assert 0 <= row["minutes"] < 10 > row["cpu_minutes"]
    difference, low, high = figures["ways"]["embedded"]["to_ours"]
    assert low <= difference <= high
    assert "LayerSearch (ours)" in printed
    monkeypatch.setattr(compared.real_plan, "apart", None)
    again, same = run(tmp_path, capsys, *here, *chosen)
    assert same == figures
    assert again.splitlines()[:-1] == printed.splitlines()[:-1]


def test_a_way_without_its_package_is_left_out_and_the_output_says_so(here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compared.importlib.util, "find_spec", lambda name: None)
    printed, figures = run(tmp_path, capsys, *here, "--way", "setfit-8")
    assert "skipped: setfit-8: setfit is not installed" in printed
    assert figures["ways"] == {}


@pytest.mark.skipif(importlib.util.find_spec("setfit") is None, reason="setfit is not installed")
def test_setfit_labels_once_a_seed(here, tmp_path, capsys):
    _, figures = run(tmp_path, capsys, *here, "--way", "setfit-8-short")
    assert figures["ways"]["setfit-8-short"]["n_seeds"] == 2


def test_a_way_without_translations_of_dev_is_left_out_where_there_are_none(here, tmp_path, capsys):
    folder = tmp_path / "samples-cut"
    folder.mkdir()
    splits = [("train", "en"), ("dev", "en"), ("test", "en"), ("test", "de")]
    rows = [(f"{split}{k}-{language}", f"{split} {k}", "ab"[k % 2], language, split)
            for split, language in splits for k in range(4)]  # fmt: skip
    columns = ["id", "text", "label", "language", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "texts.csv", index=False)
    printed, figures = run(tmp_path, capsys, *here, "--way", "translated")
    assert figures["skipped"] == {"translated": "dev texts have no translations"}
    assert "skipped: translated" in printed


@pytest.mark.parametrize("data", [(), ("--data", "nowhere")])
def test_a_benchmark_without_its_data_is_skipped_and_says_so(data, capsys, tmp_path):
    compared.main(["--encoder", "e5", "--benchmark", "sib200", "--out", str(tmp_path), *data])
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])["sib200"]["skipped"] == (
        "nowhere/sib200" if data else "no --data given"
    )


def test_the_interval_is_of_the_mean_over_the_targets():
    right = {"en": [0, 0, 0, 0], "ar": [1, 1, 1, 1], "de": [1, 1, 1, 1]}
    assert compared.mean_interval(answers(right)) == [1.0, 1.0]
    right["de"] = [1, 1, 0, 0]
    low, high = compared.mean_interval(answers(right))
    assert 0.5 <= low < 0.75 < high <= 1.0


@pytest.mark.parametrize("name", list(ways.WAYS))
def test_the_lines_of_a_way_are_those_of_its_code(name):
    assert 4 <= ways.WAYS[name].lines <= 15


def test_labels_of_target_languages_decide_nothing(here, tmp_path):
    texts = compared.real_data.read_samples(HOME, {})
    texts = texts.groupby(["split", "language"]).head(24)
    texts = texts[texts["language"].isin(LANGUAGES)]
    target = (texts["language"] != "en").to_numpy()
    shuffled = texts["label"].to_numpy(dtype=object).copy()
    shuffled[target] = np.random.default_rng(0).permutation(shuffled[target])
    found = []
    for k, labels in enumerate((texts["label"].to_numpy(dtype=object), shuffled)):
        table = texts.assign(label=labels)
        given = ways.Given(
            encoder=here[1],
            prompt="",
            train=table[table["split"] == "train"],
            dev=table[table["split"] == "dev"],
            test=table.loc[table["split"] == "test", "text"],
            cache=tmp_path / str(k),
            **compared.SMALL,
        )
        found.append(ways.searched_translated(given).tolist())
    assert found[0] == found[1]
