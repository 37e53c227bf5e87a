import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from mcbert.features.cache import StoreError, StoreFullError, bytes_needed, require_space
from mcbert.features.cache.disk import writing
from tests.features.cache.conftest import Made

ROOT = Path(__file__).parents[3]


def on_disk(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.glob("unit-*"))


@pytest.mark.parametrize("hidden_size", [3, 700])
def test_what_is_needed_is_enough_and_not_far_too_much(make, tmp_path, hidden_size):
    made = make(0, 400, 800, 1000, hidden_size=hidden_size)
    needed = bytes_needed(made.spec, made.units)
    assert made.states.nbytes < on_disk(made.fill(tmp_path)) <= needed
    assert needed < made.states.nbytes + 100_000
    assert bytes_needed(made.spec, []) == 0


def test_a_disk_without_room_is_seen_before_anything_is_made(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=999))
    require_space(tmp_path / "cache" / "new", 999)
    with pytest.raises(StoreFullError, match=r"new: .* 1,000 bytes .* 999") as caught:
        require_space(tmp_path / "cache" / "new", 1000)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (errno.ENOSPC, StoreFullError, "the disk is full, [0-9,]+ bytes free: make room"),
        (errno.EDQUOT, StoreFullError, "the disk quota is used up"),
        (errno.EFBIG, StoreFullError, "the file would be larger than"),
        (errno.EROFS, StoreError, "the file system is read-only"),
        (errno.EACCES, StoreError, "no permission to write there"),
        (errno.EIO, StoreError, "Input/output error"),
        (None, StoreError, "something of a library"),
    ],
)
def test_failed_writes_become_one_line(tmp_path, code, kind, said):
    path = tmp_path / "rows.h5"
    line = f"{path}: cannot write rows 1-2, 4,096 bytes: {said}"
    with pytest.raises(kind, match=line) as caught, writing(path, "rows 1-2", 4096):
        raise OSError(code, "x") if code else OSError("something of a library")
    assert "what was written before is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, StoreFullError) == (kind is StoreFullError)


def test_our_own_errors_pass(tmp_path):
    error = StoreFullError("ours")
    with pytest.raises(StoreFullError) as caught, writing(tmp_path, "x", 1):
        raise error
    assert caught.value is error


class Full(io.FileIO):
    """A file on a disk that has no room for the n-th write, and only half of the one before."""

    left: ClassVar = [0]

    def write(self, data):
        Full.left[0] -= 1
        if Full.left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data[: len(data) // 2] if Full.left[0] == 0 and len(data) > 1 else data)


@pytest.mark.parametrize("call", ["write", "posix_fallocate", "fsync", "replace", "open"])
def test_every_call_that_may_find_the_disk_full(made, tmp_path, monkeypatch, call):
    """The n-th such call fails, for every n; what was acknowledged is kept, the rest is written then."""
    real = os.fdopen if call == "write" else getattr(os, call)
    whole = made.fill(tmp_path / "whole")
    for n in range(80):
        folder = tmp_path / f"{call}-{n}"
        Full.left = left = [n]

        def full(*args, left=left, **kwargs):
            if call == "write" and args[1:] == ("wb",):
                return io.BufferedWriter(Full(args[0], "wb"), 64)
            left[0] -= call != "write"
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, "fdopen" if call == "write" else call, full)
        try:
            made.fill(folder)
        except StoreFullError as error:
            monkeypatch.undo()
            assert str(folder) in str(error)
            assert "the disk is full" in str(error)
        except (StoreError, OSError) as error:
            monkeypatch.undo()
            assert call == "open", error  # of what is there and cannot be opened
        else:
            break
        if not (folder / "manifest.json").exists():  # else only its name was not yet sure to last
            made.fill(folder)
        made.expect(folder)
        for path in whole.glob("*.h5"):
            assert path.read_bytes() == (folder / path.name).read_bytes()
        assert not list(folder.glob(".*.tmp"))
    monkeypatch.undo()
    assert 0 < n < 79


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_may_not_be_written(made, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="no permission to write there"):
        made.fill(tmp_path)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_folder(made, tmp_path, monkeypatch, code):
    made.begin(tmp_path)
    made.write(tmp_path, most=2)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def refuse(path, flags, *args, real=os.open, **kwargs):
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(tmp_path)):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="unit-000000004.h5: .*distinct texts"):
        made.write(tmp_path)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


CHILD = """
import resource, sys
from pathlib import Path
from tests.features.cache.test_disk import ROOMY
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    ROOMY.fill(Path(sys.argv[1]))
except (ValueError, OSError) as error:
    sys.stderr.write(f"{error}\\n")
    sys.exit(2)
"""
ROOMY = Made.of(0, 40, 80, 100, 101, 150, 200, 300, hidden_size=20)


def test_limits_of_file_size_at_many_sizes(tmp_path):
    whole = ROOMY.fill(tmp_path / "whole")
    failed = 0
    for size in (1, 100, 200, 700, 1200, 2100, 3000, 6000, 9000, 11_000, 100_000):
        folder = tmp_path / str(size)
        command = [sys.executable, "-c", CHILD, str(folder), str(size)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            ROOMY.expect(folder)
            continue
        failed += 1
        assert done.returncode == 2, done.stderr
        said = [line for line in done.stderr.splitlines() if "cannot write" in line]
        assert said == [done.stderr.strip()]
        assert str(folder) in said[0]
        assert (
            " bytes: the file would be larger than its file system or this process's limit allows" in said[0]
        )
        there = {path.name for path in folder.glob("unit-*")}
        ROOMY.begin(folder)
        assert there == {f"unit-{start:09d}.h5" for start, _ in ROOMY.units} - {
            f"unit-{start:09d}.h5" for start in ROOMY.write(folder)
        }
        ROOMY.fill(folder)
        ROOMY.expect(folder)
        for path in whole.glob("*.h5"):
            assert path.read_bytes() == (folder / path.name).read_bytes()
    assert failed >= 7
