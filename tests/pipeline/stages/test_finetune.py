"""Training starts where the search ended: at step 0 the model labels texts as the candidate did."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.files import sha256
from mcbert.finetune.calibration import softmax
from mcbert.finetune.evaluation import compute_logits, score_languages
from mcbert.finetune.export.cards import escaped
from mcbert.finetune.jobs import FinetuneJob
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.systems import build
from mcbert.finetune.winner import read_architecture
from mcbert.pipeline.cli import main
from mcbert.search.fitting.probe import Probe
from mcbert.search.refit import find_linear

SETTINGS = """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 16
[extract]
storage_dtype = "float32"
[gridsearch]
ensemble = 0
layers = [1, 3]
poolings = ["max", "mean"]
[finetune]
systems = ["mcbert"]
seeds = [0]
epochs = 1
batch_size = 8
learning_rate = 1e-3
start = "probe"
[cluster]
backend = "serial"
"""


@pytest.fixture(scope="module")
def project(make_project, texts_table):
    """A corpus of three labels, of which the third is not easily told."""
    more = texts_table[texts_table["label"] == "refund"].assign(label="human")
    more = more.assign(id="h" + more["id"], text=more["text"].str.replace("money", "late"))
    return make_project(SETTINGS, pd.concat([texts_table, more]))


@pytest.fixture
def run(project, monkeypatch):
    """Run a stage: (name, overrides) -> status, the run's folder."""
    monkeypatch.chdir(project)

    def run(name, *overrides, stage="finetune"):
        status = main([stage, "--config", "mine.toml", "--run", name, *overrides])
        return status, project / "results/runs" / name

    return run


def first_model(folder, **settings):
    """Build the model that a run's trainings start from."""
    corpus = Corpus.read(folder / "texts.csv")
    encoder, chosen = folder.parents[2] / "encoder", FinetuneSettings(start="probe", **settings)
    architecture = read_architecture(
        folder / "start.json",
        chosen,
        labels=corpus.labels,
        encoder=json.loads((folder / "start.json").read_text())["encoder"],
        n_layers=4,
    )
    job = FinetuneJob(
        system="mcbert", seed=0, settings=chosen, architecture=architecture, freeze={}, stamp={},
        corpus=folder / "texts.csv", encoder=encoder, out=folder, source_language="en",
    )  # fmt: skip
    model, head = build(job, corpus.labels)
    tokenizer = load_tokenizer(encoder)
    texts = list(zip(corpus.table["text"], corpus.table["text_pair"], strict=True))
    return corpus, model, head, compute_logits(model, tokenizer, tokenise(tokenizer, texts, 16))


@pytest.mark.parametrize("classifiers", ["logistic_regression", "ridge", "lda", "linear_svm','ridge"])
def test_at_step_0_the_model_labels_every_text_as_the_search_did(run, classifiers):
    name = classifiers.replace("','", "-")
    status, folder = run(name, f"gridsearch.classifiers=['{classifiers}']")
    assert status == 0
    grid = pd.read_csv(folder / "gridsearch.csv")
    row = grid[grid["classifier"] != "linear_svm"].iloc[0]
    start = json.loads((folder / "start.json").read_text())
    assert (start["candidate_id"], start["rank"]) == (row["candidate_id"], row["rank"])
    corpus, _, head, logits = first_model(folder)
    assert head == {"classifier.weight", "classifier.bias"}
    probe = Probe.load(folder / "start.npz")
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    X = FeatureStore.open(folder.parents[2] / "cache" / digest).states(
        layers=probe.layers, pooling=probe.pooling
    )
    scores = (X.astype(np.float64) - probe.mean) / probe.scale @ probe.weights + probe.intercept
    np.testing.assert_allclose(logits * start["temperature"], scores, atol=1e-4 * start["temperature"])
    assert (logits.argmax(axis=1) == probe.predict(X)).all()
    assert len(set(probe.predict(X))) == 3
    curves = pd.read_csv(folder / "finetune.csv").query("epoch == 0 and split == 'dev'").set_index("language")
    for language in ("en", "de"):
        assert curves.loc[language, "accuracy"] == pytest.approx(row[f"dev_f1_micro_{language}"])
    dev = corpus.rows(split="dev")
    found = score_languages(logits[dev], corpus.y[dev], corpus.table["language"].to_numpy(dtype=str)[dev])
    assert curves.loc["de", "loss"] == pytest.approx(found["de"].loss, abs=1e-5)
    trained = pd.read_csv(folder / "trainings.csv")
    assert (trained["layers"].astype(str) == str(row["layers"])).all()
    assert set(curves["protocol"]) == {start["protocol"]}


