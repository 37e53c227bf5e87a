"""Files of named arrays, and files that appear whole or not at all; see `python -m pipeline gridsearch`."""

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that takes the name `path` when the block ends, and is removed when the block fails."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write arrays, none of dtype object, as .npz."""
    save = np.savez_compressed if compressed else np.savez
    with replacing(path) as stream:
        save(stream, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike[str], names: Sequence[str], what: str) -> Arrays:
    """Read arrays of a .npz file; nothing in the file is executed.

    Raises
    ------
    ValueError
        If the file cannot be read as `what` or lacks a name.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, KeyError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not {what} ({' '.join(str(error).split())})") from error
