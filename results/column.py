"""Columns and tables: the declarations that `results.schema` is made of, and the kinds of columns in it.

The data dictionary made from the declarations: python -m mcbert.results.dictionary
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from mcbert.features.spec import LAYERS_FORM, POOLINGS, POOLINGS_FORM

Dtype = Literal["string", "int", "float", "bool"]
Value = str | int | float | None
"""Value of a cell; a bool is an int. An empty one is `""` in a text column, None in the others."""

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
_LONGEST_INT = 10**18  # every pandas integer has room for what is below
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_KINDS = {"string": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}

_LAYERS_MEANING = "layers, 0 the embeddings, ascending, joined by + (6+8+11)"
_POOLINGS_MEANING = (
    f"{', '.join(POOLINGS[:-1])} or {POOLINGS[-1]}; where layers have different ones, one for each in the "
    "order of `layers`, joined by + (max+mean+max)"
)
_CLASSIFIER = r"[a-z][a-z0-9_]*"
_CLASSIFIER_MEANING = (
    "logistic_regression, linear_svm, ridge, lda, knn, mlp, or the name of a user's own: small letters, "
    "digits and _"
)
_TRANSFER = r"zero-shot|translate-test|translate-train-[A-Za-z0-9_-]+"
_TRANSFER_MEANING = "zero-shot, translate-test, translate-train-all or translate-train-<language>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column: its name, type, unit, meaning and what a cell may hold."""

    name: str
    """Name in the header; `{language}` in it stands for any language of the corpus, `{label}` for
    any label, one column each."""

    dtype: Dtype
    """Type of the cells; strings are pandas' `str`, nullable whole numbers `Int64`."""

    meaning: str
    """Meaning of the column, one sentence."""

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
    """True if a cell may be empty: `""` in a text column, missing (NaN or NA) in a number column."""

    later: bool = False
    """True if files of earlier versions lack the column; it is read as empty there."""

    stamped: bool = False
    """True if all rows of a file share its value, which stands in `run.json` beside the file instead."""

    optional: bool = False
    """True if any file may lack the column, where all of its cells would be empty."""

    @property
    def is_pattern(self) -> bool:
        """Return True if the declaration stands for one column per language or label."""
        return _PATTERN.search(self.name) is not None

    def language(self, name: str) -> str | None:
        """Return the language (or label) in `name` if this pattern column covers it, else None."""
        before, after = _PATTERN.split(self.name)
        inner = name.removeprefix(before).removesuffix(after)
        return inner if inner and name == before + inner + after else None

    def accepted(self, cell: str = "") -> str:
        """Return in words what a cell may hold, or what a `cell` that a spreadsheet would run lacks."""
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

    def decode(self, cell: str) -> Value:
        """Return the value of a cell as it stands in a file; of an empty one `""` in texts, None elsewhere.

        Raises
        ------
        ValueError
            The column does not accept the cell; `accepted` says what it does accept.
        """
        value = self._parsed(cell)
        if (value is None and cell) or not self.accepts(value):
            raise ValueError(f"column {self.name}: given {cell!r}; accepted: {self.accepted(cell)}")
        return value

    def _parsed(self, cell: str) -> Value:
        """Return the value that a cell spells, or None where it spells none of this type."""
        if self.dtype == "string":
            return None if _RUN.match(cell) else restore(cell)
        if self.dtype == "bool":
            return _BOOLS.get(cell)
        if not _NUMBER[self.dtype].fullmatch(cell):
            return None
        return int(cell) if self.dtype == "int" else float(cell)

    def accepts(self, value: Value) -> bool:
        """Return whether the column may hold a value of its type."""
        if value is None or value == "":
            return self.nullable
        if isinstance(value, str):
            if self.allowed:
                return value in self.allowed
            return not self.form or re.fullmatch(self.form, value) is not None
        if self.dtype == "int" and abs(value) >= _LONGEST_INT:
            return False
        return math.isfinite(value) and self.bounds[0] <= value <= self.bounds[1]

    def encode(self, value: Value) -> str:
        """Return the text of a value in a file: floats unrounded, texts disarmed by `neutralise`."""
        if value is None:
            return ""
        if isinstance(value, str):
            return neutralise(value)
        return str(value).lower()

    @property
    def pandas_dtype(self) -> str:
        """Name of the pandas dtype that `results.csv_files.read` gives the column."""
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
    """Meaning of one of them."""

    by: Mapping[str, str] = dataclasses.field(hash=False)
    """Column -> value: a row that has any of these sums up others."""

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
    """Content of the table, one sentence."""

    row: str
    """Meaning of a row."""

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
    def stamp(self) -> tuple[Column, ...]:
        """The columns whose values stand in `run.json` beside the file."""
        return tuple(column for column in self.columns if column.stamped)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of this table's file and, if there is one, of that of the sums."""
        return (self.file_name, *((self.overall.file_name,) if self.overall else ()))

    def is_name(self, file_name: str) -> bool:
        """Return whether a file of this name (no folder) is one of these tables."""
        return fnmatch.fnmatchcase(file_name, self.file_name)

    def column(self, name: str) -> Column | None:
        """Return the declaration of a column by the name in a header; None where it is not declared."""
        fixed = [column for column in self.columns if not column.is_pattern and column.name == name]
        patterns = [column for column in self.columns if column.is_pattern and column.language(name)]
        return next(iter(fixed + patterns), None)

    def order(self, names: Iterable[str]) -> list[str]:
        """Return known column names in the order of the table; languages of one pattern keep theirs."""
        place = {column.name: number for number, column in enumerate(self.columns)}
        known = [(name, self.column(name)) for name in names]
        ranked = [(place[column.name], name) for name, column in known if column is not None]
        return [name for _, name in sorted(ranked, key=lambda pair: pair[0])]

    def missing(self, names: Iterable[str]) -> list[Column]:
        """Return the declared columns that `names` lacks; a pattern needs at least one column."""
        given = {column.name for name in names if (column := self.column(name)) is not None}
        return [column for column in self.columns if column.name not in given]