@pytest.mark.parametrize("classifier", ["logistic_regression", "ridge", "lda"])
def test_from_a_float16_cache_only_what_its_rounding_may_turn_is_labelled_otherwise(run, classifier):
    """The search read rounded states, the model computes them anew: a score moves by what rounding can do."""
    status, folder = run(
        f"half-{classifier}", f"gridsearch.classifiers=['{classifier}']", "extract.storage_dtype=float16"
    )
    assert status == 0
    corpus, _, _, logits = first_model(folder)
    probe = Probe.load(folder / "start.npz")
    digest = json.loads((folder / "cache.json").read_text())["digest"]
    X = FeatureStore.open(folder.parents[2] / "cache" / digest).states(
        layers=probe.layers, pooling=probe.pooling
    )
    assert (X.astype(np.float16) == X).all()
    weights = probe.weights / probe.scale[:, None]
    scores = (X.astype(np.float64) - probe.mean) @ weights + probe.intercept
    moved = np.abs(X) * 2.0**-11 @ np.abs(weights) + 1e-3 * np.abs(scores).max()  # (n_texts, n_labels)
    temperature = json.loads((folder / "start.json").read_text())["temperature"]
    differing = np.abs(logits * temperature - scores)
    assert (differing <= moved).all()
    assert (differing > 0).any()
    two = np.sort(scores, axis=1)[:, -2:]
    sure = two[:, 1] - two[:, 0] > 2 * moved.max(axis=1)
    assert sure.mean() > 0.8
    searched = pd.read_csv(folder / "predictions_gridsearch.csv").set_index("id")["predicted"]
    mine = pd.Series(np.array(corpus.labels)[logits.argmax(axis=1)], index=corpus.table["id"])
    agree = mine[searched.index] == searched
    certain = pd.Series(sure, index=corpus.table["id"])[searched.index]
    assert agree[certain].all()
    assert agree.mean() > 0.95
    curves = pd.read_csv(folder / "finetune.csv").query("epoch == 0 and split == 'dev'").set_index("language")
    row = pd.read_csv(folder / "gridsearch.csv").iloc[0]
    for language in ("en", "de"):
        near = int((~sure & (corpus.table["split"] == "dev") & (corpus.table["language"] == language)).sum())
        n_texts = curves.loc[language, "n_texts"]
        assert (
            abs(curves.loc[language, "accuracy"] - row[f"dev_f1_micro_{language}"]) <= near / n_texts + 1e-9
        )


def test_the_first_loss_is_that_of_calibrated_scores(run):
    """Ridge's scores stay between -1 and 1: their softmax would say little of what is known."""
    _, folder = run("ridge", "gridsearch.classifiers=['ridge']")
    corpus, _, _, logits = first_model(folder)
    rows = corpus.rows(split="dev", language="en")
    temperature = json.loads((folder / "start.json").read_text())["temperature"]
    losses = [
        -np.log(softmax(logits[rows] * scale)[np.arange(len(rows)), corpus.y[rows]]).mean()
        for scale in (1.0, temperature)
    ]
    assert losses[0] < losses[1] - 0.1


