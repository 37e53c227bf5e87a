"""Sentences and their translations for the choice by agreement: found, read, cut, encoded, used."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import mcbert
from mcbert import SAMPLES
from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.parallel import MOST, ParallelFolder
from mcbert.features.corpus.repeats import FEWEST_PAIRS
from mcbert.pipeline.cli import main
from mcbert.pipeline.stages.parallel import translated_dev
from mcbert.results import csv_files
from mcbert.results.schema.search import GRIDSEARCH, PROTOCOL_CHOICES
from mcbert.results.schema.training import FINETUNE
from mcbert.results.schema.tune import TUNE
from mcbert.search.data import Examples

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[extract]
storage_dtype = "float32"
[gridsearch]
layers = [1, 3]
classifiers = ["ridge", "lda"]
ensemble = 10
[cluster]
backend = "serial"
"""
N = 30


def laser(folder, language, n, first=0):
    folder.mkdir(exist_ok=True)
    for side, word in ((language, "wort"), ("eng", "word")):
        lines = "".join(f"{word} {k}\n" for k in range(first, first + n))
        (folder / f"tatoeba.{language}-eng.{side}").write_text(lines, encoding="utf-8")
    return folder


def tabled(folder, n, languages=("de",)):
    (folder / "translations").mkdir(parents=True)
    split = ["dev" if k % 3 else "test" for k in range(n)]
    rows = pd.DataFrame({"id": [f"s{k}" for k in range(n)], "text": [f"my parcel {k}" for k in range(n)]})
    rows.assign(split=split).to_csv(folder / "raw.csv", index=False)
    for language in languages:
        rows.assign(text=[f"mein paket {k}" for k in range(n)]).to_csv(
            folder / "translations" / f"{language}.csv", index=False
        )
    return folder


def test_the_languages_that_are_there_by_their_own_name_or_the_main_one(tmp_path):
    for language in ("deu", "cmn"):
        laser(tmp_path / "tatoeba", language, 3)
    found = ParallelFolder.of(tmp_path / "tatoeba", "en", ["de", "fr", "zh-TW"])
    assert found.names == {"de": "de", "zh-TW": "zh"}
    assert len(found.checksums()) == 4
    table = ParallelFolder.of(tabled(tmp_path / "table", 6, ("de", "zh-TW")), "en-GB", ["zh-TW", "ur", "de"])
    assert table.names == {"zh-TW": "zh-TW", "de": "de"}


def test_a_folder_without_sentences_or_a_source_that_is_not_english_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"gridsearch.parallel: no translated sentences in .*LASER's layout"):
        ParallelFolder.of(tmp_path / "empty", "en", ["de"])
    laser(tmp_path / "tatoeba", "deu", 3)
    with pytest.raises(ValueError, match=r"paired with English for corpus.source_language 'de'; accepted"):
        ParallelFolder.of(tmp_path / "tatoeba", "de", ["en"])


def test_at_most_so_many_pairs_spread_over_the_file(tmp_path):
    pairs = ParallelFolder.of(laser(tmp_path / "t", "deu", 2 * MOST + 7), "en", ["de"]).pairs()
    numbers = pairs["text"].str.split().str[1].astype(int).to_numpy()
    assert len(numbers) == MOST
    assert (numbers[0], numbers[-1]) == (0, 2 * MOST + 6)
    assert set(np.diff(numbers)) == {2, 3}
    few = ParallelFolder.of(tabled(tmp_path / "table", 30), "en", ["de"]).pairs()
    assert len(few) == 20  # those of dev
    assert (few["split"] == "dev").all()


def test_a_table_without_dev_sentences_is_refused_by_its_language(tmp_path):
    folder = tabled(tmp_path / "table", 30)
    rows = pd.read_csv(folder / "raw.csv").assign(split="test")
    rows.to_csv(folder / "raw.csv", index=False)
    parallel = ParallelFolder.of(folder, "en", ["de"])
    pairs = parallel.pairs()
    assert len(pairs) == 0
    with pytest.raises(ValueError, match=r"table: de: got 0 pairs to choose by, accepted: at least 20"):
        parallel.numbered(pairs, np.ones(0, dtype=bool))


