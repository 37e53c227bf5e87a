"""A task scores its candidates wherever it runs; failures become rows, and rows of others are checked."""

import base64
import multiprocessing
import pickle
import re
import socket
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics
from threadpoolctl import threadpool_info

from mcbert.files.journal import Journal
from mcbert.files.ledger import Ledger
from mcbert.results.probabilities import agreement, softmax, temperature
from mcbert.search.fitting.fast_fits import ROUTES
from mcbert.search.fitting.representation import open_pooling, represent
from mcbert.search.gridsearch import tasks_left
from mcbert.search.outcome.predictions import decode, encode
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import open_source
from mcbert.search.space import Space
from mcbert.search.task import Task, Unreadable, error_rows, require_row, run, transfer_scores

SETTINGS = GridsearchSettings(layers=(1, 2), poolings=("max",))


@pytest.fixture
def tasks(make_search, source_of):
    return list(tasks_left(Space(SETTINGS), source_of(make_search()), set()))


def scores(rows):
    return [{key: value for key, value in row.items() if "seconds" not in key} for row in rows]


def test_a_row_for_each_candidate_with_all_matrices(tasks):
    rows = run(tasks[0])
    assert [row["candidate_id"] for row in rows] == [candidate.id for candidate in tasks[0].candidates]
    for row in rows:
        assert row["status"] == "ok"
        assert row["message"] == ""
        assert row["fit_seconds"] > 0
        assert list(row["matrices"]) == ["en", "de", "zh"]
        for splits in row["matrices"].values():
            assert {split: sum(packed[1::2]) for split, packed in splits.items()} == {"dev": 15, "test": 15}
    assert len({str(row["matrices"]) for row in rows}) > 1


def test_tasks_are_small_and_run_alike_in_another_process(tasks):
    assert all(len(pickle.dumps(task)) < 4000 for task in tasks)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        elsewhere = list(pool.map(run, tasks))
    assert [scores(rows) for rows in elsewhere] == [scores(run(task)) for task in tasks]


def test_a_failing_candidate_is_a_row_and_its_neighbours_are_scored(tasks, monkeypatch):
    def broken(representation, estimator):
        raise RuntimeError("a reason\nin two lines")

    monkeypatch.setitem(ROUTES, "ridge", broken)
    rows = run(tasks[0])
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "ok", "ok"]
    assert rows[2]["message"] == "RuntimeError: a reason in two lines"
    assert rows[2]["matrices"] == {}


def test_the_time_to_score_is_that_of_the_scores_too(tasks, monkeypatch):
    from mcbert.search.fitting import fast_fits

    label_scores = fast_fits.label_scores

    def slow(*given):
        time.sleep(0.05)
        return label_scores(*given)

    monkeypatch.setattr(fast_fits, "label_scores", slow)
    assert all(row["score_seconds"] >= 0.05 for row in run(tasks[0]))


def test_a_cache_that_cannot_be_read_is_no_candidates_fault(tasks):
    (tasks[0].source.store / "manifest.json").unlink()
    answer = run(tasks[0])
    assert isinstance(answer, Unreadable)
    assert "manifest.json" in answer.message


@pytest.mark.parametrize("which", ["store", "examples"])
@pytest.mark.parametrize(
    ("other", "said"), [(None, "not a feature cache|not an examples file"), (1, "got digest .* accepted")]
)
def test_a_worker_that_sees_another_file_system_says_where_it_is_and_what_it_lacks(
    tasks, make_search, which, other, said
):
    task = tasks[0]
    path = make_search(seed=other, name="other") if other else task.source
    path = getattr(path, which) if other else task.source.store.parent / "nowhere"
    answer = run(replace(task, source=replace(task.source, **{which: path})))
    assert isinstance(answer, Unreadable)
    assert answer.message.startswith(f"worker on {socket.gethostname()}: {path}: ")
    assert re.search(said, answer.message)
    assert "\n" not in answer.message


