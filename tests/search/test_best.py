import time

import numpy as np
import pytest

from search.best import Best
from search.scoring import micro_f1


def row(**matrices):
    return {"matrices": {name: {"dev": dev, "test": [[9, 0], [0, 9]]} for name, dev in matrices.items()}}


def test_the_best_of_each_language_is_kept_from_whatever_candidate():
    best = Best(("en", "de"))
    assert best.note() == ""
    best.see([row(en=[[3, 1], [2, 4]], de=[[1, 4], [4, 1]])])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.200"
    best.see([row(en=[[1, 3], [2, 4]], de=[[5, 0], [1, 4]]), {"matrices": {}}])
    assert best.note() == "best dev micro-F1: en 0.700, de 0.900"


def test_test_labels_are_not_looked_at():
    best = Best(("en", "de"))
    best.see([{"matrices": {"de": {"test": [[5, 0], [0, 5]]}}}])
    assert best.note() == ""


def test_rows_of_an_earlier_search_count():
    assert Best(("en",), [row(en=[[1, 0], [1, 0]])]).note() == "best dev micro-F1: en 0.500"


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_micro_f1_of_the_tables(seed):
    matrix = np.random.default_rng(seed).integers(20, size=(4, 4))
    assert Best(("en",), [row(en=matrix.tolist())]).note().endswith(f"en {float(micro_f1(matrix)):.3f}")


def test_it_costs_next_to_nothing():
    languages = [f"l{k}" for k in range(7)]
    rows = [row(**dict.fromkeys(languages, [[30, 1, 2, 3]] * 4))] * 1000
    best = Best(languages)
    began = time.perf_counter()
    best.see(rows)
    assert time.perf_counter() - began < 0.5  # half a millisecond a row; a fit takes thirty
