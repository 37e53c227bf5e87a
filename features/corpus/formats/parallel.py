"""Read parallel sentences: the Tatoeba sets in LASER's layout, or a table of texts and its translations.

    pairs = read_pairs(Path("samples/intents"), ["de", "fr"])    # or a folder of tatoeba.<xxx>-eng.<xxx>

The second layout is `raw.csv` (id, text and perhaps split) beside `translations/<language>.csv` (id, text)
for some or all of its ids.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.checks import is_blank, usable_rows
from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, Place, listed, shown
from mcbert.features.corpus.formats.lines import Lines
from mcbert.features.corpus.formats.readers import read_table
from mcbert.features.corpus.formats.rows import places_of

RAW = "raw.csv"
TRANSLATIONS = "translations"
SPLITS = ("dev", "test")
DEV_EVERY = 3  # one id in three is for choosing, where raw.csv has no splits

_CODES = (
    "af:afr am:amh ar:ara az:aze be:bel bg:bul bn:ben br:bre bs:bos ca:cat cs:ces cy:cym da:dan de:deu "
    "el:ell eo:epo es:spa et:est eu:eus fa:pes fi:fin fo:fao fr:fra fy:fry ga:gle gd:gla gl:glg he:heb "
    "hi:hin hr:hrv hu:hun hy:hye ia:ina id:ind ie:ile io:ido is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz "
    "km:khm ko:kor ku:kur kw:cor la:lat lt:lit lv:lvs mk:mkd ml:mal mn:mon mr:mar ms:zsm nb:nob nl:nld "
    "nn:nno no:nob oc:oci pl:pol pt:por ro:ron ru:rus sk:slk sl:slv sq:sqi sr:srp sv:swe sw:swh ta:tam "
    "te:tel th:tha tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb vi:vie yi:yid zh:cmn"
)
CODES = dict(pair.split(":") for pair in _CODES.split())
"""Two-letter language codes -> the three-letter ones of the file names; other codes stand for themselves."""
ENGLISH = "eng"
_NAME = re.compile(r"tatoeba\.([a-z]+)-eng\.(\1|eng)")


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
        pairs = read_tatoeba(folder, languages)
        return pairs.assign(unit=pairs["id"], split=SPLITS[1])
    english = _english(folder / RAW)
    return pd.concat([_translated(folder, language, english) for language in languages], ignore_index=True)


def is_table(folder: Path) -> bool:
    """Return True if a folder holds a table and its translations."""
    return (folder / RAW).is_file() or (folder / TRANSLATIONS).is_dir()


def languages_in(folder: Path) -> list[str]:
    """Return the languages that a folder in either layout has, sorted."""
    if not is_table(folder):
        return tatoeba_languages(folder)
    return sorted(path.stem for path in (folder / TRANSLATIONS).glob("*.csv"))


def pair_files(folder: Path, languages: Sequence[str]) -> list[Path]:
    """Return the files that `read_pairs` reads, there or not."""
    if is_table(folder):
        return [folder / RAW, *(_file(folder, language) for language in languages)]
    return [path for language in languages for path in tatoeba_files(folder, language)]


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


def read_tatoeba(folder: Path, languages: Sequence[str]) -> pd.DataFrame:
    """Read the sets of some languages.

    Parameters
    ----------
    folder : Path
        Holds ``tatoeba.<xxx>-eng.<xxx>`` and ``tatoeba.<xxx>-eng.eng`` (or its folder ``v1`` does).
    languages : sequence of str
        Two-letter or three-letter codes.

    Returns
    -------
    DataFrame
        id (``<language>-<line>``), language (as asked for), text (in that language), text_pair (in English);
        the pairs of a language in the order of its files.

    Raises
    ------
    CorpusError
        A language that is not there, files of unlike length, an empty line, bytes that are not UTF-8.
    """
    return pd.concat([_pairs(folder, language) for language in languages], ignore_index=True)


def tatoeba_languages(folder: Path) -> list[str]:
    """Return the three-letter codes of the languages of which a file is there, sorted."""
    names = (_NAME.fullmatch(path.name) for path in _sets(folder).glob("tatoeba.*"))
    return sorted({name[1] for name in names if name})


def tatoeba_files(folder: Path, language: str) -> tuple[Path, Path]:
    """Return where the sentences in the language stand and where those in English, there or not."""
    code = CODES.get(language, language)
    stem = f"tatoeba.{code}-eng"
    return _sets(folder) / f"{stem}.{code}", _sets(folder) / f"{stem}.{ENGLISH}"


def _sets(folder: Path) -> Path:
    return folder / "v1" if (folder / "v1").is_dir() else folder


def _pairs(folder: Path, language: str) -> pd.DataFrame:
    paths = tatoeba_files(folder, language)
    for path in paths:
        if not path.is_file():
            present = tatoeba_languages(folder)
            raise CorpusError(
                f"{path}: no such file; languages present: {listed(present, 200) or 'none'}; the sets are "
                "LASER's data/tatoeba/v1"
            )
    texts, english = map(_lines, paths)
    if len(texts) != len(english):
        raise CorpusError(
            f"{paths[0]}: {len(texts)} lines, but {paths[1].name} has {len(english)}; "
            f"line {min(len(texts), len(english)) + 1} stands alone"
        )
    if not texts:
        raise CorpusError(f"{paths[0]}: line 1: the file is empty; accepted: a sentence a line")
    ids = [f"{language}-{number}" for number in range(1, len(texts) + 1)]
    return pd.DataFrame({"id": ids, "language": language, "text": texts, "text_pair": english}, dtype="str")


def _lines(path: Path) -> list[str]:
    lines, bad = Lines(path), BadRows(may_skip=False)
    texts = []
    for number, line in enumerate(lines, start=1):
        wrong = lines.undecodable_in(number, number)
        if wrong or is_blank(line):
            bad.add(BadRow(Place(str(path), number, number), "", wrong or "it is empty"))
        texts.append(line.rstrip("\r\n"))
    bad.settle()
    return texts
