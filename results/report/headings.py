"""The headings of the report's tables: words, and what the schema declares of the column whose values follow.

python -m pytest tests/results/report/test_headings.py
"""

from __future__ import annotations

import dataclasses
from pathlib import PurePath

from markupsafe import Markup, escape

from mcbert.results.columns import Column
from mcbert.results.schema import TABLES

_TABLES = {PurePath(table.file_name).with_suffix("").as_posix(): table for table in TABLES}
_SHOWN_IN = {"share 0-1": "%", "share, -1 to 1": "points"}


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading: its words, and the declared column whose values stand below it."""

    words: str
    file_name: str
    column: Column
    counted: bool = False
    """Whether what stands below says how many rows there are."""

    @property
    def numeric(self) -> bool:
        """Whether numbers stand below it, which are set flush right."""
        return self.counted or self.column.dtype in ("int", "float")

    @property
    def unit(self) -> str:
        """Unit in which the report shows the values: shares as percentages, differences of them as points."""
        return _SHOWN_IN.get(self.column.unit, self.column.unit)

    @property
    def title(self) -> str:
        """Where the values stand in the run's files, in which unit, and what they mean."""
        unit = f" ({self.column.unit})" if self.column.unit else ""
        unit = ", counted" if self.counted else unit
        return f"{self.file_name}, {self.column.name}{unit}: {self.column.meaning}"

    def attributes(self, *classes: str) -> Markup:
        """Write the attributes of a `th`: `classes`, that of numbers, and the title."""
        named = " ".join([*(["n"] if self.numeric else []), *classes])
        return Markup(f' class="{escape(named)}"' if named else "") + Markup(' title="{}"').format(self.title)


def heading(place: str, words: str = "", *, counted: bool = False) -> Heading:
    """Make the heading of a column of a declared table.

    Parameters
    ----------
    place : str
        The table's file without `.csv` and the column, `corpus.n_texts`; where there is one for each language
        or label, their pattern, `gridsearch.dev_f1_{language}`, or one of them.
    words : str
        The words shown; the column's name with blanks where there are none.
    counted : bool
        Whether the rows are counted, not their values shown.

    Raises
    ------
    ValueError
        If no such column is declared.
    """
    file, _, name = place.rpartition(".")
    table = _TABLES.get(file)
    column = table.column(name) if table else None
    if table is None or column is None:
        accepted = ", ".join(each.name for each in table.columns) if table else ", ".join(_TABLES)
        raise ValueError(f"heading {place}: not declared in results.schema; accepted: {accepted}")
    return Heading(words or name.replace("_", " "), table.file_name, column, counted)