def test_the_probe_moves_the_trained_model_away_from_a_random_start(run):
    _, folder = run("ridge", "gridsearch.classifiers=['ridge']")
    _, random = run("random", "gridsearch.classifiers=['ridge']", "finetune.start=random")
    assert not (random / "start.json").exists()
    first = [pd.read_csv(f / "finetune.csv").query("epoch == 0")["accuracy"].mean() for f in (folder, random)]
    assert first[0] > first[1]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["gridsearch.classifiers=['ridge']"], ""),
        (
            ["gridsearch.classifiers=['linear_svm']"],
            "of the winner's layers and pooling no classifier with a score for each label was searched",
        ),
        (["gridsearch.classifiers=['ridge']", "finetune.head_layers=1"], "finetune.head_layers is 1"),
        (["gridsearch.classifiers=['ridge']", "finetune.layers=[2]"], "finetune.layers are not the winner's"),
        (
            ["gridsearch.classifiers=['ridge']", "finetune.pooling=cls"],
            "finetune.pooling is not the winner's",
        ),
        (
            ["gridsearch.classifiers=['ridge']", "extract.special_tokens=exclude"],
            "the search left out special tokens",
        ),
    ],
)
def test_by_default_the_head_starts_as_the_winner_where_it_can_and_says_why_where_not(
    run, capsys, overrides, said
):
    name = f"auto-{zlib.crc32(repr(overrides).encode()):x}"
    status, folder = run(name, "finetune.start=auto", *overrides)
    assert status == 0
    err = capsys.readouterr().err
    curves = pd.read_csv(folder / "finetune.csv", keep_default_na=False)
    trained = pd.read_csv(folder / "trainings.csv", keep_default_na=False)
    card = (folder / "models/mcbert/README.md").read_text()
    if said:
        assert f"finetune: the head is newly initialised: {said}" in err
        assert not (folder / "start.json").exists()
        assert set(trained["start"]) == {""}
        assert "newly initialised" in card
        return
    winner = json.loads((folder / "winner.json").read_text())["candidate_id"]
    assert f"finetune: the head starts from {winner}, rank 1" in err
    assert set(trained["start"]) == {winner}
    assert f"that started from {escaped(winner)}" in card
    first = curves[(curves["epoch"] == 0) & (curves["language"] == "en")]["accuracy"].item()
    assert first == pytest.approx(pd.read_csv(folder / "gridsearch.csv").iloc[0]["dev_f1_micro_en"])


def test_beside_a_winner_of_votes_the_head_starts_as_the_best_of_its_layers_that_has_scores(run):
    overrides = ("gridsearch.classifiers=['linear_svm','ridge']", "gridsearch.protocol=last")
    status, folder = run("votes", "finetune.start=auto", *overrides)
    assert status == 0
    winner = json.loads((folder / "winner.json").read_text())
    start = json.loads((folder / "start.json").read_text())
    assert (winner["classifier"], start["classifier"]) == ("linear_svm", "ridge")
    assert (start["layers"], start["pooling"]) == (winner["layers"], winner["pooling"])


def test_named_layers_and_pooling_are_trained_without_a_search_by_default(run):
    status, folder = run("unsearched", "finetune.start=auto", "finetune.layers=[2]", "finetune.pooling=max")
    assert status == 0
    assert not (folder / "winner.json").exists()


