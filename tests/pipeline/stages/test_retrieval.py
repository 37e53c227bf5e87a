"""The stage `retrieval`, end to end on a tiny folder in LASER's layout, and fed with bad input."""

from __future__ import annotations

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.formats.parallel import read_pairs
from mcbert.finetune.embeddings.systems import Frozen, texts_of
from mcbert.finetune.embeddings.translations import SUFFIXES, evaluate
from mcbert.pipeline.cli import main
from mcbert.results import csv_files
from mcbert.results.csv_files import validate
from mcbert.results.schema.embeddings import TATOEBA

SETS = {
    "deu": [("wo ist mein geld", "where is my money"), ("geld", "money"), ("wo ist", "where is"),
            ("mein parcel order", "my parcel order"), ("bestellung late", "order late")],
    "swh": [("human late", "late human"), ("please cancel", "cancel please"), ("the a", "a the")],
    "fra": [("order", "order"), ("parcel", "parcel"), ("money now", "money now"), ("late", "late")],
}  # fmt: skip


@pytest.fixture
def project(tmp_path, encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets").mkdir()
    for code, pairs in SETS.items():
        for end, side in ((code, 0), ("eng", 1)):
            lines = "".join(f"{pair[side]}\n" for pair in pairs)
            (tmp_path / f"sets/tatoeba.{code}-eng.{end}").write_text(lines)
    (tmp_path / "mine.toml").write_text(
        f'[encoder]\npath = "{encoder_folder}"\n[retrieval]\ntatoeba = "sets"\n'
    )
    return tmp_path


def run(*overrides):
    return main(["retrieval", "--config", "mine.toml", *overrides])


def table(project):
    return csv_files.read_with_sums(TATOEBA, project / "results/runs/mine/tatoeba.csv")


def error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcbert: error:")]
    assert len(lines) == 1
    return lines[0]


def the_cache(project):
    (folder,) = (p.parent for p in (project / "cache").glob("*/manifest.json"))
    return folder


def test_every_language_direction_layer_pooling_and_score_once(project):
    assert run() == 0
    frame = table(project)
    assert validate(project / "results/runs/mine/tatoeba.csv") == []
    assert len(frame) == (3 + 1) * 3 * 5 * 3 * 2
    one_way = frame[frame["direction"].ne("both")]
    counts = {"deu": 5, "fra": 4, "swh": 3, "mean": 12}
    assert dict(zip(one_way["language"], one_way["n"], strict=True)) == counts
    assert set(frame["layers"]) == set("01234")
    assert set(frame["system"]) == {"frozen"}
    assert set(frame["split"]) == {"test"}
    assert (frame["run"] == "mine").all()
    np.testing.assert_allclose(frame["accuracy"] + frame["error_rate"], 1)
    single = frame[frame["language"].ne("mean")]
    np.testing.assert_array_equal(single["accuracy"], single["n_right"] / single["n"])
    assert (frame["error_rate_low"] <= frame["error_rate"]).all()
    assert (frame["error_rate"] <= frame["error_rate_high"]).all()
    assert (frame.loc[frame["language"].eq("fra") & frame["pooling"].eq("mean"), "accuracy"] == 1).all()
    assert frame["accuracy"].nunique() > 2


def test_figures_are_those_of_the_plain_way(project):
    assert run("extract.storage_dtype=float32") == 0
    pairs = read_pairs(project / "sets", ["deu", "fra", "swh"])
    store = FeatureStore.open(the_cache(project))
    frame = table(project).set_index(["language", "direction", "layers", "pooling", "score"])
    for language, group in pairs.groupby("language").indices.items():
        for layer, pooling in store.spec.datasets:
            if (layer, pooling) == (0, "cls"):
                continue  # the same vector for every sentence: see the next test
            x, y = (
                store.states(layers=(layer,), pooling=pooling, rows=group + side).astype(np.float64)
                for side in (0, len(pairs))
            )
            x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
            for direction, cosines in (("to-en", x @ y.T), ("from-en", y @ x.T)):
                nearest = np.round(cosines, 7).argmax(axis=1)  # plain products round, which unties ties
                wanted = (nearest == np.arange(len(group))).sum()
                assert frame.loc[(language, direction, str(layer), pooling, "cosine"), "n_right"] == wanted


def test_sentences_that_all_look_alike_are_found_once(project):
    """The embedding of [CLS] is one vector: every tie goes to the first sentence."""
    assert run() == 0
    frame = table(project)
    found = frame["layers"].eq("0") & frame["pooling"].eq("cls")
    found &= frame["direction"].ne("both") & frame["language"].ne("mean")
    assert (frame.loc[found, "n_right"] == 1).all()


def test_both_directions_are_measured(project):
    """`the` is nearest to its translation, which is nearer to `is`."""
    for end, text in (("deu", "is\nthe\n"), ("eng", "is\nis the\n")):
        (project / f"sets/tatoeba.deu-eng.{end}").write_text(text)
    assert run("retrieval.languages=['deu']", "extract.layers=[0]", "extract.poolings=['mean']") == 0
    frame = table(project).set_index(["direction", "score"])["n_right"]
    assert frame["to-en", "cosine"] == 2
    assert frame["from-en", "cosine"] == 1


def test_languages_are_those_asked_for(project):
    assert run("retrieval.languages=['sw', 'fra']", "extract.poolings=['mean']", "extract.layers=[4]") == 0
    frame = table(project)
    assert frame["language"].unique().tolist() == ["sw", "fra", "mean"]
    assert len(frame) == 3 * 3 * 2


def test_a_second_run_does_nothing_and_other_sentences_are_refused(project, capsys):
    assert run() == 0
    path = project / "results/runs/mine/tatoeba.csv"
    before = path.stat().st_mtime_ns
    assert run() == 0
    assert path.stat().st_mtime_ns == before
    (project / "sets/tatoeba.deu-eng.deu").write_text("a\nb\nc\nd\ne\n")
    capsys.readouterr()
    assert run() == 2
    assert "retrieval was run with another configuration (files.tatoeba.deu-eng.deu" in error(capsys)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("deu-eng.deu", "a\nb\n", "deu-eng.deu: 2 lines, but tatoeba.deu-eng.eng has 5; line 3 stands alone"),
        ("deu-eng.eng", "a\nb\n", "deu-eng.deu: 5 lines, but tatoeba.deu-eng.eng has 2; line 3 stands alone"),
        ("deu-eng.eng", "a\n\nc\nd\ne\n", "tatoeba.deu-eng.eng: row 2 (line 2): it is empty"),
        ("deu-eng.deu", None, "tatoeba.deu-eng.deu: no such file; languages present: deu, fra, swh"),
        ("swh-eng.eng", None, "tatoeba.swh-eng.eng: no such file; languages present: deu, fra, swh"),
    ],
)
def test_bad_files(project, capsys, name, content, said):
    path = project / f"sets/tatoeba.{name}"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert run() == 2
    assert said in error(capsys)