def test_whatever_else_fails_before_the_candidates_is_an_error_row_for_each(tasks, monkeypatch):
    def failing(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr("mcbert.search.task.represent", failing)
    rows = run(tasks[0])
    assert [row["status"] for row in rows] == ["error"] * 5
    assert rows[0]["message"] == "MemoryError: no room"


def test_messages_are_one_line_and_bounded(tasks):
    row = error_rows(tasks[0].candidates[:1], "x " * 1000)[0]
    assert len(row["message"]) == 300


def test_blas_has_one_thread_in_a_task(tasks, monkeypatch):
    seen = []

    def spy(representation, estimator):
        seen.extend(info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas")
        raise RuntimeError

    monkeypatch.setitem(ROUTES, "knn", spy)
    run(tasks[0])
    assert seen
    assert set(seen) == {1}


def test_a_worker_keeps_one_pooling(tasks):
    first = open_pooling(tasks[0].source, "max")
    assert open_pooling(tasks[0].source, "max") is first
    open_pooling(tasks[0].source, "cls")
    assert open_pooling(tasks[0].source, "max") is not first


def test_known_candidates_are_left_out_of_tasks(tasks):
    space, source = Space(SETTINGS), tasks[0].source
    known = {candidate.id for candidate in tasks[0].candidates} | {tasks[1].candidates[3].id}
    left = list(tasks_left(space, source, known))
    assert [task.features.layers for task in left] == [(2,), (1, 2)]
    assert [len(task.candidates) for task in left] == [4, 5]
    assert isinstance(left[0], Task)


def test_many_values_of_the_parameters_share_the_sums_of_their_feature_set(
    make_search, source_of, monkeypatch
):
    made = []

    def spy(*args, **kwargs):
        made.append(represent(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr("mcbert.search.task.represent", spy)
    several = {
        "ridge": {"alpha": [1, 10, 100]},
        "knn": {"n_neighbors": [1, 5, 9]},
        "linear_svm": {"C": [1, 2]},
    }
    settings = replace(SETTINGS, layers=(1,), classifiers=tuple(several), params=several)
    (task,) = tasks_left(Space(settings), source_of(make_search()), set())
    rows = run(task)
    assert [row["status"] for row in rows] == ["ok"] * 8
    assert len(made) == 1
    assert made[0].gram is made[0].gram
    assert made[0].cross is made[0].cross


def test_what_the_protocols_read_is_of_dev_texts_and_of_pairs_alone(make_search, source_of):
    _, corpus, rows = open_source(source_of(make_search(translated=True)))
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(len(rows.eval_rows), 3))
    found = transfer_scores(scores, rows)
    at = {
        name: rows.scored_text[np.isin(rows.scored_rows, corpus.rows("dev", name))] for name in ("en", "zh")
    }
    y = corpus.y[corpus.rows("dev", "en")]
    shares = softmax(scores / temperature(scores[at["en"]], y))
    assert found["log_loss"]["en"] == pytest.approx(metrics.log_loss(y, shares[at["en"]], labels=range(3)))
    assert found["agreement"]["zh"] == pytest.approx(agreement(shares[at["en"]], shares[at["zh"]]))
    assert list(found["agreement"]) == ["de", "zh"]
    used = np.zeros(len(scores), dtype=bool)
    used[rows.watched[np.concatenate([rows.dev[name][0] for name in rows.dev])]] = True
    other = np.where(used[:, None], scores, 9 * rng.normal(size=scores.shape))
    assert transfer_scores(other, rows) == found  # nothing of a test text


def test_agreement_reads_no_label_of_a_target_language(make_search, source_of):
    _, _, rows = open_source(source_of(make_search(translated=True)))
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(len(rows.eval_rows), 3))
    y = rows.scored_y.copy()
    foreign = np.array([rows.groups[group][0] != "en" for group in rows.scored_group])
    y[foreign] = rng.permutation(y[foreign])
    one, two = transfer_scores(scores, rows), transfer_scores(scores, replace(rows, scored_y=y))
    assert one["agreement"] == two["agreement"]
    assert one["log_loss"]["en"] == two["log_loss"]["en"]
    assert one["log_loss"]["de"] != two["log_loss"]["de"]


def test_without_dev_texts_of_the_source_there_is_nothing_to_calibrate_by(make_search, source_of):
    _, _, rows = open_source(source_of(make_search(translated=True)))
    kept = [place for place, group in enumerate(rows.groups) if group != ("en", "dev")]
    here = np.isin(rows.scored_group, kept)
    less = replace(rows, scored_text=rows.scored_text[here], scored_y=rows.scored_y[here],
                   scored_group=np.searchsorted(kept, rows.scored_group[here]),
                   groups=tuple(rows.groups[place] for place in kept))  # fmt: skip
    scores = np.zeros((len(rows.eval_rows), 3))
    assert transfer_scores(scores, less) == {"log_loss": {}, "agreement": {}}


ROW = {
    "candidate_id": "a",
    "status": "ok",
    "message": "",
    "fit_seconds": 0.5,
    "score_seconds": 0,
    "matrices": {"en": {"dev": [0, 2, 3, 1], "test": []}},
    "log_loss": {"en": 0.5},
    "agreement": {"de": -0.25},
    "predictions": encode([0, 1, 1], 2),
}


def bomb():
    return base64.b64encode(zlib.compress(bytes(1 << 26))).decode()


SPOILT = {
    "status": ["done", 1, None],
    "message": [None, 3, ["a"]],
    "fit_seconds": [None, "1", -1, float("inf"), float("nan"), True, 10**400],
    "score_seconds": [[0]],
    "matrices": [
        None,
        [],
        "en",
        {"en": [1]},
        {"en": {"train": [0, 1]}},
        *(
            {"en": {"dev": packed}}
            for packed in (
                [0], [4, 1], [-1, 1], [0, -1], [0, 0], [0, 1, 0, 1], [0, 4], [0, 1.0], [0, "1"], ["0", 1],
                [0, 10**30], [[0, 1]], 3, "ab",
            )
        ),
    ],
    "log_loss": [None, [], {"en": -0.1}, {"en": "1"}, {"en": None}, {"en": True}],
    "agreement": [None, 3, {"de": 1.5}, {"de": [1]}, {"de": float("nan")}],
    "predictions": [None, 3, "", "a", "????", encode([0, 1, 2], 3), encode([0] * 4, 2), bomb()],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in SPOILT.items() for v in values])
def test_a_row_that_no_search_wrote_is_told_with_its_file(field, value, tmp_path):
    def require(row):
        require_row(row, n_classes=2, n_texts=3)

    require(ROW)
    path = tmp_path / "gridsearch.jsonl"
    spoilt = ROW | {field: value}
    if value in (float("inf"), 10**400) or "nan" in str(value):  # no JSON of ours holds them
        with pytest.raises(ValueError, match=field):
            require(spoilt)
        return
    with Ledger(path, {}) as ledger:
        ledger.append([ROW, spoilt | {"candidate_id": "b"}])
    with pytest.raises(ValueError, match="no row of this search") as refused:
        Ledger(path, {}, require=require)
    assert str(refused.value).startswith(f"{path}: record 3: ")
    assert "\n" not in str(refused.value)
    Journal(path).close()  # nobody holds it any more


@pytest.mark.parametrize("missing", [name for name in ROW if name != "candidate_id"])
def test_a_row_without_a_field(missing):
    with pytest.raises((KeyError, AttributeError)):
        require_row({name: value for name, value in ROW.items() if name != missing}, n_classes=2, n_texts=3)


def test_no_more_is_unpacked_than_there_are_texts():
    assert decode(encode([0, 1, 1], 2), 2, most=3).tolist() == [0, 1, 1]
    assert decode(encode([0, 700], 701), 701, most=2).tolist() == [0, 700]
    with pytest.raises(ValueError, match="got other than at most 3 labels"):
        decode(bomb(), 2, most=3)
    whole = encode(list(range(200)), 256)
    with pytest.raises(ValueError, match="predictions|base64|padding"):
        decode(whole[:-8], 256, most=200)
