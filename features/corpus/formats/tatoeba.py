"""Read the Tatoeba sets for similarity search in LASER's layout: two files per language, line by line.

python -m pytest tests/features/corpus/formats/test_tatoeba.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mcbert.features.corpus.checks import invisible
from mcbert.features.corpus.formats.bad_rows import BadRow, BadRows, CorpusError, Place, listed
from mcbert.features.corpus.formats.lines import Lines

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


def languages_in(folder: Path) -> list[str]:
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
            present = languages_in(folder)
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
        if wrong or not line.strip(invisible()):
            bad.add(BadRow(Place(str(path), number, number), "", wrong or "it is empty"))
        texts.append(line.rstrip("\r\n"))
    bad.settle()
    return texts
