"""Texts that a command is given as a table: its options, reading in blocks, rows that cannot be used.

python -m pytest tests/pipeline/test_inputs.py
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.corpus.errors import BadRows

log = logging.getLogger(__name__)

SAMPLE = 256
"""Rows that are looked at to tell whether a table has second texts."""

FORMS = ".csv, .tsv, .jsonl (also .gz) or .parquet"
SETTINGS = {
    'corpus.on_bad = "skip"': "--on-bad skip",
    "corpus.columns maps names": "--column text=NAME maps names",
    "corpus.encoding": "--encoding",
    "corpus.delimiter": "--delimiter",
}
"""Setting of a corpus, as readers name it -> option of a command that stands for it."""


def add_options(command: argparse.ArgumentParser, columns: str) -> None:
    """Declare how tables are read; `columns` says which columns may have another name."""
    command.add_argument(
        "--on-bad",
        choices=("error", "skip"),
        default="error",
        help="what becomes of rows without a usable text",
    )
    command.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help=f"name that {columns} has in the input; may be repeated",
    )
    command.add_argument("--encoding", default="utf-8", help="of CSV, TSV and JSON Lines (default: utf-8)")
    command.add_argument("--delimiter", default="", help="between the fields of CSV and TSV")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of texts that may be gone through any number of times, a block at a time."""

    path: Path
    """The file."""

    optional: tuple[str, ...] = ("text_pair", "id")
    """Columns read beside ``text`` where they are there; empty cells where not."""

    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Our column name -> the table's, where they differ."""

    on_bad: Literal["error", "skip"] = "error"
    """Treatment of rows without a usable text."""

    encoding: str = "utf-8"
    """Of CSV, TSV and JSON Lines."""

    delimiter: str = ""
    """Between the fields of CSV and TSV."""

    @classmethod
    def of(
        cls, path: Path, args: argparse.Namespace, optional: tuple[str, ...] = ("text_pair", "id")
    ) -> TextTable:
        """Return the table that a command was given with the options of `add_options`."""
        columns, names = {}, ("text", *optional)
        for given in args.column:
            ours, equals, theirs = given.partition("=")
            if ours not in names or not equals or not theirs:
                raise ValueError(
                    f"--column: got {given!r}, accepted: OURS=THEIRS, OURS one of {', '.join(names)}"
                )
            columns[ours] = theirs
        _require_form(args.encoding, args.delimiter)
        return cls(
            path=path,
            optional=optional,
            columns=columns,
            on_bad=args.on_bad,
            encoding=args.encoding,
            delimiter=args.delimiter,
        )

    def survey(self, size: int, see: Callable[[pd.DataFrame], None] | None = None) -> int:
        """Read everything once, so that a bad row is told before a model works; return the usable rows.

        Parameters
        ----------
        see : callable, optional
            Is shown each block.

        Raises
        ------
        ValueError
            Rows that cannot be used and are not to be skipped; a table without any that can; the columns are
            not there.
        """
        from mcbert.features.corpus.errors import CorpusError

        bad, n_texts = self._bad_rows(), 0
        try:
            for rows in self._blocks(size, bad):
                n_texts += len(rows)
                if see is not None:
                    see(rows)
        except CorpusError as error:
            raise ValueError(_by_option(str(error))) from error
        bad.log_counts()
        if not n_texts:
            raise ValueError(f"{self.path}: no row with a usable text")
        return n_texts

    def blocks(self, size: int) -> Iterator[pd.DataFrame]:
        """Yield the usable rows, some at a time: text, `optional`, and ``_row``, their number in the file.

        ``id`` is called ``given_id``: ids only travel along, they need not be there or differ. Where a block
        ends depends on the file alone.
        """
        return self._blocks(size, self._bad_rows())

    def warn_unread_pairs(self, command: str) -> None:
        """Warn of second texts in the table, which a command of single texts does not read."""
        both = dataclasses.replace(self, optional=(*self.optional, "text_pair"), on_bad="skip")
        first = next(both._blocks(SAMPLE, both._bad_rows()), None)
        if first is not None and (first["text_pair"] != "").any():
            log.warning(
                "%s: %s: the column text_pair is not read: each vector is of one text", command, self.path
            )

    def _bad_rows(self) -> BadRows:
        from mcbert.features.corpus.errors import BadRows

        return BadRows(on_bad=self.on_bad, columns=dict(self.columns))

    def _blocks(self, size: int, bad: BadRows) -> Iterator[pd.DataFrame]:
        from mcbert.features.corpus.checks import usable_rows
        from mcbert.features.corpus.formats.readers import TableForm, stream_table

        form = TableForm(encoding=self.encoding, delimiter=self.delimiter, columns=dict(self.columns))
        names = ["given_id" if name == "id" else name for name in self.optional]
        for frame in stream_table(self.path, ("text",), self.optional, size=size, form=form, bad=bad):
            usable = usable_rows(frame.rename(columns={"id": "given_id"}), str(self.path), bad)
            if len(usable):
                yield usable.assign(**dict.fromkeys(set(names).difference(usable.columns), ""))


def require_output(
    output: Path, suffixes: tuple[str, ...], inputs: tuple[Path, ...], *, key: str = "--output"
) -> None:
    """Refuse an output that cannot be made, before any work; `key` names the option."""
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"{key}: got {output.name!r}, accepted: a name that ends in {' or '.join(suffixes)}")
    if output.is_dir():
        raise ValueError(f"{key}: {output}: it is a folder; accepted: a file")
    if not output.parent.is_dir():
        raise ValueError(f"{key}: {output}: no folder {output.parent}")
    if not os.access(output.parent, os.W_OK):
        raise ValueError(f"{key}: {output}: the folder {output.parent} cannot be written; accepted: another")
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise ValueError(f"--output: {output}: it is the input")


def require_new(output: Path, *, replace: bool, key: str = "--output") -> None:
    """Refuse to write over a file unless told to; `key` names the option."""
    if output.exists() and not replace:
        raise ValueError(f"{key}: {output}: it already exists; accepted: a new file, or --replace")


def _require_form(encoding: str, delimiter: str) -> None:
    """Refuse an output path where no table can be written, naming the option."""
    from mcbert.features.corpus.settings import CorpusSettings

    try:
        CorpusSettings(encoding=encoding, delimiter=delimiter)
    except ValueError as error:
        raise ValueError(_by_option(str(error))) from error


def _by_option(message: str) -> str:
    for setting, option in SETTINGS.items():
        message = message.replace(setting, option)
    return message
