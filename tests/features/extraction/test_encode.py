import shutil
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import tokenise
from mcbert.features.extraction.encode import UnencodableTextError, UnitEncoder, first_bad_layers, overlap
from tests.conftest import make_tokenizer

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


@pytest.fixture(scope="module")
def wide_folder(tmp_path_factory):
    """An encoder as wide as it takes for a library to split its products."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("wide")
    BertModel(
        BertConfig(vocab_size=32, hidden_size=64, num_hidden_layers=4, num_attention_heads=1)
    ).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def states_of(folder, texts, tokens_per_batch):
    encoder = UnitEncoder(folder, SETTINGS | {"tokens_per_batch": tokens_per_batch})
    return encoder.encode(encoder.prepare(texts), lambda: None)


def with_threads(threads, function, *args):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function(*args)
    finally:
        torch.set_num_threads(before)


def test_threads_change_no_bit_of_batches_of_few_tokens(wide_folder):
    """Equal to the bit on any CPU, since one thread computes such batches however many there are."""
    texts = [(" ".join(["money"] * n), "") for n in range(1, 10)]  # batches of 5 to 11 tokens
    alone = with_threads(1, states_of, wide_folder, texts, 11)
    for threads in (2, 3, 4):
        assert torch.equal(with_threads(threads, states_of, wide_folder, texts, 11), alone)


def test_threads_change_no_digit_that_is_stored_of_any_batch(wide_folder):
    """Close, not equal: how a CPU's library splits a product among threads is its own affair."""
    texts = [(" ".join(["money", "late"] * n), "") for n in range(1, 30)]
    alone = with_threads(1, states_of, wide_folder, texts, 600)
    for threads in (2, 3):
        found = with_threads(threads, states_of, wide_folder, texts, 600)
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


def test_states_do_not_depend_on_where_the_file_has_the_weights(wide_folder, tmp_path):
    """Equal to the bit on any CPU: the same numbers at addresses of the same kind, by the same code."""
    expected = states_of(wide_folder, TEXTS, 12)
    weights = load_file(wide_folder / "model.safetensors")
    for length in range(0, 64, 8):  # of the header, which moves what comes after it
        folder = shutil.copytree(wide_folder, tmp_path / str(length))
        metadata = {"format": "pt", "filler": "x" * length}
        save_file(weights, folder / "model.safetensors", metadata=metadata)
        assert torch.equal(states_of(folder, TEXTS, 12), expected)


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
    with pytest.raises(UnencodableTextError, match=r"text 2: .*\(IndexError: "):
        unit.encode(prepared, lambda: None)


def test_results_come_in_order_from_three_threads():
    threads = {"before": set(), "work": set(), "after": set()}

    def step(name, value):
        threads[name].add(threading.get_ident())
        return value

    out = overlap(
        range(20),
        before=lambda item: step("before", item * 2),
        work=lambda ready: step("work", ready + 1),
        after=lambda item, made: step("after", (item, made)),
    )
    assert list(out) == [(k, 2 * k + 1) for k in range(20)]
    assert threads["work"] == {threading.get_ident()}
    assert len(set.union(*threads.values())) == 3


def test_the_next_item_is_prepared_while_one_is_worked_on():
    preparing = threading.Event()

    def before(item):
        if item == 1:
            preparing.set()
        return item

    def work(ready):
        assert ready != 0 or preparing.wait(10), "item 1 was not prepared while item 0 was worked on"
        return ready

    assert list(overlap([0, 1], before, work, lambda item, _: item)) == [0, 1]


@pytest.mark.parametrize("step", ["before", "work", "after"])
def test_an_error_ends_the_line_with_the_items_before_it_finished(step):
    finished = []

    def fail(name, item):
        if name == step and item == 3:
            raise OSError("full")
        return item

    def after(item, made):
        fail("after", item)
        finished.append(made)
        return item

    with pytest.raises(OSError, match="full"):
        list(overlap(range(9), lambda k: fail("before", k), lambda k: fail("work", k), after))
    assert finished == [0, 1, 2]


def test_no_items():
    assert list(overlap([], lambda k: k, lambda k: k, lambda k, _: k)) == []
