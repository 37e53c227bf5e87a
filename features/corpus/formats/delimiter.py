"""Which character separates the fields of a CSV, told by its header: spreadsheets write semicolons, too.

python -m pytest tests/features/corpus/formats/test_delimiter.py
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from mcbert.features.corpus.formats.lines import Lines

log = logging.getLogger(__name__)

DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


def is_separator_line(cells: Sequence[str], delimiter: str) -> bool:
    """Tell whether a first line, split into cells, is Excel's ``sep=;`` and no header."""
    return bool(_SEPARATOR_LINE.fullmatch(delimiter.join(cells)))


def header_delimiter(path: Path, encoding: str) -> str:
    """Return what a first line ``sep=`` names, as Excel writes and reads it, or what the header shows.

    That is the comma, unless the header is one field for it and several for one of the others.

    Raises
    ------
    CorpusError
        The file cannot be read.
    """
    named = _SEPARATOR_LINE.fullmatch(next(iter(Lines(path, encoding)), "").rstrip("\r\n"))
    if named:
        return named[1]
    counts = {delimiter: _fields(path, encoding, delimiter) for delimiter in DELIMITERS}
    if counts[","] > 1 or max(counts.values()) < 2:
        return ","
    found = max(counts, key=lambda delimiter: counts[delimiter])
    log.debug("%s: the fields of the header stand apart by %r, and so those of the rows", path, found)
    return found


def _fields(path: Path, encoding: str, delimiter: str) -> int:
    """Count the fields of the header; 0 where it cannot be split so."""
    try:
        rows = csv.reader(Lines(path, encoding), delimiter=delimiter, strict=True)
        return len(next(filter(None, rows), []))
    except csv.Error:
        return 0
