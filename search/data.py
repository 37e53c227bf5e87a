"""The data of a search: labels, languages and splits of the corpus, and which rows of the cache are used.

`python -m mcbert gridsearch` writes the first as examples.npz (a few bytes a row, no pickle). Workers need no
texts: they find that file and the feature cache by the paths of a `Source`.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mcbert.features.store import FeatureStore, StoreError
from mcbert.files.arrays import Arrays, read_arrays, require_shapes, write_arrays

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.floating[Any]]  # float32 or float64

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
    """Labels, languages and splits of the corpus: one entry per corpus row, in the corpus's order.

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
        The language with the training labels; train rows in other languages are translations.
    digest : str
        SHA-256 of everything above, in hexadecimal.
    """

    y: Ints
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

    def rows(self, split: str, language: str | None = None) -> Ints:
        """Return the row numbers of one split, of one language or all, in the corpus's order."""
        chosen = self.split == split
        if language is not None:
            chosen &= self.language == language
        return np.flatnonzero(chosen).astype(np.int64)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Examples":
        """Read a file that `write_examples` wrote.

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


def write_examples(  # the seven fields of the file, all by name but the first two
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


def _require(path: str | os.PathLike[str], codes: Ints, split: Sequence[str], n_labels: int) -> None:
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


@dataclass(frozen=True, kw_only=True)
class Source:
    """The paths of the feature cache and the examples, and the digests of both when the search began."""

    store: Path
    examples: Path
    languages: tuple[str, ...]
    digests: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class RowSelection:
    """Corpus rows for training and scoring, and their distinct texts.

    Attributes
    ----------
    train_rows : int64 array of shape (n_texts,)
        One corpus row for each distinct train text.
    train_text, train_y : int64 arrays of shape (n_train,)
        For every train row, duplicates included: its distinct train text and its label code.
    pair_text, pair_y, pair_count : int64 arrays of shape (n_pairs,)
        The distinct (text, label) pairs of the train rows and how often each occurs.
    eval_rows : int64 array of shape (n_eval_texts,)
        One corpus row for each distinct dev or test text.
    scored_rows, scored_text, scored_y, scored_group : int64 arrays of shape (n_scored,)
        For every dev and test row: corpus row, distinct text, label code, position in `groups`.
    groups : tuple of (language, split)
        The scored groups that have rows.
    n_classes : int
    """

    train_rows: Ints
    train_text: Ints
    train_y: Ints
    pair_text: Ints
    pair_y: Ints
    pair_count: Ints
    eval_rows: Ints
    scored_rows: Ints
    scored_text: Ints
    scored_y: Ints
    scored_group: Ints
    groups: tuple[tuple[str, str], ...]
    n_classes: int


def select_rows(examples: Examples, index: Ints, languages: Sequence[str]) -> RowSelection:
    """Select every train row, translated ones too, and every dev and test row of `languages`."""
    train = examples.rows("train")
    _, first, train_text = np.unique(index[train], return_index=True, return_inverse=True)
    train_y = examples.y[train]
    pairs, counts = np.unique(np.stack([train_text, train_y]), axis=1, return_counts=True)
    groups, scored = [], []
    for language in languages:
        for split in ("dev", "test"):
            rows = examples.rows(split, language)
            if len(rows):
                groups.append((language, split))
                scored.append(rows)
    scored_rows = np.concatenate(scored)
    _, eval_first, scored_text = np.unique(index[scored_rows], return_index=True, return_inverse=True)
    return RowSelection(
        train_rows=train[first],
        train_text=train_text.astype(np.int64),
        train_y=train_y,
        pair_text=pairs[0],
        pair_y=pairs[1],
        pair_count=counts.astype(np.int64),
        eval_rows=scored_rows[eval_first],
        scored_rows=scored_rows,
        scored_text=scored_text.astype(np.int64),
        scored_y=examples.y[scored_rows],
        scored_group=np.repeat(np.arange(len(groups)), [len(rows) for rows in scored]).astype(np.int64),
        groups=tuple(groups),
        n_classes=len(examples.labels),
    )


@lru_cache(maxsize=2)
def open_source(source: Source) -> tuple[FeatureStore, Examples, RowSelection]:
    """Return the feature cache, the examples and the row selection of a source, opened once per process.

    Raises
    ------
    StoreError
        One of them is not there, or has another digest than when the search began.
    """
    try:
        store, examples = FeatureStore.open(source.store), Examples.read(source.examples)
    except (OSError, ValueError) as error:
        raise StoreError(str(error)) from error
    for path, found, wanted in zip(
        (source.store, source.examples), (store.digest, examples.digest), source.digests, strict=True
    ):
        if found != wanted:
            raise StoreError(f"{path}: got digest {found[:12]}, accepted: that of the search, {wanted[:12]}")
    return store, examples, select_rows(examples, store.index, source.languages)
