import dataclasses
import itertools

import h5py
import numpy as np
import pandas as pd
import pytest

from mcbert.features.cache import FeatureStore, StoreError, locked, revoke, verify
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder import hardware
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import tokenise
from mcbert.features.extraction import Runtime, extract
from mcbert.features.settings import EncoderSettings, ExtractSettings

SMALL = ExtractSettings(unit_rows=8, units_per_task=3, tokens_per_batch=64)


def rows_of(corpus):
    return list(corpus.table[["id", "text", "text_pair"]].itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def corpus(texts_table):
    return Corpus.of(texts_table, "en", "texts.csv")


def run(corpus, folder, cache, settings=SMALL, *, max_length=64, **runtime):
    return extract(
        rows_of(corpus),
        folder,
        encoder=EncoderSettings(path=str(folder), max_length=max_length),
        settings=settings,
        cache=cache,
        corpus="texts.csv",
        runtime=Runtime(**runtime),
    )


def contents(target):
    """Every dataset's bytes, compared to the bit: one machine, the same batches, few tokens in each."""
    out = {}
    for path in sorted(target.glob("*.h5")):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, d, p=path: (
                    out.update({(p.name, name): d[:].tobytes()}) if isinstance(d, h5py.Dataset) else None
                )
            )
    return out


def count_encoded(monkeypatch):
    """Return a list that grows by the number of texts of each batch."""
    encoded = []
    encode_into = PooledEncoder.encode_into

    def counted(self, states, tokens, rows):
        encoded.append(len(tokens))
        encode_into(self, states, tokens, rows)

    monkeypatch.setattr(PooledEncoder, "encode_into", counted)
    return encoded


def test_features_equal_the_plain_loop(corpus, encoder_folder, tmp_path):
    store = FeatureStore.open(run(corpus, encoder_folder, tmp_path))
    assert store.layers == (0, 1, 2, 3, 4)
    encoder = PooledEncoder(encoder_folder, layers=(3,), poolings=("max",))
    one_by_one = [
        encoder(tokenise(encoder.tokenizer, [(t, "")], 64))[0, 0, 0].numpy() for t in corpus.table["text"]
    ]
    np.testing.assert_allclose(store.states(layers=(3,), pooling="max"), one_by_one, atol=2e-3)


def test_identical_texts_are_encoded_once(corpus, encoder_folder, tmp_path):
    copies = corpus.table.assign(id=corpus.table["id"] + "+1", label="cancel")
    doubled = Corpus.of(pd.concat([copies[20:30], corpus.table]), "en", "x")
    store = FeatureStore.open(run(doubled, encoder_folder, tmp_path))
    texts = sorted(dict.fromkeys(doubled.table["text"]), key=len)
    assert store.n_texts == len(texts) == len(doubled.table) - 10
    assert [texts[i] for i in store.index] == doubled.table["text"].tolist()


def test_units_are_files_of_their_own_and_no_text_is_left_behind(corpus, encoder_folder, tmp_path):
    target = run(corpus, encoder_folder, tmp_path)
    assert len(list(target.glob("unit-*.h5"))) > 1
    known = {"identity.json", "manifest.json", "index.npy", ".lock"}
    assert {p.name for p in target.iterdir() if not p.name.startswith("unit-")} == known


def test_relabelling_reuses_the_cache_and_new_texts_do_not(corpus, encoder_folder, tmp_path, monkeypatch):
    first = run(corpus, encoder_folder, tmp_path)
    flipped = corpus.table.assign(label=corpus.table["label"].map({"refund": "a", "cancel": "b"}))
    monkeypatch.setattr(PooledEncoder, "encode_into", lambda *_a: pytest.fail("encoded again"))
    assert run(Corpus.of(flipped, "en", "x"), encoder_folder, tmp_path) == first
    monkeypatch.undo()
    changed = corpus.table.assign(text=corpus.table["text"] + " now")
    assert run(Corpus.of(changed, "en", "x"), encoder_folder, tmp_path) != first


