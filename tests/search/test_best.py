import time

import numpy as np
import pytest

from mcbert.search.best import Best
from mcbert.search.scoring import pack, scores


def row(**matrices):
    packed = {name: pack(np.asarray(dev)) for name, dev in matrices.items()}
    return {"matrices": {name: {"dev": dev, "test": [0, 9, 3, 9]} for name, dev in packed.items()}}


def test_the_best_of_each_language_is_kept_from_whatever_candidate():
    best = Best(("en", "de"), 2)
    assert best.note() == ""
    best.see([row(en=[[3, 1], [2, 4]], de=[[1, 4], [4, 1]])])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.200"
    best.see([row(en=[[1, 3], [2, 4]], de=[[5, 0], [1, 4]]), {"matrices": {}}])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.900"


def test_test_labels_are_not_looked_at():
    best = Best(("en", "de"), 2)
    best.see([{"matrices": {"de": {"test": [0, 5, 3, 5]}}}])
    assert best.note() == ""


def test_rows_of_an_earlier_search_count():
    assert Best(("en",), 2, [row(en=[[1, 0], [1, 0]])]).note() == "best dev micro-F1: en 0.500"


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_micro_f1_of_the_tables(seed):
    matrix = np.random.default_rng(seed).integers(20, size=(4, 4))
    expected = scores(matrix[None])["micro_f1"][0]
    assert Best(("en",), 4, [row(en=matrix)]).note().endswith(f"en {expected:.3f}")


def test_it_costs_next_to_nothing():
    languages = [f"l{k}" for k in range(7)]
    rows = [row(**dict.fromkeys(languages, [[30, 1, 2, 3]] * 4))] * 1000
    best = Best(languages, 4)
    began = time.perf_counter()
    best.see(rows)
    assert time.perf_counter() - began < 0.5  # half a millisecond a row; a fit takes thirty


def test_it_shows_the_score_that_the_search_goes_by():
    rows = [row(en=[[9, 0], [1, 0]])]
    assert Best(("en",), 2, rows, metric="macro_f1").note() == "best dev macro-F1: en 0.474"
    assert Best(("en",), 2, rows, metric="accuracy").note() == "best dev accuracy: en 0.900"
