"""A run's folder and its record of each stage's inputs and outputs: stages are skipped, resumed or refused.

results/runs/<run>/stages/<stage>.json   inputs, outputs with checksums, seconds, machine, versions: last

What a killed stage leaves behind (a cache, a ledger, finished trainings) carries its own identity and refuses
another configuration itself.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mcbert import __version__, files
from mcbert.files.objects import read_object

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "transformers", "tokenizers", "scikit-learn", "numpy", "pandas", "h5py")
STAMPED = (
    "mcbert",
    "torch",
    "transformers",
    "scikit-learn",
)  # in every row, the others in the stage's record
RECORD = ("inputs", "outputs")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class Run:
    """One run's folder.

    Parameters
    ----------
    root : Path
        Folder of all runs.
    name : str
        Letters, digits, dots, underscores and hyphens, at most 80.
    base : str
        Folder whose paths are recorded as they are written below it: moved with its configuration, a run goes
        on where it was.

    Raises
    ------
    ValueError
        No name, or the name of a file.
    OSError
        The folder holds a link, through which something elsewhere would be read or written.
    """

    def __init__(self, root: Path, name: str, *, base: str = "") -> None:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"--run: got {name!r}, accepted: at most 80 letters, digits, '.', '_', '-', no dot first"
            )
        self.name = name
        self._base = base
        self.folder = root / name
        for key, path in (("--run", self.folder), *(("--runs", one) for one in self.folder.parents)):
            if path.exists() and not path.is_dir():
                raise ValueError(f"{key}: {path}: it is a file; accepted: a folder, or a name not taken yet")
        files.require_own(self.folder)
        self._stages = self.folder / "stages"

    def stage(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        work: Callable[[], list[str]],
        *,
        replace: bool | Collection[str] = False,
        again: bool = False,
    ) -> None:
        """Run `work` unless the stage has run with these inputs already.

        Parameters
        ----------
        inputs : mapping
            Everything the stage's result depends on, JSON-able.
        work : callable
            Does the stage; returns the names of the files it wrote in the run's folder.
        replace : bool or collection of str
            Whether results from other inputs may be replaced (only for what is derived and cheap); names of
            inputs: if these alone differ.
        again : bool
            Whether to run `work` though the stage has run with these inputs.

        Raises
        ------
        ValueError
            The folder holds results of this stage from other inputs, or its results were changed since.
        """
        if self.is_done(stage, inputs, replace=replace) and not again:
            log.info("%s: up to date", stage)
            return
        wanted, done = self._wanted(inputs), self._stages / f"{stage}.json"
        done.unlink(missing_ok=True)  # a kill from here on leaves a stage that has not run
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        outputs = {name: files.sha256(self.folder / name) for name in work()}
        self._stages.mkdir(exist_ok=True)
        seconds = time.monotonic() - began
        record = {"inputs": wanted, "outputs": outputs, "seconds": round(seconds, 2)}
        write_json(done, record | {"machine": machine(), "versions": versions()})
        log.info("%s: done in %.1f s", stage, seconds)

    def is_done(
        self, stage: str, inputs: Mapping[str, Any], *, replace: bool | Collection[str] = False
    ) -> bool:
        """Return True if a stage has run with these inputs and its files are there; nothing is written.

        Parameters and errors as of `stage`.
        """
        wanted, done = self._wanted(inputs), self._stages / f"{stage}.json"
        if not done.is_file():
            return False
        if replace is not True:
            self._require_same(stage, read_record(done)["inputs"], wanted, replace or ())
        return self._intact(done, stage, wanted)

    def _wanted(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs as a record holds them."""
        return dict(json.loads(json.dumps(written(inputs, self._base), sort_keys=True)))

    @contextlib.contextmanager
    def held(self, stage: str, wait: float = 0.0) -> Iterator[None]:
        """Keep the run to this process while a command writes it; the system ends that with the process.

        Parameters
        ----------
        stage : str
            The command, told to others.
        wait : float
            Seconds to wait for another one.

        Raises
        ------
        StoreError
            Another process writes the run; the message says which, and what it does.
        """
        from mcbert.features.cache.lock import NAME as LOCK
        from mcbert.features.cache.lock import locked

        made = [one for one in (self.folder, *self.folder.parents) if not one.exists()]
        require_folder(self.folder, f"--runs {self.folder.parent}")
        in_use = "another command is writing this run; wait for it (--wait), or give another --run"
        with locked(self.folder, wait, in_use=in_use, doing=stage):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    if [path.name for path in self.folder.iterdir()] == [LOCK]:  # nothing came of it
                        (self.folder / LOCK).unlink()
                        for one in made or [self.folder]:
                            one.rmdir()

    def inputs(self, stage: str) -> dict[str, Any]:
        """Return the inputs that a stage has run with; none where it has not."""
        done = self._stages / f"{stage}.json"
        return dict(read_record(done)["inputs"]) if done.is_file() else {}

    def _require_same(
        self, stage: str, found: Mapping[str, Any], wanted: Mapping[str, Any], free: Collection[str]
    ) -> None:
        differing = [
            f"{key}: {_short(a)} -> {_short(b)}"
            for key, (a, b) in _flat_differences(found, wanted).items()
            if key.partition(".")[0] not in free
        ]
        if differing:
            raise ValueError(
                f"{self.folder}: {stage} was run with another configuration ({'; '.join(differing[:4])}); "
                "give the same again, choose another run name (RUN=... or --run ...) "
                "or remove that folder"
            )

    def _intact(self, done: Path, stage: str, wanted: Mapping[str, Any]) -> bool:
        record = read_record(done)
        if record["inputs"] != wanted:
            return False
        for name, digest in record["outputs"].items():
            path = self.folder / name
            if not path.is_file():
                log.warning("%s: %s is gone; running the stage again", stage, path)
                return False
            if files.sha256(path) != digest:
                raise ValueError(
                    f"{path}: changed since the {stage} stage wrote it; move it away to have it made again, "
                    "or choose another run name"
                )
        return True


