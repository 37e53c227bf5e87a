import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.features.encoder.pooling import POOLS, pool, pool_sorted
from mcbert.features.spec import POOLINGS


def reference(states, mask, pooling):
    """The plain way, a text at a time in float64."""
    rows = []
    for text, keep in zip(states.numpy().astype(np.float64), mask.numpy().astype(bool), strict=True):
        real = text[keep]
        rows.append({"max": real.max(0), "mean": real.mean(0), "cls": real[0], "last": real[-1]}[pooling])
    return np.stack(rows)


@st.composite
def batches(draw):
    rows, seq, hidden = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, seq)) < 0.6
    mask[np.arange(rows), rng.integers(0, seq, rows)] = True
    scale = draw(st.sampled_from([1e-3, 1.0, 1e4]))
    states = rng.normal(size=(rows, seq, hidden)) * scale
    return torch.tensor(states, dtype=torch.float32), torch.tensor(mask.astype(np.int64))


@given(batches(), st.sampled_from(sorted(POOLINGS)))
@settings(max_examples=150)
def test_equals_the_plain_way(batch, pooling):
    states, mask = batch
    before = states.clone()
    np.testing.assert_allclose(
        pool(states, mask, pooling).numpy(), reference(states, mask, pooling), rtol=1e-5, atol=1e-6
    )
    assert torch.equal(states, before), "the caller's tensor was written to"


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=7).map(sorted),
    st.permutations(sorted(POOLINGS)),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
@settings(max_examples=150)
def test_sorted_rows_are_pooled_alike_in_one_pass(lengths, poolings, dtype):
    generator = torch.Generator().manual_seed(sum(lengths))
    states = (torch.randn(len(lengths), lengths[-1] + 2, 5, generator=generator) * 50).to(dtype)
    mask = torch.arange(states.shape[1]) < torch.tensor(lengths)[:, None]
    states[~mask] = torch.nan  # padding is not even read
    before = states.clone()
    out = pool_sorted(states, lengths, poolings)
    clean = states.masked_fill(~mask[..., None], 0).float()
    for k, pooling in enumerate(poolings):
        assert out[k].dtype == (torch.float32 if pooling == "mean" else dtype)
        np.testing.assert_allclose(out[k].float(), reference(clean, mask, pooling), rtol=1e-5, atol=1e-5)
    assert torch.equal(states.isnan(), before.isnan())
    assert torch.equal(states.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_never_takes_part(pooling, side):
    states = torch.randn(1, 5, 8)
    alone = pool(states, torch.ones(1, 5), pooling)
    junk = torch.full((1, 3, 8), 1e6)
    padded = torch.cat([junk, states] if side == "left" else [states, junk], dim=1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]] if side == "left" else [[1, 1, 1, 1, 1, 0, 0, 0]])
    torch.testing.assert_close(pool(padded, mask, pooling), alone)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_pooled_in_float32_without_nan(pooling, dtype):
    states = torch.full((2, 4, 3), -60000.0 if dtype == torch.float16 else -1e30, dtype=dtype)
    out = pool(states, torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]), pooling)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, states[:, 0].float())


def test_gradient_reaches_the_states():
    states = torch.randn(2, 3, 4, requires_grad=True)
    pool(states, torch.ones(2, 3), "max").sum().backward()
    assert states.grad is not None
    assert states.grad.sum() == pytest.approx(8.0)


def test_settings_offer_exactly_these():
    assert tuple(POOLS) == POOLINGS
