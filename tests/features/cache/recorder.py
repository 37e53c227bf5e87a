"""Record what a process asks of the disk, and make the folders that a kill or a power cut may leave of it."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

PAGE = 4096
CHUNK = 1 << 20


@dataclasses.dataclass
class File:
    """Bytes in memory, those on the disk, and the pages that differ."""

    now: bytearray
    durable: bytes = b""
    dirty: set[int] = dataclasses.field(default_factory=set)

    def write(self, offset, data):
        end = offset + len(data)
        if end > len(self.now):
            self.now.extend(bytes(end - len(self.now)))
        self.now[offset:end] = data
        self.dirty.update(range(offset // PAGE, (end + PAGE - 1) // PAGE))

    def resize(self, size):
        if size < len(self.now):
            del self.now[size:]
        else:
            self.now.extend(bytes(size - len(self.now)))

    def sync(self):
        self.durable = bytes(self.now)
        self.dirty.clear()

    def after_power_cut(self, rng):
        """Return the durable bytes with any of the dirty pages, at the old size or the new."""
        out = bytearray(self.durable)
        size = len(self.now) if rng.random() < 0.5 else len(self.durable)
        out = out[:size] + bytes(max(0, size - len(out)))
        share = rng.choice([0.0, 0.3, 0.7, 1.0])
        for page in sorted(self.dirty):
            if rng.random() < share:
                piece = self.now[page * PAGE : min((page + 1) * PAGE, size)]
                out[page * PAGE : page * PAGE + len(piece)] = piece
        return bytes(out)


class Disk:
    """The files of one folder, replayed event by event.

    Parameters
    ----------
    before : dict of str to bytes
        Files that were there, on the disk, when recording began.
    """

    def __init__(self, before):
        self.files = {number: File(bytearray(data), data) for number, data in enumerate(before.values())}
        self.names = dict(zip(before, self.files, strict=True))
        self.durable_names = [dict(self.names)]  # as of the last sync of the folder, then after each change
        self._effects = {
            "create": self._create,
            "write": lambda number, offset, data: self.files[number].write(offset, data),
            "resize": lambda number, size: self.files[number].resize(size),
            "sync": lambda number: self.files[number].sync(),
            "rename": self._rename,
            "unlink": self._unlink,
            "sync folder": self._sync_folder,
            "acknowledge": lambda _: None,
        }

    def apply(self, event):
        kind, *args = event
        self._effects[kind](*args)

    def _create(self, name, number):
        self.files[number] = File(bytearray())
        self.names[name] = number
        self.durable_names.append(dict(self.names))

    def _rename(self, source, target):
        self.names[target] = self.names.pop(source)
        self.durable_names.append(dict(self.names))

    def _unlink(self, name):
        del self.names[name]
        self.durable_names.append(dict(self.names))

    def _sync_folder(self):
        self.durable_names = [dict(self.names)]

    def killed(self):
        """Return name -> bytes as the next process finds them after a kill."""
        return {name: bytes(self.files[number].now) for name, number in self.names.items()}

    def unplugged(self, rng):
        """Return name -> bytes as they may be after a power cut."""
        names = self.durable_names[rng.integers(len(self.durable_names))]
        return {name: self.files[number].after_power_cut(rng) for name, number in names.items()}


class Recorder:
    """What this process asks of the disk in one folder, while entered.

    Parameters
    ----------
    folder : Path
        Only files directly in it count, and not its lock.
    monkeypatch : pytest.MonkeyPatch
        Puts recording functions in place of the system's.

    Attributes
    ----------
    before : dict of str to bytes
        What was there at first.
    events : list of tuple
        What `Disk.apply` replays.
    """

    def __init__(self, folder, monkeypatch):
        self.folder, self._patch = folder, monkeypatch
        self.before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
        self.events = []
        self._numbers = {name: number for number, name in enumerate(self.before)}
        self._made = len(self.before)
        self._descriptors = {}  # descriptor -> number of the file, None for the folder
        self._real = {}

    def __enter__(self):
        spies = {
            "open": self._spy_open,
            "close": self._spy_close,
            "fdopen": self._spy_fdopen,
            "pwrite": self._spy_pwrite,
            "write": self._spy_write,
            "ftruncate": self._spy_ftruncate,
            "posix_fallocate": self._spy_fallocate,
            "fsync": self._spy_sync("fsync"),
            "fdatasync": self._spy_sync("fdatasync"),
            "replace": self._spy_replace,
            "unlink": self._spy_unlink,
        }
        self._real = {name: getattr(os, name) for name in spies}
        for name, spy in spies.items():
            self._patch.setattr(os, name, spy)
        return self

    def __exit__(self, *_):
        for name, function in self._real.items():
            self._patch.setattr(os, name, function)

    def acknowledge(self, start):
        """Note that the writer has returned: from now on this unit may not be lost."""
        self.events.append(("acknowledge", start))

    def _ours(self, path):
        return Path(path).parent == self.folder and Path(path).name != ".lock"

    def _spy_open(self, path, flags, *args, **kwargs):
        file = self._real["open"](path, flags, *args, **kwargs)
        if Path(path) == self.folder:
            self._descriptors[file] = None
        elif self._ours(path):
            name = Path(path).name
            if name not in self._numbers:
                self._numbers[name] = self._made
                self._made += 1
                self.events.append(("create", name, self._numbers[name]))
            self._descriptors[file] = self._numbers[name]
        return file

    def _spy_close(self, file):
        self._real["close"](file)
        self._descriptors.pop(file, None)

    def _spy_fdopen(self, file, mode, **kwargs):
        return (
            _Written(file)
            if mode == "wb" and file in self._descriptors
            else self._real["fdopen"](file, mode, **kwargs)
        )

    def _note(self, kind, file, *args):
        if self._descriptors.get(file) is not None:
            self.events.append((kind, self._descriptors[file], *args))

    def _spy_pwrite(self, file, data, offset):
        done = self._real["pwrite"](file, data, offset)
        self._note("write", file, offset, bytes(data)[:done])
        return done

    def _spy_write(self, file, data):
        at = os.lseek(file, 0, os.SEEK_CUR)
        done = self._real["write"](file, data)
        self._note("write", file, at, bytes(data)[:done])
        return done

    def _spy_ftruncate(self, file, size):
        self._real["ftruncate"](file, size)
        self._note("resize", file, size)

    def _spy_fallocate(self, file, offset, length):
        self._real["posix_fallocate"](file, offset, length)
        self._note("resize", file, os.fstat(file).st_size)

    def _spy_sync(self, name):
        def spy(file):
            self._real[name](file)
            if file in self._descriptors and self._descriptors[file] is None:
                self.events.append(("sync folder",))
            self._note("sync", file)

        return spy

    def _spy_replace(self, source, target, **kwargs):
        self._real["replace"](source, target, **kwargs)
        if self._ours(source):
            names = Path(source).name, Path(target).name
            self._numbers[names[1]] = self._numbers.pop(names[0])
            self.events.append(("rename", *names))

    def _spy_unlink(self, path, **kwargs):
        self._real["unlink"](path, **kwargs)
        if self._ours(path):
            del self._numbers[Path(path).name]
            self.events.append(("unlink", Path(path).name))


class _Written(io.RawIOBase):
    """A file whose writes are calls of this process, which the recorder sees, not of C."""

    def __init__(self, file):
        self._file = file

    def fileno(self):
        return self._file

    def write(self, data):
        data = memoryview(data).cast("B")
        for at in range(0, len(data), CHUNK):
            os.write(self._file, data[at : at + CHUNK])
        return len(data)

    def close(self):
        if not self.closed:
            os.close(self._file)
        super().close()


def torn(event):
    """Yield the steps of 4 KiB in which an event may be seen half done; other events happen at once."""
    if event[0] != "write" or not event[3]:
        yield event
        return
    _, number, offset, data = event
    for at in range(0, len(data), PAGE):
        yield "write", number, offset + at, data[at : at + PAGE]
