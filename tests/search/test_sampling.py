"""The order of a search on a budget: every pooling, classifier, number of layers and layer has its share."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.search.sampling import coverage, described, in_blocks, sampled
from mcbert.search.space import GridsearchSettings, Space

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


@settings(max_examples=25, deadline=None)
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
    blocks = in_blocks(order, place)
    assert {c.id for c in blocks[:15]} == {c.id for c in order[:15]}
    assert sorted(c.id for c in blocks) == sorted(c.id for c in space)


def test_pieces_in_which_a_pooling_is_read_once():
    place = {candidate.id: at for at, candidate in enumerate(SPACE)}
    blocks = in_blocks(ORDER, place)
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
