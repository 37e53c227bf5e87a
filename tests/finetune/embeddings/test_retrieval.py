import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.finetune.embeddings.retrieval import RetrievalSettings, RowError, search, unit_rows


@st.composite
def sides(draw):
    """Two sides with doubled rows, so that ties occur."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.integers(1, 9))
    pool = rng.normal(size=(draw(st.integers(1, 12)), width)) + draw(st.sampled_from([0.0, 2.0]))
    return tuple(unit_rows(pool[rng.integers(0, len(pool), draw(st.integers(1, 23)))]) for _ in range(2))


def directly(x, y, k):
    """The whole matrix at once, sentence by sentence as the paper writes it."""
    cosines = x.astype(np.float64) @ y.astype(np.float64).T
    near_x = [sorted(row)[-min(k, len(y)) :] for row in cosines]
    near_y = [sorted(column)[-min(k, len(x)) :] for column in cosines.T]
    margins = np.empty_like(cosines)
    for i in range(len(x)):
        for j in range(len(y)):
            mean = sum(near_x[i]) / (2 * len(near_x[i])) + sum(near_y[j]) / (2 * len(near_y[j]))
            margins[i, j] = cosines[i, j] / max(mean, 1e-6)
    return {"cosine": cosines, "margin": margins}


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


@settings(max_examples=150)
@given(sides(), st.integers(1, 6))
def test_finds_what_the_whole_matrix_holds(both, k):
    found = search(*both, k=k)
    for score, matrix in directly(*both, k).items():
        for direction, values in (("forward", matrix), ("backward", matrix.T)):
            rows = found[direction, score]
            assert rows.dtype == np.int64
            if score == "cosine":
                np.testing.assert_array_equal(rows, values.argmax(axis=1))
            else:  # the formula's own sums round
                reached = values[np.arange(len(values)), rows]
                np.testing.assert_allclose(reached, values.max(axis=1), rtol=1e-9)


@settings(max_examples=150)
@given(sides(), st.integers(1, 6), st.integers(1, 25))
def test_blocks_of_any_size_give_the_same(both, k, block):
    same(search(*both, k=k, block=block), search(*both, k=k, block=1000))


@settings(max_examples=50)
@given(sides(), st.integers(1, 6))
def test_the_directions_mirror_each_other(both, k):
    there, back = search(*both, k=k), search(*both[::-1], k=k)
    same(there, {({"forward": "backward"}.get(d, "forward"), s): rows for (d, s), rows in back.items()})


@settings(max_examples=50)
@given(sides(), st.integers(1, 7))
def test_equal_rows_are_found_at_the_lowest(both, block):
    x, y = both
    for score in ("cosine", "margin"):
        rows = search(x, y, block=block)["forward", score]
        assert all((y[:row] != y[row]).any(axis=1).all() for row in rows)


def test_the_margin_passes_over_a_hub():
    """Row 0 of y lies nearest to both rows of x; only the margin sees that it is near to everything."""
    x = unit_rows(np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.3]]))
    y = unit_rows(np.array([[0.9, 0.9, 0.54], [0.0, 0.9, -0.47]]))
    found = search(x, y, k=2)
    assert found["forward", "cosine"].tolist() == [0, 0]
    assert found["forward", "margin"].tolist() == [0, 1]


def test_cosines_are_exact_in_any_order_of_adding():
    rng = np.random.default_rng(0)
    x = unit_rows(rng.normal(size=(40, 768)).astype(np.float32))
    order = rng.permutation(768)
    a, b = (z.astype(np.float64) @ z.astype(np.float64).T for z in (x, x[:, order]))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.diag(a), 1, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-40, 1.0, 1e30])
def test_unit_rows_keep_directions(scale):
    X = np.random.default_rng(1).normal(size=(9000, 3)).astype(np.float32)
    out = unit_rows((X * scale).astype(np.float32))
    assert out.dtype == np.float32
    wanted = X / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(out, wanted, atol=1e-7 if scale != 1e-40 else 1e-3)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "all numbers are 0"), (np.nan, "a number is not finite"), (np.inf, "a number is not finite")],
)
def test_rows_without_direction_are_named(value, said):
    X = np.ones((10_000, 2), dtype=np.float32)
    X[9_001] = value
    with pytest.raises(RowError, match=f"row 9001: {said}") as caught:
        unit_rows(X)
    assert caught.value.row == 9_001


@pytest.mark.parametrize("shape", [(0, 3), (2, 4)])
def test_sides_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=rf"got \(2, 3\) and \({shape[0]}, {shape[1]}\)"):
        search(np.ones((2, 3), dtype=np.float32), np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"languages": ("deu", "Fra")}, "retrieval.languages: got 'Fra', accepted: ISO 639-3 codes"),
        ({"languages": ("../x",)}, "retrieval.languages: got '../x'"),
        ({"languages": ("deu", "deu")}, "got .deu. twice"),
        ({"neighbours": 0}, "retrieval.neighbours: got 0, accepted: a whole number from 1"),
    ],
)
def test_bad_settings(given_, said):
    with pytest.raises(ValueError, match=said):
        RetrievalSettings(**given_)
