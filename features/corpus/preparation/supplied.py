"""Translations that the user supplies: a table matched by id, or, as XNLI-MT has it, line by line.

python -m mcbert prepare --config demo
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from mcbert.features.corpus.checks import usable_rows
from mcbert.features.corpus.formats.bad_rows import CorpusError, printable, shown
from mcbert.features.corpus.formats.readers import read_table
from mcbert.features.corpus.formats.releases import NLI_SPELLING

log = logging.getLogger(__name__)

MOST_COMPARED = 1000
"""Ids of a table that a missing one is compared with for a message."""
MOST_REPEATED = 0.1
"""Share of translations that may equal their source, or each other, without a word."""
_COPY = re.compile(r"\+\d+$")
_ADVICE = "corpus.encoding may name another"
_OTHER_NAMES = {"premise": "text", "hypo": "text_pair"}  # XNLI-MT's


def supplied_texts(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the user's translations of rows.

    Parameters
    ----------
    rows : DataFrame
        Columns id, text_pair, label, language. A row's translation stands in the file under its id, or under
        the id it was made from: without the ``-<language>`` of a translation, without the ``+<k>`` of a copy.
    path : Path
        Table with columns id, text and, where rows are pairs, text_pair. Without ids it is matched line by
        line and needs the labels, as proof; the columns may then be XNLI-MT's premise, hypo, label.

    Returns
    -------
    DataFrame
        Columns text, text_pair, a row per row of `rows`, in their order.

    Raises
    ------
    CorpusError
        A column or translation that is not there, an empty text, other labels or another number of lines.
    """
    given = _read(path).rename(columns=_OTHER_NAMES)
    paired = rows["text_pair"] != ""
    needed = ("text", *(["text_pair"] if paired.any() else []), *([] if "id" in given else ["label"]))
    for name in needed:
        if name not in given.columns:
            lines = "" if "id" in given else " (without a column id, rows are matched line by line)"
            raise CorpusError(f"{path}: column {name!r} is missing{lines}; present: {_listed(given)}")
    given = usable_rows(given, str(path))
    found = _by_id(rows, given, path) if "id" in given else _by_line(rows, given, path)
    pairs = found["text_pair"].where(paired.to_numpy(), "") if "text_pair" in found else ""
    found = found[["text"]].assign(text_pair=pairs).reset_index(drop=True)
    empty = (found["text_pair"].str.strip() == "") & paired.to_numpy()
    if empty.any():
        first = rows["id"].iloc[int(empty.to_numpy().argmax())]
        raise CorpusError(f"{path}: column text_pair: it is empty for {first!r}, which is a pair")
    return found


def _read(path: Path) -> pd.DataFrame:
    """Read the table; how the corpus is written says nothing of it, so no setting is advised."""
    try:
        return read_table(path, (), ("id", "text", "text_pair", "label", *_OTHER_NAMES))
    except CorpusError as error:
        raise CorpusError(str(error).replace(_ADVICE, "accepted: UTF-8")) from error


def _listed(given: pd.DataFrame) -> str:
    return ", ".join(name for name in given.columns if not name.startswith("_"))


def _by_id(rows: pd.DataFrame, given: pd.DataFrame, path: Path) -> pd.DataFrame:
    place = {name: k for k, name in enumerate(given["id"])}
    found = [
        next((place[name] for name in _names(row_id, language) if name in place), None)
        for row_id, language in zip(rows["id"], rows["language"], strict=True)
    ]
    missing = [row_id for row_id, k in zip(rows["id"], found, strict=True) if k is None]
    if missing:
        raise CorpusError(
            f"{path}: column id: no translation for {len(missing)} of {len(rows)} texts, first "
            f"{missing[0]!r}; {_closest(missing[0], place)}"
        )
    return given.iloc[[k for k in found if k is not None]]


def _closest(row_id: str, present: Collection[str]) -> str:
    """Say which id of the table may have been meant, or what they look like."""
    alike = next((name for name in present if name.split() == row_id.split()), None)
    if alike is not None:
        return f"the table has {alike!r}, which differs in blanks"
    close = get_close_matches(row_id, list(itertools.islice(present, MOST_COMPARED)), n=1)
    return f"the table has {(close or [next(iter(present), '')])[0]!r}"


def _names(row_id: str, language: str) -> Iterator[str]:
    """Yield the ids under which a row's translation may stand, its own first."""
    yield row_id
    without_language = row_id.removesuffix(f"-{language}")
    yield without_language
    yield _COPY.sub("", without_language)


def _by_line(rows: pd.DataFrame, given: pd.DataFrame, path: Path) -> pd.DataFrame:
    if len(given) != len(rows):
        raise CorpusError(
            f"{path}: {len(given)} rows without ids, accepted: {len(rows)}, one for each text that it "
            "translates, in their order"
        )
    labels = given["label"].replace(NLI_SPELLING)
    wrong = (labels.to_numpy() != rows["label"].to_numpy()).nonzero()[0]
    if len(wrong):
        k = int(wrong[0])
        raise CorpusError(
            f"{path}: row {k + 1}: column label: got {shown(given['label'].iloc[k])}, accepted: "
            f"{rows['label'].iloc[k]!r} as of {rows['id'].iloc[k]!r}, the text in its place"
        )
    return given


def warn_of_copies(source: pd.Series, texts: pd.Series, language: str, file: str) -> None:
    """Warn of translations that are the source texts, or one text over and over.

    Parameters
    ----------
    source, texts : Series of str
        The texts, and their translations in the same order.
    language, file : str
        What they were translated into, and the table.
    """
    pairs = pd.DataFrame({"source": source.to_numpy(), "text": texts.to_numpy()}).drop_duplicates()
    pairs = pairs[[any(map(str.isalpha, text)) for text in pairs["source"]]]
    same = int((pairs["source"] == pairs["text"]).sum())
    if same > MOST_REPEATED * len(pairs):
        log.warning(
            "prepare: %s: %d of %d %s texts equal the source text; is it the table of translations?",
            printable(file),
            same,
            len(pairs),
            language,
        )
    again = len(pairs) - pairs["text"].nunique()  # of texts that differ in the source
    if again > MOST_REPEATED * len(pairs):
        log.warning(
            "prepare: %s: %d of %d %s texts repeat another, though the source texts differ; commonest: %s",
            printable(file),
            again,
            len(pairs),
            language,
            shown(pairs["text"].value_counts().index[0]),
        )
