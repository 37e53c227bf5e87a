"""Every folder that a kill or a power cut may leave: nothing acknowledged lost, nothing silently wrong.

All writes of a run are recorded, and the folder made again as it was after each 4 KiB of each write (a kill),
or with any of the pages that were not synced yet, at either size, under either name (a power cut).
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mcbert.features.cache import FeatureStore, StoreError, pending, revoke, verify, write_unit
from mcbert.features.cache.disk import opened
from mcbert.features.cache.unit import StateReader, head_of
from tests.features.cache.conftest import Made
from tests.features.cache.damage import flip, place
from tests.features.cache.recorder import Disk, Recorder, torn

N_POWER_CUTS = 300


@pytest.fixture(scope="module")
def large():
    """Twelve units, which take six pages of each dataset."""
    bounds = (*range(0, 631, 90), 700, 701, 790, 880, 950)
    return Made.of(*bounds, layers=(0, 3, 4), poolings=("max", "cls"), hidden_size=128)


def recorded(made, folder, monkeypatch):
    """Make a cache and record it, acknowledgements included."""
    folder.mkdir()
    with Recorder(folder, monkeypatch) as recorder:
        made.begin(folder)
        for start, stop in pending(folder, made.spec, made.units):
            write_unit(folder, made.spec, start=start, states=made.states[start:stop])
            recorder.acknowledge(start)
        made.finish(folder)
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


def units_there(made, folder):
    """Return the starts of the units that are there, and what is wrong with those."""
    there, wrong = set(), []
    for path in folder.glob("unit-*.h5"):
        start = int(path.stem.removeprefix("unit-"))
        there.add(start)
        try:
            with opened(path) as file:
                head, reader = head_of(file, path), StateReader()
                for k, (i, j) in enumerate(np.ndindex(made.states.shape[1:3])):
                    states, fault = reader.read(file, head, k)
                    if fault or states.tobytes() != made.states[start : head.unit.stop, i, j].tobytes():
                        wrong.append(f"unit {start}, dataset {k}: {fault or 'silently wrong'}")
        except StoreError as error:
            wrong.append(f"unit {start}: {error}")
    return there, wrong


def wrong_units(made, folder, acknowledged):
    """Return what is wrong with the units of a folder that a crash left."""
    there, wrong = units_there(made, folder)
    return wrong + [f"unit {start}: acknowledged and lost" for start in sorted(acknowledged - there)]


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
    return found + [f"{path.name} is left" for path in folder.glob(".*.tmp")]


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
    assert any("checksum" in fault for fault in seen)


def test_repairs_that_are_killed_or_cut(made, tmp_path, monkeypatch):
    """A damaged state, a damaged head, a missing file: taken back and written again, through any crash."""
    right = files_of(made.fill(tmp_path / "right"))
    folder = made.fill(tmp_path / "whole")
    first, second, third = (folder / f"unit-{start:09d}.h5" for start in (0, 4, 6))
    flip(first, place(first, 2))
    flip(second, 600)
    third.unlink()
    with Recorder(folder, monkeypatch) as recorder:
        revoke(folder, verify(folder))
        made.fill(folder)
    assert files_of(folder) == right
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
