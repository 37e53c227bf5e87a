"""A whole search on disk: its tables, its winner, and that a killed one ends the same."""

import json
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from mcbert.features.cache import FeatureStore, StoreError
from mcbert.results import csv_files
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS, SCORES, TOP
from mcbert.search import data
from mcbert.search.data import Examples
from mcbert.search.fitting.classifiers import CLASSIFIERS
from mcbert.search.fitting.probe import Probe
from mcbert.search.gridsearch import BestScores, gridsearch
from mcbert.search.scoring import pack, scores
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs

SETTINGS = GridsearchSettings(
    layers=(1, 3),
    poolings=("max", "cls"),
    classifiers=("ridge", "knn", "lda"),
    protocol="target-dev",
    ensemble=0,
    top=3,
)
N = 3 * 2 * 3


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.fixture
def search(make_search, serial, stamp, tmp_path):
    made = make_search()

    def run(settings=SETTINGS, out=None, execute=serial, data=made, texts=None):
        out = out or tmp_path / "out"
        out.mkdir(exist_ok=True)
        inputs = Inputs(store=data.store, examples=data.examples, texts=texts)
        gridsearch(settings, inputs, out=out, execute=execute, stamp=stamp)
        return out

    run.made = made
    return run


def table(out, name=GRIDSEARCH):
    return csv_files.read(name, out / name.file_name)


def timeless(out):
    return table(out).drop(columns=["fit_seconds", "score_seconds"])


def test_every_file_is_there_and_valid(search):
    out = search()
    assert csv_files.validate(out) == []
    assert {path.name for path in out.iterdir()} == {
        "gridsearch.jsonl", "gridsearch.csv", "confusion.csv", "winner.json", "probe.npz",
        "predictions_gridsearch.csv", "predictions.npz", "scores.csv", "scores_overall.csv", "top.csv",
        "top_overall.csv", "effects.csv", "effects_overall.csv", "protocols.csv", "protocols_overall.csv",
        "run.json",
    }  # fmt: skip


def test_rows_are_ranked_by_the_mean_of_the_target_languages(search):
    frame = table(search())
    assert len(frame) == N
    assert frame["candidate_id"].is_unique
    assert frame["rank"].tolist() == list(range(1, N + 1))
    assert frame["score"].is_monotonic_decreasing
    np.testing.assert_allclose(frame["score"], frame[["dev_f1_micro_de", "dev_f1_micro_zh"]].mean(axis=1))
    np.testing.assert_allclose(
        frame["test_f1_micro_mean"], frame[["test_f1_micro_de", "test_f1_micro_zh"]].mean(axis=1)
    )
    assert (frame["score"] == frame["dev_f1_micro_mean"]).all()
    assert frame["params"].map(json.loads).map(len).eq(1).all()
    assert frame["score"].iloc[0] > 0.6  # there is structure to find; chance is a third


def test_winner_is_the_first_row_and_names_what_each_protocol_would_take(search):
    out = search()
    winner = json.loads((out / "winner.json").read_text())
    frame = table(out).set_index("candidate_id", drop=False)
    first = frame.iloc[0]
    assert winner["candidate_id"] == first["candidate_id"]
    assert winner["layers"] == [int(layer) for layer in first["layers"].split("+")]
    assert winner["labels"] == ["apple", "pear", "plum"]
    assert winner["store"] == FeatureStore.open(search.made.store).digest
    assert (winner["encoder"], winner["source_language"], winner["probe"]) == ("e", "en", "probe.npz")
    assert winner["scores"] == winner["by_protocol"]["target-dev"]
    by = winner["by_protocol"]
    assert by["source-dev"]["score"] == frame["dev_f1_micro_en"].max()
    assert by["target-dev"]["score"] == frame["dev_f1_micro_mean"].max()
    assert by["last"]["candidate_id"] == "3-cls-ridge-alpha=1000.0"
    assert by["last"]["score"] is None
    assert by["agreement"] is None  # no pairs of texts and their translations
    for entry in filter(None, by.values()):
        assert entry["test_f1_micro_mean"] == frame.loc[entry["candidate_id"], "test_f1_micro_mean"]


@pytest.mark.parametrize("protocol", ["source-dev", "last"])
def test_another_protocol_ranks_the_same_rows_anew_without_fitting(search, protocol):
    search()

    def never(function, tasks):
        assert not list(tasks)
        return iter(())

    out = search(replace(SETTINGS, protocol=protocol), execute=never)
    frame = table(out)
    assert (frame["protocol"] == protocol).all()
    winner = json.loads((out / "winner.json").read_text())
    assert (
        winner["candidate_id"]
        == winner["by_protocol"][protocol]["candidate_id"]
        == frame["candidate_id"].iloc[0]
    )
    if protocol == "last":
        assert frame["score"].isna().all()


