"""Files of vectors: whatever the moment of a kill, going on ends with the same bytes."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mcbert.files.journal import Journal
from mcbert.finetune.embeddings import vector_file
from mcbert.finetune.embeddings.vector_file import is_made, is_published, writing_vectors

VECTORS = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
BLOCKS = (VECTORS[:4], VECTORS[4:8], VECTORS[8:])
MADE = {"model": "m", "input": {"sha256": "abc"}}


class Killed(BaseException):
    pass


def write(output, made=MADE, vectors=BLOCKS):
    """Write an output with a table of ids beside it, from where an earlier attempt stopped."""
    with writing_vectors(output, VECTORS.shape, made) as file:
        for block in vectors[file.blocks :]:
            file.append(block)
        ids = file.folder / "ids.csv"
        if not file.is_publishing:
            ids.write_text("ids")
        file.publish([(ids, output.with_suffix(".ids.csv")), (file.vectors, output)], made)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


WHOLE = ["v.ids.csv", "v.npy", "v.npy.json"]


def test_an_array_of_blocks(tmp_path):
    write(tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)
    assert names(tmp_path) == WHOLE
    assert json.loads((tmp_path / "v.npy.json").read_text()) == MADE
    assert is_made(tmp_path / "v.npy", MADE)
    assert not is_made(tmp_path / "v.npy", MADE | {"model": "other"})


# every call that changes the disk, and how often it is made
CALLS = {
    "fsync": (os, 10),
    "append": (Journal, 5),
    "write_at": (vector_file, 6),
    "replace": (Path, 3),
    "rmtree": (shutil, 1),
}
MOMENTS = [(name, k) for name, (_, n) in CALLS.items() for k in range(n)]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(("name", "number"), MOMENTS)
def test_a_kill_at_any_moment(tmp_path, monkeypatch, name, number, before):
    output = tmp_path / "v.npy"
    real, seen = getattr(CALLS[name][0], name), [0]

    def killing(*args, **kwargs):
        seen[0] += 1
        if before and seen[0] == number + 1:
            raise Killed
        result = real(*args, **kwargs)
        if seen[0] == number + 1:
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(CALLS[name][0], name, killing)
        with pytest.raises(Killed):
            write(output)
    if output.exists():
        np.testing.assert_array_equal(np.load(output), VECTORS)
        assert is_published(output, VECTORS.shape, MADE) or is_made(output, MADE)
    if not is_made(output, MADE):
        write(output)
    np.testing.assert_array_equal(np.load(output), VECTORS)
    assert [name for name in names(tmp_path) if not name.startswith(".")] == WHOLE


def interrupted(output, n, made=MADE):
    with contextlib.suppress(Killed), writing_vectors(output, VECTORS.shape, made) as file:
        for block in BLOCKS[:n]:
            file.append(block)
        raise Killed


def test_blocks_on_the_disk_are_not_made_again(tmp_path):
    interrupted(tmp_path / "v.npy", 2)
    assert names(tmp_path) == [".v.npy.partial"]
    with pytest.raises(TypeError):  # the third block alone is asked for
        write(tmp_path / "v.npy", vectors=(None, None, object()))
    write(tmp_path / "v.npy", vectors=(None, None, BLOCKS[2]))
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)


def test_what_was_begun_with_other_inputs_is_begun_anew(tmp_path):
    interrupted(tmp_path / "v.npy", 2, MADE | {"model": "other"})
    write(tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)


@pytest.mark.parametrize("damage", ["vectors cut", "vectors gone", "a record lost"])
def test_damage_to_what_is_under_way_begins_anew(tmp_path, damage):
    interrupted(tmp_path / "v.npy", 2)
    folder = tmp_path / ".v.npy.partial"
    if damage == "a record lost":
        journal = folder / vector_file.JOURNAL
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([lines[0], lines[2]]))
    else:
        content = (folder / vector_file.VECTORS).read_bytes()
        (folder / vector_file.VECTORS).unlink()
        if damage == "vectors cut":
            (folder / vector_file.VECTORS).write_bytes(content[:-1])
    write(tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)


def test_an_output_is_replaced_with_all_its_parts(tmp_path):
    for name in WHOLE:
        (tmp_path / name).write_text("old")
    write(tmp_path / "v.npy")
    assert (tmp_path / "v.ids.csv").read_text() == "ids"
    assert is_made(tmp_path / "v.npy", MADE)


def test_one_process_at_a_time(tmp_path):
    with (
        contextlib.suppress(Killed),
        writing_vectors(tmp_path / "v.npy", VECTORS.shape, MADE),
    ):
        with pytest.raises(ValueError, match="another process is writing this file"):
            write(tmp_path / "v.npy")
        raise Killed
    write(tmp_path / "v.npy")
