"""The data of a search: labels, languages and splits of the corpus, and which rows of the cache are used.

`python -m mcbert gridsearch` writes the first as examples.npz (a few bytes a row, no pickle). Workers need no
texts: they find that file and the feature cache by the paths of a `search.source.Source`.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from mcbert.files.arrays import Arrays, read_arrays, require_shapes, write_arrays

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.floating[Any]]  # float32 or float64
Pairs = Mapping[str, Ints]  # by target language: source texts and their translations, (2, n_pairs)

SKIPPED = "skipped"  # split of a row that has no features: it takes part in nothing
SPLITS = ("train", "dev", "test", SKIPPED)
_SHAPES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "y": ("i", ("rows",)),
    **dict.fromkeys(("language", "split", "ids"), ("U", ("rows",))),
    "labels": ("U", ("labels",)),
    "source_language": ("U", ()),
    "pair_language": ("U", ("pairs",)),
    "pair_rows": ("i", (2, "pairs")),
}
FIELDS = tuple(_SHAPES)


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
    pairs : mapping of str to int64 array of shape (2, n_pairs)
        Rows of source texts and of their translations, by target language. Rows beyond the corpus's are of
        parallel sentences.
    """

    y: Ints
    language: npt.NDArray[np.str_]
    split: npt.NDArray[np.str_]
    ids: npt.NDArray[np.str_]
    labels: tuple[str, ...]
    source_language: str
    digest: str
    pairs: Pairs = field(default_factory=dict)

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
            pairs={
                language: arrays["pair_rows"][:, arrays["pair_language"] == language]
                for language in dict.fromkeys(arrays["pair_language"].tolist())
            },
            digest=_digest(arrays),
        )


class RowTexts(TypedDict):
    """Of each row of the corpus: language code, split (train, dev, test or `SKIPPED`) and perhaps id."""

    language: Sequence[str]
    split: Sequence[str]
    ids: NotRequired[Sequence[str]]


def write_examples(
    path: str | os.PathLike[str],
    y: npt.ArrayLike,
    *,
    labels: Sequence[str],
    source_language: str,
    pairs: Pairs | None = None,
    **rows: Unpack[RowTexts],
) -> None:
    """Write the rows' labels, languages and splits for the workers of the search.

    Parameters
    ----------
    path : Path
        Target; written to a temporary name beside it and renamed.
    y : int array of shape (n_rows,)
        Label codes, positions in `labels`.
    labels : sequence of str
        All labels, sorted.
    source_language : str
        The language with the training labels.
    pairs : mapping of str to int64 array of shape (2, n_pairs), optional
        As `Examples` has them.
    language, split, ids : sequences of str of length n_rows
        As `RowTexts` has them; ids are row numbers where absent.

    Raises
    ------
    ValueError
        If lengths differ, a code has no label, or a split is unknown.
    """
    codes = np.asarray(y, dtype=np.int64)
    names = rows.get("ids") or [str(row) for row in range(len(codes))]
    texts = {"language": rows["language"], "split": rows["split"], "ids": names}
    for name, values in texts.items():
        if len(values) != len(codes):
            raise ValueError(
                f"{path}: {name}: got {len(values)} rows, accepted: {len(codes)}, one for each of y"
            )
    _require(path, codes, rows["split"], len(labels))
    texts["labels"] = labels
    arrays: Arrays = {name: np.asarray(list(values), dtype=np.str_) for name, values in texts.items()}
    found = pairs or {}
    of_pairs = [language for language, both in found.items() for _ in range(both.shape[1])]
    arrays |= {
        "y": codes,
        "source_language": np.asarray(source_language, dtype=np.str_),
        "pair_language": np.asarray(of_pairs, dtype=np.str_),
        "pair_rows": np.concatenate([np.empty((2, 0), dtype=np.int64), *found.values()], axis=1),
    }
    write_arrays(path, arrays)


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
        One corpus row for each distinct dev or test text; after these, the rows of parallel sentences.
    scored_rows, scored_text, scored_y, scored_group : int64 arrays of shape (n_scored,)
        For every dev and test row: corpus row, distinct text, label code, position in `groups`.
    groups : tuple of (language, split)
        The scored groups that have rows.
    n_classes : int
    source_language : str
    pairs : mapping of str to int64 array of shape (2, n_pairs)
        Source texts and their translations, as positions among the evaluation texts, by target language.
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
    source_language: str
    pairs: Pairs = field(default_factory=dict)

    @cached_property
    def watched(self) -> Ints:
        """The evaluation texts by which a choice is made, ascending: those of dev and of the pairs."""
        dev = [at for at, (_, split) in enumerate(self.groups) if split == "dev"]
        texts = self.scored_text[np.isin(self.scored_group, dev)]
        return np.unique(np.concatenate([texts, *(both.ravel() for both in self.pairs.values())]))

    @cached_property
    def dev(self) -> Mapping[str, tuple[Ints, Ints]]:
        """Position among `watched` and label code of each dev row, by language."""
        found = {}
        for at, (name, split) in enumerate(self.groups):
            if split == "dev":
                here = self.scored_group == at
                found[name] = np.searchsorted(self.watched, self.scored_text[here]), self.scored_y[here]
        return found

    @cached_property
    def translated(self) -> Pairs:
        """The pairs, as positions among `watched`."""
        return {name: np.searchsorted(self.watched, both) for name, both in self.pairs.items()}


def select_rows(
    examples: Examples, index: Ints, languages: Sequence[str], parallel: Ints | None = None
) -> RowSelection:
    """Select every train row, translated ones too, and every dev and test row of `languages`.

    Parameters
    ----------
    index : int64 array of shape (n_rows,)
        Distinct text of each corpus row.
    parallel : int64 array, optional
        Rows of parallel sentences, which are predicted and not scored.
    """
    parallel = np.empty(0, dtype=np.int64) if parallel is None else parallel
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
    eval_rows = np.concatenate([scored_rows[eval_first], parallel])
    pairs_of = {language: both for language, both in examples.pairs.items() if language in languages}
    return RowSelection(
        train_rows=train[first],
        train_text=train_text.astype(np.int64),
        train_y=train_y,
        pair_text=pairs[0],
        pair_y=pairs[1],
        pair_count=counts.astype(np.int64),
        eval_rows=eval_rows,
        scored_rows=scored_rows,
        scored_text=scored_text.astype(np.int64),
        scored_y=examples.y[scored_rows],
        scored_group=np.repeat(np.arange(len(groups)), [len(rows) for rows in scored]).astype(np.int64),
        groups=tuple(groups),
        n_classes=len(examples.labels),
        source_language=examples.source_language,
        pairs=_eval_pairs(pairs_of, eval_rows, scored_rows, scored_text),
    )


def _eval_pairs(pairs: Pairs, eval_rows: Ints, scored_rows: Ints, scored_text: Ints) -> Pairs:
    """Return pairs of rows as positions among the evaluation texts; rows that have none take no part."""
    everything = (*pairs.values(), eval_rows, scored_rows)
    text = np.full(max(int(rows.max(initial=-1)) for rows in everything) + 1, -1, dtype=np.int64)
    text[eval_rows] = np.arange(len(eval_rows))
    text[scored_rows] = scored_text
    found = {language: text[both] for language, both in pairs.items()}
    there = {language: both[:, (both >= 0).all(axis=0)] for language, both in found.items()}
    return {language: both for language, both in there.items() if both.size}