def test_confusion_and_predictions_say_what_the_table_says(search):
    out = search()
    frame = table(out)
    cells = table(out, CONFUSION)
    assert sorted(cells["rank"].unique()) == [1, 2, 3]
    assert (cells["n"] > 0).all()
    assert cells["n"].sum() == 3 * 3 * 2 * 15
    predictions = csv_files.read(PREDICTIONS, out / "predictions_gridsearch.csv")
    assert len(predictions) == 3 * 2 * 15
    assert set(predictions["protocol"]) == set(frame["protocol"])
    for (language, split), part in predictions.groupby(["language", "split"]):
        best = cells[(cells["rank"] == 1) & (cells["language"] == language) & (cells["split"] == split)]
        assert best["n"].sum() == 15
        right = best.loc[best["label"] == best["predicted"], "n"].sum() / 15
        accuracy = accuracy_score(part["label"], part["predicted"])
        assert right == accuracy == frame[f"{split}_f1_micro_{language}"].iloc[0]


def test_the_probe_reproduces_the_predictions(search):
    out = search()
    probe = Probe.load(out / "probe.npz")
    predictions = csv_files.read(PREDICTIONS, out / "predictions_gridsearch.csv")
    rows = predictions["id"].astype(int).to_numpy()
    store, corpus = FeatureStore.open(search.made.store), Examples.read(search.made.examples)
    codes = probe.predict(store.states(layers=probe.layers, pooling=probe.pooling, rows=rows))
    assert [corpus.labels[code] for code in codes] == predictions["predicted"].tolist()


def test_predictions_repeat_the_texts_where_they_are_known(search):
    bare = csv_files.read(PREDICTIONS, search() / "predictions_gridsearch.csv")
    assert set(bare["text"]) == set(bare["text_pair"]) == {""}
    n = len(Examples.read(search.made.examples).y)
    for seconds in ("", "=2"):
        texts = pd.DataFrame({"text": [f"=text {k}" for k in range(n)], "text_pair": seconds})
        path = search(texts=texts) / "predictions_gridsearch.csv"
        header, first = path.read_text(encoding="utf-8").splitlines()[:2]
        pair = ["text_pair"] if seconds else []
        assert header.split(",")[:8][: 7 + len(pair)] == [
            "id", "language", "split", "text", *pair, "label", "predicted", "probability",
        ]  # fmt: skip
        assert first.split(",")[3].startswith("'=text ")  # a spreadsheet would run it
        rows = csv_files.read(PREDICTIONS, path)
        assert rows["text"].tolist() == [f"=text {row}" for row in rows["id"]]
        assert set(rows["text_pair"]) == {seconds}


def test_killed_at_any_task_and_any_byte_it_ends_the_same(search, serial, tmp_path):
    expected = timeless(search(out=tmp_path / "whole"))
    ran = []

    def until(limit):
        def execute(function, tasks):
            for number, triple in enumerate(serial(function, tasks)):
                if number == limit:
                    raise Killed
                ran.extend(candidate.id for candidate in triple[0].candidates)
                yield triple

        return execute

    out = tmp_path / "killed"
    for limit in (0, 2, 1):
        with pytest.raises(Killed):
            search(out=out, execute=until(limit))
        assert not (out / "winner.json").exists()
    search(out=out, execute=until(None))
    assert len(ran) == len(set(ran)) == N
    pd.testing.assert_frame_equal(timeless(out), expected)

    whole = (out / "gridsearch.jsonl").read_bytes()
    draw = random.Random(0)
    for cut in [0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(12))]:
        (out / "gridsearch.jsonl").write_bytes(whole[:cut])
        search(out=out)
        lines = (out / "gridsearch.jsonl").read_bytes().splitlines()[1:]
        ids = [json.loads(line)["row"]["candidate_id"] for line in lines]
        assert len(ids) == len(set(ids)) == N
        pd.testing.assert_frame_equal(timeless(out), expected)


# scores are shares of texts, and a task computes alone: its place in the order reaches no sum of floats
def test_tasks_in_any_order_and_twice_give_the_same_table(search, serial, tmp_path):
    def shuffled(function, tasks):
        twice = [*tasks] * 2
        random.Random(1).shuffle(twice)
        return serial(function, twice)

    expected = timeless(search(out=tmp_path / "a"))
    pd.testing.assert_frame_equal(timeless(search(out=tmp_path / "b", execute=shuffled)), expected)