def neutralise(text: str) -> str:
    """Return a text with an apostrophe before it where a spreadsheet would run it; `restore` takes it off."""
    return "'" + text if _FORMULA.match(text) else text


def restore(cell: str) -> str:
    """Undo `neutralise`."""
    return cell[1:] if _NEUTRALISED.match(cell) else cell


def text(name: str, meaning: str, allowed: tuple[str, ...] = (), nullable: bool = False) -> Column:
    """Declare a text, perhaps one of a few."""
    return Column(name=name, dtype="string", meaning=meaning, allowed=allowed, nullable=nullable)


def layers(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a set of layers."""
    return Column(
        name=name,
        dtype="string",
        meaning=meaning,
        form=LAYERS_FORM,
        form_meaning=_LAYERS_MEANING,
        nullable=nullable,
    )


def poolings(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a pooling, or one for each layer."""
    return Column(
        name=name,
        dtype="string",
        meaning=meaning,
        form=POOLINGS_FORM,
        form_meaning=_POOLINGS_MEANING,
        nullable=nullable,
    )


def classifier(name: str, meaning: str) -> Column:
    """Declare the name of a classifier."""
    return Column(
        name=name, dtype="string", meaning=meaning, form=_CLASSIFIER, form_meaning=_CLASSIFIER_MEANING
    )


def count(name: str, meaning: str, unit: str = "", least: int = 0, nullable: bool = False) -> Column:
    """Declare a whole number, `least` or more."""
    return Column(
        name=name, dtype="int", meaning=meaning, unit=unit, bounds=(least, math.inf), nullable=nullable
    )


def share(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a share from 0 to 1."""
    return Column(
        name=name, dtype="float", meaning=meaning, unit="share 0-1", bounds=(0, 1), nullable=nullable
    )


def number(name: str, meaning: str, unit: str, least: float = -math.inf, nullable: bool = False) -> Column:
    """Declare a number with a unit, `least` or more."""
    dtype: Dtype = "float"
    return Column(
        name=name, dtype=dtype, meaning=meaning, unit=unit, bounds=(least, math.inf), nullable=nullable
    )


def difference(name: str, meaning: str) -> Column:
    """Declare a difference of two shares."""
    return Column(
        name=name, dtype="float", meaning=meaning, unit="share, -1 to 1", bounds=(-1, 1), nullable=True
    )


def correlation(name: str, meaning: str) -> Column:
    """Declare a correlation or an agreement, which may be undefined."""
    return Column(name=name, dtype="float", meaning=meaning, unit="-1 to 1", bounds=(-1, 1), nullable=True)


def later(column: Column) -> Column:
    """Declare a column that files of earlier versions lack; its cells may be empty."""
    return dataclasses.replace(column, later=True, nullable=True)


def optional(column: Column) -> Column:
    """Declare a column that a file lacks where all of its cells would be empty."""
    return dataclasses.replace(column, optional=True, nullable=True)


def stamp(nullable: bool = False) -> tuple[Column, ...]:
    """Declare the columns that say which run made a file, with what; once in `run.json`."""
    return tuple(dataclasses.replace(column, stamped=True) for column in made_by(nullable))


def made_by(nullable: bool = False) -> tuple[Column, ...]:
    """Declare the same columns for rows of several runs, in each row."""
    return (
        text("run", "name of the run", nullable=nullable),
        text("config_digest", "digest of the configuration that made the file", nullable=nullable),
        text("encoder", "encoder, by name or folder", nullable=nullable),
        text("versions", "versions of mcbert and of the libraries that figures depend on", nullable=nullable),
        Column(
            name="transfer",
            dtype="string",
            meaning="how labels reached the target languages: zero-shot (trained on source-language texts), "
            "translate-train-all (on them and their translations into every target language), "
            "translate-train-<language> (on their translations into that language alone), translate-test "
            "(trained as zero-shot, dev and test texts translated into the source language)",
            form=_TRANSFER,
            form_meaning=_TRANSFER_MEANING,
            nullable=nullable,
        ),
    )


def published_source() -> tuple[Column, ...]:
    """Declare the columns that say where a published figure stands."""
    return (
        text("note", "what to know before comparing", nullable=True),
        text("citation", "the source: a paper, a post or a page, by its title"),
        text("table", "where in the source: table and row, section or file"),
        Column(
            name="url",
            dtype="string",
            meaning="address of the source; empty where only its title is known",
            form=r"https://\S+",
            form_meaning="an address that begins with https://",
            nullable=True,
        ),
    )
