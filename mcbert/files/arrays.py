"""Arrays in ``.npy`` and ``.npz`` files: written whole, read without a pickle and within bounds.

numpy asks for the memory of 10^15 numbers where a header says so; here a header must describe just the bytes
that follow it. Accepted are whole numbers, floats, booleans and text, in little-endian order.

python -m pytest tests/files/test_arrays.py
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mcbert.files.opening import opened
from mcbert.files.whole import writing_beside

Arrays = dict[str, npt.NDArray[Any]]
Shapes = Mapping[str, tuple[str, tuple[str | int, ...]]]
"""Of each array numpy's letters of the kinds accepted, and the sizes of its axes: a name where a size must be
the same everywhere."""

KINDS = "biufU"
MOST_DIMENSIONS = 8
UNPACKED = 1 << 28  # bytes that compressed arrays may always take
RATIO = 100  # beyond that, times the file's size; ids and predictions of a search take 5 to 20 times
_TOO_LARGE, _SURROGATES = 0x110000, (0xD800, 0xE000)


class ArrayError(ValueError):
    """A file that holds no such array; the message says why."""


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write arrays, none of dtype object, as .npz; the file appears whole or not at all."""
    save = np.savez_compressed if compressed else np.savez
    with writing_beside(Path(path)) as stream:
        save(stream, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike[str], names: Sequence[str], what: str) -> Arrays:
    """Read arrays of a ``.npz`` file; nothing in the file is executed, and a link is not followed.

    Parameters
    ----------
    what : str
        Kind of file expected, for messages.

    Raises
    ------
    ArrayError
        The file cannot be opened or holds no such arrays; the message names it.
    """
    try:
        with opened(path) as file:
            return _of_archive(file, names)
    except OSError as error:
        raise ArrayError(f"{path}: not {what} ({error.strerror})") from error
    except ArrayError as error:
        raise ArrayError(f"{path}: not {what} ({' '.join(str(error).split())})") from error


def require_shapes(path: str | os.PathLike[str], arrays: Arrays, shapes: Shapes) -> dict[str, int]:
    """Make sure that arrays of a file fit together; return the sizes by name.

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


def _of_archive(file: BinaryIO, names: Sequence[str]) -> Arrays:
    most = max(UNPACKED, RATIO * os.fstat(file.fileno()).st_size)
    try:
        with zipfile.ZipFile(file) as archive:
            members = [_member(archive, name) for name in names]
            if sum(member.file_size for member in members) > most:
                raise ArrayError(f"unpacked it takes more than {most:,} bytes")
            return {name: _of(archive, member) for name, member in zip(names, members, strict=True)}
    except ArrayError:
        raise
    except Exception as error:  # a damaged zip ends in errors of seeking, unpacking, decoding
        raise ArrayError(f"no whole archive of arrays: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise ArrayError(f"{name} is missing") from error


def _of(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    try:
        with archive.open(member) as stream:
            return read_array(stream, member.file_size)
    except ArrayError as error:
        raise ArrayError(f"{member.filename.removesuffix('.npy')}: {error}") from error


def read_array(stream: Any, size: int) -> np.ndarray:
    """Read an array in numpy's format from a stream of bytes that holds `size` of them.

    Raises
    ------
    ArrayError
        The header is none, or describes more or fewer bytes than follow it, or numbers of another kind.
    """
    header = _header(stream, size)
    n_bytes = math.prod(header.shape) * header.dtype.itemsize
    data = bytearray(stream.read(n_bytes))
    if len(data) != n_bytes:
        raise ArrayError("it ends before its numbers do")
    array = np.frombuffer(data, dtype=header.dtype)
    if header.dtype.kind == "U":
        _require_characters(array)
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def map_array(path: Path) -> np.ndarray:
    """Map an array of a file that the user names: its numbers are read when they are used.

    Raises
    ------
    ArrayError
        The file holds no array of at least one number.
    OSError
        It cannot be opened.
    """
    with opened(path, links=True) as file:
        header = _header(file, os.fstat(file.fileno()).st_size)
        if not math.prod(header.shape):
            raise ArrayError(f"an array of shape {header.shape} holds nothing")
        source: Any = file  # numpy's types ask for a file to write to
        order: Literal["C", "F"] = "F" if header.fortran else "C"
        array: np.ndarray = np.memmap(
            source, dtype=header.dtype, mode="r", offset=file.tell(), shape=header.shape, order=order
        )
        return array


def _header(stream: BinaryIO, size: int) -> _Header:
    """Read a header; all the bytes after it, of `size` altogether, are the numbers'."""
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ArrayError(f"its version is {version}")
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        header = _Header(*read(stream))
        left = size - stream.tell()
    except ArrayError:
        raise
    except Exception as error:  # numpy evaluates the header: nested, it ends in errors of parser and memory
        raise ArrayError(f"its header is none of an array ({type(error).__name__})") from error
    dtype = header.dtype
    if dtype.kind not in KINDS or not dtype.itemsize or dtype.byteorder == ">":
        raise ArrayError(f"its numbers are of dtype {dtype.str}")
    if len(header.shape) > MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in header.shape):
        raise ArrayError(f"its shape is {str(header.shape)[:60]}")
    if math.prod(header.shape) * dtype.itemsize != left:
        shape = str(header.shape)
        raise ArrayError(f"{left:,} bytes follow its header, which says {dtype.str} of shape {shape[:60]}")
    return header


def _require_characters(array: np.ndarray) -> None:
    """Refuse code points that Python or UTF-8 cannot represent."""
    codes = array.view(np.uint32)
    low, high = _SURROGATES
    if codes.size and ((codes >= _TOO_LARGE) | ((codes >= low) & (codes < high))).any():
        raise ArrayError("its text holds what is no character")
