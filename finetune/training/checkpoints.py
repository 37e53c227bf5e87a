"""Checkpoints of a training: folders that are whole or absent, of which the newest that verifies is resumed.

    checkpoints/mcbert-0/step-30/: model.safetensors optimizer.safetensors ... manifest.json

A checkpoint is written beside its name, file by file onto the disk; its manifest, with the SHA-256 of every
file, comes last, and then the folder is renamed. A kill at any moment leaves the checkpoint before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from mcbert import files
from mcbert.files.objects import Types, parse, read_object

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
KEPT = 2
_NAME = re.compile(r"step-(\d+)")
_UNFINISHED = ".unfinished-*"
_STATE: Types = {"callback": dict, "schedule": dict, "groups": list, "random": list}
_STATE_TOO: Types = {"scaler": (dict, type(None))}


def write(folder: Path, step: int, arguments: Mapping[str, Any], fill: Callable[[Path], None]) -> Path:
    """Write a checkpoint, then remove all but the newest `KEPT`.

    Parameters
    ----------
    folder : Path
        Of the training's checkpoints.
    step : int
        Optimiser steps made.
    arguments : mapping
        All that the training depends on, JSON-able; who resumes must have the same.
    fill : callable
        Writes the files into the folder that it is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".unfinished-{step}"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    fill(beside)
    written = sorted(beside.iterdir())
    for path in written:
        files.sync(path)
    record = {
        "step": step,
        "arguments": _plain(arguments),
        "files": {path.name: files.sha256(path) for path in written},
    }
    text = json.dumps(record | {"digest": _digest(record)}, ensure_ascii=False, indent=1)
    files.write_text(beside / MANIFEST, text + "\n")
    files.take_mode(written, of=beside / MANIFEST)
    files.sync(beside)
    target = folder / f"step-{step}"
    shutil.rmtree(target, ignore_errors=True)  # there only when it was damaged, and an older one resumed
    beside.replace(target)
    files.sync(folder)
    for old in numbered(folder)[KEPT:]:
        shutil.rmtree(old)
    return target


def newest(folder: Path, arguments: Mapping[str, Any]) -> Path | None:
    """Return the newest checkpoint whose files are as they were written, or None.

    Raises
    ------
    ValueError
        That checkpoint is of a training with other arguments; names the first that differ.
    """
    for beside in folder.glob(_UNFINISHED):
        shutil.rmtree(beside)
    for path in numbered(folder):
        reason, record = _read(path)
        if reason:
            log.warning("%s: damaged (%s), not used", path, reason)
            continue
        _require_same(path, record["arguments"], _plain(arguments))
        return path
    return None


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Return why a checkpoint is damaged, or nothing, and its manifest."""
    if path.is_symlink():
        return "a link, which is not followed", {}
    try:
        files.require_own(path)
        record = parse(files.read_bytes(path / MANIFEST))
        digest = record.pop("digest")
    except OSError as error:
        reason = str(error.strerror).partition("; accepted")[0]
        return f"{Path(error.filename or path).name}: {reason}", {}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{MANIFEST}: {type(error).__name__}", {}
    if digest != _digest(record):
        return f"{MANIFEST}: changed", {}
    if not _is_manifest(record):
        return f"{MANIFEST}: not of a checkpoint", {}
    for name, expected in record["files"].items():
        if not (path / name).is_file():
            return f"{name}: missing", {}
        if files.sha256(path / name) != expected:
            return f"{name}: changed", {}
    return "", record


def _is_manifest(record: Mapping[str, Any]) -> bool:
    named, arguments = record.get("files"), record.get("arguments")
    return (
        isinstance(named, dict)
        and all(isinstance(digest, str) and Path(name).name == name for name, digest in named.items())
        and isinstance(arguments, dict)
    )


def read_state(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds beside tensors.

    Raises
    ------
    ValueError
        It is damaged, or of another version.
    OSError
        It cannot be opened; a link is not followed.
    """
    return read_object(path, _STATE, optional=_STATE_TOO, remedy=_remedy(path.parent))


@contextlib.contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Turn what a checkpoint of another make does to a training that resumes from it into one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        if str(error).startswith(str(folder)):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"{folder}: not a checkpoint of this training ({said}); {_remedy(folder)}"
        ) from error


def _remedy(folder: Path) -> str:
    return f"remove {folder} to resume from the one before, or to start over"


def _require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{key}: got {wanted.get(key)!r}, accepted: {found.get(key)!r}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise ValueError(
            f"{path}: a checkpoint of another training: {'; '.join(differing[:4])}; set it back to resume, "
            f"or remove {path.parent} to start over"
        )


def numbered(folder: Path) -> list[Path]:
    """Return the checkpoints, the one of most steps first."""
    return sorted(
        (path for path in folder.glob("*") if _NAME.fullmatch(path.name)), key=step_of, reverse=True
    )


def step_of(path: Path) -> int:
    """Return the number of steps that a checkpoint's name says."""
    return int(path.name.partition("-")[2])


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments flat, as JSON gives them back."""
    out: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(arguments)).items():
        out |= (
            {f"{key}.{k}": v for k, v in _plain(value).items()} if isinstance(value, dict) else {key: value}
        )
    return out


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