def test_too_few_translated_dev_texts_choose_nothing():
    rows = [(f"{k}", "x", "en", "dev") for k in range(FEWEST_PAIRS)]
    rows += [(f"{k}", "x", "de", "dev") for k in range(FEWEST_PAIRS)]
    rows += [(f"{k}", "x", "fr", "dev") for k in range(FEWEST_PAIRS - 1)]
    table = pd.DataFrame(rows, columns=["id", "label", "language", "split"])
    assert list(translated_dev(table, "en")) == ["de"]


@pytest.fixture(scope="module")
def corpora(make_project):
    """Corpora of two labels: with translations of dev, and with a dev of their own in each language."""
    words = {"refund": "money back", "cancel": "order stop"}
    rows = []
    for split, n in (("train", 20), ("dev", 12), ("test", 12)):
        for language in ("en",) if split == "train" else ("en", "de"):
            for label, text in words.items():
                for k in range(n):
                    said = (
                        f"{'meine' if language == 'de' else 'my'} {text} {'now please where'.split()[k % 3]}"
                    )
                    rows.append((f"{split}{label}{k}-{language}", f"{said} {k}", "", label, language, split))
    table = pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])
    folder = make_project(SETTINGS, table)
    own = table.assign(id=[f"own{k}" for k in range(len(table))]).drop(columns="text_pair")
    own.to_csv(folder / "own.csv", index=False)
    laser(folder / "tatoeba", "deu", N)
    tabled(folder / "sentences", 90)
    return folder


@pytest.fixture
def search(corpora, monkeypatch, capsys):
    """Search: (run, overrides) -> status, the run's folder, what was said."""
    monkeypatch.chdir(corpora)

    def call(run, *overrides):
        capsys.readouterr()
        loose = ("corpus.leaks=keep", "corpus.conflicts=keep")
        status = main(["gridsearch", "--config", "mine.toml", "--run", run, *loose, *overrides])
        return status, corpora / "results/runs" / run, capsys.readouterr().err

    return call


def protocol_of(folder):
    return json.loads((folder / "winner.json").read_text())["protocol"]


def test_a_corpus_with_translated_dev_texts_is_chosen_by_agreement(search):
    status, folder, _ = search("translated")
    assert status == 0
    assert protocol_of(folder) == "agreement"
    examples = Examples.read(folder / "examples.npz")
    assert {name: both.shape for name, both in examples.pairs.items()} == {"de": (2, 24)}
    source, target = examples.pairs["de"]
    assert [i.removesuffix("-en") for i in examples.ids[source]] == [
        i.removesuffix("-de") for i in examples.ids[target]
    ]


def test_without_translations_source_dev_chooses_and_a_line_says_what_would_help(search):
    status, folder, err = search("alone", "corpus.path=own.csv")
    assert status == 0
    assert protocol_of(folder) == "source-dev"
    assert err.count("gridsearch.parallel names no parallel sentences") == 1
    status, _, err = search("asked", "corpus.path=own.csv", "gridsearch.protocol=agreement")
    assert status == 2
    assert "accepted: gridsearch.parallel, a folder of parallel sentences" in err


@pytest.mark.parametrize(("name", "n"), [("tatoeba", N), ("sentences", 60)])
def test_parallel_sentences_take_the_place_of_translated_dev_texts(search, name, n):
    status, folder, err = search(name, "corpus.path=own.csv", f"gridsearch.parallel={name}")
    assert status == 0, err
    assert protocol_of(folder) == "agreement"
    frame = csv_files.read(GRIDSEARCH, folder / "gridsearch.csv")
    assert frame["agreement"].notna().all()
    np.testing.assert_allclose(frame["score"], frame["agreement"] - frame["log_loss"])
    examples = Examples.read(folder / "examples.npz")
    source, target = examples.pairs["de"]
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    n_rows = FeatureStore.open(folder.parents[2] / "cache" / digest).n_rows
    assert source.tolist() == list(range(n_rows + n, n_rows + 2 * n))
    assert target.tolist() == list(range(n_rows, n_rows + n))
    status, _, err = search(name, "corpus.path=own.csv", f"gridsearch.parallel={name}")
    assert status == 0
    assert "gridsearch: up to date" in err