def test_how_many_units_a_worker_is_handed_is_not(corpus, encoder_folder, tmp_path):
    first = run(corpus, encoder_folder, tmp_path)
    settings = ExtractSettings(unit_rows=8, units_per_task=1, tokens_per_batch=64)
    assert run(corpus, encoder_folder, tmp_path, settings) == first


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (1, 2)},
        {"poolings": ("max",)},
        {"special_tokens": "exclude"},
        {"dtype": "bfloat16"},
        {"storage_dtype": "float32"},
        {"tokens_per_batch": 128},
        {"unit_rows": 4},
        {"unit_tokens": 50},
        {"on_nonfinite": "skip"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_every_setting_is_part_of_the_identity(corpus, encoder_folder, tmp_path, change):
    first = run(corpus, encoder_folder, tmp_path)
    settings = ExtractSettings(**({"unit_rows": 8, "units_per_task": 3, "tokens_per_batch": 64} | change))
    second = run(corpus, encoder_folder, tmp_path, settings)
    assert first != second
    with pytest.raises(StoreError, match=next(iter(change))):
        FeatureStore.open(first).require(FeatureStore.open(second).fingerprint)


def test_a_cache_of_a_machine_with_bfloat16_is_not_mixed_with_float32(
    corpus, encoder_folder, tmp_path, monkeypatch
):
    """What `auto` chose is a field of the identity, so that elsewhere another cache is made, by name."""
    monkeypatch.setattr(hardware, "NARROWEST_BFLOAT16", 16)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _: True)
    with pytest.raises(Stop):
        run(corpus, encoder_folder, tmp_path, check=stopping_after(4))
    (begun,) = tmp_path.glob("?" * 16)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _: False)
    elsewhere = run(corpus, encoder_folder, tmp_path)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _: True)
    target = run(corpus, encoder_folder, tmp_path)
    assert target == begun != elsewhere
    stores = [FeatureStore.open(folder) for folder in (target, elsewhere)]
    assert [store.fingerprint["dtype"] for store in stores] == ["bfloat16", "float32"]
    with pytest.raises(StoreError, match="dtype: 'bfloat16' -> 'float32'"):
        stores[0].require(stores[1].fingerprint)


def test_max_length_is_part_of_the_identity(corpus, encoder_folder, tmp_path):
    assert run(corpus, encoder_folder, tmp_path) != run(corpus, encoder_folder, tmp_path, max_length=5)


class Stop(BaseException):
    """What a test raises between two batches."""


def stopping_after(batches):
    count = itertools.count()

    def check():
        if next(count) == batches:
            raise Stop

    return check


def test_stopped_between_any_two_batches_ends_bit_identical(corpus, encoder_folder, tmp_path):
    whole = contents(run(corpus, encoder_folder, tmp_path / "whole"))
    for batches in (0, 1, 3, 2, 5):
        with pytest.raises(Stop):
            run(corpus, encoder_folder, tmp_path / "broken", check=stopping_after(batches))
    assert contents(run(corpus, encoder_folder, tmp_path / "broken")) == whole


def test_what_was_acknowledged_is_not_encoded_again(corpus, encoder_folder, tmp_path, monkeypatch):
    encoded = count_encoded(monkeypatch)
    with pytest.raises(Stop):
        run(corpus, encoder_folder, tmp_path, check=stopping_after(4))
    target = run(corpus, encoder_folder, tmp_path)
    once = FeatureStore.open(target).n_texts
    assert once <= sum(encoded) <= once + 2 * SMALL.unit_rows, "at most the unit in hand is done twice"


def test_the_result_does_not_depend_on_how_tasks_are_run(corpus, encoder_folder, tmp_path):
    def backwards(function, tasks):
        for task in reversed(list(tasks)):
            yield task, function(task), None

    alone = contents(run(corpus, encoder_folder, tmp_path / "alone"))
    assert contents(run(corpus, encoder_folder, tmp_path / "tasks", execute=backwards, threads=1)) == alone


def test_failed_tasks_are_told_and_the_rest_is_kept(corpus, encoder_folder, tmp_path):
    def failing(function, tasks):
        for k, task in enumerate(tasks):
            yield (task, None, "OSError: no such device") if k == 0 else (task, function(task), None)

    with pytest.raises(RuntimeError, match=r"1 of \d+ tasks failed, the first: texts 0 to 24: OSError"):
        run(corpus, encoder_folder, tmp_path, execute=failing)
    (target,) = tmp_path.glob("?" * 16)
    assert not (target / "manifest.json").exists()
    assert contents(run(corpus, encoder_folder, tmp_path)) == contents(
        run(corpus, encoder_folder, tmp_path / "whole")
    )


