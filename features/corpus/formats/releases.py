"""Read the official files of NLI releases as a corpus: MultiNLI, SNLI, AllNLI, XNLI 1.0, XNLI-MT.

A release is a table of parts here; what differs between releases is where a part lies and what its columns
are called.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, key, listed, printable, shown
from mcbert.features.corpus.formats.jsonl import read_jsonl
from mcbert.features.corpus.formats.readers import TableForm, read_delimited
from mcbert.features.corpus.formats.rows import Wanted, places_of
from mcbert.features.corpus.settings import CorpusSettings

log = logging.getLogger(__name__)

NLI_LABELS = ("contradiction", "entailment", "neutral")
NLI_SPELLING = {"contradictory": "contradiction"}  # XNLI-MT files spell the label differently
NO_GOLD = "-"  # the annotators did not agree

_OFFICIAL = {"id": "pairID", "text": "sentence1", "text_pair": "sentence2", "label": "gold_label"}
_OFFICIAL_XNLI = {**_OFFICIAL, "language": "language"}
_TRANSLATED = {"text": "premise", "text_pair": "hypo", "label": "label"}
_PLAIN = {"id": "id", "text": "premise", "text_pair": "hypothesis", "label": "label"}
_ALLNLI = {"text": "sentence1", "text_pair": "sentence2", "label": "label", "split": "split"}


@dataclasses.dataclass(frozen=True)
class Part:
    """One file of a release."""

    files: tuple[str, ...]
    """Paths of it as unpacked, in the forms it is published in; ``{source}`` is the source language."""

    columns: Mapping[str, str]
    """Our column -> the file's."""

    split: str = ""
    """Split of its rows; empty: the file has a column for it."""

    optional: bool = False
    """Whether a release without it is whole."""


@dataclasses.dataclass(frozen=True)
class Release:
    """Files of a release and the address that it is downloaded from."""

    parts: tuple[Part, ...]
    where: str


def _official(folder: str, stem: str, columns: Mapping[str, str], split: str, *forms: str) -> Part:
    return Part(tuple(f"{folder}/{stem}{form}" for form in forms), columns, split)


def _multinli(stem: str, split: str) -> Part:
    return _official("multinli_1.0", f"multinli_1.0_{stem}", _OFFICIAL, split, ".jsonl", ".txt")


def _snli(split: str) -> Part:
    return _official("snli_1.0", f"snli_1.0_{split}", _OFFICIAL, split, ".jsonl", ".txt")


_XNLI = tuple(
    _official("XNLI-1.0", f"xnli.{split}", _OFFICIAL_XNLI, split, ".tsv", ".jsonl")
    for split in ("dev", "test")
)


def _plain(split: str, *, optional: bool = False) -> Part:
    return Part((f"{split}.csv", f"{split}.csv.gz"), _PLAIN, split, optional)


_GET_MULTINLI = "MultiNLI 1.0 (cims.nyu.edu/~sbowman/multinli)"
_GET_XNLI = "XNLI 1.0 (cims.nyu.edu/~sbowman/xnli)"

RELEASES = {
    "xnli": Release((_multinli("train", "train"), *_XNLI), f"{_GET_MULTINLI} and {_GET_XNLI}"),
    "xnli-mt": Release(
        (Part(("XNLI-MT-1.0/multinli/multinli.train.{source}.tsv",), _TRANSLATED, "train"), *_XNLI),
        f"{_GET_XNLI} and XNLI-MT 1.0 (dl.fbaipublicfiles.com/XNLI/XNLI-MT-1.0.zip)",
    ),
    "multinli": Release(
        (_multinli("train", "train"), _multinli("dev_matched", "dev"), _multinli("dev_mismatched", "test")),
        _GET_MULTINLI,
    ),
    "snli": Release(
        (_snli("train"), _snli("dev"), _snli("test")), "SNLI 1.0 (nlp.stanford.edu/projects/snli)"
    ),
    "allnli": Release(
        (Part(("AllNLI.tsv.gz", "AllNLI.tsv"), _ALLNLI),), "AllNLI (sbert.net/datasets/AllNLI.tsv.gz)"
    ),
    "nli": Release(
        (_plain("train"), _plain("dev"), _plain("test", optional=True)),
        "labelled pairs (train.csv and dev.csv, as samples/nli has them)",
    ),
}