def test_sentences_that_choose_nothing_are_told(search, corpora):
    laser(corpora / "few", "deu", FEWEST_PAIRS - 1)
    status, _, err = search("few", "corpus.path=own.csv", "gridsearch.parallel=few")
    assert status == 2
    assert (
        f"gridsearch.parallel: few: de: got {FEWEST_PAIRS - 1} pairs to choose by, accepted: at least" in err
    )
    for run, override, why in (
        ("unread", "gridsearch.protocol=source-dev", "the protocol is source-dev"),
        ("needless", "gridsearch.protocol=auto", "it has no language whose dev texts are not translated"),
    ):
        status, _, err = search(run, override, "gridsearch.parallel=tatoeba")
        assert status == 0
        assert f"gridsearch.parallel is not read: {why}" in err


def test_a_target_that_has_neither_translations_nor_sentences_is_left_to_the_others(search, corpora):
    """German dev is translated, French is not, and the folder has German alone."""
    table = pd.read_csv(corpora / "texts.csv", dtype=str, keep_default_na=False)
    french = table[table["language"] == "de"].assign(language="fr", id=[f"f{k}" for k in range(48)])
    pd.concat([table, french]).to_csv(corpora / "both.csv", index=False)
    status, folder, err = search("both", "corpus.path=both.csv", "gridsearch.parallel=tatoeba")
    assert status == 0, err
    assert list(Examples.read(folder / "examples.npz").pairs) == ["de"]
    assert protocol_of(folder) == "agreement"


def test_the_sentences_are_those_that_were_searched_with(search, corpora):
    copied = corpora / "copied"
    shutil.copytree(corpora / "tatoeba", copied)
    given = ("corpus.path=own.csv", "gridsearch.parallel=copied")
    assert search("changed", *given)[0] == 0
    laser(copied, "deu", N, first=5)
    status, _, err = search("changed", *given)
    assert status == 2
    assert "tatoeba.deu-eng" in err


def test_serial_and_loky_choose_alike_with_parallel_sentences(search):
    given = ("corpus.path=own.csv", "gridsearch.parallel=tatoeba")
    found = []
    for backend in ("serial", "loky"):
        status, folder, _ = search(backend, *given, f"cluster.backend={backend}", "cluster.workers=2")
        assert status == 0
        winner = json.loads((folder / "winner.json").read_text())
        found.append((winner["members"], winner["scores"], (folder / "probe.npz").read_bytes()))
    assert found[0] == found[1]


@pytest.fixture
def stage(corpora, monkeypatch, capsys):
    """Run a stage on texts without translations: (stage, run, overrides) -> status, folder, what was said."""
    monkeypatch.chdir(corpora)

    def call(name, run, *overrides):
        capsys.readouterr()
        own = ("corpus.path=own.csv", "corpus.leaks=keep", "corpus.conflicts=keep", "finetune.epochs=2",
               "finetune.layers=[3]", "finetune.pooling=mean", "finetune.start=random",
               "finetune.learning_rate=3e-3")  # fmt: skip
        status = main([name, "--config", "mine.toml", "--run", run, *own, *overrides])
        return status, corpora / "results/runs" / run, capsys.readouterr().err

    return call