def test_a_damaged_unit_is_encoded_again_and_nothing_else(corpus, encoder_folder, tmp_path, monkeypatch):
    target = run(corpus, encoder_folder, tmp_path)
    whole = contents(target)
    path = sorted(target.glob("*.h5"))[1]
    with h5py.File(path) as file:
        at = file["layer_02/mean"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(bytes(data))
    damages = verify(target)
    assert len(damages) == 1
    revoke(target, damages)
    encoded = count_encoded(monkeypatch)
    assert contents(run(corpus, encoder_folder, tmp_path)) == whole
    assert sum(encoded) == SMALL.unit_rows
    assert verify(target) == []


def test_a_task_that_is_run_again_goes_on_after_the_units_that_are_there(
    corpus, encoder_folder, tmp_path, monkeypatch
):
    def died_half_way(function, tasks):
        for task in tasks:
            function(dataclasses.replace(task, units=task.units[:2]))
            yield task, function(task), None

    encoded = count_encoded(monkeypatch)
    target = run(corpus, encoder_folder, tmp_path, execute=died_half_way)
    assert sum(encoded) == FeatureStore.open(target).n_texts


def test_two_extractions_of_one_cache(corpus, encoder_folder, tmp_path):
    target = run(corpus, encoder_folder, tmp_path)
    (target / "manifest.json").unlink()
    with locked(target), pytest.raises(StoreError, match="process .* on "):
        run(corpus, encoder_folder, tmp_path)


def overflow(monkeypatch):
    """Make an encoder whose layer 2 is beyond float16 for one text of a batch, and NaN in another pooling."""
    encode_into = PooledEncoder.encode_into

    def broken(self, states, tokens, rows):
        encode_into(self, states, tokens, rows)
        for number, row in zip(rows.tolist(), tokens, strict=True):
            if len(row["input_ids"]) == 9:
                states[2, 1, number] = 1e6

    monkeypatch.setattr(PooledEncoder, "encode_into", broken)


def test_a_state_that_is_not_finite_names_its_text(corpus, encoder_folder, tmp_path, monkeypatch):
    overflow(monkeypatch)
    with pytest.raises(ValueError, match="a state is not finite as float16") as caught:
        run(corpus, encoder_folder, tmp_path)
    said = str(caught.value)
    row = int(said.split("row ")[1].split(",")[0]) - 1
    assert f"id {corpus.table['id'][row]}: layer 2:" in said
    assert repr(corpus.table["text"][row][:60]) in said
    assert "extract.on_nonfinite=skip" in said
    assert "\n" not in said


def test_texts_without_finite_states_can_be_left_out(corpus, encoder_folder, tmp_path, monkeypatch, caplog):
    overflow(monkeypatch)
    settings = ExtractSettings(unit_rows=8, units_per_task=3, tokens_per_batch=64, on_nonfinite="skip")
    store = FeatureStore.open(run(corpus, encoder_folder, tmp_path, settings))
    long = [k for k, text in enumerate(corpus.table["text"]) if len(text.split()) == 7]
    assert store.skipped_rows.tolist() == long
    assert f"{len(long)} rows have no finite state" in caplog.text
    assert corpus.table["id"][long[0]] in caplog.text
    rest = np.setdiff1d(np.arange(len(corpus.table)), long)
    assert np.isfinite(store.states(layers=(2,), pooling="mean", rows=rest)).all()
    with pytest.raises(StoreError, match=f"row {long[0]}"):
        store.states(layers=(2,), pooling="mean")


def test_too_little_room_is_said_before_the_encoder_runs(corpus, encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("mcbert.features.cache.disk.bytes_free", lambda _: 1000)
    monkeypatch.setattr(PooledEncoder, "encode_into", lambda *_a: pytest.fail("encoded"))
    with pytest.raises(StoreError, match=r"[\d,]+ bytes .*1,000"):
        run(corpus, encoder_folder, tmp_path)


def test_another_kind_of_device_is_refused(corpus, encoder_folder, tmp_path):
    def elsewhere(function, tasks):
        for task in tasks:
            moved = task.fingerprint.replace('"device": "cpu"', '"device": "cuda"')
            assert moved != task.fingerprint
            try:
                function(type(task)(**(vars(task) | {"fingerprint": moved})))
            except RuntimeError as error:
                yield task, None, str(error)

    with pytest.raises(RuntimeError, match="is computed on cuda, and this process has cpu"):
        run(corpus, encoder_folder, tmp_path, execute=elsewhere)


def test_a_layer_the_encoder_lacks(corpus, encoder_folder, tmp_path):
    with pytest.raises(ValueError, match=r"extract.layers: got 7; accepted: 0 \(embeddings\) to 4"):
        run(corpus, encoder_folder, tmp_path, ExtractSettings(layers=(7,)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"poolings": ("median",)}, "extract.poolings: got 'median', accepted: max, mean, cls"),
        ({"poolings": ("max", "max")}, "extract.poolings: got .max. twice"),
        ({"dtype": "int8"}, "extract.dtype: got 'int8', accepted: auto, float32, bfloat16"),
        ({"unit_rows": 0}, "extract.unit_rows: got 0"),
        ({"on_nonfinite": "ignore"}, "extract.on_nonfinite: got 'ignore', accepted: stop, skip"),
    ],
)
def test_settings_that_cannot_work(change, said):
    with pytest.raises(ValueError, match=said):
        ExtractSettings(**change)