def require_folder(folder: Path, given: str) -> None:
    """Make a folder that is to be written to, unless it is there.

    Parameters
    ----------
    given : str
        The option that named it, with its value, for messages.

    Raises
    ------
    ValueError
        It cannot be made, or nothing can be written to it.
    """
    accepted = "accepted: a folder that can be written to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{given}: cannot make {folder}: {error.strerror}; {accepted}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{given}: {folder} cannot be written to; {accepted}")


def machine() -> dict[str, str]:
    """Return system, CPU cores and Python of this computer."""
    return {
        "system": platform.platform(),
        "processors": f"{os.cpu_count()} x {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, as far as they are installed."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def stamped_versions() -> str:
    """Return the versions that figures depend on as one cell: names and numbers, mcbert first."""
    known = {"mcbert": __version__} | versions()
    return " ".join(f"{name} {known[name]}" for name in STAMPED if name in known)


def written(value: Any, base: str) -> Any:
    """Return settings, or values made of them, with paths below a folder written relative to it.

    >>> written({"raw": "/home/me/project/raw.csv", "seeds": [0]}, "/home/me/project")
    {'raw': 'raw.csv', 'seeds': [0]}
    """
    if isinstance(value, Mapping):
        return {written(key, base): written(entry, base) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [written(entry, base) for entry in value]
    if not base or not isinstance(value, str):
        return value
    return "." if value == base else value.removeprefix(base.rstrip("/") + "/")


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of a finished stage: its inputs and outputs, and more.

    Raises
    ------
    ValueError
        It is none.
    """
    return read_object(path, dict.fromkeys(RECORD, dict))


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write JSON so that the file is there whole or not at all."""
    files.write_text(path, json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _flat_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    out: dict[str, tuple[Any, Any]] = {}
    for key in sorted(a.keys() | b.keys()):
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            out |= {f"{key}.{k}": v for k, v in _flat_differences(x, y).items()}
        elif x != y:
            out[key] = (x, y)
    return out


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
