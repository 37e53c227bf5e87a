"""Sentence encoders beside the frozen layers, end to end on a tiny encoder, and fed with bad input."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mcbert.features.corpus.formats.stsbenchmark import read_stsbenchmark
from mcbert.features.corpus.normal_forms import lowered
from mcbert.home import HOME
from mcbert.pipeline.cli import main
from mcbert.pipeline.config import load
from mcbert.pipeline.interruption import Interruption
from mcbert.pipeline.run import Run
from mcbert.pipeline.stages.evaluation import evaluate
from mcbert.pipeline.workspace import Workspace
from mcbert.results import csv_files
from mcbert.results.csv_files import read, validate, write
from mcbert.results.report.embeddings import side_by_side
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA
from mcbert.results.schema.training import EMBEDDINGS_TRAININGS
from mcbert.results.schema.words import STAMP
from tests.conftest import WORDS

DATA = os.environ.get("MCBERT_DATA", "")
REAL = pytest.mark.skipif(not DATA, reason="MCBERT_DATA names no folder with stsbenchmark/ and tatoeba/v1/")


class Bags:
    """A sentence encoder that counts words: like sentences share them, translations here share all."""

    def __init__(self, name="bags", blocks=(), version=1, width=None):
        self.name, self.blocks, self.version, self.width = name, blocks, version, width

    def identity(self):
        return {"version": self.version, "blocks": list(self.blocks)}

    def encode(self, texts):
        known = {word: k for k, word in enumerate(sorted({*WORDS, "parcel2"}))}
        out = np.full((self.width or len(texts), len(known)), 0.01, dtype=np.float32)
        for k, text in enumerate(texts[: len(out)]):
            for word in text.lower().split():
                out[k, known.get(word, 0)] += 1
        return out


def sentence(rng, n=6):
    return [str(word) for word in rng.choice(WORDS, size=n)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pairs that share 0 to 5 words, as many as their score; "translations" in another order of words."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "sts").mkdir()
    for split in ("dev", "test"):
        rows = ["id,score,sentence1,sentence2"]
        for k in range(30):
            shared, first = k % 6, sentence(rng)
            second = first[:shared] + sentence(rng, 6 - shared)
            rows.append(f"{split}{k},{shared},{' '.join(first)},{' '.join(second)}")
        (folder / f"sts/{split}.csv").write_text("\n".join(rows) + "\n")
    (folder / "intents/translations").mkdir(parents=True)
    texts = {f"t{k}": sentence(rng) for k in range(24)}
    sides = {"raw": texts} | {f"translations/{name}": texts for name in ("de", "fr")}
    for name, rows in sides.items():
        lines = [f"{key},{' '.join(words if name == 'raw' else words[::-1])}" for key, words in rows.items()]
        lines = [f"{line}{',dev' if k % 3 == 0 else ',test'}" if name == "raw" else line
                 for k, line in enumerate(lines)]  # fmt: skip
        header = "id,text,split" if name == "raw" else "id,text"
        (folder / f"intents/{name}.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


@pytest.fixture
def project(tmp_path, data, encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return furnished(tmp_path, data, encoder_folder)


def furnished(folder, data, encoder_folder):
    shutil.copytree(data, folder, dirs_exist_ok=True)
    (folder / "mine.toml").write_text(
        f'[encoder]\npath = "{encoder_folder}"\n[retrieval]\ntatoeba = "intents"\nsts = "sts"\n'
    )
    return folder


def pipeline(project, *overrides, run="mine"):
    config = load(str(project / "mine.toml"), overrides)
    return Workspace(config, Run(project / "runs", run), project / "cache", Interruption())


def tables(project, run="mine"):
    folder = project / "runs" / run
    assert validate(folder / "sts.csv") == []
    return [csv_files.read_with_sums(table, folder / table.file_name) for table in (STS, TATOEBA, REDUCTIONS)]


def error(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcbert: error:")]
    assert len(lines) == 1
    return lines[0]


def of(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name].eq(value)]
    return frame


def trained(path):
    """Write the table of two trainings, the weights of the first of which are saved."""
    row = dict.fromkeys(STAMP, "x") | {
        "transfer": "zero-shot", "objective": "ranking", "epoch": 1, "step": 4, "layers": "2+3",
        "pooling": "mean", "protocol": "target-dev", "precision": "float32", "seconds": 1.0,
    }  # fmt: skip
    path.parent.mkdir(parents=True)
    write(EMBEDDINGS_TRAININGS, pd.DataFrame([row | {"seed": seed} for seed in (3, 1)]), path)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, data, encoder_folder):
    folder = furnished(tmp_path_factory.mktemp("evaluated"), data, encoder_folder)
    ours = folder / "runs/mine/models/embeddings"
    trained(folder / "runs/mine/embeddings_trainings.csv")
    evaluate(pipeline(folder), [Bags(), Bags(str(ours), blocks=["2:mean", "3:mean"])])
    return folder


def test_every_frozen_layer_and_every_encoder_on_dev_and_the_chosen_on_test(evaluated):
    sts, tatoeba, _ = tables(evaluated)
    dev, test = (of(sts, split=split, similarity="cosine") for split in ("dev", "test"))
    assert dev["system"].value_counts().to_dict() == {"frozen": 6 * 3, "fine-tuned": 1, "other": 1}
    best = dev.loc[of(dev, system="frozen")["spearman"].idxmax()]
    shown = set(zip(test["system"], test["layers"], test["pooling"], strict=True))
    bases = {("frozen", layers, pooling) for layers in ("4", "2+3") for pooling in ("max", "mean", "cls")}
    encoders = {("other", "", ""), ("fine-tuned", "2+3", "mean")}
    assert shown == bases | encoders | {("frozen", best["layers"], best["pooling"])}
    assert set(sts["frozen_layers"]) == {best["layers"]}
    assert len(sts) == 4 * (len(dev) + len(test))
    splits = tatoeba.groupby("split")["layers"].nunique()
    assert splits["dev"] == 5 + 1 + 1
    assert splits["test"] <= 4


def test_rows_tell_how_a_system_was_chosen_and_the_seed_of_its_training(evaluated):
    how = {"frozen": ("last", ""), "fine-tuned": ("target-dev", "3"), "other": ("", "")}
    for table in tables(evaluated):
        seeds = table["seed"].astype("string").fillna("")
        told = set(zip(table["system"], table["protocol"], seeds, strict=True))
        assert told == {(system, *how[system]) for system in set(table["system"])}


def test_figures_are_those_of_the_plain_way(evaluated):
    sts, tatoeba, _ = tables(evaluated)
    pairs = of(read_stsbenchmark(evaluated / "sts"), split="test")
    u, v = (Bags().encode(pairs[side].tolist()).astype(np.float64) for side in ("text", "text_pair"))
    cosine = (u * v).sum(axis=1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    (row,) = of(sts, system="other", split="test", similarity="cosine").to_dict("records")
    assert row["spearman"] == pytest.approx(stats.spearmanr(cosine.round(12), pairs["score"]).statistic)
    assert row["pearson"] == pytest.approx(stats.pearsonr(cosine, pairs["score"]).statistic)
    assert row["spearman"] > 0.8
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"]
    assert (of(tatoeba, system="other", score="cosine")["error_rate"] == 0).all()


def test_differences_are_to_the_best_frozen_system_on_dev(evaluated):
    sts = of(tables(evaluated)[0], similarity="cosine")
    for _, rows in sts.groupby("split"):
        base = rows[rows["layers"].eq(rows["frozen_layers"]) & rows["pooling"].eq(rows["frozen_pooling"])]
        base = of(base, system="frozen").iloc[0]
        assert base["versus_frozen"] == base["versus_frozen_low"] == base["versus_frozen_high"] == 0
        known = rows.dropna(subset="spearman")
        np.testing.assert_allclose(known["versus_frozen"], known["spearman"] - base["spearman"])
        assert (known["versus_frozen_low"] <= known["versus_frozen"] + 1e-12).all()


def test_only_the_headline_has_intervals_and_no_row_is_a_maximum(evaluated):
    sts = tables(evaluated)[0]
    others = sts[sts["similarity"].ne("cosine")]
    assert others[["spearman_low", "spearman_high", "versus_frozen"]].isna().all(axis=None)
    assert set(sts["similarity"]) == {"cosine", "manhattan", "euclidean", "dot"}


def test_errors_avoided_beside_each_baseline(evaluated):
    _, tatoeba, cuts = tables(evaluated)
    errors = tatoeba.set_index(
        ["system", "layers", "pooling", "language", "split", "direction", "score"]
    )["error_rate"]  # fmt: skip
    assert set(cuts["system"]) == {"other", "fine-tuned"}
    assert set(of(cuts, system="other")["baseline_layers"]) == {"4"}
    ours = of(cuts, system="fine-tuned")
    assert set(zip(ours["baseline_layers"], ours["baseline_pooling"], strict=True)) == {
        (layers, pooling) for layers in ("4", "2+3") for pooling in ("max", "mean", "cls")
    }
    for row in of(cuts, split="test").to_dict("records"):
        what = (row["language"], "test", row["direction"], row["score"])
        base = errors["frozen", row["baseline_layers"], row["baseline_pooling"], *what]
        assert row["baseline_error_rate"] == pytest.approx(base)
        assert row["error_rate"] == pytest.approx(errors[row["system"], row["layers"], row["pooling"], *what])
        if not base:
            assert np.isnan(row["reduction"])
            continue
        assert row["reduction"] == pytest.approx(1 - row["error_rate"] / base)
        assert row["reduction_low"] <= row["reduction"] <= row["reduction_high"]
    mean = of(cuts, language="mean", direction="both", system="other", split="test", score="cosine")
    assert (mean["reduction"].dropna() == 1).all()


def test_a_direction_apart_and_both_together(evaluated):
    tatoeba = of(
        tables(evaluated)[1], system="frozen", layers="4", pooling="mean", score="cosine", split="test"
    )
    found = tatoeba.set_index(["language", "direction"])
    for language in ("de", "fr"):
        ways = found.loc[language]
        assert ways.loc["both", "n_right"] == ways.loc[["to-en", "from-en"], "n_right"].sum()
        assert ways.loc["both", "n"] == 2 * ways.loc["to-en", "n"] == 2 * 16
    assert found.loc[("mean", "both"), "error_rate"] == pytest.approx(
        found.loc[[("de", "both"), ("fr", "both")], "error_rate"].mean()
    )


def test_results_stay_where_fewer_encoders_are_asked_for(evaluated, tmp_path, caplog):
    shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)
    caplog.set_level("INFO")
    path = tmp_path / "runs/mine/tatoeba.csv"
    before = path.read_bytes()
    evaluate(pipeline(tmp_path), [Bags()])
    assert path.read_bytes() == before
    assert "similarity: up to date" in caplog.text
    assert "retrieval: up to date" in caplog.text
    with pytest.raises(ValueError, match="similarity was run with another configuration"):
        evaluate(pipeline(tmp_path, "encoder.max_length=9"), [Bags()])


def test_another_encoder_of_the_name_replaces_results(project):
    for version in (1, 2):
        evaluate(pipeline(project, "retrieval.tatoeba="), [Bags(version=version)])
        inputs = pipeline(project).run.inputs("similarity")
        assert list(inputs["systems"]) == ["other bags"]
    first = inputs["systems"]
    evaluate(pipeline(project, "retrieval.tatoeba="), [Bags("bags3")])
    assert pipeline(project).run.inputs("similarity")["systems"] != first
    assert set(of(read(STS, project / "runs/mine/sts.csv"), system="other")["encoder"]) == {"bags3"}


def test_the_casing_of_the_original_is_labelled(project):
    text = (project / "sts/dev.csv").read_text().replace("money", "Mönéy")
    (project / "sts/dev.csv").write_text(text)
    evaluate(pipeline(project, "retrieval.seed_compat=true"), [Bags()])
    sts, tatoeba, cuts = tables(project)
    for frame in (sts, tatoeba, cuts):
        assert frame["system"].str.endswith("-seed-compat").all()
    shares = sts.groupby("split")["altered"].first()
    pairs = of(read_stsbenchmark(project / "sts"), split="dev")
    texts = [*pairs["text"], *pairs["text_pair"]]
    assert shares["dev"] == pytest.approx(np.mean([lowered(t) != t for t in texts]))
    assert shares["dev"] > 0
    assert shares["test"] == 0


def test_the_encoder_reads_what_the_casing_left(project):
    seen = []

    class Watching(Bags):
        def encode(self, texts):
            seen.extend(texts)
            return super().encode(texts)

    (project / "sts/dev.csv").write_text((project / "sts/dev.csv").read_text().upper().replace("DEV", "d"))
    head, _, rows = (project / "sts/dev.csv").read_text().partition("\n")
    (project / "sts/dev.csv").write_text(f"{head.lower()}\n{rows}")
    for overrides, run in (((), "plain"), (("retrieval.seed_compat=true",), "compat")):
        seen.clear()
        evaluate(pipeline(project, "retrieval.tatoeba=", *overrides, run=run), [Watching()])
        assert any(text.isupper() for text in seen) is (run == "plain")


def test_the_command_prints_measured_and_published_apart(project, encoder_folder, capsys):
    models = [f"--model={encoder_folder}@3:mean", f"--model={encoder_folder}@3+4:max"]
    assert main(["evaluate-embeddings", "--config", "mine.toml", "--runs", "runs", *models]) == 0
    out = capsys.readouterr().out
    measured, published = out.split("Published elsewhere")
    assert measured.count("| other |") == 2
    assert "| 3+4 | max |" in measured
    assert "LaBSE" in published
    assert "LaBSE" not in measured
    assert "| other |" not in published
    folder = project / "runs/mine"
    assert side_by_side(folder) == out
    table = read(STS, folder / "sts.csv")
    frozen, other = (of(table, system=s, layers="3", pooling="mean", split="dev", similarity="cosine")
                     for s in ("frozen", "other"))  # fmt: skip
    assert frozen["spearman"].iloc[0] == pytest.approx(other["spearman"].iloc[0], abs=2e-3)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["retrieval.sts=", "retrieval.tatoeba="], "retrieval.sts: got nothing, and so retrieval.tatoeba"),
        (["retrieval.sts=nowhere"], "nowhere: no such file"),
        (
            ["extract.layers=[1, 2]"],
            "extract.layers: got [1, 2]; the baselines need layer 4; accepted: any with",
        ),
        (["extract.poolings=['mean']"], "extract.poolings: got ['mean']; the baselines need max, mean, cls"),
    ],
)
def test_settings_that_cannot_work(project, encoder_folder, capsys, overrides, said):
    command = ["evaluate-embeddings", "--config", "mine.toml", "--model", f"{encoder_folder}@3:mean"]
    assert main([*command, *overrides]) == 2
    assert said in error(capsys)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{}@9:mean", "layers: got 9; accepted: 0 (embeddings) to 4"),
        ("{}@3:min", "min"),
        ("{}", "a plain encoder; accepted: with layers"),
        ("nowhere", "nowhere"),
    ],
)
def test_models_that_cannot_be_opened(project, encoder_folder, capsys, model, said):
    command = ["evaluate-embeddings", "--config", "mine.toml", "--model", model.format(encoder_folder)]
    assert main(command) == 2
    assert said in error(capsys)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "sts/dev.csv",
            "dev4,4",
            "dev4,7",
            r"dev\.csv: row 5 \(line 6\): column score: got '7', accepted: a",
        ),
        ("sts/test.csv", r"\Z", "x,3,a,\n", r"test\.csv: row 31 \(line 32\): column sentence2: it is empty"),
        ("sts/test.csv", None, None, r"sts: 0 test pairs; accepted: 2 or more, in dev and in test"),
        ("sts/dev.csv", r"dev1(.|\n)*", "", r"sts: 1 dev pairs; accepted: 2 or more"),
        ("intents/translations/de.csv", "t4,", "t99,", r"de\.csv: row 5 .* got 't99', which raw\.csv lacks"),
        ("intents/translations/de.csv", r"t4,.*", "t4,", r"de\.csv: row 5 .*: column text: it is empty"),
    ],
)
def test_files_that_do_not_fit(project, name, old, new, said):
    path = project / name
    text = path.read_text()
    path.unlink()
    if old is not None:
        path.write_text(re.sub(old, new, text, count=1))
    with pytest.raises(ValueError, match=said) as caught:
        evaluate(pipeline(project), [])
    assert "\n" not in str(caught.value)


def test_encoders_that_do_not_fit(project):
    with pytest.raises(ValueError, match="--model bags: .*'bags'"):
        evaluate(pipeline(project), [Bags(), Bags(version=2)])
    with pytest.raises(ValueError, match=r"--model bags: got \(3, \d+\) for \d+ texts"):
        evaluate(pipeline(project), [Bags(width=3)])


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_vector_without_direction_is_named(project, value):
    class Broken(Bags):
        def encode(self, texts):
            out = super().encode(texts)
            out[0] = value
            return out

    with pytest.raises(ValueError, match="id dev0, sentence1: other bags: "):
        evaluate(pipeline(project, "retrieval.tatoeba="), [Broken()])


def test_the_demo_evaluates_on_the_samples():
    settings = load("demo").retrieval
    assert settings.tatoeba == str(HOME / "samples/intents")
    assert settings.sts == str(HOME / "samples/sts")
    pairs = read_stsbenchmark(Path(settings.sts))
    assert pairs["split"].value_counts().to_dict() == {"dev": 150, "test": 150}


@REAL
def test_the_real_sets_are_read(project):
    from mcbert.features.corpus.formats.parallel import languages_in, read_pairs

    pairs = read_stsbenchmark(Path(DATA) / "stsbenchmark")
    assert pairs["split"].value_counts().to_dict() == {"train": 5749, "dev": 1500, "test": 1379}
    folder = Path(DATA) / "tatoeba/v1"
    names = languages_in(folder)
    assert names
    sizes = read_pairs(folder, names).groupby("language").size()
    assert (sizes == 1000).all()


@REAL
def test_counting_shared_words_agrees_with_people_on_the_real_pairs(project, encoder_folder):
    """A system that needs no training, as a check of reading, order and sign."""

    class Hashed(Bags):
        def encode(self, texts):
            out = np.full((len(texts), 512), 1e-3, dtype=np.float32)
            for k, text in enumerate(texts):
                for word in text.lower().rstrip(".").split():
                    out[k, sum(word.encode()) * 31 % 512] += 1
            return out

    sts = f"retrieval.sts={Path(DATA) / 'stsbenchmark'}"
    evaluate(pipeline(project, "retrieval.tatoeba=", sts, "extract.layers=[4]"), [Hashed()])
    frame = read(STS, project / "runs/mine/sts.csv")
    (row,) = of(frame, system="other", split="test", similarity="cosine").to_dict("records")
    assert row["n_pairs"] == 1379
    assert 0.40 < row["spearman"] < 0.50
    assert row["spearman_low"] > 0.35
