"""The order of candidates: rounds, budgets and the sample; any budget leaves a valid result."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.results import csv_files
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.search import gridsearch
from mcbert.search.order import Rounds, coverage, described, in_pieces, sampled
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Space

SETTINGS = GridsearchSettings(
    layers=(1, 2, 3), poolings=("max", "cls"), classifiers=("ridge", "knn"), ensemble=0
)
N = 7 * 2 * 2


def never(sets):
    raise AssertionError(sets)


def test_without_a_budget_the_only_round_is_the_space():
    rounds = Rounds(SETTINGS, never)
    assert list(rounds) == [list(Space(SETTINGS))]
    assert not rounds.cut
    assert list(rounds.in_time([1, 2])) == [1, 2]


def test_a_budget_takes_a_sample_in_the_order_of_the_search():
    rounds = Rounds(replace(SETTINGS, budget=12), never)
    (found,) = rounds
    assert rounds.cut
    assert rounds.planned == found
    taken = {candidate.id for candidate in found}
    assert taken == {candidate.id for candidate in sampled(list(Space(SETTINGS)), 0)[:12]}
    assert found == [candidate for candidate in Space(SETTINGS) if candidate.id in taken]
    assert set(Counter(candidate.pooling for candidate in found).values()) == {6}
    assert set(Counter(candidate.classifier for candidate in found).values()) == {6}
    assert set(Counter(len(candidate.layers) for candidate in found).values()) == {4}
    assert {layer for candidate in found for layer in candidate.layers} == {1, 2, 3}


def test_a_budget_for_all_is_the_whole_search():
    rounds = Rounds(replace(SETTINGS, budget=N), never)
    assert list(rounds) == [list(Space(SETTINGS))]
    assert not rounds.cut


def test_seconds_take_the_sample_piece_by_piece():
    rounds = Rounds(replace(SETTINGS, budget_seconds=9), never)
    (found,) = rounds
    first = {candidate.id for candidate in sampled(list(Space(SETTINGS)), 0)[:15]}
    assert {candidate.id for candidate in found[:15]} == first
    assert rounds.planned == list(Space(SETTINGS))


def test_a_budget_that_is_enough_cuts_nothing():
    rounds = Rounds(replace(SETTINGS, budget=N), never)
    assert len(next(iter(rounds))) == N
    assert not rounds.cut


def test_when_the_time_is_up_no_more_tasks_are_given():
    now = [0.0]
    rounds = Rounds(replace(SETTINGS, budget_seconds=5, mixed="beam"), never, clock=lambda: now[0])
    for _ in rounds:
        for _task in rounds.in_time(range(10)):
            now[0] += 2
    assert now == [6]
    assert rounds.cut  # and `never` was not asked for a mixed step


def test_a_budget_goes_on_in_the_mixed_steps():
    settings = replace(SETTINGS, mixed="beam", beam_width=1, budget=N + 5)
    sizes = [len(found) for found in Rounds(settings, lambda sets: {s: (0, len(s.layers), s) for s in sets})]
    assert sizes == [N, 5]


def read(searched):
    frame = csv_files.read(GRIDSEARCH, searched[0] / "gridsearch.csv")
    return frame.drop(columns=["fit_seconds", "score_seconds"])


def test_a_search_on_a_budget_is_valid_and_a_later_one_goes_on_from_it(searched, serial, caplog):
    expected = read(searched(SETTINGS, "whole"))
    small = searched(replace(SETTINGS, budget=10))
    assert "the budget is spent: 10 of 28 candidates" in caplog.text
    frame = read(small)
    assert len(frame) == 10
    assert csv_files.validate(small[0]) == []
    winner = json.loads((small[0] / "winner.json").read_text())
    assert winner["candidate_id"] == frame["candidate_id"].iloc[0]
    known = expected.set_index("candidate_id").loc[frame["candidate_id"]]
    assert known["score"].tolist() == frame["score"].tolist()

    ran = []

    def counting(function, tasks):
        for triple in serial(function, tasks):
            ran.extend(candidate.id for candidate in triple[0].candidates)
            yield triple

    assert len(read(searched(replace(SETTINGS, budget=15), execute=counting))) == 15
    assert len(ran) == 5
    caplog.clear()
    assert read(searched(SETTINGS, execute=counting)).equals(expected)
    assert len(ran) == len(set(ran)) == N - 10
    assert "the budget is spent" not in caplog.text


def test_a_smaller_budget_than_was_scored_takes_the_first_of_them(searched):
    searched(SETTINGS)
    assert len(read(searched(replace(SETTINGS, budget=4)))) == 4


def test_a_ledger_of_rows_in_another_form_is_refused_by_its_version(searched, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(gridsearch, "VERSION", 2)
        searched(replace(SETTINGS, budget=1))
    with pytest.raises(ValueError, match=r"jsonl: .*version was 2, now 4"):
        searched(replace(SETTINGS, budget=1))


def test_no_time_at_all_is_an_error_and_the_next_search_begins(searched):
    with pytest.raises(ValueError, match=r"gridsearch.budget_seconds: .*1e-09"):
        searched(replace(SETTINGS, budget_seconds=1e-9))
    assert len(read(searched(SETTINGS))) == N


def test_layer_0_is_searched_like_any_other(searched):
    sizes = {"layers": (0, 1), "poolings": ("max", "cls")}
    frame = read(searched(replace(SETTINGS, layers=(0, 1)), **sizes))
    assert set(frame["layers"]) == {"0", "1", "0+1"}
    assert (frame["status"] == "ok").all()
    assert csv_files.validate(searched(replace(SETTINGS, layers=(0, 1)), **sizes)[0]) == []


SPACE = list(Space(GridsearchSettings()))
ORDER = sampled(SPACE, 0)


def test_it_is_the_whole_space_in_another_order():
    assert len(ORDER) == len(SPACE) == 3825
    assert {candidate.id for candidate in ORDER} == {candidate.id for candidate in SPACE}


@pytest.mark.parametrize("n", [15, 60, 61, 120, 500])
def test_any_number_of_the_first_has_its_share_of_everything(n):
    """Sizes are compared up to seven: of all eight layers there are 15 candidates only."""
    first = ORDER[:n]
    for level in (lambda c: c.pooling, lambda c: c.classifier):
        counts = Counter(map(level, first)).values()
        assert max(counts) - min(counts) <= max(1, n // 200)
    sizes = Counter(len(candidate.layers) for candidate in first)
    assert max(sizes[size] for size in range(1, 8)) - min(sizes[size] for size in range(1, 8)) <= 1
    layers = Counter(layer for candidate in first for layer in candidate.layers)
    assert min(layers[layer] for layer in range(5, 13)) >= n / 3


def test_sixty_see_every_pooling_with_every_classifier_and_most_layers_alone():
    assert len({(c.pooling, c.classifier) for c in ORDER[:60]}) == 15
    assert len({c.layers for c in ORDER[:60] if len(c.layers) == 1}) >= 6
    assert len({c.layers for c in ORDER[:120] if len(c.layers) == 1}) == 8
    assert len({c.layers for c in ORDER[:500]}) > 240  # 255 there are


def test_the_seed_draws_it_and_the_same_seed_the_same():
    assert sampled(SPACE, 0) == ORDER
    other = sampled(SPACE, 1)
    assert {c.id for c in other[:60]} != {c.id for c in ORDER[:60]}


@settings(max_examples=25)
@given(
    st.sets(st.integers(0, 12), min_size=1, max_size=5),
    st.sets(st.sampled_from(["max", "mean", "cls"]), min_size=1),
    st.sets(st.sampled_from(["ridge", "knn", "mlp"]), min_size=1),
    st.integers(1, 3),
)
def test_of_any_space_it_is_a_permutation(layers, poolings, classifiers, n_values):
    alphas = [float(k + 1) for k in range(n_values)]
    found = GridsearchSettings(
        layers=tuple(layers),
        poolings=tuple(poolings),
        classifiers=tuple(classifiers),
        params={"ridge": {"alpha": alphas}} if "ridge" in classifiers else {},
        seeds=(3, 4),
    )
    space = list(Space(found))
    order = sampled(space, 3)
    assert sorted(c.id for c in order) == sorted(c.id for c in space)
    place = {candidate.id: at for at, candidate in enumerate(space)}
    blocks = in_pieces(order, place)
    assert {c.id for c in blocks[:15]} == {c.id for c in order[:15]}
    assert sorted(c.id for c in blocks) == sorted(c.id for c in space)


def test_pieces_in_which_a_pooling_is_read_once():
    place = {candidate.id: at for at, candidate in enumerate(SPACE)}
    blocks = in_pieces(ORDER, place)
    for begin, end in ((0, 15), (15, 30), (30, 60), (60, 120), (120, 240)):
        assert [place[c.id] for c in blocks[begin:end]] == sorted(place[c.id] for c in ORDER[begin:end])


def test_what_was_tried_is_counted_by_level():
    counts = coverage(ORDER[:60], SPACE)
    assert (counts["n"], counts["of"]) == (60, 3825)
    assert counts["pooling"] == {name: [20, 1275] for name in ("max", "mean", "cls")}
    assert counts["classifier"]["knn"] == [12, 765]
    assert counts["n_layers"]["8"][1] == 15
    assert described(counts).startswith(
        "pooling max: 20 of 1275, mean: 20 of 1275, cls: 20 of 1275; classifier "
    )
