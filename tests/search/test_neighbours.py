"""Nearest neighbours through the library: those of all cosines, ties in the order of adding."""

import sys

import numpy as np
import pytest

from search.neighbours import Neighbours
from search.retrieval import RowError

RNG = np.random.default_rng(0)
CORPUS = RNG.standard_normal((300, 8)) * RNG.uniform(0.1, 10, (300, 1))
QUERIES = RNG.standard_normal((20, 8))


def cosines_of(queries, corpus):
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, corpus)]
    return units[0] @ units[1].T


@pytest.mark.parametrize("k", [1, 5, 300, 1000])
def test_exact_search_finds_the_largest_cosines(k):
    neighbours = Neighbours(8)
    for start in range(0, 300, 70):
        neighbours.add(CORPUS[start : start + 70])
    rows, cosines = neighbours.search(QUERIES, k)
    expected = cosines_of(QUERIES, CORPUS)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(cosines, np.take_along_axis(expected, order, axis=1), atol=1e-6)


def test_equal_vectors_come_in_the_order_of_adding():
    neighbours = Neighbours(8)
    neighbours.add(np.repeat(CORPUS[:3], 4, axis=0))
    rows, cosines = neighbours.search(CORPUS[:3], 4)
    np.testing.assert_array_equal(rows, np.arange(12).reshape(3, 4))
    assert (cosines <= 1).all()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_a_graph_finds_nearly_all():
    exact, graph = Neighbours(8), Neighbours(8, "hnsw")
    for neighbours in (exact, graph):
        neighbours.add(CORPUS)
    found = [neighbours.search(QUERIES, 10)[0] for neighbours in (exact, graph)]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*found, strict=True)])
    assert shared > 0.95


def test_a_vector_without_direction_is_named():
    neighbours = Neighbours(8)
    with pytest.raises(RowError, match="row 2: all numbers are 0"):
        neighbours.add(CORPUS[:4] * np.array([[1], [1], [0], [1]]))
    assert len(neighbours) == 0


def test_the_library_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"pip install 'mcbert\[nearest\]'"):
        Neighbours(8)
