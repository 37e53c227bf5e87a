"""Checkpoints of a training: folders that are whole or absent, of which the newest that verifies is resumed.

    checkpoints/mcbert-0/step-30/: model.safetensors optimizer.safetensors ... manifest.json

A checkpoint is written beside its name, file by file onto the disk; its manifest, with the SHA-256 of every
file, comes last, and then the folder is renamed. A kill at any moment leaves the checkpoint before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import files

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
KEPT = 2
_NAME = re.compile(r"step-(\d+)")
_UNFINISHED = ".unfinished-*"


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
        _sync(path)
    record = {
        "step": step,
        "arguments": _plain(arguments),
        "files": {path.name: files.sha256(path) for path in written},
    }
    text = json.dumps(record | {"digest": _digest(record)}, ensure_ascii=False, indent=1)
    files.write_text(beside / MANIFEST, text + "\n")
    files.take_mode(written, of=beside / MANIFEST)
    _sync(beside)
    target = folder / f"step-{step}"
    shutil.rmtree(target, ignore_errors=True)  # there only when it was damaged, and an older one resumed
    beside.replace(target)
    _sync(folder)
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
    try:
        record = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        digest = record.pop("digest")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return f"{MANIFEST}: {type(error).__name__}", {}
    if digest != _digest(record):
        return f"{MANIFEST}: changed", {}
    for name, expected in record["files"].items():
        if not (path / name).is_file():
            return f"{name}: missing", {}
        if files.sha256(path / name) != expected:
            return f"{name}: changed", {}
    return "", record


def _require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{key}: got {wanted.get(key)!r}, accepted: {found.get(key)!r}"
        for key in sorted(found.keys() | wanted.keys())
        if found.get(key) != wanted.get(key)
    ]
    if differing:
        raise ValueError(
            f"{path}: a checkpoint of another training: {'; '.join(differing[:4])}; set it back to go on, or "
            f"remove {path.parent} to begin anew"
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


def _sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
