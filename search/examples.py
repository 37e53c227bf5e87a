"""Labels, languages and splits of the corpus rows in one .npz for `python -m mcbert gridsearch`.

Workers of the search need no texts: this file (a few bytes per row, no pickle) is all that they read beside
the features.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mcbert.files.arrays import Arrays, read_arrays, require_shapes, write_arrays

SKIPPED = "skipped"  # split of a row that has no features: it takes part in nothing
SPLITS = ("train", "dev", "test", SKIPPED)
_SHAPES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "y": ("i", ("rows",)),
    **dict.fromkeys(("language", "split", "ids"), ("U", ("rows",))),
    "labels": ("U", ("labels",)),
    "source_language": ("U", ()),
}
FIELDS = ("y", "language", "split", "ids", "labels", "source_language")


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What the search knows of the corpus: one entry per corpus row, in the corpus's order.

    Attributes
    ----------
    y : int64 array of shape (n_rows,)
        Position of the row's label in `labels`.
    language, split : str arrays of shape (n_rows,)
        Language code, and train, dev, test or `SKIPPED`.
    ids : str array of shape (n_rows,)
        The corpus's ids; row numbers where none were given.
    labels : tuple of str
        All labels, sorted.
    source_language : str
        The language with the training labels; train rows in others are translations of its.
    digest : str
        SHA-256 of everything above, in hexadecimal.
    """

    y: npt.NDArray[np.int64]
    language: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    labels: tuple[str, ...]
    source_language: str
    digest: str

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages of the corpus, the source first, the rest sorted."""
        rest = sorted(set(self.language.tolist()) - {self.source_language})
        return (self.source_language, *rest)

    def rows(self, split: str, language: str | None = None) -> npt.NDArray[np.int64]:
        """Return the row numbers of one split, of one language or all, in the corpus's order."""
        chosen = self.split == split
        if language is not None:
            chosen &= self.language == language
        return np.flatnonzero(chosen).astype(np.int64)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Examples":
        """Read what `write` wrote.

        Raises
        ------
        ValueError
            If the file is not such a file.
        """
        arrays = read_arrays(path, FIELDS, "an examples file; run the gridsearch stage again")
        require_shapes(path, arrays, _SHAPES)
        _require(path, arrays["y"], arrays["split"].tolist(), len(arrays["labels"]))
        return cls(
            y=arrays["y"],
            language=arrays["language"],
            split=arrays["split"],
            ids=arrays["ids"],
            labels=tuple(arrays["labels"].tolist()),
            source_language=str(arrays["source_language"]),
            digest=_digest(arrays),
        )


def write(  # the seven fields of the file, all by name but the first two
    path: str | os.PathLike[str],
    y: npt.ArrayLike,
    *,
    language: Sequence[str],
    split: Sequence[str],
    labels: Sequence[str],
    source_language: str,
    ids: Sequence[str] | None = None,
) -> None:
    """Write the rows' labels, languages and splits for the workers of the search.

    Parameters
    ----------
    path : Path
        Target; written to a temporary name beside it and renamed.
    y : int array of shape (n_rows,)
        Label codes, positions in `labels`.
    language, split : sequences of str of length n_rows
        Language code and split (train, dev, test or `SKIPPED`) of each row.
    labels : sequence of str
        All labels, sorted.
    source_language : str
        The language with the training labels.
    ids : sequence of str of length n_rows, optional
        The corpus's ids, for the table of predictions. Row numbers where absent.

    Raises
    ------
    ValueError
        If lengths differ, a code has no label, or a split is unknown.
    """
    codes = np.asarray(y, dtype=np.int64)
    names = [str(row) for row in range(len(codes))] if ids is None else [str(name) for name in ids]
    for field, values in (("language", language), ("split", split), ("ids", names)):
        if len(values) != len(codes):
            raise ValueError(
                f"{path}: {field}: got {len(values)} rows, accepted: {len(codes)}, one for each of y"
            )
    _require(path, codes, split, len(labels))
    texts = (("language", language), ("split", split), ("ids", names), ("labels", labels))
    arrays = {name: np.asarray(list(values), dtype=np.str_) for name, values in texts}
    write_arrays(path, arrays | {"y": codes, "source_language": np.asarray(source_language, dtype=np.str_)})


def _require(
    path: str | os.PathLike[str], codes: npt.NDArray[np.int64], split: Sequence[str], n_labels: int
) -> None:
    outside = np.flatnonzero((codes < 0) | (codes >= n_labels))
    if len(outside):
        raise ValueError(
            f"{path}: row {outside[0]}: y: got {codes[outside[0]]}, accepted: 0 to {n_labels - 1}"
        )
    unknown = sorted(set(split) - set(SPLITS))
    if unknown:
        raise ValueError(f"{path}: split: got {unknown[0]!r}, accepted: {', '.join(SPLITS)}")


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