def test_empty_files(project, capsys):
    for end in ("deu", "eng"):
        (project / f"sets/tatoeba.deu-eng.{end}").write_text("")
    assert run() == 2
    assert "tatoeba.deu-eng.deu: line 1: the file is empty; accepted: a sentence a line" in error(capsys)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "retrieval.languages=['xyz']",
            "tatoeba.xyz-eng.xyz: no such file; languages present: deu, fra, swh",
        ),
        ("retrieval.languages=['D']", "retrieval.languages: got 'D', accepted: ISO 639-3 codes"),
        ("retrieval.neighbours=0", "retrieval.neighbours: got 0, accepted: a whole number from 1"),
        ("retrieval.tatoeba=", "retrieval.tatoeba: got nothing, accepted: a folder in LASER's layout"),
        ("retrieval.tatoeba=nowhere", "retrieval.tatoeba: no tatoeba.<xxx>-eng.<xxx> in nowhere"),
    ],
)
def test_bad_settings(project, capsys, override, said):
    assert run(override) == 2
    assert said in error(capsys)


class Changed(FeatureStore):
    """A finished cache with some rows skipped, or zero."""

    skip: tuple[int, ...] = ()
    zero: int | None = None

    @classmethod
    def open(cls, folder):
        store = super().open(folder)
        store.index = store.index.copy()
        store.index[list(cls.skip)] = -1
        return store

    def states(self, *, layers, pooling, rows):
        out = super().states(layers=layers, pooling=pooling, rows=rows)
        out[rows == self.zero] = 0
        return out


def changed(project, monkeypatch, **what):
    assert run("extract.layers=[4]", "extract.poolings=['mean']") == 0
    pairs = read_pairs(project / "sets", ["deu", "fra", "swh"])
    assert len(texts_of(pairs, SUFFIXES)) == 24
    store = type("Other", (Changed,), what).open(the_cache(project))
    columns = {"system": "frozen", "encoder": "it", "layers": "4", "pooling": "mean"}
    frame, reductions = evaluate(pairs, [Frozen(store, (4,), "mean", columns)], neighbours=4)
    assert reductions.empty
    return frame[frame["direction"].ne("both")].set_index("language")


def test_skipped_sentences_are_named(project, monkeypatch, capsys):
    rows = np.array([0, 5, 18, 9, 10, 11])
    monkeypatch.setattr("mcbert.features.cache.FeatureStore.skipped_rows", rows)
    assert run("extract.layers=[4]", "extract.poolings=['mean']") == 0
    named = "deu-1, fra-1, fra-2-en, swh-1, swh-2, ..."
    said = f"6 sentences have no finite state; their pairs count as wrong: {named}"
    assert said in capsys.readouterr().err


def test_skipped_sentences_count_as_wrong(project, monkeypatch):
    """Rows 5 to 8 are French, and so are 17 to 20, their translations."""
    frame = changed(project, monkeypatch, skip=(0, 5, 18, 9, 10, 11))
    assert frame.loc["fra"][["n", "n_skipped", "n_right"]].to_numpy().tolist() == [[4, 2, 2]] * 4
    assert (frame.loc["fra", "accuracy"] == 0.5).all()
    assert frame.loc["swh"][["n", "n_skipped", "n_right"]].to_numpy().tolist() == [[3, 3, 0]] * 4
    assert (frame.loc["deu", "n_skipped"] == 1).all()
    assert (frame.loc["mean", "n_skipped"] == 6).all()


def test_a_zero_vector_is_named(project, monkeypatch):
    with pytest.raises(ValueError, match=r"row 18: id fra-2-en: layer 4, mean: "):
        changed(project, monkeypatch, zero=18)
