"""Nearest neighbours: those of all cosines however the corpus is cut, ties in the order of the corpus.

Cosines are compared to the bit: `unit_rows` rounds so that float64 sums them without rounding, on any CPU.
"""

import sys

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.finetune.embeddings import neighbours
from mcbert.finetune.embeddings.neighbours import Exact, Graph
from mcbert.finetune.embeddings.retrieval import unit_rows

RNG = np.random.default_rng(0)
CORPUS = unit_rows(RNG.standard_normal((300, 8)) * RNG.uniform(0.1, 10, (300, 1)))
QUERIES = unit_rows(RNG.standard_normal((20, 8)))


def cut(corpus, *places):
    """Return the corpus as blocks that end at these places."""
    return lambda: [part for part in np.split(corpus, places) if len(part)]


def all_cosines(queries, corpus, k):
    cosines = queries.astype(np.float64) @ corpus.astype(np.float64).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(cosines, order, axis=1).clip(-1, 1)


@pytest.mark.parametrize("k", [1, 5, 300, 1000])
@pytest.mark.parametrize("places", [(), (70, 140, 210), tuple(range(3, 300, 7))])
def test_exact_search_finds_the_largest_cosines(k, places):
    rows, cosines = Exact(cut(CORPUS, *places), 8).search(QUERIES, k)
    expected = all_cosines(QUERIES, CORPUS, k)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(cosines, expected[1])


@settings(max_examples=60)
@given(st.data())
def test_however_it_is_cut_the_answer_is_that_of_all_pairs(data):
    """Few different vectors, so that many tie, and some that differ by less than float32 sums tell."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, dimension = data.draw(st.integers(1, 80)), data.draw(st.integers(1, 40))
    few = rng.standard_normal((data.draw(st.integers(1, 6)), dimension))
    near = few[rng.integers(len(few), size=n)] + rng.choice([0.0, 3e-8, 1e-7], n)[:, None]
    corpus, queries = unit_rows(near), unit_rows(rng.permutation(near)[:9])
    places = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    k = data.draw(st.integers(1, 90))
    rows, cosines = Exact(cut(corpus, *places), dimension).search(queries, k)
    expected = all_cosines(queries, corpus, k)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(cosines, expected[1])


@pytest.mark.parametrize("places", [(), (5,), range(12)])
def test_equal_vectors_come_in_the_order_of_the_corpus(places):
    corpus = np.repeat(CORPUS[:3], 4, axis=0)
    rows, cosines = Exact(cut(corpus, *places), 8).search(CORPUS[:3], 4)
    np.testing.assert_array_equal(rows, np.arange(12).reshape(3, 4))
    assert (cosines <= 1).all()
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_what_is_gathered_at_once_changes_nothing(monkeypatch):
    expected = Exact(cut(CORPUS), 8).search(QUERIES, 5)
    monkeypatch.setattr(neighbours, "AT_ONCE", 1)
    found = Exact(cut(CORPUS), 8).search(QUERIES, 5)
    np.testing.assert_array_equal(found, expected)


def test_a_graph_finds_nearly_all():
    exact, graph = Exact(cut(CORPUS), 8), Graph(cut(CORPUS, 100), 8)
    found = [index.search(QUERIES, 10)[0] for index in (exact, graph)]
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*found, strict=True)])
    assert shared > 0.95


def test_a_graph_gives_the_cosines_of_the_exact_search():
    """To the bit, whatever instructions the CPU sums float32 distances with."""
    rows, cosines = Graph(cut(CORPUS, 100), 8).search(QUERIES, 10)
    every = QUERIES.astype(np.float64) @ CORPUS.astype(np.float64).T
    np.testing.assert_array_equal(cosines, np.take_along_axis(every, rows, axis=1).clip(-1, 1))
    assert (np.diff(cosines, axis=1) <= 0).all()


def test_a_graph_says_where_it_found_fewer(monkeypatch):
    graph = Graph(cut(CORPUS), 8)
    found = np.array([[3, -1, 1]] * len(QUERIES))
    monkeypatch.setattr(faiss.IndexHNSWFlat, "search", lambda *_: (None, found))
    rows, cosines = graph.search(QUERIES, 3)
    assert (rows[:, 2] == -1).all()
    assert (cosines[:, :2] > -1).all()


def test_the_library_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    for kind in neighbours.KINDS.values():
        with pytest.raises(ValueError, match=r"pip install 'mcbert\[nearest\]'"):
            kind(cut(CORPUS), 8)
