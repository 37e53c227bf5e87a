"""Greedy and beam search over (layer, pooling) blocks, against all 63 sets of a small space."""

import itertools
import json
import random
from dataclasses import replace

import pytest

from mcbert.features.cache import FeatureStore
from mcbert.features.spec import FeatureSpec
from mcbert.results import csv_files
from mcbert.results.schema.search import GRIDSEARCH, PREDICTIONS
from mcbert.search.fitting.probe import Probe
from mcbert.search.order import steps
from mcbert.search.settings import GridsearchSettings

SMALL = {"layers": (1, 2), "poolings": ("max", "mean", "cls")}
set_of = FeatureSpec.of_blocks
BLOCKS = [(layer, pooling) for layer in (1, 2) for pooling in ("max", "mean", "cls")]
EVERY = [set_of(chosen) for size in range(1, 7) for chosen in itertools.combinations(BLOCKS, size)]
ONE_POOLING = [features for features in EVERY if not features.is_mixed]


class Judged:
    """Scores drawn for all sets; says which were asked for."""

    def __init__(self, seed=0, failing=()):
        draw = random.Random(seed)
        self.scores = {feature_set: draw.random() for feature_set in EVERY}
        self.failing = set(failing)
        self.asked = []

    def __call__(self, sets):
        self.asked += sets
        return {s: (-self.scores[s], len(s.layers), s) for s in sets if s not in self.failing}

    @property
    def best(self):
        return max(self.scores[s] for s in self.asked if s not in self.failing)


def walk(judge, mixed, first=ONE_POOLING, **options):
    """Take all steps; return what was yielded."""
    settings = GridsearchSettings(**SMALL, mixed=mixed, **options)
    return [list(sets) for sets in steps(settings, first, judge)]


def test_the_space_has_each_set_once():
    assert len(EVERY) == len(set(EVERY)) == 2**6 - 1
    assert len(ONE_POOLING) == 9


def test_no_mixed_search_takes_no_step():
    assert walk(Judged(), "none") == []


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_as_wide_as_a_size_has_sets_scores_every_set_once(seed):
    judge = Judged(seed)
    found = [s for sets in walk(judge, "beam", beam_width=20) for s in sets]
    assert sorted([*ONE_POOLING, *found]) == sorted(EVERY)
    assert judge.best == max(judge.scores.values())


def test_a_narrow_beam_adds_a_block_to_the_best_of_each_size():
    judge = Judged(3)
    rounds = walk(judge, "beam", beam_width=1, mixed_steps=2)
    singles = [s for s in ONE_POOLING if len(s.layers) == 1]
    best = max(singles, key=judge.scores.get)
    pairs = {set_of([*best.blocks, block]) for block in BLOCKS if block not in best.blocks}
    assert set(rounds[0]) == pairs - set(ONE_POOLING)
    known = pairs | {s for s in ONE_POOLING if len(s.layers) == 2}
    best = max(known, key=judge.scores.get)
    assert {len(s.layers) for s in rounds[1]} == {3}
    assert all(set(best.blocks) < set(s.blocks) for s in rounds[1])
    assert len(rounds) == 2


@pytest.mark.parametrize("seed", range(8))
def test_greedy_ends_where_no_block_added_or_dropped_helps(seed):
    judge = Judged(seed)
    walk(judge, "greedy", mixed_steps=100)
    best = max(judge.asked, key=judge.scores.get)
    assert judge.scores[best] >= max(judge.scores[s] for s in ONE_POOLING)
    held = set(best.blocks)
    near = [set_of(held ^ {block}) for block in BLOCKS if held ^ {block}]
    assert all(judge.scores[s] <= judge.scores[best] for s in near)
    assert len(judge.asked) == len(set(judge.asked)) < len(EVERY)


def test_greedy_drops_a_block_that_no_longer_helps():
    judge = Judged()
    judge.scores = dict.fromkeys(EVERY, 0.1)
    start, both, end = (
        set_of([(1, "max")]),
        set_of([(1, "max"), (2, "mean")]),
        set_of([(2, "mean"), (2, "cls")]),
    )
    between = set_of([(1, "max"), (2, "mean"), (2, "cls")])
    judge.scores |= {start: 0.2, both: 0.3, between: 0.4, end: 0.5}
    walk(judge, "greedy")
    assert judge.best == 0.5


