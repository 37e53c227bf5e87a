"""Rows that cannot be used, refused in one line or left out and accounted for; names and values in messages.

Every message of this package is one line; what a terminal would not print as it is stands there escaped. A
setting is called `corpus.leaks`, or of other texts by their section.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Literal, NamedTuple

import pandas as pd

log = logging.getLogger(__name__)

MOST_CASES = 5
"""Bad rows that an error names before it only counts."""

OnBad = Literal["error", "skip"]

ONE_LABEL = "several labels of one text (multi-label classification) are not offered; accepted: one label"

_SECTION = ContextVar("section", default="corpus")


class CorpusError(ValueError):
    """Input that cannot be used; the message names file, row or line, column, what was given."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message.strip()))


class Place(NamedTuple):
    """Place of a row: file, data row from 1, physical line from 1 (0 where the form has no lines)."""

    file: str
    row: int
    line: int = 0

    def __str__(self) -> str:
        return f"row {self.row} (line {self.line})" if self.line else f"row {self.row}"


class BadRow(NamedTuple):
    """One row that cannot be used, and why."""

    place: Place
    column: str
    """Column at fault; empty when it is the whole row."""
    reason: str
    """The value given and the values accepted; never the text of a row."""
    id: str = ""
    """The row's id, where it is known."""

    def __str__(self) -> str:
        return f"{self.place}: " + (f"column {self.column}: " if self.column else "") + self.reason


@dataclasses.dataclass
class BadRows:
    """The rows of a corpus that cannot be used, collected while files are read and tables checked."""

    on_bad: OnBad = "error"
    """``error``: `settle` raises; ``skip``: the rows are left out and listed by `frame`."""

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Our column name -> the file's, where they differ: people look for theirs."""

    may_skip: bool = True
    """Whether a setting could leave the rows out; what is evaluated on is whole."""

    count: int = dataclasses.field(default=0, init=False)
    """Number of rows added."""

    rows: list[BadRow] = dataclasses.field(default_factory=list, init=False)
    """The rows; when they are refused, only the first `MOST_CASES`."""

    left_out: list[BadRow] = dataclasses.field(default_factory=list, init=False)
    """Rows that a setting other than `on_bad` leaves out; never refused, and listed by `frame`."""

    def add(self, row: BadRow) -> None:
        """Take one row out of use."""
        self.count += 1
        if self.on_bad == "skip" or len(self.rows) < MOST_CASES:
            self.rows.append(row)

    def settle(self) -> None:
        """Refuse what was added so far, in one line with the first cases and the total.

        Raises
        ------
        CorpusError
            There are bad rows and they are not to be skipped.
        """
        if self.on_bad == "skip" or not self.rows:
            return
        file = self.rows[0].place.file
        parts = []
        for row in self.rows:
            parts.append(f"{row}" if row.place.file == file else f"{row.place.file}: {row}")
            file = row.place.file
        if self.count > len(parts):
            parts.append(f"... and {self.count - len(parts)} more")
        remedy = f'; {key("on_bad")} = "skip" leaves them out' if self.may_skip else ""
        hint = f" ({self.count} rows{remedy})" if self.count > 1 else ""
        raise CorpusError(f"{self.rows[0].place.file}: {'; '.join(parts)}{hint}")

    def frame(self) -> pd.DataFrame:
        """Return a row per row left out: file, row, line (missing where none are), column, id, reason."""
        rows = [*self.rows, *self.left_out]
        return pd.DataFrame(
            {
                "file": [printable(r.place.file) for r in rows],
                "row": [r.place.row for r in rows],
                "line": pd.array([r.place.line or None for r in rows], dtype="Int64"),
                "column": [r.column for r in rows],
                "id": [printable(r.id) for r in rows],
                "reason": [printable(r.reason) for r in rows],
            }
        )

    def log_counts(self) -> None:
        """Log how many rows were left out, by file and column."""
        counts = collections.Counter((r.place.file, r.column or "the whole row") for r in self.rows)
        for (file, column), n in sorted(counts.items()):
            log.warning("corpus: %s: %d rows left out for %s", printable(file), n, printable(column))


@contextlib.contextmanager
def of_section(name: str) -> Iterator[None]:
    """Have messages say that the corpus is configured by another section.

    >>> with of_section("embeddings.corpus"):
    ...     key("leaks")
    'embeddings.corpus.leaks'
    """
    token = _SECTION.set(name)
    try:
        yield
    finally:
        _SECTION.reset(token)


def key(name: str) -> str:
    """Return the full name of a setting of the corpus.

    >>> key("leaks")
    'corpus.leaks'
    """
    return f"{_SECTION.get()}.{name}"


def printable(text: str) -> str:
    """Escape line ends, controls, direction marks and lone surrogates: what is left is one line."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object, most: int = 60) -> str:
    """Return a value for a message, quoted and shortened."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def listed(names: list[str], most: int = 12) -> str:
    """Return names joined by commas, shortened."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= 60 else f"{name[:60]}..." for name in names[:most]) + more
