"""What a column and a table are: the vocabulary in which `results.schema` declares every CSV file.

The data dictionary made from the declarations: python -m mcbert.results.dictionary
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

Dtype = Literal["string", "int", "float", "bool"]

_PATTERN = re.compile(r"\{(?:language|label)\}")

# A cell that starts like this is run as a formula by spreadsheets (OWASP, "CSV Injection": some also behind a
# line end, or in full width); counting the apostrophes in front of it keeps the rule reversible for a text
# that already begins with one.
_LIVE = r"[=+\-@\t\r\n\0\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile("'*" + _LIVE)
_RUN = re.compile(_LIVE)
_NEUTRALISED = re.compile("'+" + _LIVE)
_NUMBER = {
    "int": re.compile(r"-?\d{1,18}"),
    "float": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_KINDS = {"string": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its name, type, unit, meaning and what a cell may hold."""

    name: str
    """Name in the header; `{language}` in it stands for any language of the corpus, `{label}` for
    any label, one column each."""

    dtype: Dtype
    """Type of the cells; strings are pandas' `str`, nullable whole numbers `Int64`."""

    meaning: str
    """What the column says, in one sentence."""

    unit: str = ""
    """Unit of a number."""

    allowed: tuple[str, ...] = ()
    """The accepted texts; empty: any text."""

    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Smallest and largest accepted number, both included."""

    form: str = ""
    """Regular expression that a whole text must match; empty: any text."""

    form_meaning: str = ""
    """The same in words, for messages and the dictionary."""

    nullable: bool = False
    """Whether a cell may be empty: `""` in a text column, missing (NaN or NA) in a number column."""

    @property
    def is_pattern(self) -> bool:
        """Whether the declaration stands for one column per language or label."""
        return _PATTERN.search(self.name) is not None

    def language(self, name: str) -> str | None:
        """Give the language (or label) in `name` if this pattern column covers it, else None."""
        before, after = _PATTERN.split(self.name)
        inner = name.removeprefix(before).removesuffix(after)
        return inner if inner and name == before + inner + after else None

    def accepted(self, cell: str = "") -> str:
        """Say in words what a cell may hold, or what the `cell` lacks that spreadsheets would run."""
        if self.dtype == "string" and _RUN.match(cell):
            return "an apostrophe in front of what a spreadsheet would run as a formula"
        if self.allowed:
            words = ("one of " if len(self.allowed) > 1 else "") + ", ".join(self.allowed)
        elif self.form_meaning:
            words = self.form_meaning
        else:
            words = _KINDS[self.dtype] + self._range()
        return words + (", or empty" if self.nullable else ", not empty" if self.dtype == "string" else "")

    def _range(self) -> str:
        low, high = self.bounds
        if math.isfinite(low) and math.isfinite(high):
            return f" from {low:g} to {high:g}"
        return f" of at least {low:g}" if math.isfinite(low) else ""

    def accepts(self, cell: str) -> bool:
        """Tell whether the text of a cell, as it stands in a file, is valid here."""
        if cell == "":
            return self.nullable
        if self.dtype == "bool":
            return cell in _BOOLS
        if self.dtype == "string":
            return not _RUN.match(cell) and self._accepts_text(restore(cell))
        if not _NUMBER[self.dtype].fullmatch(cell):
            return False
        value = float(cell)
        return math.isfinite(value) and self.bounds[0] <= value <= self.bounds[1]

    def _accepts_text(self, text: str) -> bool:
        if self.allowed:
            return text in self.allowed
        return not self.form or re.fullmatch(self.form, text) is not None

    def decode(self, cell: str) -> object:
        """Turn the text of a valid cell into its value; an empty one is `""` for texts, None for the rest."""
        if self.dtype == "string":
            return restore(cell)
        if cell == "":
            return None
        if self.dtype == "bool":
            return _BOOLS[cell]
        return int(cell) if self.dtype == "int" else float(cell)

    @property
    def pandas_dtype(self) -> str:
        """Name of the pandas dtype that `results.tables.read` gives the column."""
        if self.dtype == "string":
            return "str"
        if self.dtype == "float":
            return "float64"
        plain, nullable = ("int64", "Int64") if self.dtype == "int" else ("bool", "boolean")
        return nullable if self.nullable else plain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sums:
    """Rows that sum up others; they stand in a table of their own, so that no text counts twice."""

    row: str
    """What one of them is."""

    by: Mapping[str, str] = dataclasses.field(hash=False)
    """The columns and the words in them that tell them: a row that has any of these sums up others."""

    columns: tuple[Column, ...]
    """The columns that are declared otherwise for them."""

    without: tuple[str, ...] = ()
    """The columns that they do not have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One kind of CSV file: its name, what a row is, its columns in order, and those that identify a row."""

    file_name: str
    """Name of the file; may hold `*` (several files of the same kind)."""

    meaning: str
    """What the table is, one sentence."""

    row: str
    """What one row is."""

    columns: tuple[Column, ...]
    """The columns, in the order of the file."""

    key: tuple[str, ...]
    """Columns that together identify a row; no two rows share them."""

    sums: Sums | None = None
    """The rows that sum up those of this table, if there are any."""

    @property
    def overall(self) -> Table | None:
        """The table of the rows that sum up this one's, `NAME_overall.csv`."""
        if self.sums is None:
            return None
        other = {column.name: column for column in self.sums.columns}
        return Table(
            file_name=self.file_name.removesuffix(".csv") + "_overall.csv",
            meaning=f"The rows that sum up those of {self.file_name}.",
            row=self.sums.row,
            columns=tuple(
                other.get(column.name, column)
                for column in self.columns
                if column.name not in self.sums.without
            ),
            key=self.key,
        )

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of this table's file and, if there is one, of that of the sums."""
        return (self.file_name, *((self.overall.file_name,) if self.overall else ()))

    def is_name(self, file_name: str) -> bool:
        """Tell whether a file of this name (no folder) is one of these tables."""
        return fnmatch.fnmatchcase(file_name, self.file_name)

    def column(self, name: str) -> Column | None:
        """Find the declaration of a column by the name in a header; None where it is not declared."""
        fixed = [column for column in self.columns if not column.is_pattern and column.name == name]
        patterns = [column for column in self.columns if column.is_pattern and column.language(name)]
        return next(iter(fixed + patterns), None)

    def order(self, names: Iterable[str]) -> list[str]:
        """Put known column names into the order of the table; languages of one pattern keep their order."""
        place = {column.name: number for number, column in enumerate(self.columns)}
        known = [(name, self.column(name)) for name in names]
        ranked = [(place[column.name], name) for name, column in known if column is not None]
        return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]

    def missing(self, names: Iterable[str]) -> list[str]:
        """List the declared columns that `names` lacks; a pattern needs at least one column."""
        given = {column.name for name in names if (column := self.column(name)) is not None}
        return [column.name for column in self.columns if column.name not in given]


def neutralise(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula; `restore` takes it off."""
    return "'" + text if _FORMULA.match(text) else text


def restore(cell: str) -> str:
    """Undo `neutralise`."""
    return cell[1:] if _NEUTRALISED.match(cell) else cell
