"""The predictions of every candidate of a search: a few hundred bytes in the ledger, then predictions.npz.

    from mcbert.search.outcome.predictions import Predictions
    predictions = Predictions.load("results/runs/demo/predictions.npz")
    right = predictions.right([0], predictions.rows("test"))  # of the best candidate

A text that several rows share is stored once. Nothing in the file is executed when it is read.
"""

import base64
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mcbert.files.arrays import read_arrays, require_shapes, write_arrays

FORMAT = 1
Codes = npt.NDArray[np.unsignedinteger[Any]]
Ints = npt.NDArray[np.int64]
_ROW_FIELDS = ("text", "y", "ids", "language", "split")
_SHAPES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "format": ("i", ()),
    "candidates": ("U", ("candidates",)),
    "codes": ("u", ("candidates", "texts")),
    **dict.fromkeys(("text", "y"), ("i", ("rows",))),
    **dict.fromkeys(("ids", "language", "split"), ("U", ("rows",))),
    "languages": ("U", ("languages",)),
    "labels": ("U", ("labels",)),
}
_FIELDS = ("format", "candidates", "codes", *_ROW_FIELDS, "languages", "labels")


def encode(predicted: npt.ArrayLike, n_classes: int) -> str:
    """Return label codes, int array of shape (n_texts,), as compressed base64."""
    codes = np.asarray(predicted).astype(_dtype(n_classes))
    return base64.b64encode(zlib.compress(codes.tobytes(), level=6)).decode("ascii")


def decode(text: str, n_classes: int, *, most: int) -> Codes:
    """Undo `encode`: uint8 array of shape (n_texts,), uint16 where there are more than 256 labels.

    Raises
    ------
    ValueError
        It is no such text, or one of more than `most` codes; no more than these are unpacked.
    """
    dtype, unpacking = np.dtype(_dtype(n_classes)), zlib.decompressobj()
    try:
        data = unpacking.decompress(base64.b64decode(text, validate=True), most * dtype.itemsize + 1)
    except zlib.error as error:
        raise ValueError(f"predictions: {error}") from error
    if not unpacking.eof or len(data) % dtype.itemsize or len(data) > most * dtype.itemsize:
        raise ValueError(f"predictions: got other than at most {most} labels")
    return np.frombuffer(data, dtype=dtype)


def _dtype(n_classes: int) -> npt.DTypeLike:
    return np.dtype("u1") if n_classes <= 256 else np.dtype("<u2")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Every candidate's prediction for every dev and test text.

    Attributes
    ----------
    candidates : tuple of str
        Ids of the candidates that did not fail, best first.
    codes : uint8 or uint16 array of shape (n_candidates, n_texts)
        Predicted label of each distinct text, as a position in `labels`.
    text : int64 array of shape (n_rows,)
        Column of `codes` of each dev and test row.
    y : int64 array of shape (n_rows,)
        True label of each row, as a position in `labels`.
    ids, language, split : str arrays of shape (n_rows,)
        The row's id in texts.csv, its language, and dev or test.
    languages : tuple of str
        Those scored, the source first.
    labels : tuple of str
    """

    candidates: tuple[str, ...]
    codes: Codes
    text: Ints
    y: Ints
    ids: npt.NDArray[np.str_]
    language: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    languages: tuple[str, ...]
    labels: tuple[str, ...]

    def rows(self, split: str) -> Ints:
        """Return the row numbers of a split."""
        return np.flatnonzero(self.split == split).astype(np.int64)

    def right(self, positions: Sequence[int] | Ints, rows: Ints) -> npt.NDArray[np.bool_]:
        """Return whether candidates, by position, predicted rows correctly: bool (n_positions, n_rows)."""
        chosen = np.asarray(positions, dtype=np.int64)
        return np.asarray(self.codes[np.ix_(chosen, self.text[rows])] == self.y[rows])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; the same predictions make the same bytes."""
        names = ("candidates", "ids", "language", "split", "languages", "labels")
        texts = {name: np.asarray(getattr(self, name), dtype=np.str_) for name in names}
        numbers = {"format": np.asarray(FORMAT), "codes": self.codes, "text": self.text, "y": self.y}
        write_arrays(path, numbers | texts, compressed=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Predictions":
        """Read a predictions.npz.

        Raises
        ------
        ValueError
            If the file is not such a file, has another format, or its arrays do not fit together.
        """
        arrays = read_arrays(path, _FIELDS, "a file of predictions; run the gridsearch stage again")
        require_shapes(path, arrays, _SHAPES)
        if arrays["format"] != FORMAT:
            raise ValueError(f"{path}: format: got {arrays['format']}, accepted: {FORMAT}")
        codes, n_labels = arrays["codes"], len(arrays["labels"])
        limits = (("text", codes.shape[1]), ("y", n_labels), ("codes", n_labels))
        for name, limit in limits:
            if arrays[name].size and not 0 <= int(arrays[name].min()) <= int(arrays[name].max()) < limit:
                raise ValueError(f"{path}: {name}: got numbers outside, accepted: 0 to {limit - 1}")
        fields: dict[str, Any] = {name: arrays[name] for name in ("codes", *_ROW_FIELDS)}
        fields |= {name: tuple(arrays[name].tolist()) for name in ("candidates", "languages", "labels")}
        return cls(**fields)