def read_release(settings: CorpusSettings, bad: BadRows) -> pd.DataFrame:
    """Read the release that `settings.format` names from the folder `settings.path`.

    Returns
    -------
    DataFrame
        Columns id, text, text_pair, label, language, split and `rows.PLACE`. Labels are contradiction,
        entailment and neutral; pairs without a gold label are left out. Ids are ``<split>-<pairID>``, of
        XNLI ``<split>-<pairID>-<language>``; files without ids number their rows instead.

    Raises
    ------
    CorpusError
        A file that is not there, a language without rows, rows that cannot be used and are not to be skipped.
    """
    parts = []
    for part, path in _found(settings):
        rows = _gold(_read(path, part, bad), part, path, bad)
        if "language" in rows.columns and settings.languages:
            rows = _of_languages(rows, settings.languages, path)
        parts.append(_as_corpus(rows, part, settings))
    return pd.concat(parts, ignore_index=True)


def release_files(settings: CorpusSettings) -> list[Path]:
    """Return the files of the release, each in the first form that is there.

    Raises
    ------
    CorpusError
        One is not there; the message says where to get the release.
    """
    return [path for _, path in _found(settings)]


def _found(settings: CorpusSettings) -> list[tuple[Part, Path]]:
    release = RELEASES[settings.format]
    folder = Path(settings.path)
    out = []
    for part in release.parts:
        files = [name.format(source=settings.source_language) for name in part.files]
        # as unpacked, or without the archive's own folders
        tried = [folder.joinpath(*PurePosixPath(f).parts[k:]) for f in files for k in range(f.count("/") + 1)]
        found = next((path for path in tried if path.is_file()), None)
        if found is None and part.optional:
            continue
        if found is None:
            raise CorpusError(
                f"{folder / files[0]}: no such file; unpack {release.where} into one folder and set "
                f"{key('path')} to it"
            )
        out.append((part, found))
    return out


def _read(path: Path, part: Part, bad: BadRows) -> pd.DataFrame:
    wanted = Wanted(tuple(part.columns), (), part.columns)
    if ".jsonl" in path.suffixes:
        frame = read_jsonl(path, wanted, bad)
    elif ".csv" in path.suffixes:
        frame = read_delimited(path, wanted, bad, form=TableForm(delimiter=",", quoting="csv"))
    else:
        # the last columns of the .txt files are the annotators' labels, of which there may be fewer
        form = TableForm(delimiter="\t", quoting="none")
        frame = read_delimited(path, wanted, bad, form=form, widths="shorter")
    bad.settle()
    return frame


def _gold(rows: pd.DataFrame, part: Part, path: Path, bad: BadRows) -> pd.DataFrame:
    """Leave out the pairs without a gold label and refuse labels that NLI does not have."""
    has_gold = rows["label"] != NO_GOLD
    if not has_gold.all():
        n = int((~has_gold).sum())
        log.info("corpus: %s: %d pairs without a gold label left out", printable(path.name), n)
    rows = rows[has_gold].replace({"label": NLI_SPELLING}).reset_index(drop=True)
    known = rows["label"].isin(NLI_LABELS)
    wrong = rows[~known]
    accepted = ", ".join(NLI_LABELS)
    for place, label in zip(places_of(wrong, np.arange(len(wrong)), str(path)), wrong["label"], strict=True):
        bad.add(BadRow(place, part.columns["label"], f"got {shown(label)}, accepted: {accepted}"))
    bad.settle()
    return rows[known]


def _of_languages(rows: pd.DataFrame, languages: tuple[str, ...], path: Path) -> pd.DataFrame:
    present = set(rows["language"])
    absent = sorted(set(languages) - present)
    if absent:
        raise CorpusError(
            f"{path}: column language: no rows for {listed(absent)}; present: {listed(sorted(present), 20)}"
        )
    return rows[rows["language"].isin(languages)]


def _as_corpus(rows: pd.DataFrame, part: Part, settings: CorpusSettings) -> pd.DataFrame:
    split = rows["split"] if not part.split else pd.Series(part.split, index=rows.index)
    number = rows["id"] if "id" in rows.columns else rows["_row"].astype(str)
    ids = split + "-" + number
    if "language" in rows.columns:
        return rows.assign(split=split, id=ids + "-" + rows["language"])
    language = settings.source_language if part.columns in (_TRANSLATED, _PLAIN) else "en"
    return rows.assign(split=split, id=ids, language=language)
