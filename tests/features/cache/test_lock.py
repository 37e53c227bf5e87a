import fcntl
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcbert.features.cache import StoreError, locked
from mcbert.features.cache.lock import holder

ROOT = Path(__file__).parents[3]
CHILD = """
import sys, time
from pathlib import Path
from mcbert.features.cache import locked
with locked(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def child(tmp_path):
    """Another process that holds the lock until it is killed or its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"in\n"
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        pipe.close()


def test_a_second_holder_is_told_who_is_first(tmp_path):
    said = f"another extraction is writing this cache: process {os.getpid()} on .* since"
    with locked(tmp_path), pytest.raises(StoreError, match=said), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_another_process_is_named(tmp_path, child):
    with pytest.raises(StoreError, match=f"process {child.pid} on"), locked(tmp_path):
        pass
    assert f"process {child.pid} on" in holder(tmp_path / ".lock")


def test_waiting_gets_the_lock_when_it_is_given_back(tmp_path, child, caplog):
    caplog.set_level(logging.INFO)
    timer = threading.Timer(0.4, child.stdin.close)
    timer.start()
    began = time.monotonic()
    with locked(tmp_path, wait=30):
        assert 0.3 < time.monotonic() - began < 20
    timer.join()
    assert caplog.text.count(f"waiting up to 30 s for process {child.pid} on") == 1
    assert "without giving the lock back" not in caplog.text


def test_waiting_ends(tmp_path, child):
    began = time.monotonic()
    with pytest.raises(StoreError, match=f"process {child.pid}"), locked(tmp_path, wait=0.5):
        pass
    assert time.monotonic() - began >= 0.5


def test_the_lock_of_a_dead_process_is_taken_over_and_said(tmp_path, child, caplog):
    child.kill()
    child.wait()
    assert holder(tmp_path / ".lock") is None
    with locked(tmp_path):
        said = f"process {child.pid} on"
        assert said in caplog.text
        assert "ended without giving the lock back; going on after it" in caplog.text
    caplog.clear()
    with locked(tmp_path):
        assert not caplog.records


def test_a_cache_that_is_removed_while_waiting_is_not_locked(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    with locked(folder):
        threading.Timer(0.2, shutil.rmtree, [folder]).start()
        with pytest.raises(FileNotFoundError), locked(folder, wait=0.5):
            pass


def test_a_lock_in_a_folder_that_was_just_removed_is_not_taken_for_the_new_ones(tmp_path, monkeypatch):
    folder, flock = tmp_path / "cache", fcntl.flock
    folder.mkdir()

    def replaced_meanwhile(file, how):
        monkeypatch.setattr(fcntl, "flock", flock)
        folder.rename(tmp_path / "removed")
        folder.mkdir()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    with locked(folder):
        assert holder(folder / ".lock") is not None
        assert holder(tmp_path / "removed" / ".lock") is None


def test_a_look_at_the_lock_does_not_turn_a_writer_away(tmp_path):
    (tmp_path / ".lock").touch()
    stop = threading.Event()

    def look():
        while not stop.is_set():
            holder(tmp_path / ".lock")
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(50):
            with locked(tmp_path):
                pass
    finally:
        stop.set()
        thread.join()
