"""Files of named arrays, of the search's rows and probes; see `python -m mcbert gridsearch`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mcbert import files
from mcbert.files import arrays as stored

Arrays = dict[str, npt.NDArray[Any]]


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write arrays, none of dtype object, as .npz; the file appears whole or not at all."""
    save = np.savez_compressed if compressed else np.savez
    with files.writing_beside(Path(path)) as stream:
        save(stream, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike[str], names: Sequence[str], what: str) -> Arrays:
    """Read arrays of a .npz file; nothing in the file is executed, and a link is not followed.

    Raises
    ------
    ValueError
        If the file cannot be read as `what` or lacks a name.
    """
    try:
        return stored.read_arrays(path, names)
    except OSError as error:
        raise ValueError(f"{path}: not {what} ({error.strerror})") from error
    except ValueError as error:
        raise ValueError(f"{path}: not {what} ({' '.join(str(error).split())})") from error


def require_shapes(
    path: str | os.PathLike[str], arrays: Arrays, shapes: Mapping[str, tuple[str, tuple[str | int, ...]]]
) -> dict[str, int]:
    """Make sure that arrays of a file fit together; return the sizes by name.

    Parameters
    ----------
    shapes : mapping of name to (kinds, shape)
        numpy's letters of the kinds accepted; sizes of the axes, a name where it must be the same everywhere.

    Raises
    ------
    ValueError
        An array of another kind or shape; numbers that are not finite.
    """
    sizes: dict[str, int] = {}
    for name, (kinds, shape) in shapes.items():
        array = arrays[name]
        fits = array.dtype.kind in kinds and array.ndim == len(shape)
        wanted = tuple(
            sizes.setdefault(size, array.shape[axis]) if isinstance(size, str) else size
            for axis, size in enumerate(shape if fits else ())
        )
        if not fits or array.shape != wanted:
            got = f"{array.dtype.str} of shape {array.shape}"
            raise ValueError(f"{path}: {name}: got {got}, accepted: kind {kinds} of shape {wanted or shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path}: {name}: got numbers that are not finite")
    return sizes
