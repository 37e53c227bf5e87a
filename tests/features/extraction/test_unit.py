import numpy as np
import pytest
import torch

from features.encoder.pooled import PooledEncoder
from features.encoder.tokens import tokenise
from features.extraction.unit import UnencodableTextError, UnitEncoder, first_bad_layers

SETTINGS = {
    "layers": [0, 2, 4],
    "poolings": ["mean", "max"],
    "dtype": "float32",
    "special_tokens": "include",
    "storage_dtype": "float32",
    "max_length": 64,
    "tokens_per_batch": 12,
    "prompt": "",
}
TEXTS = [("where is my money", ""), ("cancel", ""), ("please cancel it now", "late human"), ("late", "")]


@pytest.mark.parametrize("special_tokens", ["include", "exclude"])
def test_a_unit_is_the_texts_in_their_order(encoder_folder, special_tokens):
    encoder = UnitEncoder(encoder_folder, SETTINGS | {"special_tokens": special_tokens})
    checks = []
    states = encoder.encode(encoder.prepare(TEXTS), lambda: checks.append(1))
    pooled = PooledEncoder(
        encoder_folder, layers=(0, 2, 4), poolings=("mean", "max"), content_only=special_tokens == "exclude"
    )
    for k, text in enumerate(TEXTS):
        alone = pooled(tokenise(pooled.tokenizer, [text], 64, special=pooled.content_only))
        torch.testing.assert_close(states[k], alone[0], atol=2e-6, rtol=1e-5)
    assert len(checks) == len(encoder.prepare(TEXTS).batches) > 1


def test_states_are_of_the_storage_dtype(encoder_folder):
    encoder = UnitEncoder(encoder_folder, SETTINGS | {"storage_dtype": "float16"})
    assert encoder.encode(encoder.prepare(TEXTS), lambda: None).dtype == torch.float16


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_layer_that_is_not_finite(dtype, value):
    states = np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype(dtype)
    states[0] = np.finfo(dtype).max
    states[1, 2, 0, 4] = value
    states[3, 1, 1, 0] = value
    states[3, 2, 1, 0] = value
    assert first_bad_layers(states).tolist() == [-1, 2, -1, 1]


def test_a_text_on_which_the_encoder_fails_is_named(encoder_folder):
    """An id without an embedding, such as a damaged tokenizer gives, is an IndexError of one text."""
    unit = UnitEncoder(encoder_folder, SETTINGS)
    prepared = unit.prepare([("where is my money", ""), ("cancel it", ""), ("the order is late", "")])
    prepared.tokens[1]["input_ids"][1] = 10_000
    with pytest.raises(UnencodableTextError, match=r"text 2: the encoder fails on it \(IndexError: "):
        unit.encode(prepared, lambda: None)