def test_named_layers_start_from_the_best_classifier_of_theirs(run):
    overrides = (
        "gridsearch.classifiers=['ridge','linear_svm']",
        "finetune.layers=[1]",
        "finetune.pooling=mean",
    )
    status, folder = run("named", *overrides)
    assert status == 0
    grid = pd.read_csv(folder / "gridsearch.csv").query("layers.astype('str') == '1' and pooling == 'mean'")
    start = json.loads((folder / "start.json").read_text())
    assert start["candidate_id"] == grid[grid["classifier"] == "ridge"].iloc[0]["candidate_id"]
    trained = pd.read_csv(folder / "trainings.csv")
    assert set(trained["layers"].astype(str)) == {"1"}
    assert set(trained["protocol"]) == {start["protocol"]}  # the classifier was chosen by it, if no layer was
    with pytest.raises(ValueError, match="layers 2; acc"):
        find_linear(folder, n_labels=3, layers=[2])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["gridsearch.classifiers=['linear_svm']"],
            "3 labels; accepted: logistic_regression, ridge, lda",
        ),
        (
            ["gridsearch.classifiers=['ridge']", "finetune.layers=[2]"],
            'finetune.layers: got 2 with finetune.start = "probe", accepted: those of gridsearch.layers',
        ),
        (["extract.special_tokens=exclude"], 'finetune.start: got "probe" with extract.special_tokens'),
        (["finetune.head_layers=1"], "finetune.head_layers: got 1, accepted: 0 with finetune.start"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_a_line(run, capsys, overrides, said, request):
    few = [] if "classifiers" in overrides[0] else ["gridsearch.classifiers=['ridge']"]
    status, folder = run(f"bad-{abs(hash(said)) % 9999}", *few, *overrides)
    assert status == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (folder / "gridsearch.csv").exists()  # before anything is encoded


def test_a_binary_svm_is_a_score_for_each_label(run, project):
    table = pd.read_csv(project / "texts.csv")
    table[table["label"] != "human"].to_csv(project / "two.csv", index=False)
    status, folder = run("two", "corpus.path=two.csv", "gridsearch.classifiers=['linear_svm']")
    assert status == 0
    assert json.loads((folder / "start.json").read_text())["rank"] == 1
    corpus, _, _, logits = first_model(folder)
    winners = pd.read_csv(folder / "predictions_gridsearch.csv").set_index("id")["predicted"]
    mine = pd.Series(np.array(corpus.labels)[logits.argmax(axis=1)], index=corpus.table["id"])
    assert (mine[winners.index] == winners).all()


@pytest.mark.parametrize("start", ["auto", "random"])
def test_after_an_ensemble_the_layers_of_its_best_candidate_are_trained(run, capsys, start):
    classifiers = "gridsearch.classifiers=['ridge','lda']"
    status, folder = run(
        f"ensemble-{start}", "gridsearch.ensemble=20", classifiers, f"finetune.start={start}"
    )
    assert status == 0
    winner = json.loads((folder / "winner.json").read_text())
    assert winner["classifier"] == "ensemble"
    best = winner["best"]
    trained = pd.read_csv(folder / "trainings.csv", keep_default_na=False, dtype={"layers": str})
    assert set(trained["layers"]) == {"+".join(map(str, best["layers"]))}
    assert set(trained["pooling"]) == {best["pooling"]}
    if start == "auto":
        assert f"finetune: the head starts from {best['candidate_id']}, rank 2" in capsys.readouterr().err
        assert set(trained["start"]) == {best["candidate_id"]}


def test_the_head_may_start_as_the_ensemble_over_all_of_its_layers(run, capsys):
    given = ("gridsearch.ensemble=20", "gridsearch.classifiers=['ridge','lda']", "finetune.start=ensemble")
    status, folder = run("whole-ensemble", *given)
    assert status == 0
    winner = json.loads((folder / "winner.json").read_text())
    start = json.loads((folder / "start.json").read_text())
    assert (start["layers"], start["pooling"]) == (winner["layers"], winner["pooling"])
    assert "finetune: the head starts from ensemble-members=20, rank 1" in capsys.readouterr().err
    corpus, _, _, logits = first_model(folder)
    found = pd.read_csv(folder / "predictions_gridsearch.csv").set_index("id")["predicted"]
    mine = pd.Series(np.array(corpus.labels)[logits.argmax(axis=1)], index=corpus.table["id"])
    assert (mine[found.index] == found).all()
    for more in ("gridsearch.ensemble=0", "gridsearch.protocol=last"):
        assert run("no-ensemble", *given, more)[0] == 2
        assert 'finetune.start: got "ensemble" with ' in capsys.readouterr().err


def test_a_winner_of_an_earlier_version_is_trained_and_exported(run):
    """It has no members, and no best beside itself."""
    status, folder = run("earlier", "finetune.start=random", stage="gridsearch")
    assert status == 0
    winner = json.loads((folder / "winner.json").read_text())
    old = {name: value for name, value in winner.items() if name not in ("best", "members")}
    record = folder / "stages/gridsearch.json"
    before = sha256(folder / "winner.json")
    (folder / "winner.json").write_text(json.dumps(old))
    record.write_text(record.read_text().replace(before, sha256(folder / "winner.json")))
    for stage in ("export", "finetune"):
        assert run("earlier", "finetune.start=random", stage=stage)[0] == 0
    assert json.loads((folder / "winner.json").read_text()) == old
    trained = pd.read_csv(folder / "trainings.csv", keep_default_na=False, dtype={"layers": str})
    assert set(trained["layers"]) == {"+".join(map(str, winner["layers"]))}