def test_trainings_choose_their_epoch_and_freeze_by_parallel_sentences(stage):
    freezing = ("finetune.systems=['mcbert_wf']", "finetune.seeds=[0]", "finetune.freeze_rule=plateau",
                "finetune.freeze_groups=[[1]]", "finetune.freeze_watch=agreement",
                "finetune.protocol=agreement")  # fmt: skip
    status, _, err = stage("finetune", "without", *freezing)
    assert status == 2
    assert "finetune.protocol: got agreement, but no target language has 20 dev texts" in err
    assert "gridsearch.parallel names no sentences" in err
    status, folder, err = stage("finetune", "with", *freezing, "gridsearch.parallel=tatoeba")
    assert status == 0, err
    table = csv_files.read(FINETUNE, folder / "finetune.csv")
    epochs = table[(table["split"] == "dev")].drop_duplicates("epoch")
    assert epochs["agreement"].notna().all()
    assert set(table["protocol"]) == {"agreement"}
    kept = epochs.loc[epochs["chosen"], "epoch"].item()
    trained = epochs[epochs["epoch"] > 0]
    assert kept == trained.loc[(trained["agreement"] - trained["log_loss"]).idxmax(), "epoch"]
    status, _, err = stage("finetune", "with", *freezing, "gridsearch.parallel=tatoeba")
    assert (status, "finetune: up to date" in err) == (0, True)
    changed = (*freezing, "gridsearch.parallel=sentences")
    assert stage("finetune", "with", *changed)[0] == 2  # other sentences would have chosen


def test_trials_are_ranked_by_parallel_sentences(stage):
    tuned = ("tune.protocol=agreement", "tune.seeds=[0]", "finetune.systems=['mcbert']",
             "tune.values={learning_rate=[1e-3, 1e-2]}")  # fmt: skip
    status, _, err = stage("tune", "untuned", *tuned)
    assert (status, "tune.protocol: got agreement, but no target" in err) == (2, True)
    status, folder, err = stage("tune", "tuned", *tuned, "gridsearch.parallel=tatoeba")
    assert status == 0, err
    means = csv_files.read_with_sums(TUNE, folder / "tune.csv").query("language == 'mean'")
    assert means.sort_values("rank")["agreement"].is_monotonic_decreasing
    assert means["agreement"].notna().all()


def test_the_samples_sentences_choose_for_a_corpus_without_translations(tmp_path, monkeypatch, capsys):
    """English train and dev, test texts of German under ids of their own, the samples' encoder."""
    intents = SAMPLES / "intents"
    table = mcbert.prepare_corpus(
        intents / "raw.csv", translations={"de": intents / "translations" / "de.csv"}, top_labels=4
    )
    kept = table[table["language"].eq("en") | table["split"].eq("test")]
    kept = kept.groupby(["language", "split"]).head(80).reset_index(drop=True)
    kept.assign(id=[f"r{k}" for k in kept.index]).to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "mine.toml").write_text(
        f'[corpus]\npath = "mine.csv"\n[encoder]\npath = "{SAMPLES / "encoder"}"\n[gridsearch]\n'
        f'layers = [6, 12]\nclassifiers = ["ridge", "lda"]\nparallel = "{intents}"\n'
        '[cluster]\nbackend = "serial"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--config", "mine.toml", "--run", "r"]) == 0
    folder = tmp_path / "results/runs/r"
    assert csv_files.validate(folder) == []
    winner = json.loads((folder / "winner.json").read_text())
    assert (winner["protocol"], winner["candidate_id"]) == ("agreement", "ensemble-members=100")
    pairs = Examples.read(folder / "examples.npz").pairs["de"]
    assert FEWEST_PAIRS <= pairs.shape[1] <= MOST
    card = " ".join((folder / "models/probe/README.md").read_text().split())
    assert "no label of a target language was read" in card
    assert "of them differ: they were selected among the best linear candidates, each with which" in card
    assert "drawn among" not in card
    choices = csv_files.read_with_sums(PROTOCOL_CHOICES, folder / "protocols.csv")
    assert {"agreement", "source-dev", "ensemble", "reference"} <= set(choices["protocol"])
    assert "target-dev" not in set(choices["protocol"])  # there is no German dev text
