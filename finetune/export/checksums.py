"""Checksums beside a saved model's files, so that a byte that changed since is noticed when it is loaded.

    checksums.json: {"digest": ..., "files": {"config.json": ..., "model.safetensors": ...}}

Every file that was saved counts, but those that only tell of the model (README.md): they may be edited. So
may the others, by who removes checksums.json: a folder without it is loaded unchecked, with a log line. Of a
model on the hub all files that its checksums name are fetched and compared.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from mcbert import files
from mcbert.features.encoder.files import EncoderError, resolve
from mcbert.files.objects import parse

log = logging.getLogger(__name__)

NAME = "checksums.json"
TELLING = (".md",)
"""Suffixes of files that decide nothing."""


def seal(folder: Path) -> None:
    """Write the checksums of a folder's files, and give all of them the mode of any new file.

    safetensors writes files that only their owner may read, whatever the umask says.
    """
    saved = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in saved
        if path.suffix not in TELLING and path != folder / NAME
    }
    record = {"digest": _digest(named), "files": named}
    (folder / NAME).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    files.take_mode(saved, of=folder / NAME)


def resolve_intact(
    name: str, *, key: str, revision: str = "", code: bool = False, adapters: bool = False
) -> tuple[Path, bool]:
    """Find a saved model, or fetch it with every file that its checksums name; compare them.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    key, revision, code, adapters
        As `features.encoder.files.resolve` takes them.

    Returns
    -------
    folder : Path
    is_checked : bool
        Whether there are checksums.

    Raises
    ------
    EncoderError
        No such model, or not as it was saved.
    """
    where = f"{key}: {name}"
    folder = resolve(name, key=key, revision=revision, code=code, adapters=adapters)
    if not Path(name).is_dir() and (folder / NAME).is_file():
        rest = [glob.escape(one) for one in _read(folder / NAME, where) if not (folder / one).is_file()]
        if rest:
            folder = resolve(name, key=key, files=rest, revision=revision, code=code, adapters=adapters)
    return folder, require_intact(folder, where)


def require_intact(folder: Path, where: str) -> bool:
    """Compare a folder's files with their checksums.

    Parameters
    ----------
    where : str
        Opens messages.

    Returns
    -------
    bool
        Whether there are checksums.

    Raises
    ------
    EncoderError
        A file is gone or was changed, or the checksums themselves were.
    """
    path = folder / NAME
    if not path.is_file():
        return False
    for name, digest in _read(path, where).items():
        there = (folder / name).is_file()
        if not there or files.sha256(folder / name) != digest:
            what = "changed since the model was saved" if there else "is gone"
            raise EncoderError(
                f"{where}: {name}: {what}; accepted: the file whose checksum is in {NAME}, or no {NAME} if "
                "the change is yours"
            )
    return True


def say_unchecked(where: str) -> None:
    """Log that a model has no checksums: one that an earlier version saved, or another project."""
    log.info("%s: no %s there, so its files are not checked", where, NAME)


def _read(path: Path, where: str) -> dict[str, str]:
    try:
        record = parse(files.read_bytes(path, links=True))  # the hub's cache consists of links
        named: dict[str, str] = record["files"]
        intact = record["digest"] == _digest(named) and all(_is_inside(name) for name in named)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        intact = False
    if not intact:
        raise EncoderError(f"{where}: {NAME}: damaged; remove it to load the model unchecked")
    return named


def _is_inside(name: str) -> bool:
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _digest(named: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()
