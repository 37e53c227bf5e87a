"""The ensemble: its draw, its fold against the plain way, and what a search writes of it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as drawn_by
from hypothesis import settings
from hypothesis import strategies as st

from mcbert.features.cache import FeatureStore
from mcbert.features.spec import FeatureSpec
from mcbert.results import csv_files
from mcbert.results.probabilities import temperature
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS, PROTOCOL_CHOICES, TOP
from mcbert.search import data
from mcbert.search.data import Examples
from mcbert.search.ensemble import SHARPNESS, Judge, candidate_of, draw, fold, grown, select
from mcbert.search.fitting.probe import Probe, decide_linear
from mcbert.search.gridsearch import tasks_left
from mcbert.search.refit import find, refit
from mcbert.search.selection import merit
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import open_source
from mcbert.search.space import Candidate, Space, reference
from mcbert.search.task import estimator_of, run

SETTINGS = GridsearchSettings(
    layers=(1, 2, 3),
    poolings=("max", "cls"),
    params={"linear_svm": {"C": 0.1}, "logistic_regression": {"C": 0.1}},
    ensemble=40,
)
NAME = "ensemble-members=40"
SIZES = {"translated": True, "n_eval": 30, "n_train": 60}
LINEAR = ("logistic_regression", "ridge", "lda")


def candidates(n):
    return [Candidate(features=FeatureSpec((k,), ("max",)), classifier="ridge", params=()) for k in range(n)]


@settings(max_examples=100)
@drawn_by(st.lists(st.floats(-3, 1), min_size=1, max_size=60), st.integers(1, 200), st.floats(-50, 50))
def test_each_is_drawn_as_often_as_its_weight_says_within_one(merits, n, offset):
    named = list(zip(candidates(len(merits)), merits, strict=True))
    drawn = draw(named, n)
    assert sum(drawn.values()) == n
    weights = np.exp(SHARPNESS * (np.array(merits) - max(merits)))
    expected = n * weights / weights.sum()
    times = np.array([drawn.get(candidate, 0) for candidate, _ in named])
    assert (np.abs(times - expected) < 1 + 1e-6).all()
    assert draw(named, n) == drawn
    if n * len(merits) < 500 and offset == round(offset):  # sums of floats aside, only differences count
        shifted = draw([(candidate, merit + offset) for candidate, merit in named], n)
        assert sum(abs(shifted.get(c, 0) - drawn.get(c, 0)) for c, _ in named) <= 2


def test_of_equals_each_comes_once_and_of_none_nothing():
    assert draw([(candidate, -0.3) for candidate in candidates(7)], 7) == dict.fromkeys(candidates(7), 1)
    assert draw([], 10) == {}
    far = [(candidate, merit) for candidate, merit in zip(candidates(2), (0.0, -200.0), strict=True)]
    assert draw(far, 5) == {far[0][0]: 5}


@pytest.mark.parametrize("n_classes", [2, 4])
def test_each_member_is_the_best_beside_those_before_it(make_search, source_of, n_classes):
    """Against plain sums and the product's own scores of a row; a single bag holds the whole library."""
    made = make_search(n_classes=n_classes, **SIZES)
    source = source_of(made)
    rows = open_source(source)[2]
    space = list(Space(replace(SETTINGS, classifiers=LINEAR, params={})))
    done = [row for task in tasks_left(space, source, set()) for row in run(task)]
    merits = {row["candidate_id"]: merit(row, "agreement", "en", ["de", "zh"]) for row in done}
    told = {row["candidate_id"] for row in done if row["log_loss"]["en"] < np.log(n_classes) - 0.02}
    space = [candidate for candidate in space if candidate.id in told][:6]  # the rest know nothing of labels
    assert len(space) == 6
    judge, scores = Judge.of(rows), {}
    for member in space:
        _, scores[member] = fold(source, {member: 1}, data.Examples.read(made.examples).labels)
        assert judge.merit(scores[member][judge.texts]) == pytest.approx(merits[member.id], abs=1e-5)
    stacked = np.stack([scores[member][judge.texts] for member in space])
    found, kept = grown(stacked, 4, judge.merit), []
    for place in found:
        tried = [judge.merit(np.mean([*(stacked[k] for k in kept), one], axis=0)) for one in stacked]
        assert tried[place] == pytest.approx(max(tried), abs=1e-9)
        kept.append(place)
    members = select(source, [(member, merits[member.id]) for member in space], 6)
    assert sum(members.values()) == 6
    assert members == select(source, [(member, merits[member.id]) for member in space], 6)