def test_what_the_executor_could_not_run_is_an_error_row(search, serial, caplog):
    def dying(function, tasks):
        first, *rest = tasks
        yield first, None, "the task killed its worker twice"
        yield from serial(function, rest)

    out = search(execute=dying)
    frame = table(out)
    failed = frame[frame["status"] == "error"]
    assert len(frame) == N
    assert len(failed) == 3
    assert failed["rank"].isna().all()
    assert failed["dev_f1_micro_de"].isna().all()
    assert set(failed["message"]) == {"the task killed its worker twice"}
    assert frame["status"].tolist() == ["ok"] * (N - 3) + ["error"] * 3
    assert "3 candidates failed, for example: the task killed its worker twice" in caplog.text
    assert csv_files.validate(out) == []


def test_a_damaged_cache_stops_the_search_and_leaves_no_row(search, tmp_path):
    """A candidate is not to blame: once the cache is mended the same search ends as if nothing had been."""
    expected = timeless(search(out=tmp_path / "whole"))
    path = min(search.made.store.glob("unit-*.h5"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # in the last dataset
    with pytest.raises(StoreError, match=f"{path.name}.*verify .* --repair"):
        search(out=tmp_path / "damaged")
    path.write_bytes(whole)
    pd.testing.assert_frame_equal(timeless(search(out=tmp_path / "damaged")), expected)


def test_all_failed_is_an_error_and_leaves_no_winner(search):
    search()

    def dying(function, tasks):
        return ((task, None, "no luck") for task in tasks)

    search_out = search.made.store.parent / "other"
    with pytest.raises(ValueError, match=r"gridsearch.csv: all 18 .*no luck"):
        search(out=search_out, execute=dying)
    assert not (search_out / "winner.json").exists()
    assert csv_files.validate(search_out / "gridsearch.csv") == []


def test_another_search_into_the_same_folder_is_refused(search, make_search):
    search()
    with pytest.raises(ValueError, match=r"gridsearch.jsonl: .*layers was \[1, 3\], now \[1, 2\]"):
        search(replace(SETTINGS, layers=(1, 2)))
    with pytest.raises(ValueError, match="holds another search: params was"):
        search(replace(SETTINGS, params={"ridge": {"alpha": 5}}))
    with pytest.raises(ValueError, match="holds another search: features was"):
        search(data=make_search(seed=1, name="changed"))


def test_target_dev_missing_under_source_dev_leaves_cells_empty(search, make_search):
    made = make_search(name="nodev")
    corpus = Examples.read(made.examples)
    split = corpus.split.copy()
    split[(split == "dev") & (corpus.language == "zh")] = "test"
    fields = {"y": corpus.y, "language": corpus.language, "labels": corpus.labels, "source_language": "en"}
    data.write_examples(made.examples, **fields, split=split)
    out = search(
        GridsearchSettings(layers=(1,), poolings=("max",), protocol="source-dev", ensemble=0),
        data=made,
        out=made.store.parent,
    )
    frame = table(out)
    assert frame["dev_f1_micro_zh"].isna().all()
    assert frame["dev_f1_micro_mean"].isna().all()
    assert frame["dev_f1_micro_de"].notna().all()
    assert json.loads((out / "winner.json").read_text())["by_protocol"]["target-dev"] is None


def test_a_winner_without_a_probe_says_so(search, monkeypatch, tmp_path, caplog):
    ridge = CLASSIFIERS["ridge"]
    changed = type(ridge)(factory=ridge.factory, parameters=ridge.parameters, route="plain")
    monkeypatch.setitem(CLASSIFIERS, "ridge", changed)
    out = search(
        GridsearchSettings(layers=(1,), poolings=("max",), classifiers=("ridge",), ensemble=0),
        out=tmp_path / "p",
    )
    assert json.loads((out / "winner.json").read_text())["probe"] is None
    assert not (out / "probe.npz").exists()
    assert "ridge has no probe" in caplog.text


@pytest.mark.parametrize(
    "sizes", [{"constant": True}, {"dtype": "float16"}, {"n_classes": 2}, {"n_duplicates": 0}]
)
def test_every_classifier_survives(make_search, search, tmp_path, sizes):
    made = make_search(name="other", **sizes)
    weaker = {"linear_svm": {"C": 0.1}, "logistic_regression": {"C": 0.1}}  # few columns bear a weak penalty
    settings = GridsearchSettings(layers=(1, 2, 3), poolings=("max",), params=weaker, ensemble=0)
    out = search(settings, data=made, out=tmp_path / "other-out")
    frame = table(out)
    assert (frame["status"] == "ok").all()
    assert len(frame) == 35
    assert frame.groupby("classifier")["dev_f1_micro_en"].max().min() > 0.5


def test_progress_wraps_the_finished_tasks(make_search, serial, stamp, tmp_path):
    made, seen = make_search(name="tracked"), []

    def track(items, total, description, note):
        for item in items:
            seen.append((total, description))
            yield item
        assert note().startswith("best dev micro-F1: en 0.")

    where = {"inputs": Inputs(store=made.store, examples=made.examples), "out": tmp_path}
    gridsearch(SETTINGS, **where, execute=serial, stamp=stamp, track=track)
    assert seen == [(6, "gridsearch (feature sets)")] * 6


@pytest.mark.parametrize("protocol", ["source-dev", "target-dev"])
def test_the_metric_chooses_and_is_in_the_rows(make_search, serial, stamp, tmp_path, caplog, protocol):
    """One label in ten rows is rare: who knows it is the best by macro-F1, not by micro-F1."""
    caplog.set_level("INFO")
    made = make_search(name="rare", n_train=90, n_eval=60)
    known = Examples.read(made.examples)
    y = np.where((np.arange(len(known.y)) % 10 > 0) & (known.y == 2), 0, known.y)
    fields = {"labels": known.labels, "source_language": "en", "ids": known.ids.tolist()}
    data.write_examples(
        made.examples, y, language=known.language.tolist(), split=known.split.tolist(), **fields
    )
    winners = {}
    for metric in ("f1_micro", "f1_macro", "accuracy"):
        out = tmp_path / metric
        out.mkdir()
        settings = replace(SETTINGS, classifiers=("ridge", "knn", "lda"), metric=metric, protocol=protocol)
        gridsearch(
            settings, Inputs(store=made.store, examples=made.examples), out=out, execute=serial, stamp=stamp
        )
        frame = csv_files.read(GRIDSEARCH, out / "gridsearch.csv")
        scores = csv_files.read_with_sums(SCORES, out / "scores.csv")
        language = "en" if protocol == "source-dev" else "mean"
        dev = scores[(scores["split"] == "dev") & (scores["language"] == language)].set_index("rank")
        name = metric.replace("accuracy", "f1_micro")  # equal, with a label for each text
        assert frame["score"].to_numpy() == pytest.approx(dev.loc[frame["rank"], name].to_numpy())
        assert frame["score"].is_monotonic_decreasing
        assert set(frame["metric"]) == {metric}
        top = csv_files.read_with_sums(TOP, out / "top.csv")
        assert set(top["metric"]) == {metric}
        first = top[(top["rank"] == 1) & (top["split"] == "dev") & (top["language"] == language)]
        assert first["score"].item() == pytest.approx(frame["score"].iloc[0])
        record = json.loads((out / "winner.json").read_text())
        winners[metric] = record["candidate_id"]
        assert record["metric"] == metric
        assert record["scores"]["score"] == frame["score"].iloc[0]
        assert (
            f"winner {winners[metric]} by {protocol}, {metric} {record['scores']['score']:.4f}" in caplog.text
        )
    assert winners["f1_micro"] == winners["accuracy"]
    if protocol == "target-dev":
        assert winners["f1_micro"] != winners["f1_macro"]


def dev_row(**matrices):
    packed = {name: pack(np.asarray(dev)) for name, dev in matrices.items()}
    return {"matrices": {name: {"dev": dev, "test": [0, 9, 3, 9]} for name, dev in packed.items()}}


def test_the_best_of_each_language_is_kept_from_whatever_candidate():
    best = BestScores(("en", "de"), 2)
    assert best.note() == ""
    best.update([dev_row(en=[[3, 1], [2, 4]], de=[[1, 4], [4, 1]])])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.200"
    best.update([dev_row(en=[[1, 3], [2, 4]], de=[[5, 0], [1, 4]]), {"matrices": {}}])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.900"


def test_test_labels_are_not_looked_at():
    best = BestScores(("en", "de"), 2)
    best.update([{"matrices": {"de": {"test": [0, 5, 3, 5]}}}])
    assert best.note() == ""


def test_rows_of_an_earlier_search_count():
    assert BestScores(("en",), 2, [dev_row(en=[[1, 0], [1, 0]])]).note() == "best dev micro-F1: en 0.500"


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_micro_f1_of_the_tables(seed):
    matrix = np.random.default_rng(seed).integers(20, size=(4, 4))
    expected = scores(matrix[None])["f1_micro"][0]
    assert BestScores(("en",), 4, [dev_row(en=matrix)]).note().endswith(f"en {expected:.3f}")


def test_it_shows_the_score_that_the_search_goes_by():
    rows = [dev_row(en=[[9, 0], [1, 0]])]
    assert BestScores(("en",), 2, rows, metric="f1_macro").note() == "best dev macro-F1: en 0.474"
    assert BestScores(("en",), 2, rows, metric="accuracy").note() == "best dev accuracy: en 0.900"