def test_failed_sets_are_no_ground_to_step_from():
    judge = Judged(0, failing=EVERY)
    assert walk(judge, "greedy") == []
    assert walk(Judged(0, failing=EVERY), "beam") == []
    best = max(EVERY, key=Judged(1).scores.get)
    judge = Judged(1, failing=[best])
    walk(judge, "beam", beam_width=20)
    assert judge.best == sorted(judge.scores.values())[-2]


# the same on a cache, with classifiers

CACHE = {"layers": (1, 2), "poolings": ("max", "mean", "cls"), "n_train": 30, "n_eval": 25}
SEARCH = GridsearchSettings(
    **SMALL, classifiers=("ridge", "knn"), mixed="beam", beam_width=20, protocol="target-dev", ensemble=0
)


def table(searched):
    frame = csv_files.read(GRIDSEARCH, searched[0] / "gridsearch.csv")
    return frame.drop(columns=["fit_seconds", "score_seconds"])


def test_on_a_cache_beam_scores_all_63_sets_and_greedy_is_never_worse_than_one_pooling(searched):
    every = table(searched(SEARCH, "beam", **CACHE))
    assert len(every) == 63 * 2
    assert (every["status"] == "ok").all()
    mixed = every[every["pooling"].str.contains("+", regex=False)]
    assert len(mixed) == (63 - 9) * 2
    assert (mixed["pooling"].str.count(r"\+") == mixed["layers"].str.count(r"\+")).all()
    alone = table(searched(replace(SEARCH, mixed="none", beam_width=5), "alone", **CACHE))
    shared = every.set_index("candidate_id").loc[alone["candidate_id"]]
    assert shared["score"].tolist() == alone["score"].tolist()  # sets of one pooling keep their ids
    greedy = table(searched(replace(SEARCH, mixed="greedy", beam_width=5), "greedy", **CACHE))
    assert alone["score"].max() <= greedy["score"].max() <= every["score"].max()
    assert len(alone) < len(greedy) < len(every)


def test_a_mixed_winner_has_a_probe_that_gives_its_predictions(searched):
    for seed in range(5):  # of 63 sets 54 are mixed, so one of them wins soon
        out, made = searched(SEARCH, f"seed-{seed}", seed=seed, **CACHE)
        winner = json.loads((out / "winner.json").read_text())
        if "+" in winner["pooling"]:
            break
    assert "+" in winner["pooling"]
    probe = Probe.load(out / "probe.npz")
    assert (list(probe.layers), probe.pooling) == (winner["layers"], winner["pooling"])
    predictions = csv_files.read(PREDICTIONS, out / "predictions_gridsearch.csv")
    rows = predictions["id"].astype(int).to_numpy()
    X = FeatureStore.open(made.store).states(layers=probe.layers, pooling=probe.pooling, rows=rows)
    assert [probe.labels[code] for code in probe.predict(X)] == predictions["predicted"].tolist()


def test_a_killed_mixed_search_takes_the_same_steps_again(searched, serial):
    class KilledError(BaseException):
        """Stands for SIGKILL."""

    ran = []

    def until(limit):
        def execute(function, tasks):
            for triple in serial(function, tasks):
                if limit is not None and len(ran) >= limit:
                    raise KilledError
                ran.extend(candidate.id for candidate in triple[0].candidates)
                yield triple

        return execute

    settings = replace(SEARCH, mixed="greedy", beam_width=5)
    expected = table(searched(settings, "whole", **CACHE))
    for limit in (10, 24, 32):
        with pytest.raises(KilledError):
            searched(settings, "killed", until(limit), **CACHE)
    found = table(searched(settings, "killed", until(None), **CACHE))
    assert found.equals(expected)
    assert len(ran) == len(set(ran)) == len(expected) + 1  # and the reference