def test_texts_are_cut_to_so_many_scores_of_a_candidate(make_search, source_of, monkeypatch):
    rows = open_source(source_of(make_search(**SIZES)))[2]
    whole = Judge.of(rows)
    assert sum(both.shape[1] for both in whole.pairs) == sum(b.shape[1] for b in rows.translated.values())
    n = len(whole.pairs)
    monkeypatch.setattr("mcbert.search.ensemble.CELLS", rows.n_classes * 4 * 3 * n)
    monkeypatch.setattr("mcbert.search.ensemble.LEAST", 1)
    few = Judge.of(rows)
    assert [both.shape[1] for both in few.pairs] == [3] * n
    assert len(few.source[0]) <= 2 * 3 * n < len(whole.source[0])
    assert len(few.texts) * rows.n_classes <= rows.n_classes * 4 * 3 * n
    a = rows.translated["de"][0]
    np.testing.assert_array_equal(few.texts[few.pairs[0][0]], rows.watched[a][:: -(-len(a) // 3)])
    dev, y = rows.dev["en"]
    step = -(-len(dev) // (2 * 3 * n))
    np.testing.assert_array_equal(few.texts[few.source[0]], rows.watched[dev[::step]])
    np.testing.assert_array_equal(few.source[1], y[::step])


def plain(source, members, features):
    """Return mean scores of the evaluation texts from scikit-learn's own fits of standardised columns."""
    store, _, rows = open_source(source)
    total, n = 0.0, sum(members.values())
    for member, times in members.items():
        X, E = (
            np.concatenate(
                [
                    store.states(layers=(layer,), pooling=pooling, rows=at).astype(np.float64)
                    for layer, pooling in member.features.blocks
                ],
                axis=1,
            )
            for at in (rows.train_rows[rows.train_text], rows.eval_rows)
        )
        mean, scale = X.mean(axis=0), X.std(axis=0)
        fitted = estimator_of(member).fit((X - mean) / scale, rows.train_y)
        scores = fitted.decision_function((E - mean) / scale)
        if scores.ndim == 1:
            scores = np.stack([np.zeros(len(scores)), scores], axis=1)
        text, y = rows.dev["en"]
        total = total + times / n * scores / temperature(scores[rows.watched[text]], y)
    return total


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_fold_is_the_mean_of_the_members_scores_over_their_temperatures(
    make_search, source_of, n_classes
):
    made = make_search(n_classes=n_classes, **SIZES)
    source, labels = source_of(made), data.Examples.read(made.examples).labels
    classifiers = (*LINEAR, "linear_svm") if n_classes == 2 else LINEAR
    params = {name: values for name, values in SETTINGS.params.items() if name in classifiers}
    space = list(Space(replace(SETTINGS, classifiers=classifiers, params=params)))
    rng = np.random.default_rng(0)
    members = {space[k]: int(rng.integers(1, 4)) for k in rng.permutation(len(space))[:20]}
    mixed = FeatureSpec((1, 1, 3), ("max", "cls", "cls"))
    members |= {replace(space[0], features=mixed): 2}
    assert len({member.classifier for member in members}) == len(classifiers)
    probe, scores = fold(source, members, labels)
    expected = plain(source, members, candidate_of(members).features)
    spread = expected - expected.mean(axis=1, keepdims=True)
    found = scores - scores.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found, spread, atol=2e-3 * np.abs(spread).max())
    store, _, rows = open_source(source)
    X = np.concatenate(
        [store.states(layers=(k,), pooling=p, rows=rows.eval_rows) for k, p in probe_blocks(probe)], axis=1
    )
    own = (X - probe.mean) / probe.scale @ probe.weights + probe.intercept
    np.testing.assert_allclose(own, scores, atol=1e-4 * np.abs(scores).max())
    np.testing.assert_array_equal(probe.predict(X), decide_linear(scores))


def probe_blocks(probe):
    return FeatureSpec.of(probe.layers, probe.pooling).blocks


def table(out, kind=GRIDSEARCH):
    return csv_files.read_with_sums(kind, out / kind.file_name)


def test_the_ensemble_is_the_winner_and_its_probe_gives_its_predictions(searched):
    out, made = searched(SETTINGS, **SIZES)
    assert csv_files.validate(out) == []
    winner, frame = json.loads((out / "winner.json").read_text()), table(out)
    assert winner["candidate_id"] == NAME == frame["candidate_id"].iloc[0]
    assert (winner["classifier"], winner["params"]) == ("ensemble", {"members": 40})
    assert winner["protocol"] == "agreement"
    assert len(frame) == 7 * 2 * 5 + 1
    assert (frame["classifier"] == "ensemble").sum() == 1
    alone = frame.iloc[1]
    assert winner["best"]["candidate_id"] == alone["candidate_id"]
    assert winner["by_protocol"]["agreement"]["candidate_id"] == alone["candidate_id"]
    members = frame.set_index("candidate_id").loc[list(winner["members"])]
    assert set(members["classifier"]) <= set(LINEAR)
    assert sum(winner["members"].values()) == 40
    probe = Probe.load(out / "probe.npz")
    predictions = csv_files.read(PREDICTIONS, out / "predictions_gridsearch.csv")
    rows = predictions["id"].astype(int).to_numpy()
    X = FeatureStore.open(made.store).states(layers=probe.layers, pooling=probe.pooling, rows=rows)
    assert [probe.labels[code] for code in probe.predict(X)] == predictions["predicted"].tolist()
    right = predictions["label"].eq(predictions["predicted"])
    here = predictions["split"].eq("test") & predictions["language"].eq("de")
    assert right[here].mean() == pytest.approx(frame["test_f1_micro_de"].iloc[0])
    assert table(out, CONFUSION).query("rank == 1")["candidate_id"].eq(NAME).all()
    assert table(out, TOP).query("rank == 1")["candidate_id"].eq(NAME).all()


def test_protocols_csv_sets_every_choice_beside_the_reference(searched):
    sizes = SIZES | {"poolings": ("max", "mean", "cls")}
    out, _ = searched(SETTINGS, **sizes)
    choices, frame = table(out, PROTOCOL_CHOICES), table(out)
    base = "3-mean-logistic_regression-C=0.003"
    assert base not in set(frame["candidate_id"])  # the space has no pooling mean
    names = ["agreement", "source-dev", "target-dev", "last", "ensemble", "reference", "random"]
    assert list(dict.fromkeys(choices["protocol"])) == names
    assert set(choices.loc[choices["used"], "protocol"]) == {"ensemble"}
    test = choices[(choices["split"] == "test") & (choices["language"] == "mean")].set_index("protocol")
    assert test.loc["reference", "candidate_id"].startswith("3-mean-logistic_regression")
    assert test.loc["reference", "versus_reference"] == 0
    for name in names:
        difference = test.loc[name, "score"] - test.loc["reference", "score"]
        assert test.loc[name, "versus_reference"] == pytest.approx(difference)
        low, high = test.loc[name, ["versus_reference_low", "versus_reference_high"]]
        assert low <= difference <= high
    searched_rows = frame[frame["classifier"] != "ensemble"]
    assert test.loc["random", "score"] == pytest.approx(searched_rows["test_f1_micro_mean"].mean())
    assert test.loc["ensemble", "score"] == pytest.approx(frame["test_f1_micro_mean"].iloc[0])


def test_the_reference_is_scored_once_whether_it_is_searched_or_not(searched):
    sizes = SIZES | {"poolings": ("max", "mean", "cls")}
    inside = replace(SETTINGS, poolings=("mean",), params={}, ensemble=0)
    out, _ = searched(inside, "inside", **sizes)
    base = reference((1, 2, 3), ("mean",))
    frame, choices = table(out), table(out, PROTOCOL_CHOICES)
    assert (frame["candidate_id"] == base.id).sum() == 1
    assert len(frame) == 7 * 5
    here = choices[(choices["protocol"] == "reference") & (choices["split"] == "test")]
    of_mean = here.set_index("language").loc["mean", "score"]
    assert of_mean == pytest.approx(frame.set_index("candidate_id").loc[base.id, "test_f1_micro_mean"])
    outside, _ = searched(replace(inside, poolings=("max",)), "outside", **sizes)
    assert base.id not in set(table(outside)["candidate_id"])
    found = table(outside, PROTOCOL_CHOICES).query("protocol == 'reference' and split == 'test'")
    assert found.set_index("language").loc["mean", "score"] == pytest.approx(of_mean)


def test_without_the_pooling_mean_there_is_no_reference(searched):
    choices = table(searched(SETTINGS, **SIZES)[0], PROTOCOL_CHOICES)
    assert "reference" not in set(choices["protocol"])
    assert choices["versus_reference"].isna().all()


def without_seconds(out):
    return {
        **{
            name: (out / name).read_bytes()
            for name in ("winner.json", "probe.npz", "protocols.csv", "top.csv")
        },
        "gridsearch.csv": table(out).drop(columns=["fit_seconds", "score_seconds"]).to_csv(),
    }


class KilledError(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("mixed", ["none", "greedy"])
def test_a_killed_search_ends_with_the_same_bytes(searched, serial, mixed):
    given = replace(SETTINGS, classifiers=("ridge", "lda", "knn"), params={}, mixed=mixed)
    expected = without_seconds(searched(given, "whole", **SIZES)[0])

    def until(limit):
        def execute(function, tasks):
            for number, triple in enumerate(serial(function, tasks)):
                if number == limit:
                    raise KilledError
                yield triple

        return execute

    for limit in (3, 6):
        with pytest.raises(KilledError):
            searched(given, "killed", until(limit), **SIZES)

    def backwards(function, tasks):
        return serial(function, list(tasks)[::-1])

    assert without_seconds(searched(given, "killed", backwards, **SIZES)[0]) == expected
    winner = json.loads((searched(given, "killed", **SIZES)[0] / "winner.json").read_text())
    if mixed == "greedy":
        members = [FeatureSpec.of(name.split("-")[0], name.split("-")[1]) for name in winner["members"]]
        assert any(features.is_mixed for features in members)


def test_a_refit_gives_the_same_probe(searched):
    out, made = searched(SETTINGS, **SIZES)
    (out / "examples.npz").write_bytes(made.examples.read_bytes())
    again = refit(find(NAME, out), SETTINGS, store=made.store, out=out)
    expected = Probe.load(out / "probe.npz").arrays()
    for name, array in again.probe.arrays().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert again.estimator is None
    assert (again.record["candidate_id"], again.record["rank"]) == (NAME, 1)
    winner = json.loads((out / "winner.json").read_text())
    (out / "winner.json").write_text(json.dumps(winner | {"members": {"nobody": 40}}))
    with pytest.raises(ValueError, match=r"winner.json: members: got \['nobody'\], accepted"):
        refit(find(NAME, out), SETTINGS, store=made.store, out=out)


def test_labels_of_the_target_languages_choose_nothing(searched, make_search):
    """Shuffled labels of all target texts leave protocol, ranks, members and the probe as they are."""
    out, made = searched(SETTINGS, **SIZES)
    before = json.loads((out / "winner.json").read_text()), table(out)
    head = (out / "probe.npz").read_bytes()
    known = Examples.read(made.examples)
    y, foreign = known.y.copy(), known.language != "en"
    y[foreign] = np.random.default_rng(1).permutation(y[foreign])
    data.write_examples(
        made.examples, y, labels=known.labels, source_language="en", pairs=known.pairs,
        language=known.language.tolist(), split=known.split.tolist(), ids=known.ids.tolist(),
    )  # fmt: skip
    other, _ = searched(SETTINGS, "shuffled", **SIZES)
    after = json.loads((other / "winner.json").read_text()), table(other)
    assert (other / "probe.npz").read_bytes() == head
    for name in ("protocol", "members", "best"):
        assert before[0][name] == after[0][name]
    chosen = ["rank", "candidate_id", "score", "log_loss", "agreement", "dev_f1_micro_en"]
    pd.testing.assert_frame_equal(before[1][chosen], after[1][chosen])
    assert not np.allclose(before[1]["dev_f1_micro_de"], after[1]["dev_f1_micro_de"])


def test_no_linear_candidate_or_no_dev_scores_no_ensemble(searched):
    for out, given in (
        ("knn", replace(SETTINGS, classifiers=("knn",), params={})),
        ("last", replace(SETTINGS, protocol="last")),
        ("one", replace(SETTINGS, ensemble=1)),
    ):
        folder, _ = searched(given, out, **SIZES)
        winner = json.loads((folder / "winner.json").read_text())
        assert winner["classifier"] != "ensemble"
        assert winner["members"] == {}
        assert winner["best"]["candidate_id"] == winner["candidate_id"]
        assert "ensemble" not in set(table(folder)["classifier"])
