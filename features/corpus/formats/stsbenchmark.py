"""Read STS Benchmark: pairs of sentences with a similarity from 0 to 5.

python -m pytest tests/features/corpus/formats/test_stsbenchmark.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.checks import SPLITS, is_blank, usable_rows
from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, shown
from mcbert.features.corpus.formats.readers import TableForm, read_delimited
from mcbert.features.corpus.formats.rows import Wanted, places_of

_HEADER = ("genre", "file", "year", "id", "score", "sentence1", "sentence2")  # the official files have none
_COLUMNS = {"id": "id", "text": "sentence1", "text_pair": "sentence2", "score": "score", "split": "split"}
_ONE_FILE = (".tsv.gz", ".tsv")  # one file of all splits, with a header
_HIGHEST = 5.0


def read_stsbenchmark(path: Path) -> pd.DataFrame:
    """Read the official files, or the one file that sentence-transformers distributes.

    Parameters
    ----------
    path : Path
        Folder with ``sts-train.csv``, ``sts-dev.csv``, ``sts-test.csv`` (at least one of them), one of these
        files, or ``stsbenchmark.tsv.gz``. All are tab-separated without quoting; some official rows carry
        more columns than the seven that all have. Or a folder with ``train.csv``, ``dev.csv``, ``test.csv``
        (at least one of them) or one of these: ordinary CSV with a header and the columns id, score,
        sentence1, sentence2.

    Returns
    -------
    DataFrame
        id (``<split>-<row>``, or the file's), text, text_pair, score (float64, 0 to 5), split.

    Raises
    ------
    CorpusError
        Naming file, row, line and column: no file, too few fields, an empty sentence, no score from 0 to 5.
    """
    bad = BadRows(columns=_COLUMNS, may_skip=False)
    rows = pd.concat([_read(file, bad) for file in sts_files(path)], ignore_index=True)
    rows = usable_rows(rows, str(path), bad)
    rows = _complete(rows, str(path), bad)
    return rows[["id", "text", "text_pair", "score", "split"]]


def sts_files(path: Path) -> list[Path]:
    """Return the files that `read_stsbenchmark` reads.

    Raises
    ------
    CorpusError
        Nothing there, or a folder without any.
    """
    if not path.exists():
        raise CorpusError(f"{path}: no such file")
    if not path.is_dir():
        return [path]
    official = [f"sts-{split}.csv" for split in SPLITS]
    one, tidy = [f"stsbenchmark{suffix}" for suffix in _ONE_FILE], [f"{split}.csv" for split in SPLITS]
    for folder in (path, path / "stsbenchmark"):
        for names in (official, one, tidy):
            found = [folder / name for name in names if (folder / name).is_file()]
            if found:
                return found[:1] if names is one else found
    raise CorpusError(
        f"{path}: no {', '.join(official)} there; unpack STS Benchmark (ixa2.si.ehu.eus/stswiki), or "
        f"write {', '.join(tidy)} with the columns id, score, sentence1, sentence2"
    )


def _read(file: Path, bad: BadRows) -> pd.DataFrame:
    if file.name in [f"{split}.csv" for split in SPLITS]:
        wanted = _wanted("id", "text", "text_pair", "score")
        rows = read_delimited(file, wanted, bad, form=TableForm(delimiter=",", quoting="csv"))
        bad.settle()
        return rows.assign(split=file.stem)
    form = TableForm(delimiter="\t", quoting="none")
    if "".join(file.suffixes[-2:]).lower().endswith(_ONE_FILE):
        rows = read_delimited(file, _wanted(*list(_COLUMNS)[1:]), bad, form=form, widths="longer")
    else:
        split = file.stem.removeprefix("sts-")
        if split not in SPLITS:
            raise CorpusError(
                f"{file}: accepted: sts-train.csv, sts-dev.csv, sts-test.csv; of tidy CSV dev.csv"
            )
        wanted = _wanted("text", "text_pair", "score")
        rows = read_delimited(file, wanted, bad, form=form, header=_HEADER, widths="longer").assign(
            split=split
        )
    bad.settle()
    return rows.assign(id=rows["split"] + "-" + rows["_row"].astype("str"))


def _wanted(*names: str) -> Wanted:
    return Wanted(names, (), {name: _COLUMNS[name] for name in names})


def _complete(rows: pd.DataFrame, name: str, bad: BadRows) -> pd.DataFrame:
    scores = pd.to_numeric(rows["score"], errors="coerce").astype("float64")
    wrong = np.flatnonzero(~scores.between(0, _HIGHEST))
    for place, score in zip(places_of(rows, wrong, name), rows["score"].iloc[wrong], strict=True):
        bad.add(BadRow(place, "score", f"got {shown(score)}, accepted: a number from 0 to {_HIGHEST:g}"))
    alone = np.flatnonzero([is_blank(text) for text in rows["text_pair"]])
    for place in places_of(rows, alone, name):
        bad.add(BadRow(place, _COLUMNS["text_pair"], "it is empty; every row needs a pair"))
    bad.settle()
    return rows.assign(score=scores)
