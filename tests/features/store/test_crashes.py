"""Every folder that a kill or a power cut may leave: nothing acknowledged lost, nothing silently wrong.

All writes of a run are recorded, and the folder made again as it was after each 4 KiB of each write (a kill),
or with any of the pages that were not synced yet, at either size, under either name (a power cut).
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mcbert.features.store import FeatureStore, ShardWriter, StoreError, begin, finish, revoke, verify
from mcbert.features.store.durable import opened
from mcbert.features.store.reading import UnitReader
from mcbert.features.store.records import contents
from mcbert.files.journal import scan
from tests.features.store.conftest import ABOUT, Made
from tests.features.store.damage import flip, head_of
from tests.features.store.recorder import Disk, Recorder, torn

N_POWER_CUTS = 300


@pytest.fixture(scope="module")
def large():
    """Twelve units in two files; a unit takes six pages of a dataset and shares its last with the next."""
    first, second = range(0, 631, 90), (630, 700, 701, 790, 880, 950)
    return Made.of(tuple(first), second, layers=(0, 3, 4), poolings=("max", "cls"), hidden_size=128)


def recorded(made, folder, monkeypatch):
    """Make a cache and record it, acknowledgements included."""
    folder.mkdir()
    with Recorder(folder, monkeypatch) as recorder:
        begin(folder, made.fields, ABOUT)
        for shard in made.shards:
            with ShardWriter(folder, shard, made.spec) as writer:
                for start, stop in writer.pending():
                    writer.write(start, made.states[start:stop])
                    recorder.acknowledge(start)
        finish(folder, made.spec, made.shards, made.index)
    return recorder


def kills(recorder):
    """Yield the folder and what is acknowledged after each step of 4 KiB and each other change."""
    disk, acknowledged = Disk(recorder.before), set()
    for event in recorder.events:
        if event[0] == "acknowledge":
            acknowledged.add(event[1])
        elif event[0].startswith("sync"):
            disk.apply(event)
        else:
            for step in torn(event):
                disk.apply(step)
                yield disk.killed(), set(acknowledged)


def power_cuts(recorder, n_images, *, blind=False):
    """Yield folders as power cuts at random moments may leave them; `blind` to syncs as a control."""
    rng = np.random.default_rng(0)
    steps = [step for event in recorder.events for step in torn(event)]
    for _ in range(n_images):
        disk, acknowledged = Disk(recorder.before), set()
        for step in steps[: rng.integers(1, len(steps) + 1)]:
            if step[0] == "acknowledge":
                acknowledged.add(step[1])
            elif not (blind and step[0] == "sync"):
                disk.apply(step)
        yield disk.unplugged(rng), acknowledged


def build(folder, image):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in image.items():
        (folder / name).write_bytes(data)


def vouched_units(made, folder):
    """Return the starts of the units that the journals vouch for, and what is wrong with those."""
    vouched, wrong = set(), []
    for shard in made.shards:
        journal = folder / shard.journal
        if not journal.exists() or not (folder / shard.name).exists():
            continue
        found = contents(scan(journal.read_bytes()).records, journal)
        if found.head is None:
            continue
        with opened(folder / shard.name) as file:
            reader = UnitReader(file, found.head)
            for unit in found.units.values():
                vouched.add(unit.start)
                for k, (i, j) in enumerate(np.ndindex(made.states.shape[1:3])):
                    states, fault = reader.read(unit, k)
                    if fault or states.tobytes() != made.states[unit.start : unit.stop, i, j].tobytes():
                        wrong.append(f"unit {unit.start}, dataset {k}: {fault or 'silently wrong'}")
    return vouched, wrong


def wrong_units(made, folder, acknowledged):
    """Return what is wrong with the units of a folder that a crash left."""
    vouched, wrong = vouched_units(made, folder)
    return wrong + [f"unit {start}: acknowledged and lost" for start in sorted(acknowledged - vouched)]


def faults(made, folder, acknowledged, right):
    """Return everything that a crash must not do, of one folder that it left."""
    found = wrong_units(made, folder, acknowledged)
    try:
        made.fill(folder)
        made.expect(folder)
    except (StoreError, AssertionError) as error:
        return [*found, f"cannot be finished: {error}"]
    if files_of(folder) != right:
        found.append("not bit-identical")
    return found + [f"{path.name} is left" for path in folder.glob("*.partial*")]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.h5")}


def test_every_kill(large, tmp_path, monkeypatch):
    recorder = recorded(large, tmp_path / "whole", monkeypatch)
    right, n_images = files_of(tmp_path / "whole"), 0
    for image, acknowledged in kills(recorder):
        build(tmp_path / "image", image)
        assert faults(large, tmp_path / "image", acknowledged, right) == [], sorted(image)
        n_images += 1
    assert n_images >= 400


def test_power_cuts(large, tmp_path, monkeypatch):
    recorder = recorded(large, tmp_path / "whole", monkeypatch)
    right = files_of(tmp_path / "whole")
    for image, acknowledged in power_cuts(recorder, N_POWER_CUTS):
        build(tmp_path / "image", image)
        assert faults(large, tmp_path / "image", acknowledged, right) == [], sorted(image)


def test_without_syncs_power_cuts_would_be_seen_to_lose_units(large, tmp_path, monkeypatch):
    recorder = recorded(large, tmp_path / "whole", monkeypatch)
    seen = []
    for image, acknowledged in power_cuts(recorder, 60, blind=True):
        build(tmp_path / "image", image)
        seen += wrong_units(large, tmp_path / "image", acknowledged)
    assert any("lost" in fault for fault in seen)
    assert any("checksum differs" in fault for fault in seen)


def test_repairs_that_are_killed_or_cut(made, tmp_path, monkeypatch):
    """A damaged state, damaged metadata, a damaged line: taken back and written again, through any crash."""
    right = files_of(made.fill(tmp_path / "right"))
    folder = made.fill(tmp_path / "whole")
    first, second = folder / "rows-000000000.h5", folder / "rows-000000004.h5"
    flip(first, head_of(first).layout.offsets[2])  # the unit of text 0
    flip(second, 50)
    journal = second.with_suffix(".journal")
    flip(journal, journal.read_bytes().index(b'"start":6'))
    damaged = files_of(folder)
    with Recorder(folder, monkeypatch) as recorder:
        revoke(folder, verify(folder))
        made.fill(folder)
    assert files_of(folder) == right
    assert damaged != right
    images = [*kills(recorder), *power_cuts(recorder, 100)]
    for image, _ in images:
        build(tmp_path / "image", image)
        revoke(tmp_path / "image", verify(tmp_path / "image"))
        made.fill(tmp_path / "image")
        made.expect(tmp_path / "image")
        assert files_of(tmp_path / "image") == right
    assert len(images) > 120


def test_what_is_there_at_any_moment_is_whole_or_not_a_cache(large, tmp_path, monkeypatch):
    recorder = recorded(large, tmp_path / "whole", monkeypatch)
    opened_at = []
    for k, (image, _) in enumerate(kills(recorder)):
        if "manifest.json" in image:
            opened_at.append(k)
            build(tmp_path / "image", image)
            assert FeatureStore.open(tmp_path / "image").n_texts == 950
    assert opened_at
    assert opened_at == list(range(opened_at[0], k + 1))
