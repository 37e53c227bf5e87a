"""Outputs of embed are read only as their record says, beside others of the same model."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcbert.finetune.embeddings.vectors import StoredVectors, is_stored, require_one_model

MODEL = {"name": "a", "dimension": 3, "model": "1f" * 32, "blocks": ["4:mean"], "max_length": 16,
         "device": "cpu", "dtype": "float32", "tokens_per_batch": 1024}  # fmt: skip
VECTORS = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.fixture
def stored(tmp_path):
    """Write an output of embed by hand: (stem, suffix, **changes of the model) -> path."""

    def stored(stem="v", suffix=".npy", n_texts=5, version=1, **changes):
        path = tmp_path / f"{stem}{suffix}"
        rows = {"row": [1, 3, 4, 5, 9], "id": ["a", "", "=c", "d,e", "f"]}
        if suffix == ".npy":
            np.save(path, VECTORS)
            ids = pd.DataFrame({"position": range(5), **rows}).replace("=c", "'=c")
            ids.to_csv(tmp_path / f"{stem}.ids.csv", index=False)
        else:
            flat = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.reshape(-1)), 3)
            pq.write_table(pa.table({**rows, "vector": flat}), path)
        made = {"version": version, "input": {"texts": n_texts}, "model": MODEL | changes}
        path.with_name(f"{path.name}.json").write_text(json.dumps(made))
        return path

    return stored


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_blocks_are_the_vectors_and_names_those_of_the_table(stored, suffix, size):
    opened = StoredVectors.open(stored(suffix=suffix))
    blocks = list(opened.blocks(size))
    assert max(map(len, blocks)) <= size
    np.testing.assert_array_equal(np.concatenate(blocks), VECTORS)
    assert list(opened.names()) == [(1, "a"), (3, ""), (4, "=c"), (5, "d,e"), (9, "f")]
    assert (opened.n_rows, opened.dimension) == (5, 3)


def test_an_array_is_mapped_and_not_read(stored):
    block = next(StoredVectors.open(stored()).blocks(2))
    assert isinstance(block, np.memmap) or isinstance(block.base, np.memmap)


def test_a_table_of_texts_is_none_of_embeds_outputs(stored, tmp_path):
    assert [is_stored(stored(suffix=suffix)) for suffix in (".npy", ".parquet")] == [True, True]
    assert not is_stored(tmp_path / "texts.csv")
    assert not is_stored(tmp_path / "texts.parquet")


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_texts": 6}, r"v\.\w+: got vectors of shape \(5, 3\), accepted: \(6, 3\)"),
        ({"dimension": 4}, r"got vectors of shape \(5, 3\), accepted: \(5, 4\)"),
        ({"version": 0}, r"v\.\w+\.json: version: got 0, accepted: 1; run embed again"),
        ({"dimension": "x"}, r"v\.\w+\.json: not a record of embed \(ValueError"),
        ({"dimension": float("inf")}, r"v\.\w+\.json: not a record of embed \(OverflowError"),
        ({"dimension": 0}, r"v\.\w+\.json: got 5 texts of 0 numbers, accepted: at least one of each"),
    ],
)
def test_what_is_not_as_its_record_says_is_refused(stored, suffix, given, said):
    with pytest.raises(ValueError, match=said):
        StoredVectors.open(stored(suffix=suffix, **given))


def test_without_a_record_nothing_is_read(stored, tmp_path):
    path = stored()
    record = tmp_path / "v.npy.json"
    for content, said in (("[]", "damaged \\(list\\)"), ("{", "damaged"), ("{}", "not a record of embed")):
        record.write_text(content)
        with pytest.raises(ValueError, match=f"v.npy.json: {said}"):
            StoredVectors.open(path)
    record.unlink()
    with pytest.raises(ValueError, match=r"v\.npy: no v\.npy\.json"):
        StoredVectors.open(path)
    with pytest.raises(ValueError, match=r"w\.npy: no such file"):
        StoredVectors.open(tmp_path / "w.npy")


def test_files_that_are_cut_or_something_else_are_named(stored, tmp_path):
    array, ids = stored(), tmp_path / "v.ids.csv"
    ids.write_text("".join(ids.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"v\.ids\.csv: got 4 rows, accepted: 5"):
        list(StoredVectors.open(array).names())
    array.write_bytes(array.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"v\.npy: it cannot be read as an array"):
        StoredVectors.open(array)
    other = stored("p", ".parquet")
    pq.write_table(pa.table({"text": ["a"]}), other)
    with pytest.raises(ValueError, match=r"p\.parquet: got vectors of shape \(1, 0\)"):
        StoredVectors.open(other)


def test_vectors_of_another_type_are_refused(stored, tmp_path):
    for values, said in ((VECTORS.astype(int), "dtype int64"), (VECTORS.astype(str), "dtype <U")):
        path = stored()
        np.save(path, values)
        with pytest.raises(ValueError, match=rf"v\.npy: got numbers of {said}"):
            StoredVectors.open(path)
    with path.open("wb") as file:
        np.savez(file, VECTORS)
    with pytest.raises(ValueError, match=r"v\.npy: it cannot be read as an array"):
        StoredVectors.open(path)
    rows = {"row": [*range(5)], "id": [*"abcde"]}
    path = stored("p", ".parquet")
    pq.write_table(pa.table({**rows, "vector": pa.array(VECTORS.tolist())}), path)
    with pytest.raises(ValueError, match=r"p\.parquet: got vectors of shape \(5, 0\)"):
        StoredVectors.open(path)
    holed = pa.array([*VECTORS[:4].tolist(), None], pa.list_(pa.float32(), 3))
    pq.write_table(pa.table({**rows, "vector": holed}), path)
    with pytest.raises(ValueError, match=r"p\.parquet: a vector is missing"):
        list(StoredVectors.open(path).blocks(2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": ["3:mean"]}, r"blocks: got \['3:mean'\], accepted: \['4:mean'\]"),
        ({"max_length": 32}, r"max_length: got 32, accepted: 16"),
        (
            {"model": "2e" * 32, "name": "b"},
            r"model: got 'b \(2e2e2e2e2e2e\)', accepted: 'a \(1f1f1f1f1f1f\)'",
        ),
        ({"more": 1}, r"more: got 1, accepted: None"),
    ],
)
def test_vectors_of_another_model_are_refused_by_what_differs(stored, changes, said):
    sides = StoredVectors.open(stored("w", **changes)), StoredVectors.open(stored())
    with pytest.raises(ValueError, match=rf"w\.npy: .*v\.npy: {said}"):
        require_one_model(*sides)


def test_how_one_model_was_run_does_not_matter(stored):
    other = stored("w", ".parquet", name="b", device="cuda", dtype="bfloat16", tokens_per_batch=65536)
    require_one_model(StoredVectors.open(other), StoredVectors.open(stored()))


@pytest.mark.parametrize("given", ["x", "1e15", "-1", "", "9" * 5000, "\0"])
def test_a_row_that_is_no_number_names_file_and_row(stored, tmp_path, given):
    path = stored()
    ids = tmp_path / "v.ids.csv"
    lines = ids.read_text().split("\n")
    lines[2] = f'1,"{given}",'
    ids.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"v\.ids\.csv: (row 2: column row: got|after line)") as refused:
        list(StoredVectors.open(path).names())
    assert len(str(refused.value)) < 300
