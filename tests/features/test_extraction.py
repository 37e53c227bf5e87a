import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from features import extraction
from features.corpus import Corpus
from features.encoder.pooled import PooledEncoder
from features.encoder.tokens import tokenise
from features.extraction import distinct_texts, extract, locked
from features.settings import EncoderSettings, ExtractSettings
from features.store import FeatureStore, StoreError

SMALL = ExtractSettings(unit_rows=8, rows_per_file=24, tokens_per_batch=64)


@pytest.fixture(scope="module")
def corpus(texts_table):
    return Corpus.of(texts_table, "en", "texts.csv")


def run(corpus, folder, cache, settings=SMALL, max_length=64):
    return extract(
        corpus,
        folder,
        encoder=EncoderSettings(path=str(folder), max_length=max_length),
        settings=settings,
        cache=cache,
    )


def contents(target: Path):
    out = {}
    for path in sorted(target.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, d, p=path: (
                    out.update({(p.name, name): d[:].tobytes()}) if isinstance(d, h5py.Dataset) else None
                )
            )
    return out


def test_features_equal_the_plain_loop(corpus, encoder_folder, tmp_path):
    store = FeatureStore.open(run(corpus, encoder_folder, tmp_path))
    assert store.layers == (0, 1, 2, 3, 4)
    encoder = PooledEncoder(encoder_folder, layers=(3,), poolings=("max",))
    one_by_one = [
        encoder(tokenise(encoder.tokenizer, [(t, "")], 64))[0, 0, 0].numpy() for t in corpus.table["text"]
    ]
    np.testing.assert_allclose(store.states(layers=(3,), pooling="max"), one_by_one, atol=2e-3)


def test_identical_texts_are_stored_once(corpus, encoder_folder, tmp_path):
    texts, index = distinct_texts(corpus)
    store = FeatureStore.open(run(corpus, encoder_folder, tmp_path))
    assert store.n_texts == len(texts) <= len(corpus.table)
    assert [texts[i][0] for i in index] == corpus.table["text"].tolist()


def test_relabelling_reuses_the_cache_and_new_texts_do_not(corpus, encoder_folder, tmp_path, monkeypatch):
    first = run(corpus, encoder_folder, tmp_path)
    flipped = corpus.table.assign(label=corpus.table["label"].map({"refund": "a", "cancel": "b"}))
    monkeypatch.setattr(extraction, "_extract", lambda *_a, **_k: pytest.fail("extracted again"))
    assert run(Corpus.of(flipped, "en", "x"), encoder_folder, tmp_path) == first
    monkeypatch.undo()
    changed = corpus.table.assign(text=corpus.table["text"] + " now")
    assert run(Corpus.of(changed, "en", "x"), encoder_folder, tmp_path) != first


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (1, 2)},
        {"poolings": ("max",)},
        {"special_tokens": "exclude"},
        {"dtype": "bfloat16"},
        {"storage_dtype": "float32"},
        {"tokens_per_batch": 128},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_setting_is_part_of_the_identity(corpus, encoder_folder, tmp_path, change):
    first = run(corpus, encoder_folder, tmp_path)
    settings = ExtractSettings(**({"unit_rows": 8, "rows_per_file": 24, "tokens_per_batch": 64} | change))
    second = run(corpus, encoder_folder, tmp_path, settings)
    assert first != second
    with pytest.raises(StoreError, match=next(iter(change))):
        FeatureStore.open(first).require(FeatureStore.open(second).fingerprint)


def test_max_length_is_part_of_the_identity(corpus, encoder_folder, tmp_path):
    assert run(corpus, encoder_folder, tmp_path) != run(corpus, encoder_folder, tmp_path, max_length=5)


def test_interrupted_anywhere_ends_bit_identical(corpus, encoder_folder, tmp_path, monkeypatch):
    whole = contents(run(corpus, encoder_folder, tmp_path / "whole"))
    encode, left = extraction.encode_unit, iter([1, 0, 2, 1])
    state = {"budget": 0}

    def stumbling(*args, **kwargs):
        if state["budget"] == 0:
            raise KeyboardInterrupt
        state["budget"] -= 1
        return encode(*args, **kwargs)

    monkeypatch.setattr(extraction, "encode_unit", stumbling)
    for budget in left:
        state["budget"] = budget
        with pytest.raises(KeyboardInterrupt):
            run(corpus, encoder_folder, tmp_path / "broken")
    state["budget"] = 1000
    assert contents(run(corpus, encoder_folder, tmp_path / "broken")) == whole


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
torch.set_num_threads(1)
from features import extraction
from features.corpus import Corpus
from features.settings import EncoderSettings, ExtractSettings
encode = extraction.encode_unit
def slow(*a, **k):
    out = encode(*a, **k)
    time.sleep(0.05)
    return out
extraction.encode_unit = slow
corpus = Corpus.read(Path(sys.argv[2]), "en")
print("ready", flush=True)
extraction.extract(corpus, Path(sys.argv[3]), encoder=EncoderSettings(path=sys.argv[3], max_length=64),
    settings=ExtractSettings(unit_rows=8, rows_per_file=24, tokens_per_batch=64), cache=Path(sys.argv[4]))
"""


@pytest.mark.slow
def test_killed_at_random_moments_ends_bit_identical(corpus, encoder_folder, tmp_path):
    torch.set_num_threads(1)
    table = tmp_path / "texts.csv"
    corpus.table.to_csv(table, index=False)
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(root),
        str(table),
        str(encoder_folder),
        str(tmp_path / "killed"),
    ]
    rng = np.random.default_rng(0)
    for _ in range(4):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(float(rng.uniform(0.0, 0.5)))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    subprocess.run(command, check=True, capture_output=True)
    (killed,) = (tmp_path / "killed").iterdir()
    whole = run(corpus, encoder_folder, tmp_path / "whole")
    assert contents(killed) == contents(whole)


def test_two_extractors_of_one_cache(tmp_path):
    said = f"another extraction .*process {os.getpid()} on"
    with locked(tmp_path), pytest.raises(ValueError, match=said), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_states_that_are_not_finite_are_refused(corpus, encoder_folder, tmp_path, monkeypatch):
    call = PooledEncoder.__call__

    def broken(self, tokens):
        out = call(self, tokens).clone()
        out[0, 2] = 1e6  # beyond float16
        return out

    monkeypatch.setattr(PooledEncoder, "__call__", broken)
    with pytest.raises(
        ValueError, match="layer 2: a state is not finite as float16; try extract.storage_dtype"
    ):
        run(corpus, encoder_folder, tmp_path)


def test_a_layer_the_encoder_lacks(corpus, encoder_folder, tmp_path):
    with pytest.raises(ValueError, match=r"extract.layers: got 7; accepted: 0 \(embeddings\) to 4"):
        run(corpus, encoder_folder, tmp_path, ExtractSettings(layers=(7,)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"poolings": ("median",)}, "extract.poolings: got 'median', accepted: max, mean, cls"),
        ({"poolings": ("max", "max")}, "name each pooling once"),
        ({"dtype": "int8"}, "extract.dtype: got 'int8', accepted: float32, bfloat16"),
        ({"unit_rows": 0}, "extract.unit_rows: got 0"),
    ],
)
def test_settings_that_cannot_work(change, said):
    with pytest.raises(ValueError, match=said):
        ExtractSettings(**change)
