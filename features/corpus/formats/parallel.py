"""Read parallel sentences: the Tatoeba sets in LASER's layout, or a table of texts and its translations.

    pairs = read_pairs(Path("samples/intents"), ["de", "fr"])    # or a folder of tatoeba.<xxx>-eng.<xxx>

The second layout is `raw.csv` (id, text and perhaps split) beside `translations/<language>.csv` (id, text)
for some or all of its ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.checks import usable_rows
from mcbert.features.corpus.formats import tatoeba
from mcbert.features.corpus.formats.bad_rows import BadRow, BadRows, CorpusError, listed, shown
from mcbert.features.corpus.formats.readers import read_table
from mcbert.features.corpus.formats.rows import places_of

RAW = "raw.csv"
TRANSLATIONS = "translations"
SPLITS = ("dev", "test")
DEV_EVERY = 3  # one id in three is for choosing, where raw.csv has no splits


def read_pairs(folder: Path, languages: Sequence[str]) -> pd.DataFrame:
    """Read the sentences of some languages beside their English ones.

    Parameters
    ----------
    folder : Path
        In either layout.
    languages : sequence of str
        As `languages_in` names them; of the Tatoeba sets two-letter codes as well.

    Returns
    -------
    DataFrame
        id, language, text, text_pair (in English), unit (the same for translations of one sentence), split
        (dev or test; the Tatoeba sets are all test); a language's pairs in the order of its files.

    Raises
    ------
    CorpusError
        A language that is not there, files that do not fit together, an empty sentence, bytes that are not
        UTF-8; naming file and line.
    """
    if not is_table(folder):
        pairs = tatoeba.read_tatoeba(folder, languages)
        return pairs.assign(unit=pairs["id"], split=SPLITS[1])
    english = _english(folder / RAW)
    return pd.concat([_translated(folder, language, english) for language in languages], ignore_index=True)


def is_table(folder: Path) -> bool:
    """Whether a folder is a table and its translations."""
    return (folder / RAW).is_file() or (folder / TRANSLATIONS).is_dir()


def languages_in(folder: Path) -> list[str]:
    """Return the languages that a folder in either layout has, sorted."""
    if not is_table(folder):
        return tatoeba.languages_in(folder)
    return sorted(path.stem for path in (folder / TRANSLATIONS).glob("*.csv"))


def pair_files(folder: Path, languages: Sequence[str]) -> list[Path]:
    """Return the files that `read_pairs` reads, there or not."""
    if is_table(folder):
        return [folder / RAW, *(_file(folder, language) for language in languages)]
    return [path for language in languages for path in tatoeba.tatoeba_files(folder, language)]


def _file(folder: Path, language: str) -> Path:
    return folder / TRANSLATIONS / f"{language}.csv"


def _english(path: Path) -> pd.DataFrame:
    rows = usable_rows(read_table(path, ("id", "text"), ("split",)), str(path))
    if "split" not in rows.columns:
        rows = rows.assign(split=[_split(name) for name in rows["id"]])
    return rows.set_index("id")


def _split(name: str) -> str:
    """Draw a split by the id alone, so that it stays whatever else is in the file."""
    digest = hashlib.sha256(name.encode()).digest()
    return SPLITS[bool(int.from_bytes(digest[:4], "big") % DEV_EVERY)]


def _translated(folder: Path, language: str, english: pd.DataFrame) -> pd.DataFrame:
    path = _file(folder, language)
    if not path.is_file():
        present = listed(languages_in(folder), 200) or "none"
        raise CorpusError(f"{path}: no such file; languages present: {present}")
    rows = usable_rows(read_table(path, ("id", "text")), str(path))
    bad = BadRows(may_skip=False)
    for position in np.flatnonzero(~rows["id"].isin(english.index)):
        (place,) = places_of(rows, np.array([position]), str(path))
        bad.add(BadRow(place, "id", f"got {shown(rows['id'].iloc[position])}, which {RAW} lacks"))
    bad.settle()
    originals = english.loc[rows["id"]]
    pairs = pd.DataFrame(
        {
            "id": language + "-" + rows["id"],
            "language": language,
            "text": rows["text"],
            "text_pair": originals["text"].to_numpy(dtype=object),
            "unit": rows["id"],
            "split": originals["split"].to_numpy(dtype=object),
        },
        dtype="str",
    )
    return pairs[pairs["split"].isin(SPLITS)]
